// Package login is how accounts say who they are, in SMTP and IMAP alike: the
// SASL mechanisms (RFC 4422) in front of mailbox.Hub.Authenticate.
//
// Rules that hold here:
//
//   - Nothing is offered, and nothing taken, without TLS.
//   - A mechanism that could not work from there is not offered.
//   - What a client says is bounded before it is looked at, and never logged.
//   - Every failure is told to the client in the same words; see [Fault].
package login

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"

	"github.com/emersion/go-sasl"

	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

// MaxResponse bounds, in bytes decoded, what a client says in one response: a
// token is the longest.
const MaxResponse = 16 << 10

// XOAuth2 is older than OAUTHBEARER and what most clients speak.
const XOAuth2 = "XOAUTH2"

// ErrMechanism: not a mechanism, or not offered here.
const ErrMechanism = journal.Fault("authentication mechanism not offered")

// errMessage: the client's response is malformed.
const errMessage = journal.Fault("malformed authentication response")

// Hub is what is asked of the floor below; [mailbox.Hub] is it.
type Hub interface {
	Authenticate(ctx context.Context, l mailbox.Login) (*mailbox.Account, error)
}

// Options are the same for all connections of a server.
type Options struct {
	Hub   Hub
	Guard *trust.Guard
	Via   mailbox.Via
	// PasswordFrom reports whether passwords are taken from an address.
	PasswordFrom func(netip.Addr) bool
	// Tokens: there is an identity provider.
	Tokens bool
}

// Door is the login of one connection. Not safe for concurrent use.
type Door struct {
	o     Options
	tls   *tls.ConnectionState
	where netip.Addr
	cert  *mailbox.ClientCertificate
	asked bool // for cert
}

// NewDoor is made anew when TLS begins; cs is nil before.
func NewDoor(o Options, cs *tls.ConnectionState, peer net.Addr) *Door {
	d := &Door{o: o, tls: cs}
	if p, err := netip.ParseAddrPort(peer.String()); err == nil {
		d.where = p.Addr()
	}
	return d
}

// Where is the address of the client.
func (d *Door) Where() netip.Addr { return d.where }

// Password reports whether a password is taken on this connection.
func (d *Door) Password() bool {
	return d.tls != nil && d.o.PasswordFrom != nil && d.o.PasswordFrom(d.where)
}

// Mechanisms lists what is offered, best first.
func (d *Door) Mechanisms() []string {
	var list []string
	if d.tls == nil {
		return nil
	}
	if d.certificate() != nil {
		list = append(list, sasl.External)
	}
	if d.o.Tokens {
		list = append(list, sasl.OAuthBearer, XOAuth2)
	}
	if d.Password() {
		list = append(list, sasl.Plain, sasl.Login)
	}
	return list
}

// certificate is the client's, if it gave a good one.
func (d *Door) certificate() *mailbox.ClientCertificate {
	if d.asked || d.tls == nil {
		return d.cert
	}
	d.asked = true
	if _, err := d.o.Guard.Client(*d.tls); err != nil {
		return nil
	}
	leaf := d.tls.PeerCertificates[0]
	d.cert = &mailbox.ClientCertificate{Fingerprint: sha256.Sum256(leaf.Raw)}
	for _, name := range leaf.EmailAddresses {
		d.cert.Mailboxes = append(d.cert.Mailboxes, store.NewAddress(name))
	}
	return d.cert
}

// Enter logs in by a password that no mechanism carried (IMAP's LOGIN).
func (d *Door) Enter(ctx context.Context, username, password string) (*mailbox.Account, error) {
	if !d.Password() {
		return nil, mailbox.ErrLoginWay
	}
	return d.authenticate(ctx, mailbox.ByPassword, username, password)
}

// Begin starts an exchange by a mechanism. When its last Next returns done
// without error, the account has been handed to entered.
func (d *Door) Begin(ctx context.Context, mechanism string, entered func(*mailbox.Account)) (sasl.Server, error) {
	if !slices.Contains(d.Mechanisms(), mechanism) {
		return nil, ErrMechanism
	}
	try := func(by mailbox.LoginBy, username, secret string) error {
		a, err := d.authenticate(ctx, by, username, secret)
		if err == nil {
			entered(a)
		}
		return err
	}
	switch mechanism {
	case sasl.External:
		return bounded{&external{try: try}}, nil
	case sasl.OAuthBearer:
		return bounded{&bearer{try: try, parse: parseOAuthBearer}}, nil
	case XOAuth2:
		return bounded{&bearer{try: try, parse: parseXOAuth2}}, nil
	case sasl.Login:
		return bounded{&passwordLogin{try: try}}, nil
	}
	return bounded{&plain{try: try}}, nil
}

func (d *Door) authenticate(ctx context.Context, by mailbox.LoginBy, username, secret string) (*mailbox.Account, error) {
	return d.o.Hub.Authenticate(ctx, mailbox.Login{
		By: by, Username: username, Secret: secret, Certificate: d.certificate(), Where: d.where, Via: d.o.Via,
	})
}

// bounded refuses responses that are too long.
type bounded struct{ sasl.Server }

func (b bounded) Next(response []byte) ([]byte, bool, error) {
	if len(response) > MaxResponse {
		return nil, true, errMessage
	}
	return b.Server.Next(response)
}

// Fault is what a client is told of an error of a login.
type Fault string

// Faults. Wrong names, wrong passwords and revoked accounts are one.
const (
	Malformed   Fault = "malformed"   // the response is no such thing
	Mechanism   Fault = "mechanism"   // not offered
	Failed      Fault = "failed"      // not who they say
	Slow        Fault = "slow"        // too many failures: wait
	Unavailable Fault = "unavailable" // try again
)

// FaultOf tells them apart.
func FaultOf(err error) Fault {
	switch {
	case errors.Is(err, errMessage):
		return Malformed
	case errors.Is(err, ErrMechanism), errors.Is(err, mailbox.ErrLoginWay):
		return Mechanism
	case errors.Is(err, mailbox.ErrLogin):
		return Failed
	case errors.Is(err, mailbox.ErrLoginSlow):
		return Slow
	}
	return Unavailable
}
