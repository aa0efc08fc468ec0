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

	lineStart bool // the last two bytes were CRLF, or there were none
	cr        bool // the last byte was CR
	line      int  // bytes of the open line
	skipping  bool // to the end of a message that is not taken
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
	return &message{wire: w, start: time.Now(), lineStart: true}
}

// Read implements io.Reader.
func (m *message) Read(p []byte) (int, error) {
	for m.failed == nil && !m.ended {
		n, err := m.frame(p)
		if err == nil && m.size+int64(n) > m.wire.server.limits.MessageBytes {
			err = &mailbox.Refusal{Reason: mailbox.RefuseTooBig}
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

// takeLine looks at a line, or a piece of one, that is let through; lf says that
// it ends with LF. What is skipped is only looked at for its end.
func (m *message) takeLine(b []byte, lf bool) error {
	crlf := lf && (len(b) > 1 && b[len(b)-2] == '\r' || len(b) == 1 && m.cr)
	if !m.skipping {
		text := b // without its end, or what may be the beginning of its end
		if lf {
			text = text[:len(text)-1]
		}
		if n := len(text); n > 0 && text[n-1] == '\r' {
			text = text[:n-1]
		}
		switch {
		case lf && !crlf, m.cr && !(lf && len(b) == 1), bytes.IndexByte(text, '\r') >= 0:
			return &mailbox.Refusal{Reason: mailbox.RefuseBareNewline}
		case m.line+len(text) > m.wire.server.limits.LineBytes:
			return &mailbox.Refusal{Reason: mailbox.RefuseLongLine}
		}
		if m.line += len(text); lf {
			m.line = 0
		}
	}
	m.lineStart, m.cr = crlf, b[len(b)-1] == '\r'
	return nil
}

// checkEnd refuses a message whose last line is open: by DATA it cannot be sent
// on without a byte more, so BDAT must not bring it in.
func (m *message) checkEnd() error {
	if !m.lineStart {
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
	m.skipping = true
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
