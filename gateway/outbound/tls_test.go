package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/mailbox"
)

const dnCHU = "CN=mx.chu.example,O=CHU DE TEST,C=FR"

// space is a small trusted space: an authority, a white list with chu.example
// and chg.example, and the hub's guard.
type space struct {
	ca      *trust.DevAuthority
	guard   *trust.Guard
	options trust.Options
}

func newSpace(t *testing.T) *space {
	t.Helper()
	ca, err := trust.NewDevAuthority(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &space{ca: ca}
	dir := t.TempDir()
	list := `<ListeBlancheMSSante><ListeDomaines>
		<Domaine><Nom>chu.example</Nom><DNCertificatOperateur>` + dnCHU + `</DNCertificatOperateur></Domaine>
		<Domaine><Nom>chg.example</Nom><DNCertificatOperateur>CN=mx.chg.example,O=CHG,C=FR</DNCertificatOperateur></Domaine>
	</ListeDomaines></ListeBlancheMSSante>`
	for _, err := range []error{
		ca.Save(dir), trust.SavePair(dir, "hub", s.issue(t, "CN=parcours.hub.example,O=HUB,C=FR")),
		os.WriteFile(filepath.Join(dir, "list.xml"), []byte(list), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s.options = trust.Options{
		Certificate: filepath.Join(dir, "hub.pem"), Key: filepath.Join(dir, "hub.key"),
		Authorities: filepath.Join(dir, trust.DevCA), WhiteList: filepath.Join(dir, "list.xml"),
	}
	s.guard, err = trust.New(s.options, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *space) issue(t *testing.T, name string) tls.Certificate {
	t.Helper()
	pair, err := s.ca.Issue(trust.Request{Name: name, Hosts: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// server is the TLS side of a peer that wants the hub's certificate.
func (s *space) server(t *testing.T, name string) *tls.Config {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(s.ca.Certificate())
	return &tls.Config{
		Certificates: []tls.Certificate{s.issue(t, name)},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pool,
	}
}

// dns answers from a table: a domain to its mail hosts; every host is loopback.
type dns map[string][]*net.MX

func (d dns) LookupMX(_ context.Context, name string) ([]*net.MX, error) {
	if mx := d[strings.TrimSuffix(name, ".")]; mx != nil {
		return mx, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func (d dns) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	switch {
	case strings.HasPrefix(host, "nowhere"):
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	case strings.HasPrefix(host, "slow"):
		return nil, &net.DNSError{Err: "timeout", Name: host, IsTimeout: true, IsTemporary: true}
	}
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

func port(t *testing.T, addr string) int {
	t.Helper()
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return int(ap.Port())
}

// TestTLS: what goes out, and to whom. Where it does not, not even the sender's
// address was said.
func TestTLS(t *testing.T) {
	s := newSpace(t)
	other, err := trust.NewDevAuthority(nil)
	if err != nil {
		t.Fatal(err)
	}
	foreign := (&space{ca: other})
	mx := func(t *testing.T, addr string) Route {
		return NewMX(port(t, addr), s.guard, dns{"chu.example": {{Host: "mx.chu.example.", Pref: 10}}})
	}
	smarthost := func(dn string) func(*testing.T, string) Route {
		return func(t *testing.T, addr string) Route {
			r, err := NewSmarthost(addr, dn, s.guard, dns{})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
	}
	for name, tt := range map[string]struct {
		route  func(*testing.T, string) Route
		server *tls.Config
		m      manners
		rcpt   string
		reason string // empty: sent
	}{
		"mx":                    {mx, s.server(t, dnCHU), manners{}, "a@chu.example", ""},
		"mx of another domain":  {mx, s.server(t, "CN=mx.chg.example,O=CHG,C=FR"), manners{}, "a@chu.example", "untrusted-wrong-operator"},
		"mx of nobody":          {mx, s.server(t, "CN=mx.chu.example,O=QUELQU'UN,C=FR"), manners{}, "a@chu.example", "untrusted-wrong-operator"},
		"mx, other authority":   {mx, foreign.server(t, dnCHU), manners{}, "a@chu.example", "untrusted-unknown-authority"},
		"mx, domain not listed": {mx, s.server(t, dnCHU), manners{}, "a@ehpad.example", "unlisted"},
		"smarthost":             {smarthost(dnCHU), s.server(t, dnCHU), manners{}, "a@chg.example", ""},
		"smarthost, other name": {smarthost("CN=mx.chg.example,O=CHG,C=FR"), s.server(t, dnCHU), manners{}, "a@chg.example", "untrusted-wrong-operator"},
		"smarthost, not listed": {smarthost(dnCHU), s.server(t, dnCHU), manners{}, "a@ehpad.example", "unlisted"},
		"no STARTTLS":           {mx, nil, manners{}, "a@chu.example", "tls"},
		"STARTTLS refused":      {mx, s.server(t, dnCHU), manners{reply: map[string]string{"STARTTLS": "454 4.7.0 not now"}}, "a@chu.example", "tls"},
		"STARTTLS and more":     {mx, s.server(t, dnCHU), manners{after: map[string]string{"STARTTLS": "250 smuggled\r\n"}}, "a@chu.example", "tls"},
		"STARTTLS dropped":      {mx, s.server(t, dnCHU), manners{cut: "STARTTLS"}, "a@chu.example", "tls"},
		"no handshake":          {mx, &tls.Config{MinVersion: tls.VersionTLS12}, manners{}, "a@chu.example", "tls"},
		"our own refused": {mx, func() *tls.Config {
			c := s.server(t, dnCHU)
			c.ClientCAs = x509.NewCertPool()
			return c
		}(), manners{}, "a@chu.example", "tls"},
	} {
		t.Run(name, func(t *testing.T) {
			op := newOperator(t, func(int, int) manners { return tt.m })
			op.tls = tt.server
			q := newQueue()
			q.retry = func(int) time.Duration { return time.Hour }
			o := quick(q, tt.route(t, op.addr()))
			o.TLS, o.Trust = TLSRequired, s.guard
			start(t, o)
			out := q.first(t, q.add(tt.rcpt))
			if out.Reason != tt.reason || (tt.reason == "") != (out.Kind == mailbox.OutcomeSent) {
				t.Errorf("outcome %+v", out)
			}
			if out.Kind == mailbox.OutcomePermanent && tt.reason != "unlisted" {
				t.Errorf("given up for what may be mended: %+v", out)
			}
			if tt.reason != "" && strings.Contains(op.commands(), "MAIL") {
				t.Errorf("an address was said:\n%s", op.commands())
			}
		})
	}
}

// TestMismatches: each single thing that is wrong with the other server has its
// own reason, in the journal and in the queue.
func TestMismatches(t *testing.T) {
	s := newSpace(t)
	revoked := s.server(t, dnCHU)
	late, err := trust.NewDevAuthority(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.options.CRLDir = t.TempDir()
	bundle := ""
	for name, make := range map[string]func() ([]byte, error){
		"a.crl": func() ([]byte, error) { return s.ca.Revoke(revoked.Certificates[0]) },
		"b.crl": func() ([]byte, error) { return late.RevokeUntil(time.Now().Add(-time.Hour)) },
	} {
		crl, err := make()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.options.CRLDir, name), crl, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range []*trust.DevAuthority{s.ca, late} {
		bundle += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw}))
	}
	if err := os.WriteFile(s.options.Authorities, []byte(bundle), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.guard.Reload(s.options); err != nil {
		t.Fatal(err)
	}
	stranger, err := trust.NewDevAuthority(nil)
	if err != nil {
		t.Fatal(err)
	}
	serving := func(ca *trust.DevAuthority, r trust.Request) *tls.Config {
		pair, err := ca.Issue(r)
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert}
	}
	for _, tt := range []struct {
		name   string
		server *tls.Config
		want   trust.Reason // empty: sent
	}{
		{"nothing", serving(s.ca, trust.Request{Name: dnCHU}), ""},
		{"chain", serving(stranger, trust.Request{Name: dnCHU}), trust.UnknownAuthority},
		{"dates", serving(s.ca, trust.Request{Name: dnCHU, NotAfter: time.Now().Add(-time.Minute)}), trust.Expired},
		{"revoked", revoked, trust.Revoked},
		{"revocation list", serving(late, trust.Request{Name: dnCHU}), trust.RevocationUnknown},
		{"another operator", serving(s.ca, trust.Request{Name: "CN=mx.chg.example,O=CHG,C=FR"}), trust.WrongOperator},
		{"no operator", serving(s.ca, trust.Request{Name: "CN=mx.chu.example,O=QUELQU'UN,C=FR"}), trust.WrongOperator},
	} {
		t.Run(tt.name, func(t *testing.T) {
			op := newOperator(t, nil)
			op.tls = tt.server
			q := newQueue()
			q.retry = func(int) time.Duration { return time.Hour }
			o := quick(q, NewMX(port(t, op.addr()), s.guard, dns{"chu.example": {{Host: "mx.chu.example.", Pref: 10}}}))
			o.TLS, o.Trust = TLSRequired, s.guard
			start(t, o)
			out := q.first(t, q.add("a@chu.example"))
			if tt.want == "" {
				if out.Kind != mailbox.OutcomeSent {
					t.Errorf("outcome %+v", out)
				}
				return
			}
			if out.Kind != mailbox.OutcomeTemporary || out.Reason != "untrusted-"+string(tt.want) {
				t.Errorf("outcome %+v, want %s", out, tt.want)
			}
			if strings.Contains(op.commands(), "MAIL") {
				t.Errorf("an address was said:\n%s", op.commands())
			}
		})
	}
}

// TestResumption: the second connection does without a full handshake, and the
// certificate is judged again all the same.
func TestResumption(t *testing.T) {
	s := newSpace(t)
	op := newOperator(t, nil)
	op.tls = s.server(t, dnCHU)
	var resumed, full atomic.Int32
	op.tls.VerifyConnection = func(cs tls.ConnectionState) error {
		if cs.DidResume {
			resumed.Add(1)
		} else {
			full.Add(1)
		}
		return nil
	}
	q := newQueue()
	o := quick(q, NewMX(port(t, op.addr()), s.guard, dns{"chu.example": {{Host: "mx.chu.example.", Pref: 10}}}))
	o.TLS, o.Trust = TLSRequired, s.guard
	r, _ := start(t, o)
	for range 5 {
		q.first(t, q.add("a@chu.example"))
		r.Renew()
	}
	if full.Load() != 1 || resumed.Load() != 4 {
		t.Errorf("%d full handshakes, %d resumed; want 1 and 4", full.Load(), resumed.Load())
	}
}

// TestClearOnlyOnLoopback: without TLS nobody else is even dialled.
func TestClearOnlyOnLoopback(t *testing.T) {
	q := newQueue()
	q.retry = func(int) time.Duration { return time.Hour }
	o := quick(q, toward{"chu.example": "192.0.2.1:25"})
	o.Dial = func(context.Context, string, string) (net.Conn, error) {
		t.Error("dialled")
		return nil, net.ErrClosed
	}
	start(t, o)
	if out := q.first(t, q.add("a@chu.example")); out.Kind != mailbox.OutcomeTemporary || out.Reason != "tls" {
		t.Errorf("outcome %+v", out)
	}
}
