package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/relais-sante/relais/gateway/peertest"
	"github.com/relais-sante/relais/gateway/trust"
)

// must ends a test that cannot be prepared.
func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestMismatches has the hub meet one real Postfix for each single thing that
// can be wrong with an operator. None of them hands mail over or is given any,
// and each is told why, or the journal and the queue are.
func TestMismatches(t *testing.T) {
	if testing.Short() {
		t.Skip("real peers are not part of the short form")
	}
	peertest.Require(t, "postfix", "swaks")
	const sound, lent = "juste.e2e.test", "prete.e2e.test"
	peers := []struct {
		domain   string
		says     string // the hub, when called
		recorded string // with the copy that is not sent
	}{
		{sound, "", ""},
		{"inconnue.e2e.test", "pas ete delivre par l'IGC-Sante", "unknown-authority"},
		{"revoquee.e2e.test", "a ete revoque", "revoked"},
		{"perimee.e2e.test", "liste de revocation a jour", "revocation-unknown"},
		{"absente.e2e.test", "pas celui d'un operateur de la liste blanche", "wrong-operator"},
	}
	var ips []string
	listed, hosts := map[string]string{lent: "ailleurs.e2e.test"}, map[string]netip.Addr{}
	for i, p := range peers {
		ips = append(ips, netip.AddrFrom4([4]byte{127, 0, 0, byte(2 + i)}).String())
		hosts[p.domain] = netip.MustParseAddr(ips[i])
		listed[p.domain] = p.domain
	}
	listed["absente.e2e.test"] = "une-autre.e2e.test" // the domain is listed, the server's name is nowhere
	hosts[lent] = hosts[sound]                        // a listed operator, but not this domain's
	_, port, _ := net.SplitHostPort(peertest.FreePort(t, ips...))
	crls := t.TempDir()
	h := newHub(t, settings{
		mutual: true,
		tls:    "crl_dir = \"" + crls + "\"",
		outbound: "route = \"mx\"\nresolver = \"" + peertest.Names(t, hosts) + "\"\nmx_port = " + port +
			"\nretry = [\"1s\"]",
		rest: "[trust]\nwhite_list = \"" + writeList(t, listed) + "\"",
	})
	own, err := trust.OpenDevAuthority(filepath.Join(h.dir, "tls"), nil)
	must(t, err)
	late, err := trust.NewDevAuthority(nil)
	must(t, err)
	stranger, err := trust.NewDevAuthority(nil)
	must(t, err)
	pairs := make([]tls.Certificate, len(peers))
	for i, p := range peers {
		authority := map[string]*trust.DevAuthority{"inconnue.e2e.test": stranger, "perimee.e2e.test": late}[p.domain]
		if authority == nil {
			authority = own
		}
		pairs[i], err = authority.Issue(trust.Request{Name: dn(p.domain), Hosts: []string{"mx." + p.domain}})
		must(t, err)
	}
	good, err := own.Revoke(pairs[2])
	must(t, err)
	overdue, err := late.RevokeUntil(time.Now().AddDate(0, 0, -2)) // crl_grace is a day
	must(t, err)
	bundle, err := os.ReadFile(filepath.Join(h.dir, "tls/ca.pem"))
	must(t, err)
	bundle = append(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: late.Certificate().Raw})...)
	must(
		t, os.WriteFile(filepath.Join(crls, "own.crl"), good, 0o600), os.WriteFile(filepath.Join(crls, "late.crl"), overdue, 0o600),
		os.WriteFile(filepath.Join(h.dir, "tls/ca.pem"), bundle, 0o600),
	)
	h.start()
	defer func() {
		if t.Failed() {
			t.Logf("journal of the hub:\n%s", lastLines(h.log.text(), 40))
		}
	}()

	code := h.include(0)
	address := code + "@" + domain
	postfix := make([]*peertest.Postfix, len(peers))
	box := func(domain string) string { return "roux@" + domain }
	for i, p := range peers {
		h.member(code, "Dr "+strings.ToUpper(p.domain[:1])+p.domain[1:6], "oncologue", box(p.domain), "PER")
		domains := []string{p.domain}
		if p.domain == sound {
			domains = append(domains, lent)
		}
		postfix[i] = peertest.StartPostfix(t, peertest.PostfixOptions{
			Hostname: "mx." + p.domain, Addr: net.JoinHostPort(ips[i], port), Domains: domains, Submission: true,
			Certificate: &pairs[i], Authorities: []*x509.Certificate{own.Certificate()},
			WantClient: true, Callers: []*x509.Certificate{h.certificate()},
			Routes: map[string]string{domain: h.inbound},
		})
	}
	h.member(code, "Dr Paul Pret", "pediatre", box(lent), "PER")
	hand := func(op *peertest.Postfix, from string) {
		t.Helper()
		host, port, _ := strings.Cut(op.Submission, ":")
		tool(t, letter(from, address, "Compte rendu", "", "Bonjour.", ""), "swaks", "--server", host, "--port", port,
			"--from", from, "--to", address, "--data", "-", "--hide-all")
	}

	// They call the hub.
	refused := func(op *peertest.Postfix, from, why string) {
		t.Helper()
		hand(op, from)
		eventually(t, patience, "mail of "+from+" is refused", func() bool { return bounced(op.Log(), from, address) != "" })
		if line := bounced(op.Log(), from, address); !strings.Contains(line, "said: 550 5.7.1") || !strings.Contains(line, why) {
			t.Errorf("%s: the operator logs %q, want %q", from, line, why)
		}
	}
	for i, p := range peers {
		if p.says != "" {
			refused(postfix[i], box(p.domain), p.says)
		}
	}
	refused(postfix[0], box(lent), "L'adresse de l'expediteur n'est pas")
	if n := len(h.thread(code).Messages); n != 0 {
		t.Fatalf("%d messages were taken", n)
	}

	// The hub calls them.
	hand(postfix[0], box(sound))
	eventually(t, patience, "the mail of the sound operator is filed", func() bool { return len(h.thread(code).Messages) == 1 })
	wrong := map[string]string{lent: "wrong-operator"}
	for _, p := range peers[1:] {
		wrong[p.domain] = p.recorded
	}
	for domain, why := range wrong {
		var d delivered
		eventually(t, patience, "the copy for "+domain+" was tried", func() bool {
			d, _ = h.delivery(code, box(domain))
			return d.LastError != ""
		})
		if d.State == "sent" || !strings.Contains(d.LastError, why) {
			t.Errorf("%s: %s (%s), want %s", domain, d.State, d.LastError, why)
		}
		if !strings.Contains(h.log.text(), "peer not trusted: "+why) {
			t.Errorf("the journal does not say %s", why)
		}
	}
	for i, p := range peers {
		if strings.Contains(postfix[i].Log(), "from=<r-") || strings.Contains(postfix[i].Log(), "from=<b-") {
			t.Errorf("%s was given something", p.domain)
		}
	}

	// Once the revocation is taken back the copy goes, without a restart.
	again, err := own.Revoke()
	must(t, err, os.WriteFile(filepath.Join(crls, "own.crl"), again, 0o600), h.cmd.Process.Signal(syscall.SIGHUP))
	eventually(t, patience, "the copy for the operator that is good again is sent", func() bool {
		d, _ := h.delivery(code, box(peers[2].domain))
		return d.State == "sent"
	})
}

// TestWhiteListLost: the hub starts without its list and does not believe one
// that shrank, and says so.
func TestWhiteListLost(t *testing.T) {
	domains := map[string]string{}
	for _, name := range []string{"a", "b", "c", "d"} {
		domains[name+".e2e.test"] = name + ".e2e.test"
	}
	path := writeList(t, domains)
	h := newHub(t, settings{mutual: true, outbound: `route = "mx"`, rest: "[trust]\nwhite_list = \"" + path + "\""})
	type status struct {
		WhiteList struct{ Domains int } `json:"white_list"`
		Warnings  []string
	}
	want := func(domains int, warning, concern string) {
		t.Helper()
		var s status
		h.ask(&s, "status")
		text := strings.Join(s.Warnings, "\n")
		if s.WhiteList.Domains != domains || !strings.Contains(text, warning) || warning == "" && strings.Contains(text, "liste blanche") {
			t.Errorf("%d domains, warnings:\n%s", s.WhiteList.Domains, text)
		}
		if concern != "" && !strings.Contains(h.log.text(), `"concern":"`+concern+`"`) {
			t.Errorf("no %s in the journal:\n%s", concern, h.log.text())
		}
	}
	reload := func() {
		t.Helper()
		before := strings.Count(h.log.text(), `"msg":"reloaded"`)
		must(t, h.cmd.Process.Signal(syscall.SIGHUP))
		eventually(t, patience, "reloaded", func() bool { return strings.Count(h.log.text(), `"msg":"reloaded"`) > before })
	}
	h.start()
	want(4, "", "")
	delete(domains, "d.e2e.test")
	shorter, err := os.ReadFile(writeList(t, domains))
	must(t, err, os.WriteFile(path, shorter, 0o600))
	reload()
	want(4, "n'a plus que 3 domaines sur 4", "white-list-shrunk")
	h.stop()
	must(t, os.Remove(path))
	h.start()
	want(4, "la dernière bonne sert encore", "white-list-unusable")
	must(t, os.WriteFile(path, shorter, 0o600), os.Remove(filepath.Join(h.dir, "data/trust/white-list.xml")))
	reload()
	want(3, "", "")
	h.stop()
}
