package trust

import (
	"crypto/tls"
	"crypto/x509"
	"sync/atomic"
	"time"
)

// Guard judges peers by the profile loaded last. It is safe for concurrent use.
type Guard struct {
	now     func() time.Time
	current atomic.Pointer[profile]
}

// New loads everything o names. now is the clock; nil is time.Now.
func New(o Options, now func() time.Time) (*Guard, error) {
	if now == nil {
		now = time.Now
	}
	g := &Guard{now: now}
	p, err := newProfile(o, nil, now())
	if err != nil {
		return nil, err
	}
	g.current.Store(p)
	return g, nil
}

// Reload loads everything anew. On error the old profile stays, whole; a white
// list or a revocation list that cannot be believed is no error, the last good
// one stays (see [Concern]). TLS sessions made before cannot be resumed after.
func (g *Guard) Reload(o Options) error {
	p, err := newProfile(o, g.current.Load(), g.now())
	if err != nil {
		return err
	}
	g.current.Store(p)
	return nil
}

// ServerConfig is for listeners: it asks for a client certificate, takes any or
// none, and always uses the profile of the moment.
func (g *Guard) ServerConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return g.current.Load().serverConfig(g.now())
		},
	}
}

// ClientConfig is for one connection to serverName (sent as SNI): it presents
// the hub's client certificate. The caller must shake hands and then ask
// [Guard.VerifyServer] or [Guard.VerifySmarthost] before sending anything.
func (g *Guard) ClientConfig(serverName string) *tls.Config {
	return g.current.Load().clientConfig(serverName)
}

// Inbound judges a peer that called us. Every error is a [*Distrust]. A good
// answer means that its certificate chains and that, where there is a white
// list, the list names it; for which domains is [Guard.SpeaksFor]'s to say.
//
// It is cheap enough to be asked for each message, and must be: the profile may
// have changed since the last, a certificate expired.
func (g *Guard) Inbound(cs tls.ConnectionState) (Identity, error) {
	p := g.current.Load()
	identity, err := p.identify(cs.PeerCertificates, x509.ExtKeyUsageClientAuth, g.now())
	if err != nil {
		return Identity{}, err
	}
	if !p.options.AnyOperator && !p.listing.list.Knows(identity.Name) {
		return Identity{}, distrust(NotListed, nil)
	}
	return identity, nil
}

// Client judges the certificate of somebody who logs in: it must chain, like a
// peer's, and need not be an operator's. Every error is a [*Distrust].
func (g *Guard) Client(cs tls.ConnectionState) (Identity, error) {
	return g.current.Load().identify(cs.PeerCertificates, x509.ExtKeyUsageClientAuth, g.now())
}

// SpeaksFor reports whether mail from the domain may come from the peer.
func (g *Guard) SpeaksFor(i Identity, domain string) bool { return g.Speaker(i)(domain) }

// Speaker is SpeaksFor by the profile of now, for as long as it is asked: what
// holds at the beginning of a transaction holds until its end.
func (g *Guard) Speaker(i Identity) func(domain string) bool {
	p := g.current.Load()
	return func(domain string) bool {
		switch {
		case !i.Proved():
			return false
		case p.options.AnyOperator:
			return p.listing.list.Listed(domain)
		}
		return p.listing.list.SpeaksFor(i.Name, domain)
	}
}

// Listed reports whether the domain is in the trusted space.
func (g *Guard) Listed(domain string) bool { return g.current.Load().listing.list.Listed(domain) }

// VerifyServer judges the server reached for a recipient's domain: the domain
// must be listed, and the server's certificate be one of its operators'. Every
// error is a [*Distrust].
func (g *Guard) VerifyServer(cs tls.ConnectionState, recipientDomain string) (Identity, error) {
	p := g.current.Load()
	identity, err := p.identify(cs.PeerCertificates, x509.ExtKeyUsageServerAuth, g.now())
	switch {
	case err != nil:
		return Identity{}, err
	case !p.listing.list.Listed(recipientDomain):
		return Identity{}, distrust(DomainNotListed, nil)
	case !p.options.AnyOperator && !p.listing.list.SpeaksFor(identity.Name, recipientDomain):
		return Identity{}, distrust(WrongOperator, nil)
	}
	return identity, nil
}

// VerifySmarthost judges the one server that all mail is sent through: its
// certificate must bear the name dn (RFC 4514), which may not be empty. Whether
// the recipient's domain is listed is asked apart. Every error is a [*Distrust].
func (g *Guard) VerifySmarthost(cs tls.ConnectionState, dn string) (Identity, error) {
	identity, err := g.current.Load().identify(cs.PeerCertificates, x509.ExtKeyUsageServerAuth, g.now())
	if err != nil {
		return Identity{}, err
	}
	want, err := ParseName(dn)
	if err != nil || !identity.Name.Equal(want) {
		return Identity{}, distrust(WrongOperator, err)
	}
	return identity, nil
}

// VerifyHost judges a server that is known by its host name: an operator's, of
// which the hub is a client. Its certificate must bear the name (RFC 6125).
// Every error is a [*Distrust].
func (g *Guard) VerifyHost(cs tls.ConnectionState, host string) (Identity, error) {
	identity, err := g.current.Load().identify(cs.PeerCertificates, x509.ExtKeyUsageServerAuth, g.now())
	if err != nil {
		return Identity{}, err
	}
	if err := cs.PeerCertificates[0].VerifyHostname(host); err != nil {
		return Identity{}, distrust(WrongHost, err)
	}
	return identity, nil
}
