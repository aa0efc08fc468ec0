package outbound

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Target is what the copies of a lane have in common.
type Target struct {
	Domain string // of the recipients
	Box    string // operator's box they leave from; empty: the hub sends itself
}

// targetOf reads the name of a lane: "out:DOMAIN" or "out:DOMAIN/BOX".
func targetOf(lane string) Target {
	domain, box, _ := strings.Cut(strings.TrimPrefix(lane, lanePrefix), "/")
	return Target{domain, box}
}

// Route says where mail is handed over, and who must answer there.
type Route interface {
	// Peer names whom the mail is handed to. Targets with the same peer share
	// its connections and its circuit.
	Peer(to Target) string
	// Hops are the addresses to try, in that order. A *NoRoute is final, any
	// other error passes.
	Hops(ctx context.Context, to Target) ([]Hop, error)
	// Verify checks, after the handshake, that the certificate is that of
	// somebody who may take the mail.
	Verify(cs tls.ConnectionState, hop Hop, to Target) error
}

// Hop is an address of a peer.
type Hop struct {
	Host     string // its name, for TLS
	Address  string // IP:port
	Implicit bool   // TLS from the first byte (RFC 8314 §3.3), no STARTTLS
}

// Resolver is what routes ask; *net.Resolver is one.
type Resolver interface {
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// NewResolver returns a resolver that asks the DNS server at host:port, or the
// system's when server is empty.
func NewResolver(server string) *net.Resolver {
	if server == "" {
		return net.DefaultResolver
	}
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server)
	}}
}

// maxHops bounds the addresses tried for one connection.
const maxHops = 10

// hops resolves a host to at most as many addresses as are still wanted.
func hops(ctx context.Context, r Resolver, host string, port, want int) ([]Hop, error) {
	name := host
	if strings.Contains(name, ".") {
		name += "." // as it is, not below one of this machine's domains
	}
	addrs, err := r.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return nil, fmt.Errorf("looking up the addresses of a mail host: %w", err)
	}
	var found []Hop
	for _, a := range addrs[:min(len(addrs), want)] {
		found = append(found, Hop{Host: host, Address: netip.AddrPortFrom(a.Unmap(), uint16(port)).String()})
	}
	return found, nil
}

// Smarthost is the route that hands everything to one host.
type Smarthost struct {
	host     string
	port     int
	dn       string
	trust    Trust
	resolver Resolver
}

// NewSmarthost returns the route to address (host:port), whose certificate's
// subject must be dn.
func NewSmarthost(address, dn string, t Trust, r Resolver) (*Smarthost, error) {
	host, p, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("reading the smarthost's address: %w", err)
	}
	port, err := strconv.ParseUint(p, 10, 16)
	if err != nil || port == 0 || host == "" {
		return nil, fmt.Errorf("reading the smarthost's address: want host:port")
	}
	return &Smarthost{host: host, port: int(port), dn: dn, trust: t, resolver: r}, nil
}

// Peer implements Route: there is one.
func (s *Smarthost) Peer(Target) string { return "smarthost" }

// Hops implements Route.
func (s *Smarthost) Hops(ctx context.Context, _ Target) ([]Hop, error) {
	if ip, err := netip.ParseAddr(s.host); err == nil {
		return []Hop{{Host: s.host, Address: netip.AddrPortFrom(ip, uint16(s.port)).String()}}, nil
	}
	return hops(ctx, s.resolver, s.host, s.port, maxHops)
}

// Verify implements Route.
func (s *Smarthost) Verify(cs tls.ConnectionState, _ Hop, _ Target) error {
	_, err := s.trust.VerifySmarthost(cs, s.dn)
	return err
}
