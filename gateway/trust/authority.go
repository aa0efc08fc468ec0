package trust

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/relais-sante/relais/store/journal"
)

// DevAuthority stands for IGC-Santé on a developer's machine, in the demo and
// in tests. Nothing outside them may trust it.
type DevAuthority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	now  func() time.Time
}

// devYears is how long everything of a DevAuthority is valid.
const devYears = 10

// NewDevAuthority makes an authority. now is the clock; nil is time.Now.
func NewDevAuthority(now func() time.Time) (*DevAuthority, error) {
	if now == nil {
		now = time.Now
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making an authority's key: %w", err)
	}
	name, err := ParseName("CN=AC DE TEST RELAIS,O=RELAIS (DEVELOPPEMENT),C=FR")
	if err != nil {
		return nil, err
	}
	a := &DevAuthority{key: key, now: now}
	template, err := a.template(name)
	if err != nil {
		return nil, err
	}
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("signing an authority's certificate: %w", err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("reading back an authority's certificate: %w", err)
	}
	return a, nil
}

// Request asks for a certificate. Name is its subject (RFC 4514), Hosts the DNS
// names and addresses it is for. Usages default to client and server, dates to
// from yesterday on and as long as the authority.
type Request struct {
	Name                string
	Hosts               []string
	Mailboxes           []string // rfc822Names
	Usages              []x509.ExtKeyUsage
	NotBefore, NotAfter time.Time
}

// Issue makes a certificate and its key.
func (a *DevAuthority) Issue(r Request) (tls.Certificate, error) {
	name, err := ParseName(r.Name)
	if err != nil {
		return tls.Certificate{}, err
	}
	template, err := a.template(name)
	if err != nil {
		return tls.Certificate{}, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = r.Usages
	if r.Usages == nil {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	}
	if !r.NotBefore.IsZero() {
		template.NotBefore = r.NotBefore
	}
	if !r.NotAfter.IsZero() {
		template.NotAfter = r.NotAfter
	}
	template.EmailAddresses = r.Mailboxes
	for _, host := range r.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a key: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("signing a certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("reading back a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

func (a *DevAuthority) template(name Name) (*x509.Certificate, error) {
	subject, err := name.der()
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	now := a.now()
	return &x509.Certificate{
		SerialNumber: serial, RawSubject: subject,
		NotBefore: now.AddDate(0, 0, -1), NotAfter: now.AddDate(devYears, 0, -1),
	}, nil
}

// Certificate is the authority's own, for pools.
func (a *DevAuthority) Certificate() *x509.Certificate { return a.cert }

// Revoke makes a revocation list (PEM) of the given certificates, good for a
// week.
func (a *DevAuthority) Revoke(certs ...tls.Certificate) ([]byte, error) {
	return a.RevokeUntil(a.now().AddDate(0, 0, 7), certs...)
}

// RevokeUntil is Revoke with the date at which the next list is due. A date that
// has passed makes a list of the week before it.
func (a *DevAuthority) RevokeUntil(next time.Time, certs ...tls.Certificate) ([]byte, error) {
	list := &x509.RevocationList{Number: big.NewInt(a.now().UnixNano()), ThisUpdate: a.now(), NextUpdate: next}
	if next.Before(list.ThisUpdate) {
		list.ThisUpdate = next.AddDate(0, 0, -7)
	}
	for _, c := range certs {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: c.Leaf.SerialNumber, RevocationTime: a.now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)
	if err != nil {
		return nil, fmt.Errorf("signing a revocation list: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), nil
}

// Files of a development authority in its folder.
const (
	DevCA  = "ca.pem"
	DevKey = "ca.key" // of the authority, so that certificates for test peers can be made
)

// Save writes ca.pem and ca.key into the folder. It overwrites nothing.
func (a *DevAuthority) Save(dir string) error {
	if err := writeNew(filepath.Join(dir, DevCA), 0o644, "CERTIFICATE", a.cert.Raw); err != nil {
		return err
	}
	return writeKey(filepath.Join(dir, DevKey), a.key)
}

// OpenDevAuthority reads back what Save wrote.
func OpenDevAuthority(dir string, now func() time.Time) (*DevAuthority, error) {
	if now == nil {
		now = time.Now
	}
	pair, err := loadPair(filepath.Join(dir, DevCA), filepath.Join(dir, DevKey))
	if err != nil {
		return nil, fmt.Errorf("opening a development authority: %w", err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("opening a development authority: %w", ErrKeyPair)
	}
	return &DevAuthority{cert: pair.Leaf, key: key, now: now}, nil
}

// SavePair writes a certificate and its key as NAME.pem and NAME.key (readable
// by their owner only) into the folder. It overwrites nothing.
func SavePair(dir, name string, pair tls.Certificate) error {
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return fmt.Errorf("writing a key: %w", ErrKeyPair)
	}
	if err := writeNew(filepath.Join(dir, name+".pem"), 0o644, "CERTIFICATE", pair.Certificate[0]); err != nil {
		return err
	}
	return writeKey(filepath.Join(dir, name+".key"), key)
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encoding a key: %w", err)
	}
	return writeNew(path, 0o600, "PRIVATE KEY", der)
}

// ErrExists: the file is there already.
const ErrExists = journal.Fault("file exists, nothing was overwritten")

func writeNew(path string, mode os.FileMode, kind string, der []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if os.IsExist(err) {
		return fmt.Errorf("writing %s: %w", filepath.Base(path), ErrExists)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Base(path), err)
	}
	if err := pem.Encode(f, &pem.Block{Type: kind, Bytes: der}); err != nil {
		f.Close()
		return fmt.Errorf("writing %s: %w", filepath.Base(path), err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Base(path), err)
	}
	return nil
}
