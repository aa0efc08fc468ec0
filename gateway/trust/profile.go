package trust

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/relais-sante/relais/store/journal"
)

// Faults of settings.
const (
	ErrNoAuthority = journal.Fault("no certificate of an authority in the bundle")
	ErrTLSVersion  = journal.Fault(`TLS version is neither "1.2" nor "1.3", or the lowest is above the highest`)
	ErrPeerEKU     = journal.Fault(`peer_eku is neither "any" nor "client"`)
)

// Options are the settings [tls] and [trust] of the hub. Paths are absolute or
// relative to the working directory.
type Options struct {
	Certificate, Key             string // PEM, with the chain after the certificate
	ClientCertificate, ClientKey string // default: the same pair
	Authorities                  string // PEM bundle
	CRLDir                       string // empty: nothing counts as revoked
	// CRLGrace is how long a revocation list is used after its next one was
	// due. Beyond that, and where there is a CRLDir but no list of the
	// authority that issued a peer's certificate, the peer is refused.
	CRLGrace time.Duration
	// PeerEKU "client" wants the extended key usages of RFC 5280 §4.2.1.12
	// (client of those who call, server of those we call); "any", the default,
	// takes certificates whatever their usage.
	PeerEKU                string
	MinVersion, MaxVersion string // "1.2", "1.3"
	WhiteList              string // empty: no list
	// MaxShrink is the share of its domains, in percent, that the white list
	// may lose from one to the next.
	MaxShrink int
	// MaxAge is the age from which the list is reported as old; 0: never.
	MaxAge time.Duration
	// AnyOperator is the opposite of require_operator_match: any certificate
	// of the authorities speaks for any listed domain.
	AnyOperator bool
	// KeepDir is where the last good white list and revocation lists are kept,
	// for a start when those configured are gone or broken; empty: nowhere.
	KeepDir string
}

// profile is everything a judgement rests on, made in one go.
type profile struct {
	options     Options
	server      *tls.Certificate
	client      *tls.Certificate
	authorities []*x509.Certificate // the bundle
	roots       *x509.CertPool
	between     *x509.CertPool // intermediate authorities of the bundle
	revoked     *revocations
	listing     *listing
	tls         tls.Config // versions and suites, for both directions

	mu         sync.Mutex
	serverTLS  *tls.Config // with ticket keys
	keyed      time.Time   // when they were made
	ticketKeys [][32]byte
	sessions   tls.ClientSessionCache

	judged judgements
}

// newProfile reads all files. Of before, only the white list and revocation
// lists may be kept.
func newProfile(o Options, before *profile, now time.Time) (*profile, error) {
	p := &profile{options: o, sessions: tls.NewLRUClientSessionCache(256)}
	var err error
	if p.tls.MinVersion, p.tls.MaxVersion, err = versions(o); err != nil {
		return nil, err
	}
	if o.PeerEKU != "" && o.PeerEKU != "any" && o.PeerEKU != "client" {
		return nil, ErrPeerEKU
	}
	// Of TLS 1.2 the forward-secret AEAD suites; the two of them that the
	// national referential also names come with RSA certificates.
	p.tls.CipherSuites = []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
	if p.server, err = loadPair(o.Certificate, o.Key); err != nil {
		return nil, fmt.Errorf("loading the hub's certificate: %w", err)
	}
	p.client = p.server
	if o.ClientCertificate != "" {
		if p.client, err = loadPair(o.ClientCertificate, o.ClientKey); err != nil {
			return nil, fmt.Errorf("loading the hub's client certificate: %w", err)
		}
	}
	if p.authorities, err = loadAuthorities(o.Authorities); err != nil {
		return nil, fmt.Errorf("loading the authorities: %w", err)
	}
	p.roots, p.between = sortAuthorities(p.authorities)
	if before == nil {
		before = &profile{}
	}
	if p.revoked, err = loadRevocations(o, p.authorities, before.revoked); err != nil {
		return nil, err
	}
	if p.listing, err = newListing(o, before.listing, now); err != nil {
		return nil, err
	}
	return p, nil
}

func versions(o Options) (lowest, highest uint16, err error) {
	known := map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}
	lowest, highest = tls.VersionTLS12, tls.VersionTLS13
	if o.MinVersion != "" {
		lowest = known[o.MinVersion]
	}
	if o.MaxVersion != "" {
		highest = known[o.MaxVersion]
	}
	if lowest == 0 || highest < lowest {
		return 0, 0, ErrTLSVersion
	}
	return lowest, highest, nil
}

// loadPair reads a certificate and its key. The standard library's error may
// quote what is in the files, so only what was being done is told.
func loadPair(certificate, key string) (*tls.Certificate, error) {
	for _, path := range []string{certificate, key} {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		f.Close()
	}
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, ErrKeyPair
	}
	return &pair, nil
}

// CheckPair reports a certificate and a key that the hub could not use.
func CheckPair(certificate, key string) error {
	_, err := loadPair(certificate, key)
	return err
}

// CheckAuthorities reports a bundle that the hub could not use.
func CheckAuthorities(path string) error {
	_, err := loadAuthorities(path)
	return err
}

// ErrKeyPair: certificate and key do not fit, or are not in PEM.
const ErrKeyPair = journal.Fault("certificate and key are not a pair in PEM")

func loadAuthorities(path string) ([]*x509.Certificate, error) {
	rest, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var authorities []*x509.Certificate
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, ErrNoAuthority
		}
		if cert.IsCA {
			authorities = append(authorities, cert)
		}
	}
	if len(authorities) == 0 {
		return nil, ErrNoAuthority
	}
	return authorities, nil
}

// sortAuthorities tells which certificates of the bundle are trusted by
// themselves. One that another of the bundle issued is not: its chain must go
// up to that one, so that it can be revoked.
func sortAuthorities(bundle []*x509.Certificate) (roots, between *x509.CertPool) {
	roots, between = x509.NewCertPool(), x509.NewCertPool()
	for _, cert := range bundle {
		issued := false
		for _, other := range bundle {
			if !cert.Equal(other) && cert.CheckSignatureFrom(other) == nil {
				issued = true
			}
		}
		if issued {
			between.AddCert(cert)
		} else {
			roots.AddCert(cert)
		}
	}
	return roots, between
}

// ticketLife is how long session ticket keys are used, so that one stolen key
// opens a day of sessions at most. The one before still opens tickets.
const ticketLife = 24 * time.Hour

// serverConfig is what a new connection from outside gets.
func (p *profile) serverConfig(now time.Time) (*tls.Config, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.serverTLS == nil {
		p.serverTLS = p.tls.Clone()
		p.serverTLS.Certificates = []tls.Certificate{*p.server}
		p.serverTLS.ClientAuth = tls.RequestClientCert
	}
	if p.ticketKeys == nil || now.Sub(p.keyed) >= ticketLife {
		var key [32]byte
		if _, err := rand.Read(key[:]); err != nil {
			return nil, fmt.Errorf("making a session ticket key: %w", err)
		}
		p.ticketKeys = append([][32]byte{key}, p.ticketKeys...)
		p.ticketKeys = p.ticketKeys[:min(2, len(p.ticketKeys))]
		p.serverTLS.SetSessionTicketKeys(p.ticketKeys)
		p.keyed = now
	}
	return p.serverTLS, nil
}

// clientConfig is what a connection to serverName gets.
func (p *profile) clientConfig(serverName string) *tls.Config {
	c := p.tls.Clone()
	c.ServerName = serverName
	c.ClientSessionCache = p.sessions
	c.InsecureSkipVerify = true // verified after the handshake, see doc.go
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return p.client, nil }
	return c
}
