package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
)

// MX is the route that asks the DNS who takes a domain's mail (RFC 5321 §5.1).
type MX struct {
	port     int
	trust    Trust
	resolver Resolver
}

// NewMX returns the route by MX records; the hosts are dialled at port (25 but
// in development).
func NewMX(port int, t Trust, r Resolver) *MX { return &MX{port: port, trust: t, resolver: r} }

// Peer implements Route: every domain is its own peer, since the certificate
// that may answer for one need not be good for another.
func (m *MX) Peer(to Target) string { return to.Domain }

// Verify implements Route.
func (m *MX) Verify(cs tls.ConnectionState, _ Hop, to Target) error {
	_, err := m.trust.VerifyServer(cs, to.Domain)
	return err
}

// Hops implements Route: hosts by preference, those of equal preference in
// random order, each with its addresses; without MX the domain itself.
func (m *MX) Hops(ctx context.Context, to Target) ([]Hop, error) {
	domain := to.Domain
	records, err := m.resolver.LookupMX(ctx, domain+".")
	switch {
	case len(records) > 0: // invalid ones were left out, with an error
	case notFound(err):
		found, err := hops(ctx, m.resolver, domain, m.port, maxHops)
		if notFound(err) {
			return nil, &NoRoute{Reason: reasonNoHost, Enhanced: "5.1.2", Text: "the domain does not exist, or has no mail host"}
		}
		return found, err
	case err != nil:
		return nil, fmt.Errorf("looking up mail hosts: %w", err)
	}
	if slices.ContainsFunc(records, func(r *net.MX) bool { return strings.Trim(r.Host, ".") == "" }) {
		return nil, &NoRoute{Reason: reasonNullMX, Enhanced: "5.1.10", Text: "the domain says that it takes no mail (RFC 7505)"}
	}
	rand.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	slices.SortStableFunc(records, func(a, b *net.MX) int { return int(a.Pref) - int(b.Pref) })

	var (
		all     []Hop
		missing error
		passing bool // an address may yet be found
	)
	for _, r := range records {
		if len(all) >= maxHops {
			break
		}
		found, err := hops(ctx, m.resolver, strings.TrimSuffix(r.Host, "."), m.port, maxHops-len(all))
		if err != nil {
			missing, passing = err, passing || !notFound(err)
			continue
		}
		all = append(all, found...)
	}
	switch {
	case len(all) > 0:
		return all, nil
	case passing:
		return nil, missing
	}
	// Hosts are named but none has an address: somebody's mistake in a zone,
	// not the end of a domain (RFC 5321 §5.1 leaves it open).
	return nil, errors.New("no mail host of the domain has an address")
}

// notFound reports whether the DNS says for certain that there is no such name
// or record.
func notFound(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound && !dns.IsTemporary && !dns.IsTimeout
}
