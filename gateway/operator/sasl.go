package operator

import "math/rand/v2"

// xoauth2 is the mechanism that operators announce for Pro Santé Connect's
// tokens. It was never an RFC; RFC 7628 made OAUTHBEARER of it.
const xoauth2 = "XOAUTH2"

// xoauth2Client is the client's side.
type xoauth2Client struct{ name, token string }

// Start implements [sasl.Client].
func (c *xoauth2Client) Start() (mechanism string, first []byte, err error) {
	return xoauth2, []byte("user=" + c.name + "\x01auth=Bearer " + c.token + "\x01\x01"), nil
}

// Next implements [sasl.Client]: the one challenge there can be says why the
// token is refused, in JSON. Answering it lets the server say "no".
func (c *xoauth2Client) Next([]byte) ([]byte, error) { return []byte{1}, nil }

func jitter() float64 { return rand.Float64() }

// or sets *f to def if it is nil.
func or[F func() T, T any](f *F, def F) {
	if *f == nil {
		*f = def
	}
}
