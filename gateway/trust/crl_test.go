package trust

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// both judges a peer that calls and the same peer called.
func (h *house) both(t *testing.T, g *Guard, peer tls.Certificate) (inbound, outbound Reason) {
	t.Helper()
	called, _ := handshake(t, g.ServerConfig(), caller(peer))
	_, err := g.Inbound(called)
	_, calling := handshake(t, &tls.Config{Certificates: []tls.Certificate{peer}}, g.ClientConfig("mail.chu.example"))
	_, errServer := g.VerifyServer(calling, "chu.example")
	_, errSmarthost := g.VerifySmarthost(calling, dnCHU)
	if reason(errServer) != reason(errSmarthost) {
		t.Errorf("as a server %v, as a smarthost %v", errServer, errSmarthost)
	}
	return reason(err), reason(errServer)
}

func (h *house) wantBoth(t *testing.T, g *Guard, peer tls.Certificate, want Reason) {
	t.Helper()
	if in, out := h.both(t, g, peer); in != want || out != want {
		t.Errorf("calling %q, called %q; want %q", in, out, want)
	}
}

// A revocation list whose next one does not come is used for a while, with
// warnings, and then says nothing any more.
func TestRevocationListExpires(t *testing.T) {
	h := newHouse(t)
	h.options.CRLGrace = 24 * time.Hour
	g := h.guard(t)
	peer := issue(t, h.authority, Request{Name: dnCHU})
	start := h.clock.Load()
	day := int64(86400)
	for _, step := range []struct {
		after int64 // seconds
		kind  ConcernKind
		want  Reason
	}{
		{0, "", ""},
		{5 * day, "", ""},
		{5*day + day/2, CRLSoon, ""},
		{7*day + 60, CRLLate, ""},
		{8*day - 60, CRLLate, ""},
		{8*day + 60, CRLExpired, RevocationUnknown},
	} {
		h.clock.Store(start + step.after)
		h.wantBoth(t, g, peer, step.want)
		s := g.Status()
		for _, kind := range []ConcernKind{CRLSoon, CRLLate, CRLExpired} {
			if hasConcern(s, kind) != (kind == step.kind) {
				t.Errorf("after %d s: %s is %v", step.after, kind, hasConcern(s, kind))
			}
		}
	}
	crl, err := h.authority.RevokeUntil(h.now().AddDate(0, 0, 7))
	if err != nil {
		t.Fatal(err)
	}
	h.write(t, "crl/next.crl", string(crl))
	if err := g.Reload(h.options); err != nil {
		t.Fatal(err)
	}
	h.wantBoth(t, g, peer, "")
}

// Where revocation lists are used, an authority without one vouches for nobody.
func TestNoRevocationList(t *testing.T) {
	h := newHouse(t)
	os.Remove(h.path("crl/first.crl"))
	peer := issue(t, h.authority, Request{Name: dnCHU})
	g := h.guard(t)
	h.wantBoth(t, g, peer, RevocationUnknown)
	if s := g.Status(); !hasConcern(s, CRLMissing) || len(s.Revocation) != 0 {
		t.Errorf("status %+v", s)
	}
	h.options.CRLDir = ""
	if err := g.Reload(h.options); err != nil || hasConcern(g.Status(), CRLMissing) {
		t.Errorf("without crl_dir: %v, %+v", err, g.Status().Concerns)
	}
	h.wantBoth(t, g, peer, "")
}

// What was revoked stays so over a restart, whatever happened to crl_dir.
func TestRevocationListKept(t *testing.T) {
	h := newHouse(t)
	h.options.KeepDir = h.path("data")
	old := h.read(t, "crl/first.crl")
	revoked, good := issue(t, h.authority, Request{Name: dnCHU}), issue(t, h.authority, Request{Name: dnCHU})
	h.revoke(t, "crl/first.crl", revoked)
	h.guard(t)
	for _, step := range []struct {
		name   string
		change func()
	}{
		{"as it was", func() {}},
		{"an old list put back", func() { h.write(t, "crl/first.crl", old) }},
		{"broken", func() { h.write(t, "crl/first.crl", "half a file") }},
		{"gone", func() { os.Remove(h.path("crl/first.crl")) }},
	} {
		step.change()
		g := h.guard(t)
		h.wantBoth(t, g, revoked, Revoked)
		h.wantBoth(t, g, good, "")
		if s := g.Status(); hasConcern(s, CRLFaulty) != (step.name == "broken") {
			t.Errorf("%s: %+v", step.name, s.Concerns)
		}
	}
	// The copy is no more trusted than any file.
	copies, err := filepath.Glob(h.path("data/crl/*"))
	if err != nil || len(copies) != 1 {
		t.Fatalf("%d copies, %v", len(copies), err)
	}
	forged, err := newAuthority(t).Revoke()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copies[0], forged, 0o600); err != nil {
		t.Fatal(err)
	}
	h.wantBoth(t, h.guard(t), good, RevocationUnknown)
}

// list makes a revocation list as an authority would, with extensions.
func list(t *testing.T, issuer *x509.Certificate, key *ecdsa.PrivateKey, number int64, extensions []pkix.Extension, certs ...tls.Certificate) []byte {
	t.Helper()
	l := &x509.RevocationList{
		Number: big.NewInt(number), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().AddDate(0, 0, 7), ExtraExtensions: extensions,
	}
	for _, c := range certs {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.Leaf.SerialNumber, RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, issuer, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

// Parts of a list add up, and a part replaces itself only; a list that speaks of
// changes only is not taken for the whole.
func TestPartsOfARevocationList(t *testing.T) {
	h := newHouse(t)
	os.Remove(h.path("crl/first.crl"))
	a := h.authority
	one, two := issue(t, a, Request{Name: dnCHU}), issue(t, a, Request{Name: dnCHU})
	part := func(name string) []pkix.Extension {
		return []pkix.Extension{{Id: oidDistributionPoint, Critical: true, Value: []byte{0x30, 0x03, 0x81, 0x01, name[0]}}}
	}
	both := append(list(t, a.cert, a.key, 1, part("a"), one), list(t, a.cert, a.key, 1, part("b"), two)...)
	h.write(t, "crl/both.pem", string(both))
	g := h.guard(t)
	h.wantBoth(t, g, one, Revoked)
	h.wantBoth(t, g, two, Revoked)
	h.write(t, "crl/a.crl", string(list(t, a.cert, a.key, 2, part("a"))))
	if err := g.Reload(h.options); err != nil {
		t.Fatal(err)
	}
	h.wantBoth(t, g, one, "")
	h.wantBoth(t, g, two, Revoked)
	delta := pkix.Extension{Id: []int{2, 5, 29, 27}, Critical: true, Value: []byte{0x02, 0x01, 0x01}}
	h.write(t, "crl/delta.crl", string(list(t, a.cert, a.key, 3, []pkix.Extension{delta})))
	if err := g.Reload(h.options); err != nil || !hasConcern(g.Status(), CRLFaulty) {
		t.Errorf("a list of changes: %v, %+v", err, g.Status().Concerns)
	}
	h.wantBoth(t, g, two, Revoked)
}

// IGC-Santé has an authority between the root and the operators: its own list is
// needed; the root's is used where it is there.
func TestAuthorityBetween(t *testing.T) {
	h := newHouse(t)
	root := h.authority
	between := &DevAuthority{now: root.now}
	var err error
	if between.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	template, err := root.template(parsed(t, "CN=AC ELEMENTAIRE DE TEST,O=RELAIS,C=FR"))
	if err != nil {
		t.Fatal(err)
	}
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, template, root.cert, between.key.Public(), root.key)
	if err != nil {
		t.Fatal(err)
	}
	if between.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	var bundle bytes.Buffer
	for _, c := range []*x509.Certificate{root.cert, between.cert} {
		if err := pem.Encode(&bundle, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}); err != nil {
			t.Fatal(err)
		}
	}
	h.write(t, "chain.pem", bundle.String())
	h.options.Authorities = h.path("chain.pem")
	peer := issue(t, between, Request{Name: dnCHU})
	g := h.guard(t)
	for _, step := range []struct {
		name   string
		change func()
		want   Reason
	}{
		{"of the root only", func() {}, RevocationUnknown},
		{"of both", func() { h.write(t, "crl/between.crl", string(list(t, between.cert, between.key, 1, nil))) }, ""},
		{"peer revoked", func() { h.write(t, "crl/between.crl", string(list(t, between.cert, between.key, 2, nil, peer))) }, Revoked},
		{"peer good again", func() { h.write(t, "crl/between.crl", string(list(t, between.cert, between.key, 3, nil))) }, ""},
		{"authority revoked", func() { h.revoke(t, "crl/first.crl", tls.Certificate{Leaf: between.cert}) }, Revoked},
	} {
		step.change()
		if err := g.Reload(h.options); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		t.Log(step.name)
		h.wantBoth(t, g, peer, step.want)
	}
	// The root publishes none.
	os.Remove(h.path("crl/first.crl"))
	g = h.guard(t)
	h.wantBoth(t, g, peer, "")
	if s := g.Status(); !hasConcern(s, CRLMissing) || len(s.Authorities) != 2 || len(s.Revocation) != 1 {
		t.Errorf("status %+v", s)
	}
}
