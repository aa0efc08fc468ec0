package trust

import (
	"crypto/x509"
	"slices"
	"strings"
	"time"
)

// Status is what `relais status` and alerts want to know.
type Status struct {
	Certificate, ClientCertificate time.Time // when they expire
	Subject, ClientSubject         string    // their names
	Authorities                    []AuthorityStatus
	WhiteList                      *WhiteListStatus
	Revocation                     []RevocationStatus
	Concerns                       []Concern
}

// AuthorityStatus tells of one certificate of the bundle.
type AuthorityStatus struct {
	Subject  string
	NotAfter time.Time
}

// WhiteListStatus tells of the white list in use.
type WhiteListStatus struct {
	Entries, Skipped, Domains int
	Generated, Loaded         time.Time
	// Age is the time since the list was made (since it was loaded, where the
	// list does not say when it was made).
	Age time.Duration
}

// RevocationStatus tells of one authority's revocation list.
type RevocationStatus struct {
	Authority  Operator
	NextUpdate time.Time
	Revoked    int
}

// Status reports on the profile in use. WhiteList is nil without a list.
func (g *Guard) Status() Status {
	p, now := g.current.Load(), g.now()
	s := Status{
		Certificate: p.server.Leaf.NotAfter, ClientCertificate: p.client.Leaf.NotAfter,
		Subject: p.server.Leaf.Subject.String(), ClientSubject: p.client.Leaf.Subject.String(),
		Concerns: slices.Clone(p.listing.concerns),
	}
	if l := p.listing.list; l != nil {
		age := p.listing.age(now)
		s.WhiteList = &WhiteListStatus{
			Entries: l.Entries, Skipped: l.Skipped, Domains: l.Domains(),
			Generated: l.Generated, Loaded: p.listing.loaded, Age: age,
		}
		if p.options.MaxAge > 0 && age > p.options.MaxAge {
			s.Concerns = append(s.Concerns, Concern{Kind: ListOld, Age: age})
		}
	}
	s.Concerns = append(s.Concerns, p.revoked.concerns...)
	for _, authority := range p.authorities {
		s.Authorities = append(s.Authorities, AuthorityStatus{authority.Subject.String(), authority.NotAfter})
		if p.revoked.demanded {
			p.revocation(&s, authority, now)
		}
	}
	slices.SortFunc(s.Revocation, func(a, b RevocationStatus) int { return strings.Compare(string(a.Authority), string(b.Authority)) })
	return s
}

// revocation tells of an authority's list.
func (p *profile) revocation(s *Status, authority *x509.Certificate, now time.Time) {
	name := Operator(authority.Subject.CommonName)
	list := p.revoked.of(authority)
	if list == nil {
		s.Concerns = append(s.Concerns, Concern{Kind: CRLMissing, Authority: name})
		return
	}
	one := RevocationStatus{Authority: name}
	for _, part := range list {
		one.Revoked += len(part.serials)
		if one.NextUpdate.IsZero() || part.nextUpdate.Before(one.NextUpdate) {
			one.NextUpdate = part.nextUpdate
		}
	}
	s.Revocation = append(s.Revocation, one)
	concern := Concern{Authority: name, When: list.deadline(p.options.CRLGrace)}
	switch {
	case !now.Before(concern.When):
		concern.Kind = CRLExpired
	case !now.Before(one.NextUpdate):
		concern.Kind = CRLLate
	case !now.Before(list.dueSoon()):
		concern.Kind, concern.When = CRLSoon, one.NextUpdate
	default:
		return
	}
	s.Concerns = append(s.Concerns, concern)
}
