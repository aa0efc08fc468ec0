package imap

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"time"
)

// input is what came from the client and was not used yet. A connection that
// waits has the small buffer; more is borrowed.
type input struct {
	small [restBuffer]byte
	buf   []byte // nil: small
	r, w  int    // unread: of the buffer, r to w
}

var readBuffers = sync.Pool{New: func() any { b := make([]byte, readBuffer); return &b }}

func (in *input) buffer() []byte {
	if in.buf == nil {
		return in.small[:]
	}
	return in.buf
}

func (in *input) unread() []byte { return in.buffer()[in.r:in.w] }

// fill reads once, keeping what is unread. It must not be full.
func (in *input) fill(from io.Reader) error {
	if in.r > 0 {
		b := in.buffer()
		in.w = copy(b, b[in.r:in.w])
		in.r = 0
	}
	n, err := from.Read(in.buffer()[in.w:])
	in.w += n
	if n > 0 {
		return nil // an error will come again
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// grow makes room for a longer line, or for reading faster.
func (in *input) grow() {
	unread := in.unread()
	var larger []byte
	if in.buf == nil {
		larger = *readBuffers.Get().(*[]byte)
	} else {
		larger = make([]byte, 2*len(in.buf))
	}
	n := copy(larger, unread)
	in.giveBack()
	in.buf, in.r, in.w = larger, 0, n
}

func (in *input) giveBack() {
	if len(in.buf) == readBuffer {
		b := in.buf
		readBuffers.Put(&b)
	}
	in.buf = nil
}

// rest gives the buffer back if what is unread fits the small one.
func (in *input) rest() {
	if in.buf == nil || in.w-in.r > restBuffer/2 {
		return
	}
	unread := in.unread()
	in.w = copy(in.small[:], unread)
	in.r = 0
	in.giveBack()
}

// readLine reads a line of at most most bytes, without its end. It is good
// until the next read.
func (c *conn) readLine(most int) ([]byte, error) {
	for looked := 0; ; {
		unread := c.in.unread()
		if i := bytes.IndexByte(unread[looked:], '\n'); i >= 0 {
			line := unread[:looked+i]
			c.in.r += len(line) + 1
			line = bytes.TrimSuffix(line, []byte{'\r'})
			if len(line) > most {
				return nil, errTooLong
			}
			return line, nil
		}
		if looked = len(unread); looked > most+1 {
			return nil, errTooLong
		}
		if len(unread) == len(c.in.buffer()) {
			c.in.grow()
		}
		if err := c.in.fill(c.source); err != nil {
			return nil, err
		}
		if c.between { // the first bytes of a command are there
			c.between = false
			c.deadline = time.Now().Add(c.server.limits.Command)
		}
	}
}

// nextCommand waits for the line that begins a command.
func (c *conn) nextCommand() ([]byte, error) {
	c.in.rest()
	if cap(c.phrase) > restBuffer {
		c.phrase = nil
	}
	c.between = true
	c.deadline = time.Now().Add(c.server.limits.Idle)
	if c.user == nil {
		c.deadline = c.until
	}
	if len(c.in.unread()) > 0 { // sent ahead
		c.mu.Lock()
		stopping, gone := c.stopping, c.gone
		c.mu.Unlock()
		if stopping {
			return nil, errStopping
		}
		if gone {
			return nil, errGone
		}
		c.between = false
		c.deadline = time.Now().Add(c.server.limits.Command)
	}
	defer func() { c.between = false }()
	return c.readLine(c.server.limits.CommandBytes)
}

// literal reads the bytes of a literal that was announced; it keeps to the
// least rate, and knows what is still to come.
type literal struct {
	c     *conn
	left  int64
	read  int64
	begun time.Time
}

// Read implements io.Reader.
func (l *literal) Read(p []byte) (int, error) {
	if l.left == 0 {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	c := l.c
	if len(c.in.unread()) == 0 {
		if c.in.buf == nil && l.left > restBuffer {
			c.in.grow()
		}
		limits := &c.server.limits
		if l.begun.IsZero() {
			l.begun = time.Now()
		}
		// The next byte is due when the rate would be too low without it.
		c.deadline = l.begun.Add(min(limits.Slow+time.Duration(l.read/limits.MinRate)*time.Second, limits.Message))
		if err := c.in.fill(c.source); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			c.ended(err)
			return 0, err
		}
	}
	n := copy(p[:min(int64(len(p)), l.left)], c.in.unread())
	c.in.r += n
	l.left -= int64(n)
	l.read += int64(n)
	if l.left == 0 { // the rest of the command
		c.deadline = time.Now().Add(c.server.limits.Command)
	}
	return n, nil
}

// discard reads what is left of the literal.
func (l *literal) discard() error {
	var sink [restBuffer]byte
	for l.left > 0 {
		if _, err := l.Read(sink[:]); err != nil {
			return err
		}
	}
	return nil
}
