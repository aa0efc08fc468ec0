package peertest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-smtp"

	"github.com/relais-sante/relais/gateway/trust"
)

func hand(t *testing.T, addr, from, to, mail string) {
	t.Helper()
	c, err := smtp.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SendMail(from, []string{to}, strings.NewReader(mail)); err != nil {
		t.Fatalf("handing a mail to %s: %v", addr, err)
	}
	_ = c.Quit()
}

// TestOperator: mail for an operator's domain goes through Postfix into a box
// of Dovecot and is read over IMAP.
func TestOperator(t *testing.T) {
	box := StartDovecot(t, DovecotOptions{Users: []string{"roux@chu.example"}})
	op := StartPostfix(t, PostfixOptions{Domains: []string{"chu.example"}, LMTP: box.LMTP})
	const body = "\r\nBonjour \xe9.\r\n..\r\n.\r\n" // what follows the Subject
	hand(t, op.Addr, "a@hub.example", "Roux@chu.example", "Subject: essai\r\n"+body)
	mails := box.Mails("roux@chu.example", 1)
	if !bytes.HasSuffix(mails[0], []byte("Subject: essai\r\n"+body)) {
		t.Errorf("arrived as %q", mails[0])
	}

	c, err := imapclient.DialInsecure(box.IMAP, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login("roux@chu.example", "secret").Wait(); err != nil {
		t.Fatalf("login: %v\n%s", err, box.Log())
	}
	data, err := c.Select("INBOX", nil).Wait()
	if err != nil || data.NumMessages != 1 {
		t.Errorf("INBOX: %+v, %v", data, err)
	}
}

// TestAnybody: without a list every address has a box.
func TestAnybody(t *testing.T) {
	box := StartDovecot(t, DovecotOptions{})
	op := StartPostfix(t, PostfixOptions{Domains: []string{"chu.example"}, LMTP: box.LMTP})
	hand(t, op.Addr, "a@hub.example", "someone@chu.example", "Subject: essai\r\n\r\n.\r\n")
	box.Mails("someone@chu.example", 1)
	if n := len(box.Now("other@chu.example")); n != 0 {
		t.Errorf("%d mails in another box", n)
	}
}

// hub is a server that wants the peer's certificate, like the hub's.
type hub struct {
	mails chan string // subject of the certificate and the mail
	conn  *smtp.Conn
}

func (h *hub) Mail(string, *smtp.MailOptions) error { return nil }
func (h *hub) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (h *hub) Reset()                               {}
func (h *hub) Logout() error                        { return nil }
func (h *hub) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	cs, _ := h.conn.TLSConnectionState()
	if len(cs.PeerCertificates) == 0 {
		return fmt.Errorf("no certificate")
	}
	h.mails <- cs.PeerCertificates[0].Subject.CommonName + "\n" + string(b)
	return nil
}

// TestRelayhost: Postfix as the hospital's operator sends to a hub that wants
// its certificate; the hub is away at first.
func TestRelayhost(t *testing.T) {
	ca, err := trust.NewDevAuthority(nil)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(name string) *tls.Certificate {
		pair, err := ca.Issue(trust.Request{Name: name, Hosts: []string{"127.0.0.1"}})
		if err != nil {
			t.Fatal(err)
		}
		return &pair
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.Certificate())

	addr := FreePort(t)
	op := StartPostfix(t, PostfixOptions{
		Relayhost: addr, RelayTLS: true,
		Certificate: issue("CN=mx.chg.example,O=CHG,C=FR"), Authorities: []*x509.Certificate{ca.Certificate()},
	})
	hand(t, op.Addr, "idec@chg.example", "k7f3q2x@hub.example", "Subject: essai\r\n\r\nBonjour.\r\n")
	for deadline := time.Now().Add(patience); op.Queued() == 0 || !strings.Contains(op.Log(), "status=deferred"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the mail is not in the queue:\n%s", op.Log())
		}
	}
	op.Stop()
	op.Start()

	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	mails := make(chan string, 1)
	srv := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &hub{mails: mails, conn: c}, nil
	}))
	srv.ErrorLog = log.New(io.Discard, "", 0)
	srv.TLSConfig = &tls.Config{
		Certificates: []tls.Certificate{*issue("CN=hub.example,C=FR")},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: pool,
	}
	go srv.Serve(ln)
	defer srv.Close()
	select {
	case m := <-mails:
		if !strings.HasPrefix(m, "mx.chg.example\n") || !strings.HasSuffix(m, "Subject: essai\r\n\r\nBonjour.\r\n") {
			t.Errorf("got %q", m)
		}
	case <-time.After(patience):
		t.Fatalf("nothing came:\n%s", op.Log())
	}
}
