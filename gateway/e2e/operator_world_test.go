package e2e

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/relais-sante/relais/gateway/peertest"
	"github.com/relais-sante/relais/gateway/trust"
)

// atRegion is the domain of the operator that the hub is a client of.
const atRegion = "region.e2e.test"

// lostBox is one that the operator accepts mail for, and then cannot deliver to.
const lostBox = "loin@" + atTown

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
	owners := map[string]string{}
	for _, l := range logins {
		c.box[l.programme] = l.programme + "@" + atRegion
		users = append(users, c.box[l.programme])
		owners[c.box[l.programme]] = c.box[l.programme]
	}
	boxes := peertest.StartDovecot(t, peertest.DovecotOptions{
		Users: users, Password: "s3cret", Certificate: &pair, Authorities: trusted, Tokens: c.idp.URL + "/introspect",
	})
	c.op = &operator{boxes: boxes, Postfix: peertest.StartPostfix(t, peertest.PostfixOptions{
		Hostname: "mail." + atRegion, Domains: []string{atRegion, atCHU, atTown}, Boxes: append(users, lostBox), LMTP: boxes.LMTP, Logins: boxes.Auth, Owners: owners,
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
