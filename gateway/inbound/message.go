package inbound

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store/journal"
)

// message reads one message, by DATA or BDAT, and lets through only bytes that
// may be taken: lines end in CRLF and nothing else does (RFC 5321 §2.3.8; a
// message that two servers cut into lines differently is how mail is smuggled),
// no line and no message is too long, and it comes fast enough.
//
// It fails once and for good: failed says why, and what Hub.Intake makes of it
// does not matter.
type message struct {
	wire  *wire
	start time.Time
	raw   int64 // bytes of the network
	size  int64 // bytes let through
	ended bool  // its end was read
	// failed is a *mailbox.Refusal, or one of the faults below.
	failed error

	lineStart bool // framing is at the start of a line
	framedCR  bool // framing: the last byte was CR
	cr        bool // check: the last byte was CR
	crlf      bool // check: the last two bytes were CRLF
	line      int  // check: bytes of the open line
}

// Faults in the middle of a message.
const (
	errAborted = journal.Fault("message taken back by its sender")
	errSlow    = journal.Fault("message came too slowly")
	errLost    = journal.Fault("connection lost in a message")
)

// message begins to read the message that go-smtp asked for.
func (w *wire) message() *message {
	w.in.grow()
	return &message{wire: w, start: time.Now(), lineStart: true, crlf: true}
}

// Read implements io.Reader.
func (m *message) Read(p []byte) (int, error) {
	for m.failed == nil && !m.ended {
		n, err := m.frame(p)
		if err == nil {
			err = m.check(p[:n])
		}
		if err == io.EOF { // that one and no other: a peer that is gone is no end
			m.ended = true
			err = m.checkEnd()
		}
		if m.failed = err; err == nil && n > 0 {
			m.size += int64(n)
			return n, nil
		}
	}
	if m.failed != nil {
		return 0, m.failed
	}
	return 0, io.EOF
}

// check looks at bytes about to be let through.
func (m *message) check(b []byte) error {
	limits := m.wire.server.limits
	if m.size+int64(len(b)) > limits.MessageBytes {
		return &mailbox.Refusal{Reason: mailbox.RefuseTooBig}
	}
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		text := b // of the line, up to a CR before its LF
		if i >= 0 {
			text = b[:i]
		}
		// A CR at the end of what is here is good if a LF follows.
		if m.cr && i != 0 {
			return &mailbox.Refusal{Reason: mailbox.RefuseBareNewline}
		}
		ends := len(text) > 0 && text[len(text)-1] == '\r'
		if i >= 0 && !ends && !(i == 0 && m.cr) {
			return &mailbox.Refusal{Reason: mailbox.RefuseBareNewline}
		}
		if ends {
			text = text[:len(text)-1]
		}
		if bytes.IndexByte(text, '\r') >= 0 {
			return &mailbox.Refusal{Reason: mailbox.RefuseBareNewline}
		}
		if m.line += len(text); m.line > limits.LineBytes {
			return &mailbox.Refusal{Reason: mailbox.RefuseLongLine}
		}
		if i < 0 {
			m.cr, m.crlf = ends, false
			return nil
		}
		m.cr, m.crlf, m.line = false, true, 0
		b = b[i+1:]
	}
	return nil
}

// checkEnd refuses a message whose last line is open: by DATA it cannot be sent
// on without a byte more, so BDAT must not bring it in.
func (m *message) checkEnd() error {
	if !m.crlf {
		return &mailbox.Refusal{Reason: mailbox.RefuseUnended}
	}
	return nil
}

// need waits for more of the message. Each wait has a deadline, the whole
// message has one, and it must come at a certain rate.
func (m *message) need() error {
	w, limits := m.wire, m.wire.server.limits
	if err := w.flush(); err != nil {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	now := time.Now()
	spent := now.Sub(m.start)
	if spent >= limits.Message || spent > limits.Slow && m.raw < limits.MinRate*int64(spent/time.Second) {
		return errSlow
	}
	deadline := m.start.Add(limits.Message)
	if d := now.Add(limits.Read); d.Before(deadline) {
		deadline = d
	}
	if err := w.raw.SetReadDeadline(deadline); err != nil {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	before := w.in.len()
	if err := w.in.fill(w.conn); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return errSlow
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("%w: %w", errLost, err)
	}
	m.raw += int64(w.in.len() - before)
	return nil
}

// finish brings the wire to the end of the message, whatever became of it, or
// marks it to be closed. go-smtp then looks for the end by itself: it gets one.
func (m *message) finish() {
	w := m.wire
	w.pending = []byte(".\r\n")
	if !m.ended && !m.skip() {
		w.hangup, w.linger = true, true
	}
	w.chunked, w.counted = false, 0
	w.in.shrink()
}

// skip reads to the end of a message that is not taken, within bounds. It
// reports false if the end is not known.
func (m *message) skip() bool {
	var refusal *mailbox.Refusal
	switch {
	case m.failed == nil: // the hub did not want to read on
	case errors.Is(m.failed, errAborted):
		m.wire.chunk = chunk{}
		return true // wire.again goes on from here
	case !errors.As(m.failed, &refusal) || refusal.Reason == mailbox.RefuseBareNewline:
		return false
	}
	if m.wire.chunked {
		return true // the wire throws the rest of the chunk away
	}
	var nowhere [4096]byte
	for left := m.wire.server.limits.drain(); left > 0; {
		n, err := m.frame(nowhere[:])
		if err == io.EOF {
			return true
		}
		if err != nil {
			return false
		}
		left -= int64(n)
	}
	return false
}
