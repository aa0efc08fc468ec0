package imap

import (
	"compress/flate"
	"io"
	"sync"
)

// COMPRESS=DEFLATE (RFC 4978). The compressor takes most of the memory, and a
// connection that waits needs none: after a flush the stream stands at a byte,
// and another compressor that knows nothing of what went before may go on.
var deflaters = sync.Pool{New: func() any {
	w, _ := flate.NewWriter(io.Discard, flate.BestSpeed) // the level is a valid one
	return w
}}

// deflate sends p compressed.
func deflate(c *conn, p []byte) error {
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	w.Reset(sender{c})
	if _, err := w.Write(p); err != nil {
		return err
	}
	err := w.Flush()
	w.Reset(io.Discard)
	return err
}

// sender writes compressed bytes to the network.
type sender struct{ c *conn }

func (s sender) Write(p []byte) (int, error) {
	if err := s.c.send(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// doCompress begins compression.
func (c *conn) doCompress(p *parser) reply {
	p.spaces()
	method := p.key()
	switch {
	case !p.end():
		return p.result()
	case method != "DEFLATE":
		return bad("only DEFLATE is known")
	case c.deflated:
		return no("COMPRESSIONACTIVE", "Déjà actif / already active")
	}
	c.then = func() {
		c.flush()
		c.deflated = true
		// What the client sent after the command is compressed already.
		ahead := append([]byte(nil), c.in.unread()...)
		c.in.r, c.in.w = 0, 0
		c.source = newInflater(&rest{first: ahead, then: c})
	}
	return ok()
}

// rest reads what came before, then from the connection.
type rest struct {
	first []byte
	then  io.Reader
}

func (r *rest) Read(p []byte) (int, error) {
	if len(r.first) > 0 {
		n := copy(p, r.first)
		r.first = r.first[n:]
		return n, nil
	}
	return r.then.Read(p)
}
