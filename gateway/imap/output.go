package imap

import (
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

var writeBuffers = sync.Pool{New: func() any { b := make([]byte, 0, writeBuffer); return &b }}

// begin makes sure of a buffer for answers.
func (c *conn) begin() {
	if c.out == nil {
		c.out = *writeBuffers.Get().(*[]byte)
	}
}

// text appends what needs no quoting.
func (c *conn) text(s string) {
	c.begin()
	c.out = append(c.out, s...)
}

func (c *conn) number(n uint64) {
	c.begin()
	c.out = strconv.AppendUint(c.out, n, 10)
}

// string appends a string: quoted, or as a literal (RFC 9051 §4.3).
func (c *conn) string(s string) {
	c.begin()
	c.out = appendString(c.out, s, c.utf8)
}

// name appends the name of a folder.
func (c *conn) name(s string) {
	c.begin()
	if !c.utf8 {
		s = encodeUTF7(s)
	}
	c.out = appendAstring(c.out, s, c.utf8)
}

// spill sends the answers if there are many. No call to the floor below may be
// under way.
func (c *conn) spill() {
	if len(c.out) >= writeBuffer/2 {
		c.flush()
	}
}

// drain sends the answers and keeps the buffer.
func (c *conn) drain() {
	if len(c.out) > 0 && c.err == nil {
		c.err = c.write(c.out)
	}
	c.out = c.out[:0]
}

// flush sends the answers. What the client does not take in time ends the
// connection: half a TLS record cannot be taken back.
func (c *conn) flush() {
	c.drain()
	if cap(c.out) == writeBuffer {
		b := c.out
		writeBuffers.Put(&b)
	}
	c.out = nil
}

func (c *conn) write(p []byte) error {
	if c.deflated {
		return deflate(c, p)
	}
	return c.send(p)
}

// send writes to the network, a buffer at a time so that the deadline is a
// least rate.
func (c *conn) send(p []byte) error {
	for len(p) > 0 {
		n := min(len(p), writeBuffer)
		c.raw.SetWriteDeadline(time.Now().Add(c.server.limits.Write))
		if _, err := c.stream.Write(p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// appendString appends s as a quoted string if its bytes may stand in one.
// UTF-8 may where the client asked for it (RFC 6855 §3, RFC 9051 §4.3).
func appendString(b []byte, s string, asUTF8 bool) []byte {
	quotes := 0
	high := false
	for i := 0; i < len(s); i++ {
		switch ch := s[i]; {
		case ch == '"' || ch == '\\':
			quotes++
		case ch >= 0x80:
			high = true
		case ch == '\r' || ch == '\n' || ch == 0:
			return appendLiteral(b, s)
		}
	}
	if len(s) > 4096 || high && !(asUTF8 && utf8.ValidString(s)) {
		return appendLiteral(b, s)
	}
	b = append(b, '"')
	if quotes == 0 {
		b = append(b, s...)
		return append(b, '"')
	}
	for i := 0; i < len(s); i++ {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

// appendLiteral appends s as a literal. A NUL, which no literal may hold,
// becomes a blank.
func appendLiteral(b []byte, s string) []byte {
	b = append(b, '{')
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, "}\r\n"...)
	from := len(b)
	b = append(b, s...)
	for i := from; i < len(b); i++ {
		if b[i] == 0 {
			b[i] = ' '
		}
	}
	return b
}

// appendNstring appends NIL for nothing.
func appendNstring(b []byte, s string, asUTF8 bool) []byte {
	if s == "" {
		return append(b, "NIL"...)
	}
	return appendString(b, s, asUTF8)
}

// appendAstring appends s without quotes where it may stand so.
func appendAstring(b []byte, s string, asUTF8 bool) []byte {
	if s == "" || len(s) > 200 || (len(s) == 3 && (s[0]|0x20) == 'n' && (s[1]|0x20) == 'i' && (s[2]|0x20) == 'l') {
		return appendString(b, s, asUTF8)
	}
	for i := 0; i < len(s); i++ {
		if !atomChar[s[i]] {
			return appendString(b, s, asUTF8)
		}
	}
	return append(b, s...)
}

func appendUint(b []byte, n uint64) []byte { return strconv.AppendUint(b, n, 10) }
