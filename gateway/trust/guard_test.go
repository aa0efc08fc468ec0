package trust

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// house is a hub's folder of certificates, with the world around it.
type house struct {
	dir       string
	authority *DevAuthority
	options   Options
	clock     atomic.Int64
}

func (h *house) now() time.Time { return time.Unix(h.clock.Load(), 0) }

func newAuthority(t testing.TB) *DevAuthority {
	t.Helper()
	a, err := NewDevAuthority(nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{dir: t.TempDir(), authority: newAuthority(t)}
	h.clock.Store(time.Now().Unix())
	hub := issue(t, h.authority, Request{Name: "CN=parcours.example,C=FR", Hosts: []string{"localhost", "127.0.0.1"}})
	for _, err := range []error{h.authority.Save(h.dir), SavePair(h.dir, "hub", hub), os.Mkdir(h.path("crl"), 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	h.write(t, "list.xml", national)
	h.revoke(t, "crl/first.crl")
	h.options = Options{
		Certificate: h.path("hub.pem"), Key: h.path("hub.key"), Authorities: h.path(DevCA), CRLDir: h.path("crl"),
		WhiteList: h.path("list.xml"), MaxAge: 7 * 24 * time.Hour, MaxShrink: 20,
	}
	return h
}

// revoke writes the authority's next revocation list.
func (h *house) revoke(t *testing.T, name string, certs ...tls.Certificate) {
	t.Helper()
	crl, err := h.authority.Revoke(certs...)
	if err != nil {
		t.Fatal(err)
	}
	h.write(t, name, string(crl))
}

func (h *house) path(name string) string { return filepath.Join(h.dir, name) }

func (h *house) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(h.path(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (h *house) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(h.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func hasConcern(s Status, kind ConcernKind) bool {
	return slices.ContainsFunc(s.Concerns, func(c Concern) bool { return c.Kind == kind })
}

func (h *house) guard(t *testing.T) *Guard {
	t.Helper()
	g, err := New(h.options, h.now)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func issue(t testing.TB, a *DevAuthority, r Request) tls.Certificate {
	t.Helper()
	c, err := a.Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// handshake connects client to server over loopback and gives what each saw.
func handshake(t *testing.T, server, client *tls.Config) (atServer, atClient tls.ConnectionState) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			served <- err
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		tc := tls.Server(conn, server)
		err = tc.Handshake()
		atServer = tc.ConnectionState()
		if err == nil {
			_, err = tc.Write([]byte("x")) // brings the session ticket along
		}
		served <- err
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	tc := tls.Client(conn, client)
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	if _, err := tc.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	return atServer, tc.ConnectionState()
}

// caller is the configuration of a peer that calls the hub.
func caller(certs ...tls.Certificate) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, Certificates: certs, ServerName: "localhost"}
}

func reason(err error) Reason {
	var d *Distrust
	if errors.As(err, &d) {
		return d.Reason
	}
	return ""
}

// Each single mismatch has its own reason, and the handshake succeeds in all.
func TestInbound(t *testing.T) {
	h := newHouse(t)
	now := h.now()
	revoked := issue(t, h.authority, Request{Name: dnCHU})
	h.revoke(t, "crl/test.crl", revoked)
	serverOnly := Request{Name: dnCHU, Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, c := range []struct {
		name  string
		certs []tls.Certificate
		eku   string
		want  Reason
	}{
		{"good", []tls.Certificate{issue(t, h.authority, Request{Name: dnCHU})}, "client", ""},
		{"none", nil, "any", NoCertificate},
		{"of a stranger's authority", []tls.Certificate{issue(t, newAuthority(t), Request{Name: dnCHU})}, "any", UnknownAuthority},
		{"expired", []tls.Certificate{issue(t, h.authority, Request{Name: dnCHU, NotAfter: now.Add(-time.Hour)})}, "any", Expired},
		{"of tomorrow", []tls.Certificate{issue(t, h.authority, Request{Name: dnCHU, NotBefore: now.Add(time.Hour)})}, "any", NotYetValid},
		{"revoked", []tls.Certificate{revoked}, "any", Revoked},
		{"server's only", []tls.Certificate{issue(t, h.authority, serverOnly)}, "client", WrongUsage},
		{"server's only, usage ignored", []tls.Certificate{issue(t, h.authority, serverOnly)}, "any", ""},
		{"of no operator", []tls.Certificate{issue(t, h.authority, Request{Name: "CN=poste.example,C=FR"})}, "any", NotListed},
	} {
		h.options.PeerEKU = c.eku
		g := h.guard(t)
		cs, _ := handshake(t, g.ServerConfig(), caller(c.certs...))
		for range 2 { // the second answer comes from memory
			identity, err := g.Inbound(cs)
			if reason(err) != c.want || (err == nil) != (c.want == "") {
				t.Errorf("%s: %v", c.name, err)
			}
			if err != nil {
				if g.SpeaksFor(identity, "chu.example") {
					t.Errorf("%s: speaks for a domain", c.name)
				}
				continue
			}
			if identity.Operator() != "mail.chu.example" || !g.SpeaksFor(identity, "Chu.Example") || g.SpeaksFor(identity, "chg.example") {
				t.Errorf("%s: %v is taken for somebody else", c.name, identity)
			}
		}
	}
}

func TestAnyOperator(t *testing.T) {
	h := newHouse(t)
	h.options.AnyOperator = true
	g := h.guard(t)
	cs, _ := handshake(t, g.ServerConfig(), caller(issue(t, h.authority, Request{Name: "CN=autre.example"})))
	identity, err := g.Inbound(cs)
	if err != nil || !g.SpeaksFor(identity, "chg.example") || g.SpeaksFor(identity, "ailleurs.example") {
		t.Errorf("any operator: %v", err)
	}
	if g.SpeaksFor(Identity{}, "chg.example") {
		t.Error("nobody speaks for a domain")
	}
}

func TestWithoutList(t *testing.T) {
	h := newHouse(t)
	h.options.WhiteList = ""
	g := h.guard(t)
	cs, _ := handshake(t, g.ServerConfig(), caller(issue(t, h.authority, Request{Name: "CN=autre.example"})))
	if identity, err := g.Inbound(cs); err != nil || !g.SpeaksFor(identity, "ailleurs.example") || !g.Listed("ailleurs.example") {
		t.Errorf("without a list: %v", err)
	}
	cs, _ = handshake(t, g.ServerConfig(), caller(issue(t, newAuthority(t), Request{Name: "CN=autre.example"})))
	if _, err := g.Inbound(cs); reason(err) != UnknownAuthority {
		t.Errorf("without a list, of a stranger's authority: %v", err)
	}
	if g.Status().WhiteList != nil {
		t.Error("status tells of a list")
	}
}

func TestOutbound(t *testing.T) {
	h := newHouse(t)
	g := h.guard(t)
	server := func(c tls.Certificate) tls.ConnectionState {
		atServer, atClient := handshake(t,
			&tls.Config{Certificates: []tls.Certificate{c}, ClientAuth: tls.RequireAnyClientCert}, g.ClientConfig("mail.chu.example"))
		if len(atServer.PeerCertificates) == 0 || atServer.PeerCertificates[0].Subject.CommonName != "parcours.example" {
			t.Error("the hub's client certificate was not presented")
		}
		return atClient
	}
	chu := server(issue(t, h.authority, Request{Name: dnCHU2}))
	stranger := server(issue(t, newAuthority(t), Request{Name: dnCHU}))
	for _, c := range []struct {
		name   string
		cs     tls.ConnectionState
		domain string
		want   Reason
	}{
		{"good", chu, "chu.example", ""},
		{"other operator", chu, "chg.example", WrongOperator},
		{"domain not listed", chu, "ailleurs.example", DomainNotListed},
		{"stranger", stranger, "chu.example", UnknownAuthority},
		{"nobody", tls.ConnectionState{}, "chu.example", NoCertificate},
	} {
		if _, err := g.VerifyServer(c.cs, c.domain); reason(err) != c.want || (err == nil) != (c.want == "") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for _, c := range []struct {
		name string
		cs   tls.ConnectionState
		dn   string
		want Reason
	}{
		{"good", chu, "C=FR, ST=Calvados (14), O=CHU DE L'EXEMPLE, OU=1990000010, CN=mail2.chu.example", ""},
		{"other name", chu, dnCHU, WrongOperator},
		{"no name", chu, "", WrongOperator},
		{"stranger", stranger, dnCHU, UnknownAuthority},
	} {
		if _, err := g.VerifySmarthost(c.cs, c.dn); reason(err) != c.want || (err == nil) != (c.want == "") {
			t.Errorf("smarthost, %s: %v", c.name, err)
		}
	}
	imap := server(issue(t, h.authority, Request{Name: dnCHU2, Hosts: []string{"imap.chu.example", "127.0.0.1"}}))
	old := server(issue(t, h.authority, Request{Name: dnCHU2, Hosts: []string{"imap.chu.example"}, NotAfter: time.Now().Add(-time.Minute)}))
	for _, c := range []struct {
		name string
		cs   tls.ConnectionState
		host string
		want Reason
	}{
		{"good", imap, "imap.chu.example", ""},
		{"by number", imap, "127.0.0.1", ""},
		{"other name", imap, "imap.chg.example", WrongHost},
		{"no name", imap, "", WrongHost},
		{"expired", old, "imap.chu.example", Expired},
		{"stranger", stranger, "imap.chu.example", UnknownAuthority},
		{"nobody", tls.ConnectionState{}, "imap.chu.example", NoCertificate},
	} {
		if _, err := g.VerifyHost(c.cs, c.host); reason(err) != c.want || (err == nil) != (c.want == "") {
			t.Errorf("host, %s: %v", c.name, err)
		}
	}
}

// A resumed session still shows the peer's certificate, so that it is judged
// again; and none is resumed past a reload.
func TestResumption(t *testing.T) {
	for _, version := range []string{"1.2", "1.3"} {
		t.Run(version, func(t *testing.T) {
			h := newHouse(t)
			h.options.MaxVersion = version
			g := h.guard(t)
			peer := issue(t, h.authority, Request{Name: dnCHU})
			calling := caller(peer)
			calling.ClientSessionCache = tls.NewLRUClientSessionCache(8)
			meet := func() tls.ConnectionState {
				cs, _ := handshake(t, g.ServerConfig(), calling)
				return cs
			}
			first, second := meet(), meet()
			if first.DidResume || !second.DidResume {
				t.Fatalf("resumed: first %v, second %v", first.DidResume, second.DidResume)
			}
			if identity, err := g.Inbound(second); err != nil || !g.SpeaksFor(identity, "chu.example") {
				t.Fatalf("a resumed peer is not known: %v", err)
			}
			h.revoke(t, "crl/test.pem", peer)
			if err := g.Reload(h.options); err != nil {
				t.Fatal(err)
			}
			// The connection that was up before is judged anew.
			if _, err := g.Inbound(second); reason(err) != Revoked {
				t.Errorf("after its revocation, on the old connection: %v", err)
			}
			third := meet()
			if third.DidResume {
				t.Error("a session was resumed past a reload")
			}
			if _, err := g.Inbound(third); reason(err) != Revoked {
				t.Errorf("after its revocation: %v", err)
			}
		})
	}
}

func TestResumptionOutbound(t *testing.T) {
	h := newHouse(t)
	g := h.guard(t)
	serving := &tls.Config{Certificates: []tls.Certificate{issue(t, h.authority, Request{Name: dnCHU})}, ClientAuth: tls.RequestClientCert}
	resumed := func() bool {
		_, cs := handshake(t, serving, g.ClientConfig("mail.chu.example"))
		if _, err := g.VerifyServer(cs, "chu.example"); err != nil {
			t.Fatal(err)
		}
		return cs.DidResume
	}
	if resumed() || !resumed() {
		t.Error("the second connection was not resumed, or the first was")
	}
	if err := g.Reload(h.options); err != nil {
		t.Fatal(err)
	}
	if resumed() {
		t.Error("a session was resumed past a reload")
	}
}

// Ticket keys change every day; a session of yesterday can still be resumed.
func TestTicketKeysRotate(t *testing.T) {
	h := newHouse(t)
	g := h.guard(t)
	calling := caller(issue(t, h.authority, Request{Name: dnCHU}))
	handshake(t, g.ServerConfig(), calling)
	p := g.current.Load()
	old := p.ticketKeys[0]
	for day := range 3 {
		h.clock.Add(86400)
		handshake(t, g.ServerConfig(), calling)
		if len(p.ticketKeys) != 2 || p.ticketKeys[0] == old || p.ticketKeys[1] != old {
			t.Errorf("day %d: %d keys, or not the new and the one before", day, len(p.ticketKeys))
		}
		old = p.ticketKeys[0]
	}
}

// A certificate that expires while a connection is up is refused from then on.
func TestExpiryIsSeenLater(t *testing.T) {
	h := newHouse(t)
	g := h.guard(t)
	peer := issue(t, h.authority, Request{Name: dnCHU, NotAfter: h.now().Add(time.Hour)})
	cs, _ := handshake(t, g.ServerConfig(), caller(peer))
	if _, err := g.Inbound(cs); err != nil {
		t.Fatal(err)
	}
	h.clock.Add(3601)
	if _, err := g.Inbound(cs); reason(err) != Expired {
		t.Errorf("an hour later: %v", err)
	}
}

// All of a reload happens, or nothing.
func TestReload(t *testing.T) {
	h := newHouse(t)
	g := h.guard(t)
	serving := g.ServerConfig()
	peer := issue(t, h.authority, Request{Name: dnGroup})
	cs, _ := handshake(t, serving, caller(peer))
	for name, spoil := range map[string]func(*Options){
		"certificate": func(o *Options) { o.Certificate = h.path("none.pem") },
		"wrong key":   func(o *Options) { o.Key = h.path(DevKey) },
		"authorities": func(o *Options) { o.Authorities = h.path("hub.pem") }, // none of them is an authority
		"crl_dir":     func(o *Options) { o.CRLDir = h.path("none") },
		"versions":    func(o *Options) { o.MinVersion, o.MaxVersion = "1.3", "1.2" },
		"version":     func(o *Options) { o.MinVersion = "1.1" },
		"eku":         func(o *Options) { o.PeerEKU = "server" },
	} {
		o := h.options
		spoil(&o)
		if err := g.Reload(o); err == nil {
			t.Errorf("%s: reloaded", name)
		}
		if identity, err := g.Inbound(cs); err != nil || !g.SpeaksFor(identity, "chg.example") {
			t.Errorf("%s: the old profile is gone: %v", name, err)
		}
	}
	h.write(t, "list.xml", `<ListeBlancheMSSante><ListeDomaines><Domaine><Nom>nouveau.example</Nom><DNCertificatOperateur>`+dnCHU+
		`</DNCertificatOperateur></Domaine></ListeDomaines></ListeBlancheMSSante>`)
	renewed := issue(t, h.authority, Request{Name: "CN=nouveau.example"})
	if err := SavePair(h.dir, "new", renewed); err != nil {
		t.Fatal(err)
	}
	h.options.Certificate, h.options.Key, h.options.MaxShrink = h.path("new.pem"), h.path("new.key"), 50
	if err := g.Reload(h.options); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Inbound(cs); reason(err) != NotListed || g.Listed("chg.example") || !g.Listed("nouveau.example") {
		t.Errorf("after the reload: %v", err)
	}
	if _, seen := handshake(t, serving, caller(peer)); seen.PeerCertificates[0].Subject.CommonName != "nouveau.example" {
		t.Error("listeners still show the old certificate")
	}
}

// A revocation list that vanishes or breaks leaves the last good one.
func TestLastGoodRevocationList(t *testing.T) {
	h := newHouse(t)
	peer := issue(t, h.authority, Request{Name: dnCHU})
	older := h.read(t, "crl/first.crl")
	h.revoke(t, "crl/test.crl", peer)
	g := h.guard(t)
	cs, _ := handshake(t, g.ServerConfig(), caller(peer))
	for _, step := range []struct {
		name   string
		change func()
		faulty bool
	}{
		{"as loaded", func() {}, false},
		{"broken", func() { h.write(t, "crl/test.crl", "half a file") }, true},
		{"of a stranger", func() {
			foreign, err := newAuthority(t).Revoke()
			if err != nil {
				t.Fatal(err)
			}
			h.write(t, "crl/test.crl", string(foreign))
		}, true},
		{"gone", func() { os.Remove(h.path("crl/test.crl")) }, false},
		{"an older one put back", func() { h.write(t, "crl/test.crl", older) }, false},
	} {
		step.change()
		if err := g.Reload(h.options); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if _, err := g.Inbound(cs); reason(err) != Revoked {
			t.Errorf("%s: %v", step.name, err)
		}
		if s := g.Status(); hasConcern(s, CRLFaulty) != step.faulty || len(s.Revocation) != 1 || s.Revocation[0].Revoked != 1 {
			t.Errorf("%s: status %+v", step.name, s)
		}
	}
	h.revoke(t, "crl/test.crl")
	if err := g.Reload(h.options); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Inbound(cs); err != nil {
		t.Errorf("with a new list: %v", err)
	}
	h.write(t, "crl/test.crl", "half a file")
	if err := os.Remove(h.path("crl/first.crl")); err != nil {
		t.Fatal(err)
	}
	if _, err := New(h.options, h.now); !errors.Is(err, ErrRevocationList) {
		t.Errorf("starting with a broken list: %v", err)
	}
}

func TestStatus(t *testing.T) {
	h := newHouse(t)
	g := h.guard(t)
	made := time.Date(2026, 3, 2, 4, 0, 0, 0, time.UTC)
	for days, old := range map[int]bool{6: false, 8: true} {
		h.clock.Store(made.AddDate(0, 0, days).Unix())
		s := g.Status()
		if hasConcern(s, ListOld) != old || s.WhiteList.Age != time.Duration(days)*24*time.Hour || s.WhiteList.Domains != 2 {
			t.Errorf("after %d days: %+v", days, s.WhiteList)
		}
	}
	if left := time.Until(g.Status().Certificate); left < 9*365*24*time.Hour {
		t.Errorf("the certificate is good for %s", left)
	}
}

func TestDevAuthorityFiles(t *testing.T) {
	h := newHouse(t)
	again, err := OpenDevAuthority(h.dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	g := h.guard(t)
	cs, _ := handshake(t, g.ServerConfig(), caller(issue(t, again, Request{Name: dnCHU})))
	if _, err := g.Inbound(cs); err != nil {
		t.Errorf("a certificate of the reopened authority: %v", err)
	}
	before, _ := os.ReadFile(h.path(DevCA))
	if err := newAuthority(t).Save(h.dir); !errors.Is(err, ErrExists) {
		t.Errorf("saving twice: %v", err)
	}
	if after, _ := os.ReadFile(h.path(DevCA)); string(after) != string(before) {
		t.Error("saving twice overwrote")
	}
	for name, mode := range map[string]os.FileMode{DevCA: 0o644, DevKey: 0o600, "hub.pem": 0o644, "hub.key": 0o600} {
		if info, err := os.Stat(h.path(name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}
