package outbound

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store/journal"
)

// Faults of a mail to be sent.
const (
	// ErrUnclean: DATA could not carry the mail unchanged.
	ErrUnclean = journal.Fault("mail with a bare CR or LF, or without a last line end")
	// ErrSize: the bytes are not as many as the store said.
	ErrSize = journal.Fault("mail of another size than recorded")
)

// stuffed turns a mail into what DATA carries: where a line begins with a dot
// stands another before it (RFC 5321 §4.5.2), and the final dot follows.
//
// It passes on only what is in the one form that DATA carries unchanged: lines
// end with CRLF, the last one too, and there is no other CR or LF. Mending
// anything else in silence would break signatures and our promise; intake
// refuses such mail, so here it is a fault. A mail that ends early is one too:
// its final dot must not be sent.
//
// It works by buffers: a small mail is ready as one, final dot included, before
// anything is said to the peer.
type stuffed struct {
	r     io.Reader
	left  int64 // bytes still to come
	last  byte  // the last one passed on; 0 before the first
	ended bool  // the final dot is among what is ready

	*stuffing
	n    int // bytes of buf that are ready
	most int // bytes of buf that were ever used
}

// stuffing is the memory of a mail being sent.
type stuffing struct {
	buf  [stuffedSize]byte
	dots []int // where lines begin with a dot, in what is being filled in
}

const (
	stuffedSize = 64 << 10
	finalDot    = ".\r\n"
)

var stuffings = sync.Pool{New: func() any { return new(stuffing) }}

func newStuffed(mail *mailbox.Outgoing) *stuffed {
	return &stuffed{r: mail, left: mail.Size, stuffing: stuffings.Get().(*stuffing)}
}

// release wipes what was sent. s is of no further use.
func (s *stuffed) release() {
	clear(s.buf[:s.most])
	stuffings.Put(s.stuffing)
	s.stuffing = nil
}

// ready are bytes to send. They are good until fill.
func (s *stuffed) ready() []byte { return s.buf[:s.n] }

// fill makes the next bytes ready: as many as fit, or up to the final dot.
func (s *stuffed) fill() error {
	s.n = 0
	for {
		// Stuffed, n bytes are at most 4n/3 + 1: no line is shorter than ".\r\n".
		free := (len(s.buf)-s.n-len(finalDot))*3/4 - 1
		if free < len(s.buf)/16 {
			return nil
		}
		p := s.buf[s.n : s.n+free]
		n, err := s.r.Read(p)
		if err := s.take(p[:n]); err != nil {
			return unreadable{fmt.Errorf("reading the mail: %w", err)}
		}
		switch {
		case err == io.EOF && s.left > 0:
			return unreadable{fmt.Errorf("reading the mail: %w", ErrSize)}
		case err == io.EOF && s.last != '\n':
			return unreadable{fmt.Errorf("reading the mail: %w", ErrUnclean)}
		case err == io.EOF:
			s.n += copy(s.buf[s.n:], finalDot)
			s.ended = true
			return nil
		case err != nil:
			return unreadable{fmt.Errorf("reading the mail: %w", err)}
		}
	}
}

// take checks p, which lies at the end of what is ready, and stuffs it.
func (s *stuffed) take(p []byte) error {
	if s.left -= int64(len(p)); s.left < 0 {
		return ErrSize
	}
	if len(p) == 0 {
		return nil
	}
	if !s.scan(p) {
		return ErrUnclean
	}
	s.last = p[len(p)-1]
	start, end := s.n, s.n+len(p)
	s.n = end + len(s.dots)
	s.most = max(s.most, s.n+len(finalDot))
	// From the last dot to the first, what follows each moves up.
	for i := len(s.dots) - 1; i >= 0; i-- {
		at := start + s.dots[i]
		copy(s.buf[at+i+1:], s.buf[at:end])
		s.buf[at+i] = '.'
		end = at
	}
	return nil
}

// scan finds the lines of p that begin with a dot, and reports whether all its
// line ends are CRLF.
func (s *stuffed) scan(p []byte) bool {
	s.dots = s.dots[:0]
	crs := bytes.Count(p, []byte{'\r'})
	if s.last == '\r' {
		crs++
	}
	if p[len(p)-1] == '\r' {
		crs--
	}
	if (s.last == '\n' || s.last == 0) && p[0] == '.' {
		s.dots = append(s.dots, 0)
	}
	before := s.last
	for at := 0; ; {
		i := bytes.IndexByte(p[at:], '\n')
		if i < 0 {
			return crs == 0
		}
		if at += i; at > 0 {
			before = p[at-1]
		}
		if before != '\r' {
			return false
		}
		crs--
		if at++; at < len(p) && p[at] == '.' {
			s.dots = append(s.dots, at)
		}
	}
}
