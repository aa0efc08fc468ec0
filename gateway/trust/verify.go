package trust

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"sync"
	"time"
)

// maxChain bounds the certificates of a peer that are looked at.
const maxChain = 10

// Identity is what a peer's certificate proved. The zero Identity is a peer
// that proved nothing.
type Identity struct {
	Name     Name
	NotAfter time.Time // of the certificate
}

// Proved reports whether there is a certificate behind the identity.
func (i Identity) Proved() bool { return !i.Name.Zero() }

// Operator is an operator's server, as its certificate names it, for the
// journal. It comes from a certificate that an authority signed, and names no
// person.
type Operator string

// Journal implements journal.Safe.
func (o Operator) Journal() string { return string(o) }

// Operator gives the name to write down: the server's host name.
func (i Identity) Operator() Operator {
	name := i.Name.CommonName()
	if name == "" {
		name = i.Name.Organization()
	}
	return Operator(name[:min(len(name), 255)])
}

// identify judges a chain: authorities, dates, usage, revocation.
func (p *profile) identify(certs []*x509.Certificate, usage x509.ExtKeyUsage, now time.Time) (Identity, error) {
	if len(certs) == 0 {
		return Identity{}, distrust(NoCertificate, nil)
	}
	certs = certs[:min(len(certs), maxChain)]
	key := judgementKey{usage: usage, chain: digest(certs)}
	if known, ok := p.judged.get(key); ok && now.Before(known.until) && !now.Before(known.since) {
		return known.identity, nil
	}
	j, err := p.judge(certs, usage, now)
	if err != nil {
		return Identity{}, err
	}
	p.judged.put(key, j)
	return j.identity, nil
}

// holds bounds a judgement by the dates of its chain.
func (j *judgement) holds(chain []*x509.Certificate) {
	for _, cert := range chain {
		if cert.NotAfter.Before(j.until) {
			j.until = cert.NotAfter
		}
		if cert.NotBefore.After(j.since) {
			j.since = cert.NotBefore
		}
	}
}

func (p *profile) judge(certs []*x509.Certificate, usage x509.ExtKeyUsage, now time.Time) (judgement, error) {
	leaf := certs[0]
	if p.options.PeerEKU != "client" {
		usage = x509.ExtKeyUsageAny
	}
	between := p.between
	if len(certs) > 1 {
		between = between.Clone()
		for _, cert := range certs[1:] {
			between.AddCert(cert)
		}
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: p.roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	if err != nil {
		return judgement{}, distrust(reasonOf(err, leaf, now), err)
	}
	name, err := NameOf(leaf)
	if err != nil {
		return judgement{}, distrust(BadCertificate, err)
	}
	// A peer may send several ways up; one without a revoked authority will do,
	// but a revoked leaf is so in all of them.
	why := RevocationUnknown
	for _, chain := range chains {
		reason, until := p.revoked.judge(chain, now, p.options.CRLGrace)
		switch reason {
		case "":
			j := judgement{identity: Identity{Name: name, NotAfter: leaf.NotAfter}, since: leaf.NotBefore, until: until}
			j.holds(chain)
			return j, nil
		case Revoked:
			why = Revoked
		}
	}
	return judgement{}, distrust(why, nil)
}

func reasonOf(err error, leaf *x509.Certificate, now time.Time) Reason {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &invalid):
		switch invalid.Reason {
		case x509.Expired:
			if now.Before(leaf.NotBefore) {
				return NotYetValid
			}
			return Expired
		case x509.IncompatibleUsage:
			return WrongUsage
		}
		return BadCertificate
	case errors.As(err, &unknown):
		return UnknownAuthority
	}
	return BadCertificate
}

// judgements remembers chains found good, so that each message of a connection
// and each new connection of a peer costs a digest and not a signature check.
// It belongs to one profile, so a reload forgets it.
type judgements struct {
	mu   sync.Mutex
	good map[judgementKey]judgement
}

type judgementKey struct {
	usage x509.ExtKeyUsage
	chain [sha256.Size]byte
}

type judgement struct {
	identity     Identity
	since, until time.Time
}

// maxJudgements bounds the memory; the national list knows some 300 operators.
const maxJudgements = 1024

func (j *judgements) get(k judgementKey) (judgement, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	g, ok := j.good[k]
	return g, ok
}

func (j *judgements) put(k judgementKey, g judgement) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.good == nil || len(j.good) >= maxJudgements {
		j.good = map[judgementKey]judgement{}
	}
	j.good[k] = g
}

func digest(certs []*x509.Certificate) [sha256.Size]byte {
	h := sha256.New()
	for _, cert := range certs {
		sum := sha256.Sum256(cert.Raw) // one by one: their lengths must not run together
		h.Write(sum[:])
	}
	return [sha256.Size]byte(h.Sum(nil))
}
