package e2e

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/relais-sante/relais/gateway/peertest"
	"github.com/relais-sante/relais/gateway/trust"
)

// Domains of the operator that the hub is a client of.
const atRegion = "region.e2e.test"

// client is a hub without a domain of its own in the trusted space: three boxes
// at one operator, each opened in its own way, each for a programme.
type client struct {
	t     *testing.T
	hub   *hub
	op    *operator
	idp   *identityProvider
	links []*link
	box   map[string]string // programme → address of its box
	code  map[string]string // programme → a pathway
}

// programmes and how their boxes are opened.
var logins = []struct{ programme, auth, mode string }{
	{"pon", "xoauth2", "tls"}, {"nutripac", "certificate", "tls"}, {"parsac", "password", "starttls"},
}

func newClient(t *testing.T) *client {
	t.Helper()
	peertest.Require(t, "postfix", "dovecot")
	c := &client{t: t, hub: newHub(t, settings{}), box: map[string]string{}, code: map[string]string{}}
	authority, err := trust.OpenDevAuthority(filepath.Join(c.hub.dir, "tls"), nil)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Issue(trust.Request{Name: "CN=mail." + atRegion + ",O=OPERATEUR (ESSAI),C=FR", Hosts: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	c.idp = newIdentityProvider(t, "s3cret")
	trusted := []*x509.Certificate{authority.Certificate()}
	users := []string{"roux@" + atCHU, "petit@" + atTown, "cabinet@" + atTown}
	for _, l := range logins {
		c.box[l.programme] = l.programme + "@" + atRegion
		users = append(users, c.box[l.programme])
	}
	boxes := peertest.StartDovecot(t, peertest.DovecotOptions{
		Users: users, Password: "s3cret", Certificate: &pair, Authorities: trusted, Tokens: c.idp.URL + "/introspect",
	})
	c.op = &operator{boxes: boxes, Postfix: peertest.StartPostfix(t, peertest.PostfixOptions{
		Hostname: "mail." + atRegion, Domains: []string{atRegion, atCHU, atTown}, Boxes: users, LMTP: boxes.LMTP, Logins: boxes.Auth,
		Certificate: &pair, Authorities: trusted, MessageSize: 40_000_000,
	})}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("journal of the hub:\n%s\nof Dovecot:\n%s\nof Postfix:\n%s",
				lastLines(c.hub.log.text(), 30), lastLines(boxes.Log(), 20), lastLines(c.op.Log(), 20))
		}
	})
	c.configure(authority)
	c.hub.start()
	for n, l := range logins {
		c.code[l.programme] = c.include(n, l.programme)
		c.hub.member(c.code[l.programme], "Dr Anne Roux", "oncologue", "roux@"+atCHU, "PER")
		c.hub.member(c.code[l.programme], "Mme Sophie Petit", "idec", "petit@"+atTown, "PER")
	}
	return c
}

// configure writes the settings: the boxes are reached through links that the
// test can cut.
func (c *client) configure(authority *trust.DevAuthority) {
	c.t.Helper()
	secret := filepath.Join(c.hub.dir, "keys", "secret")
	save(c.t, secret, []byte("s3cret\n"))
	var sections strings.Builder
	for _, l := range logins {
		server := c.op.boxes.IMAPS
		if l.mode == "starttls" {
			server = c.op.boxes.IMAP
		}
		submission := c.op.Clients
		if l.auth == "certificate" {
			submission = c.op.Certified
		}
		way := newLink(c.t, server)
		c.links = append(c.links, way)
		// The operator knows boxes by the certificate, too.
		pair, err := authority.Issue(trust.Request{Name: "CN=" + c.box[l.programme]})
		if err != nil {
			c.t.Fatal(err)
		}
		cert, key := c.keep(l.programme, &pair)
		fmt.Fprintf(&sections, `
[[operator]]
name = %q
programme = %q
address = %q
imap = "%s://%s"
smtp = "starttls://%s"
auth = %q
secret = "file:keys/secret"
issuer = %q
discovery = ".well-known/wallet-openid-configuration"
client_id = %q
cert = %q
key = %q
done = "Pris"
aside = "Non pris"
poll = "1s"
`, l.programme, l.programme, c.box[l.programme], l.mode, way.addr, submission, l.auth, c.idp.URL, c.box[l.programme], cert, key)
	}
	old, err := os.ReadFile(c.hub.config)
	if err != nil {
		c.t.Fatal(err)
	}
	toml := strings.Replace(string(old), "[outbound]", "[outbound]\nroute = \"operator\"\nretry = [\"1s\"]", 1)
	save(c.t, c.hub.config, []byte(toml+sections.String()))
	c.hub.run("check")
}

// keep writes a certificate and its key beside the hub's.
func (c *client) keep(name string, pair *tls.Certificate) (cert, key string) {
	c.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		c.t.Fatal(err)
	}
	cert, key = filepath.Join(c.hub.dir, "tls", name+".pem"), filepath.Join(c.hub.dir, "tls", name+".key")
	save(c.t, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}))
	save(c.t, key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	return cert, key
}

func (c *client) include(n int, programme string) string {
	c.t.Helper()
	child := children[n]
	var p struct{ ID string }
	c.hub.ask(&p, "pathway", "include", "--programme", programme, "--ins", child.ins, "--ins-oid", "1.2.250.1.213.1.4.10",
		"--family-name", child.family, "--given-name", child.given, "--birth-date", child.birth, "--sex", child.sex,
		"--establishment", "CHU Caen", "--consent", "oral", "--consent-from", "mère", "--consent-by", "IDEC")
	return p.ID
}

// tag is what names a pathway in a subject.
func (c *client) tag(programme string) string {
	return "[" + strings.ToUpper(programme) + " " + c.code[programme] + "] "
}

// send hands mails over at the operator, all on one connection.
func (c *client) send(from, to string, mails ...[]byte) {
	c.t.Helper()
	conn, err := smtp.Dial(c.op.Addr)
	if err != nil {
		c.t.Fatal(err)
	}
	defer conn.Close()
	for _, mail := range mails {
		if err := transaction(conn, from, to, bytes.ReplaceAll(mail, []byte("\n"), []byte("\r\n"))); err != nil {
			c.t.Fatalf("handing a mail over: %v", err)
		}
	}
	_ = conn.Quit()
}

// link is a way to a server that can be cut.
type link struct {
	addr string
	mu   sync.Mutex
	open map[net.Conn]bool
}

func newLink(t *testing.T, server string) *link {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{addr: ln.Addr().String(), open: map[net.Conn]bool{}}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", server)
			if err != nil {
				near.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
				l.mu.Lock()
				l.open[way[0]] = true
				l.mu.Unlock()
				running.Go(func() {
					_, _ = io.Copy(way[0], way[1])
					way[0].Close()
					way[1].Close()
					l.mu.Lock()
					delete(l.open, way[0])
					l.mu.Unlock()
				})
			}
		}
	})
	t.Cleanup(func() {
		ln.Close()
		l.cut()
		running.Wait()
	})
	return l
}

// cut drops every connection, in the middle of whatever goes on.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		c.Close()
	}
}

// box reads what a person has.
func (c *client) inbox(box string) []arrived {
	c.t.Helper()
	var all []arrived
	for _, raw := range c.op.boxes.Now(box) {
		all = append(all, parsed(c.t, raw))
	}
	return all
}

func (c *client) await(box, what string, ok func(arrived) bool) arrived {
	c.t.Helper()
	var found arrived
	eventually(c.t, patience, what, func() bool {
		for _, m := range c.inbox(box) {
			if ok(m) {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// TestOperatorsClient: the hub as a client of a real Postfix and Dovecot, in
// both directions.
func TestOperatorsClient(t *testing.T) {
	c := newClient(t)
	for n, l := range logins {
		t.Run("answers find their pathway, "+l.auth, func(t *testing.T) { c.of(t).conversation(n, l.programme) })
	}
	t.Run("set aside", func(t *testing.T) { c.of(t).setAside() })
	t.Run("exactly once", func(t *testing.T) { c.of(t).exactlyOnce() })
	if errors := c.hub.log.worst(); errors != "" {
		t.Errorf("journal:\n%s", errors)
	}
}

// of is the client as a part of the test sees it.
func (c *client) of(t *testing.T) *client {
	own := *c
	own.t = t
	return &own
}

// conversation: a mail with a tag, its copy, an answer that only the thread
// tells, and, for the child whose document there is, one that only its INS tells.
func (c *client) conversation(n int, programme string) {
	t, messages := c.t, 2
	doctor, coordinator, box := "roux@"+atCHU, "petit@"+atTown, c.box[programme]
	said := "Sortie de mardi, " + programme
	c.send(doctor, box, letter(doctor, box, c.tag(programme)+said, "Message-ID: <un."+programme+"@chu.e2e.test>", "", "Qui passe mardi ?", ""))
	first := c.await(coordinator, "the copy is there", func(a arrived) bool { return strings.Contains(a.Get("Subject"), said) })
	if from := first.Get("From"); !strings.Contains(from, box) || !strings.Contains(from, "Anne Roux") {
		t.Errorf("the copy is from %q", from)
	}
	if !bytes.Equal(first.body, []byte("Qui passe mardi ?\r\n")) {
		t.Errorf("the body arrived as %q", first.body)
	}
	to := address(first.Get("Reply-To"))
	if to != box {
		t.Errorf("answers go to %q", to)
	}
	c.send(coordinator, to, letter(coordinator, to, "Autre chose, "+programme, "Message-ID: <deux."+programme+"@ville.e2e.test>",
		"In-Reply-To: "+first.Get("Message-Id"), "References: "+first.Get("References")+" "+first.Get("Message-Id"), "", "Moi.", ""))
	c.await(doctor, "the answer is there", func(a arrived) bool { return strings.Contains(a.Get("Subject"), "Autre chose, "+programme) })
	if n == 0 {
		c.send(doctor, box, letter(doctor, box, "Compte rendu", multipart("IHE_XDM.ZIP", "application/zip", xdm(t, children[0].ins))...))
		c.await(coordinator, "the document is there", func(a arrived) bool { return strings.Contains(a.Get("Subject"), "Compte rendu") })
		messages++
	}
	if thread := c.hub.thread(c.code[programme]).Messages; len(thread) != messages {
		t.Errorf("%d messages in the thread, want %d", len(thread), messages)
	}
	if held := c.hub.run("triage", "list", "--json"); strings.TrimSpace(held) != "[]" {
		t.Errorf("held: %s", held)
	}
	eventually(t, patience, "the box is empty", func() bool { return len(c.inbox(box)) == 0 })
}

// setAside: what cannot be taken does not hold up the rest.
func (c *client) setAside() {
	t := c.t
	doctor, box := "roux@"+atCHU, c.box["parsac"]
	large := letter(doctor, box, c.tag("parsac")+"Scanner", multipart("scanner.dcm", "application/dicom", noise(22<<20))...)
	c.send(doctor, box, large, letter(doctor, box, c.tag("parsac")+"Suite du scanner", "", "Bonjour.", ""))
	c.await("petit@"+atTown, "the next one is there", func(a arrived) bool { return strings.Contains(a.Get("Subject"), "Suite du scanner") })
	var st struct {
		Operators []struct {
			Name      string
			Connected bool
			Aside     int
		}
	}
	c.hub.ask(&st, "status")
	for _, o := range st.Operators {
		if !o.Connected || (o.Aside == 1) != (o.Name == "parsac") {
			t.Errorf("status of %s: %+v", o.Name, o)
		}
	}
	eventually(t, patience, "it is apart", func() bool { return len(c.inbox(box)) == 0 })
}

// exactlyOnce: a thousand mails over three boxes (a hundred in the short form),
// while the hub is killed, links are cut, tokens are revoked and the boxes count
// anew.
func (c *client) exactlyOnce() {
	t := c.t
	total := 99
	if long {
		total = 999
	}
	doctor := "roux@" + atCHU
	want := map[string]bool{}
	before := 0
	for _, l := range logins {
		before += len(c.hub.thread(c.code[l.programme]).Messages)
	}
	var sending sync.WaitGroup
	for _, l := range logins {
		var mails [][]byte
		for n := range total / 3 {
			subject := fmt.Sprintf("charge %s %d", l.programme, n)
			want[subject] = true
			head := fmt.Sprintf("From: <%s>\nSubject: %s%s\nMIME-Version: 1.0\nContent-Type: text/plain\n", doctor, c.tag(l.programme), subject)
			if n%5 > 0 { // the others have neither Message-ID nor Date
				head += fmt.Sprintf("Message-ID: <charge.%s.%d@chu.e2e.test>\nDate: %s\n", l.programme, n, time.Now().Format(time.RFC1123Z))
			}
			size := 2 << 10
			if n%50 == 7 {
				size = 3 << 20
			}
			mails = append(mails, []byte(head+"\n"+strings.ReplaceAll(string(body(size)), "\r\n", "\n")))
		}
		sending.Go(func() { c.send(doctor, c.box[l.programme], mails...) })
	}
	kills, cuts, anew := 0, 0, 0
	until := time.Now().Add(patience)
	taken := func() int {
		n := -before
		for _, l := range logins {
			n += len(c.hub.thread(c.code[l.programme]).Messages)
		}
		return n
	}
	for step := 0; time.Now().Before(until); step++ {
		have := taken()
		if have >= total && kills >= 3 && cuts >= 6 && anew >= 2 {
			break
		}
		if have < total {
			until = time.Now().Add(patience) // from the last progress on
		}
		time.Sleep(time.Duration(50+rand.IntN(300)) * time.Millisecond) // the moment is the test
		switch {
		case step%5 == 2:
			c.hub.kill()
			c.hub.start()
			kills++
		case step%7 == 5:
			c.op.boxes.Stop()
			for _, box := range c.box {
				c.op.boxes.CountAnew(box)
			}
			c.op.boxes.Start()
			anew++
		case step%3 == 0:
			c.idp.revoke()
			fallthrough
		default:
			c.links[rand.IntN(len(c.links))].cut()
			cuts++
		}
	}
	sending.Wait()
	eventually(t, patience, "the boxes are empty", func() bool {
		for _, box := range c.box {
			if len(c.inbox(box)) > 0 {
				return false
			}
		}
		return c.op.Queued() == 0
	})
	times := map[string]int{}
	for _, l := range logins {
		for _, m := range c.hub.thread(c.code[l.programme]).Messages {
			if i := strings.Index(m.Subject, "charge "); i >= 0 {
				times[m.Subject[i:]]++
			}
		}
	}
	for subject := range want {
		if times[subject] != 1 {
			t.Errorf("%s was taken %d times", subject, times[subject])
		}
		delete(times, subject)
	}
	if len(times) > 0 {
		t.Errorf("taken, though nobody sent it: %v", times)
	}
	// Nobody is left out by what went on; a kill may cut off the operator's
	// answer to a copy, which then goes once more.
	eventually(t, 2*patience, "all copies have left", func() bool {
		var st struct{ Queue struct{ Queued int } }
		c.hub.ask(&st, "status")
		return st.Queue.Queued == 0 && c.op.Queued() == 0
	})
	copies := map[string]int{}
	for _, m := range c.inbox("petit@" + atTown) {
		if i := strings.Index(m.Get("Subject"), "charge "); i >= 0 {
			copies[m.Get("Subject")[i:]]++
		}
	}
	twice := 0
	for subject := range want {
		if copies[subject] == 0 {
			t.Errorf("no copy of %s", subject)
		}
		twice += max(0, copies[subject]-1)
	}
	if twice > 50*kills {
		t.Errorf("%d copies went twice, with %d kills", twice, kills)
	}
	t.Logf("%d copies, %d twice", len(copies), twice)
	t.Logf("%d mails, %d kills, %d cuts, counted anew %d times, %d tokens", total, kills, cuts, anew, c.idp.given)
}
