package e2e

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/gateway/peertest"
	"github.com/relais-sante/relais/gateway/trust"
)

// Domains of the operators. Only the first three are on the white list.
const (
	atCHU    = "chu.e2e.test"
	atBocage = "bocage.e2e.test" // a general hospital
	atTown   = "ville.e2e.test"  // practices; the same operator as the hospital's
	atAnnexe = "annexe.e2e.test" // listed for the CHU's operator, but another server takes its mail
	unlisted = "clinique.e2e.test"
)

// patience bounds what takes a second or two on a quiet machine.
const patience = time.Minute

// world is a hub as it runs in service, between two operators: certificates
// demanded on both sides, a white list, mail hosts found by name service.
type world struct {
	t        *testing.T
	hub      *hub
	chu      *operator // Postfix and Dovecot of the university hospital
	town     *operator // of the general hospital and the practices
	impostor *operator // at the annexe's address, not on the white list
}

// operator is a Postfix and the Dovecot that holds its boxes.
type operator struct {
	*peertest.Postfix
	boxes *peertest.Dovecot
}

// dn is the name in an operator's certificate.
func dn(host string) string { return "CN=mx." + host + ",O=OPERATEUR (ESSAI),C=FR" }

func newWorld(t *testing.T) *world {
	t.Helper()
	peertest.Require(t, "postfix", "dovecot", "swaks", "mutt", "openssl", "script")
	// [outbound] mx_port is one for all, so each operator has its own address.
	ips := []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"}
	_, port, _ := net.SplitHostPort(peertest.FreePort(t, ips...))
	host := func(i int) netip.Addr { return netip.MustParseAddr(ips[i]) }
	names := peertest.Names(t, map[string]netip.Addr{atCHU: host(0), atBocage: host(1), atTown: host(1), atAnnexe: host(2)})
	list := writeList(t, map[string]string{atCHU: atCHU, atAnnexe: atCHU, atBocage: atBocage, atTown: atBocage})

	w := &world{t: t}
	w.hub = newHub(t, settings{
		mutual:   true,
		outbound: "route = \"mx\"\nresolver = \"" + names + "\"\nmx_port = " + port + "\nretry = [\"1s\"]",
		rest:     "[trust]\nwhite_list = \"" + list + "\"",
	})
	w.hub.start()
	authority, err := trust.OpenDevAuthority(filepath.Join(w.hub.dir, "tls"), nil)
	if err != nil {
		t.Fatal(err)
	}
	operator := func(ip, name string, faceless bool, domains ...string) *operator {
		pair, err := authority.Issue(trust.Request{Name: dn(name), Hosts: []string{"mx." + name}})
		if err != nil {
			t.Fatal(err)
		}
		return w.operator(peertest.PostfixOptions{
			Hostname: "mx." + name, Addr: net.JoinHostPort(ip, port), Domains: domains,
			Certificate: &pair, Authorities: []*x509.Certificate{authority.Certificate()},
			WantClient: true, Callers: []*x509.Certificate{w.hub.certificate()}, Faceless: faceless,
		})
	}
	w.chu = operator(ips[0], atCHU, false, atCHU, unlisted)
	w.town = operator(ips[1], atBocage, false, atBocage, atTown)
	w.impostor = operator(ips[2], atAnnexe, true, atAnnexe)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("journal of the hub:\n%s", lastLines(w.hub.log.text(), 40))
		}
	})
	return w
}

// operator starts a Postfix and its Dovecot.
func (w *world) operator(o peertest.PostfixOptions) *operator {
	w.t.Helper()
	for _, name := range people {
		for _, d := range o.Domains {
			o.Boxes = append(o.Boxes, name+"@"+d)
		}
	}
	boxes := peertest.StartDovecot(w.t, peertest.DovecotOptions{Users: o.Boxes})
	// The operator's list still has this box, its store has not any more.
	o.Boxes = append(o.Boxes, "muette@"+o.Domains[0])
	o.LMTP, o.Submission, o.MessageSize = boxes.LMTP, true, 30_000_000
	o.Routes = map[string]string{domain: w.hub.inbound}
	op := &operator{Postfix: peertest.StartPostfix(w.t, o), boxes: boxes}
	w.t.Cleanup(func() {
		if w.t.Failed() {
			w.t.Logf("journal of %s:\n%s", o.Hostname, lastLines(op.Log(), 40))
		}
	})
	return op
}

// writeList writes a white list: domain → whose certificate speaks for it.
func writeList(t *testing.T, domains map[string]string) string {
	t.Helper()
	var entries []trust.Entry
	for d, host := range domains {
		name, err := trust.ParseName(dn(host))
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, trust.Entry{Domain: d, Operator: name})
	}
	var b bytes.Buffer
	if err := trust.WriteWhiteList(&b, time.Now(), entries); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "listeblanche.xml")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// certificate is the hub's own.
func (h *hub) certificate() *x509.Certificate {
	h.t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(h.dir, "tls/cert.pem"), filepath.Join(h.dir, "tls/key.pem"))
	if err != nil {
		h.t.Fatal(err)
	}
	return pair.Leaf
}

// people are the local parts of the boxes that every domain has. Each story has
// its own, so that a box holds one story.
var people = func() (all []string) {
	for _, story := range []string{"courrier", "fil", "refus", "panne", "retour"} {
		for _, name := range []string{"roux", "morel", "pediatrie", "petit"} {
			all = append(all, name+"."+story)
		}
	}
	return append(all, "dubois") // of the clinic
}()

// team is the care team of one story.
type team struct {
	w                                   *world
	code                                string
	doctor, coordinator, ward, practice string // boxes
}

// newTeam includes the n-th child, with a team over both operators. The ward's
// box is shared by two nurses.
func (w *world) newTeam(n int, story string) *team {
	w.t.Helper()
	box := func(name, domain string) string { return name + "." + story + "@" + domain }
	m := &team{
		w: w, code: w.hub.include(n), doctor: box("roux", atCHU), coordinator: box("morel", atCHU),
		ward: box("pediatrie", atBocage), practice: box("petit", atTown),
	}
	w.hub.member(m.code, "Dr Anne Roux", "oncologue", m.doctor, "PER")
	w.hub.member(m.code, "Mme Claire Morel", "idec", m.coordinator, "PER")
	w.hub.member(m.code, "Mme Karine Leroy", "infirmier", m.ward, "ORG")
	w.hub.member(m.code, "Mme Julie Blanc", "infirmier", m.ward, "ORG")
	w.hub.member(m.code, "Mme Sophie Petit", "infirmier", m.practice, "CAB")
	return m
}

func (m *team) address() string { return m.code + "@" + domain }

// boxes are those of the team, in a fixed order.
func (m *team) boxes() []string { return []string{m.doctor, m.coordinator, m.ward, m.practice} }

// at is the operator that holds a box.
func (w *world) at(box string) *operator {
	switch _, d, _ := strings.Cut(box, "@"); d {
	case atCHU, unlisted:
		return w.chu
	case atBocage, atTown:
		return w.town
	}
	return w.impostor
}

// settled waits until nothing is under way: neither in the hub's queue nor in
// that of an operator.
func (w *world) settled() {
	w.t.Helper()
	eventually(w.t, patience, "all mail has arrived", func() bool {
		var st struct{ Queue struct{ Queued int } }
		w.hub.ask(&st, "status")
		return st.Queue.Queued == 0 && w.chu.Queued() == 0 && w.town.Queued() == 0
	})
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
