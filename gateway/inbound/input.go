package inbound

import (
	"bytes"
	"io"
	"sync"
)

// input is what came from the peer and was not used yet. It is small while
// commands are read, and borrows a large buffer while a message is.
type input struct {
	buf   []byte
	r, w  int    // unread: buf[r:w]
	small []byte // while buf is large
}

var messageBuffers = sync.Pool{New: func() any { b := make([]byte, messageBuffer); return &b }}

func (in *input) len() int       { return in.w - in.r }
func (in *input) unread() []byte { return in.buf[in.r:in.w] }
func (in *input) skip(n int)     { in.r += n }

// line takes a line with its LF. The slice is good until the next fill.
func (in *input) line() ([]byte, bool) {
	i := bytes.IndexByte(in.unread(), '\n')
	if i < 0 {
		return nil, false
	}
	line := in.buf[in.r : in.r+i+1]
	in.r += i + 1
	return line, true
}

// fill reads once, keeping what is unread. It must not be full.
func (in *input) fill(from io.Reader) error {
	if in.buf == nil {
		in.buf = make([]byte, commandBuffer)
	}
	if in.r > 0 {
		in.w = copy(in.buf, in.unread())
		in.r = 0
	}
	n, err := from.Read(in.buf[in.w:])
	in.w += n
	if n > 0 {
		return nil // an error will come again
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// grow borrows the large buffer.
func (in *input) grow() {
	if len(in.buf) >= messageBuffer {
		return
	}
	large := *messageBuffers.Get().(*[]byte)
	in.w = copy(large, in.unread())
	in.r, in.buf, in.small = 0, large, in.buf
}

// shrink gives the large buffer back if what is unread fits the small one.
func (in *input) shrink() {
	if len(in.buf) < messageBuffer || in.len() > commandBuffer/2 {
		return
	}
	large := in.buf
	if in.buf, in.small = in.small, nil; in.buf == nil {
		in.buf = make([]byte, commandBuffer)
	}
	in.w = copy(in.buf, large[in.r:in.w])
	in.r = 0
	messageBuffers.Put(&large)
}

// drop forgets everything.
func (in *input) drop() {
	if len(in.buf) >= messageBuffer {
		large := in.buf
		messageBuffers.Put(&large)
	}
	*in = input{}
}
