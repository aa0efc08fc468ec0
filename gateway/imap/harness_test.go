package imap

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/relais-sante/relais/mailbox/folder"
)

// TestMain fails on a panic that was recovered: a test may cause one only if it
// counts it back.
func TestMain(m *testing.M) {
	code := m.Run()
	if n := panics.Load(); n != 0 && code == 0 {
		println("panics recovered:", n)
		code = 1
	}
	os.Exit(code)
}

// house is a server on loopback with its accounts.
type house struct {
	t      testing.TB
	server *Server
	addr   string
	addrs  string // implicit TLS
	mu     sync.Mutex
	users  map[string]*memoryUser
}

const (
	testUser   = "anne@box.example"
	testSecret = "open sesame"
)

// Authenticate knows one secret for everybody.
func (h *house) Authenticate(_ context.Context, a Attempt) (folder.User, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	name := a.Username
	if a.Mechanism == "EXTERNAL" {
		name = a.TLS.PeerCertificates[0].Subject.CommonName
	}
	u := h.users[name]
	if u == nil || a.Mechanism != "EXTERNAL" && a.Secret != testSecret {
		return nil, ErrCredentials
	}
	return u, nil
}

func (h *house) user() *memoryUser { return h.users[testUser] }

var testTLS = sync.OnceValue(func() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: testUser},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		ClientAuth:   tls.RequestClientCert,
	}
})

func clientTLS() *tls.Config {
	c := testTLS()
	leaf, _ := x509.ParseCertificate(c.Certificates[0].Certificate[0])
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}

// open starts a server; change may set other options than the defaults.
func open(t testing.TB, change func(*Options)) *house {
	t.Helper()
	h := &house{t: t, users: map[string]*memoryUser{}}
	for _, name := range []string{testUser, "paul@box.example"} {
		h.users[name] = newMemoryUser(name)
	}
	o := Options{
		Auth: h, TLS: testTLS(), InClear: true, Domain: "hub.example", Version: "1", Zone: time.FixedZone("", 2*3600),
		Ways:   Ways{Password: func(netip.Addr) bool { return true }, Bearer: true, External: true},
		Limits: Limits{Push: time.Millisecond, CommandsBefore: 1 << 30, Errors: 1 << 30, LoginAttempts: 1 << 30},
	}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	h.server = s
	serve := func(security Security) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go s.Serve(l, security)
		return l.Addr().String()
	}
	h.addr, h.addrs = serve(StartTLS), serve(ImplicitTLS)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil && err != ErrStopped {
			t.Errorf("shutting down: %v", err)
		}
	})
	return h
}
