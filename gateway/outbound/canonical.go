package outbound

import (
	"io"

	"github.com/relais-sante/relais/store/journal"
)

// Faults of a mail to be sent.
const (
	// ErrUnclean: DATA could not carry the mail unchanged.
	ErrUnclean = journal.Fault("mail with a bare CR or LF, or without a last line end")
	// ErrSize: the bytes are not as many as the store said.
	ErrSize = journal.Fault("mail of another size than recorded")
)

// canonical passes a mail on while it is in the one form that DATA carries
// unchanged: lines end with CRLF, the last one too, and there is no other CR or
// LF. go-smtp would mend anything else in silence (a bare LF becomes CRLF, a
// missing last CRLF is added), which breaks signatures and our promise; intake
// refuses such mail, so here it is a fault. A mail that ends early is one too:
// its final dot must not be sent.
type canonical struct {
	r    io.Reader
	left int64 // bytes still to come
	last byte
}

func (c *canonical) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	for _, b := range p[:n] {
		if (b == '\n') != (c.last == '\r') {
			return 0, ErrUnclean
		}
		c.last = b
	}
	c.left -= int64(n)
	switch {
	case c.left < 0:
		return 0, ErrSize
	case err == io.EOF && c.left > 0:
		return 0, ErrSize
	case err == io.EOF && c.last != '\n':
		return 0, ErrUnclean
	}
	return n, err
}
