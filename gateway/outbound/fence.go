package outbound

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/relais-sante/relais/store/journal"
)

// Faults of a conversation.
const (
	errAhead     = journal.Fault("peer answered before it was asked")
	errLongReply = journal.Fault("reply too long")
	errNotReply  = journal.Fault("not an SMTP reply")
)

// Bounds of one reply: RFC 5321 §4.5.3.1.5 asks for 512 octets a line.
const (
	maxReplyLine  = 2000
	maxReplyLines = 128
)

// fence is the connection go-smtp's client talks on. It gives the client one
// whole reply at a time, of bounded size, and holds the peer to the order of
// the conversation: bytes that lie there before a command is sent would be
// taken for its answer, and a stray 250 for the answer to the final dot.
type fence struct {
	net.Conn
	in   *bufio.Reader
	last []byte // reply read last
	next []byte // what go-smtp has not read of it yet
}

func newFence(c net.Conn) *fence {
	return &fence{Conn: c, in: bufio.NewReaderSize(c, maxReplyLine)}
}

func (f *fence) Read(p []byte) (int, error) {
	if len(f.next) == 0 {
		reply, err := f.readReply()
		if err != nil {
			return 0, err
		}
		f.next = reply
	}
	n := copy(p, f.next)
	f.next = f.next[n:]
	return n, nil
}

func (f *fence) Write(p []byte) (int, error) {
	if f.in.Buffered() > 0 {
		return 0, errAhead
	}
	return f.Conn.Write(p)
}

// Deadlines are the wire's.

func (f *fence) SetDeadline(time.Time) error      { return nil }
func (f *fence) SetReadDeadline(time.Time) error  { return nil }
func (f *fence) SetWriteDeadline(time.Time) error { return nil }

// readReply reads the lines of one reply (RFC 5321 §4.2.1). They are good until
// the next is read.
func (f *fence) readReply() ([]byte, error) {
	reply := f.last[:0]
	defer func() { f.last = reply }()
	for range maxReplyLines {
		line, err := f.in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, errLongReply
		case errors.Is(err, io.EOF) && len(reply)+len(line) > 0:
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		}
		if len(line) < 4 || !digits(line[:3]) || strings.IndexByte(" -\r\n", line[3]) < 0 {
			return nil, errNotReply
		}
		reply = append(reply, line...)
		if line[3] != '-' {
			return reply, nil
		}
	}
	return nil, errLongReply
}

// reply reads a reply by hand, whatever its code.
func (f *fence) reply() (code int, lines []string, err error) {
	reply, err := f.readReply()
	if err != nil {
		return 0, nil, err
	}
	return parseReply(reply)
}

func parseReply(reply []byte) (code int, lines []string, err error) {
	if code, err = strconv.Atoi(string(reply[:3])); err != nil {
		return 0, nil, errNotReply
	}
	for line := range strings.Lines(string(reply)) {
		text := strings.TrimRight(line, "\r\n")[3:]
		lines = append(lines, strings.TrimSpace(text[min(1, len(text)):]))
	}
	return code, lines, nil
}

// expect reads a reply by hand. A code other than want is an *smtp.SMTPError,
// as go-smtp would have made of it.
func (f *fence) expect(want int) (lines []string, err error) {
	code, lines, err := f.reply()
	if err == nil && code != want {
		err = smtpError(code, lines)
	}
	if err != nil {
		return nil, err
	}
	return lines, nil
}

// await reads a reply by hand; one that does not begin with want is an
// *smtp.SMTPError.
func (f *fence) await(want string) error {
	reply, err := f.readReply()
	if err != nil {
		return err
	}
	if bytes.HasPrefix(reply, []byte(want)) {
		return nil
	}
	code, lines, err := parseReply(reply)
	if err != nil {
		return err
	}
	return smtpError(code, lines)
}

// command sends a line by hand and reads its reply.
func (f *fence) command(line string, want int) (lines []string, err error) {
	if _, err := f.Write([]byte(line + "\r\n")); err != nil {
		return nil, err
	}
	return f.expect(want)
}

// say sends a line by hand and gives the reply, whatever it is.
func (f *fence) say(line string) (code int, lines []string, err error) {
	if _, err := f.Write([]byte(line + "\r\n")); err != nil {
		return 0, nil, err
	}
	return f.reply()
}

// quiet reports an error if the peer has said more than it was asked: after
// STARTTLS that would be text smuggled in before the handshake (RFC 3207 §6).
func (f *fence) quiet() error {
	if f.in.Buffered() > 0 {
		return errAhead
	}
	return nil
}

// replay gives go-smtp's client a reply to read that the peer did not send
// (now): the greeting, which it wants to see again after STARTTLS.
func (f *fence) replay(reply string) { f.next = []byte(reply) }

func smtpError(code int, lines []string) *smtp.SMTPError {
	e := &smtp.SMTPError{Code: code, Message: strings.Join(lines, "\n")}
	first, _, ok := strings.Cut(lines[0], " ")
	if parts := strings.Split(first, "."); len(parts) == 3 {
		var ec smtp.EnhancedCode
		for i, p := range parts {
			n, err := strconv.Atoi(p)
			if err != nil {
				return e
			}
			ec[i] = n
		}
		e.EnhancedCode = ec
		if ok { // it stands in every line (RFC 2034 §4)
			e.Message = strings.ReplaceAll(strings.TrimPrefix(e.Message, first+" "), "\n"+first+" ", "\n")
		}
	}
	return e
}

func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
