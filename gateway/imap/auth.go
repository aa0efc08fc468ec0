package imap

import (
	"context"
	"crypto/tls"
	"net/netip"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/store/journal"
)

// Attempt is a login that is tried.
type Attempt struct {
	Mechanism string // "LOGIN", "PLAIN", "EXTERNAL", "OAUTHBEARER" or "XOAUTH2"
	// Username is the name that logs in, as written. With EXTERNAL it may be
	// empty: the one the certificate stands for.
	Username string
	Secret   string               // password or bearer token; never log it
	TLS      *tls.ConnectionState // of the connection; nil without TLS
	Remote   netip.Addr
}

// Authenticator decides who a client is. It slows down and counts failures as
// it sees fit; it is called with a context that ends with the connection.
type Authenticator interface {
	// Authenticate returns ErrCredentials, whatever the reason, for an account
	// that may not log in like that, ErrTooMany where it was tried too often, and
	// other errors when it could not tell.
	Authenticate(ctx context.Context, a Attempt) (folder.User, error)
}

// Faults that an Authenticator returns.
const (
	ErrCredentials = journal.Fault("wrong name or secret")
	ErrTooMany     = journal.Fault("too many login attempts")
)

// Ways is which ways of logging in are offered. EXTERNAL is offered to clients
// that showed a certificate.
type Ways struct {
	// Password allows LOGIN and PLAIN to a client at that address; nil: none.
	Password func(netip.Addr) bool
	Bearer   bool // OAUTHBEARER (RFC 7628) and XOAUTH2
	External bool // RFC 4422 appendix A
}
