package imap

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/relais-sante/relais/gateway/login"
	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/store/journal/journaltest"
)

func TestMain(m *testing.M) { os.Exit(journaltest.Run(m)) }

// house is a server on loopback with its accounts.
type house struct {
	server *Server
	addr   string
	addrs  string // implicit TLS
	users  map[string]*memoryUser
}

const (
	testUser   = "anne@box.example"
	testSecret = "open sesame"
)

// Authenticate knows one secret for everybody, and every certificate.
func (h *house) Authenticate(_ context.Context, l mailbox.Login) (*mailbox.Account, error) {
	name := l.Username
	if l.By == mailbox.ByCertificate && name == "" {
		name = string(l.Certificate.Mailboxes[0])
	}
	if h.users[name] == nil || l.By != mailbox.ByCertificate && l.Secret != testSecret {
		return nil, mailbox.ErrLogin
	}
	return &mailbox.Account{Username: name}, nil
}

func (h *house) folders(_ context.Context, a *mailbox.Account, _ string) (folder.User, error) {
	return h.users[a.Username], nil
}

func (h *house) user() *memoryUser { return h.users[testUser] }

// dial opens a connection under TLS.
func (h *house) dial() (net.Conn, error) { return tls.Dial("tcp", h.addrs, clientTLS()) }

// authority is what the certificates of the tests come from.
type authority struct {
	guard  *trust.Guard
	roots  *x509.CertPool
	pem    []byte
	client tls.Certificate
}

var theAuthority = sync.OnceValue(func() *authority {
	dir, err := os.MkdirTemp("", "imap-tests-")
	must(err)
	defer os.RemoveAll(dir)
	dev, err := trust.NewDevAuthority(nil)
	must(err)
	hub, err := dev.Issue(trust.Request{Name: "CN=localhost,C=FR", Hosts: []string{"localhost"}})
	must(err)
	must(dev.Save(dir))
	must(trust.SavePair(dir, "hub", hub))
	a := &authority{roots: x509.NewCertPool()}
	a.client, err = dev.Issue(trust.Request{Name: "CN=anne,C=FR", Mailboxes: []string{testUser}})
	must(err)
	a.guard, err = trust.New(trust.Options{
		Certificate: filepath.Join(dir, "hub.pem"), Key: filepath.Join(dir, "hub.key"),
		Authorities: filepath.Join(dir, trust.DevCA), AnyOperator: true,
	}, nil)
	must(err)
	a.pem, err = os.ReadFile(filepath.Join(dir, trust.DevCA))
	must(err)
	a.roots.AppendCertsFromPEM(a.pem)
	return a
})

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func clientTLS() *tls.Config {
	return &tls.Config{RootCAs: theAuthority().roots, ServerName: "localhost"}
}

// open starts a server; change may set other options than the defaults.
func open(t testing.TB, change func(*Options)) *house {
	t.Helper()
	h := &house{users: map[string]*memoryUser{}}
	for _, name := range []string{testUser, "paul@box.example"} {
		h.users[name] = newMemoryUser(name)
	}
	o := Options{
		TLS: theAuthority().guard.ServerConfig(), Folders: h.folders, Domain: "hub.example", Version: "1", Now: func() time.Time { return theTime }, Zone: time.FixedZone("", 2*3600),
		Login: login.Options{
			Hub: h, Guard: theAuthority().guard, Via: mailbox.ViaIMAP, Tokens: true,
			PasswordFrom: func(netip.Addr) bool { return true },
		},
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
