package peertest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

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

	c := box.Login(t, "roux@chu.example")
	defer c.Close()
	if got := c.Mails(); len(got) != 1 || !bytes.Equal(got[0], mails[0]) {
		t.Errorf("%d mails by IMAP: %q", len(got), got)
	}
}

// TestDoors: the public door takes mail from the callers named, for the boxes
// there are; the operator's own users come by another.
func TestDoors(t *testing.T) {
	ca, err := trust.NewDevAuthority(nil)
	if err != nil {
		t.Fatal(err)
	}
	var pairs [3]tls.Certificate // of the operator, a caller, another caller
	for i := range pairs {
		if pairs[i], err = ca.Issue(trust.Request{Name: fmt.Sprintf("CN=mx%d.example,C=FR", i)}); err != nil {
			t.Fatal(err)
		}
	}
	op := StartPostfix(t, PostfixOptions{
		Domains: []string{"chu.example"}, Boxes: []string{"roux@chu.example"}, Submission: true,
		Addr:        FreePort(t, "127.0.0.2"),
		Certificate: &pairs[0], Authorities: []*x509.Certificate{ca.Certificate()},
		WantClient: true, Callers: []*x509.Certificate{pairs[1].Leaf},
	})
	const mail = "Subject: essai\r\n\r\nBonjour.\r\n"
	call := func(pair tls.Certificate, to string) error {
		t.Helper()
		c, err := smtp.DialStartTLS(op.Addr, &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.SendMail("a@hub.example", []string{to}, strings.NewReader(mail))
	}
	if err := call(pairs[1], "roux@chu.example"); err != nil {
		t.Errorf("a caller was refused: %v", err)
	}
	if err := call(pairs[1], "inconnue@chu.example"); err == nil || !strings.Contains(err.Error(), "unknown") {
		t.Errorf("a box that is not was answered %v", err)
	}
	if err := call(pairs[2], "roux@chu.example"); err == nil {
		t.Error("a caller that is not named was taken")
	}
	hand(t, op.Submission, "roux@chu.example", "roux@chu.example", mail)
	op.Mails(2)
}

// TestNames asks the name service as the hub does.
func TestNames(t *testing.T) {
	server := Names(t, map[string]netip.Addr{"chu.example": netip.MustParseAddr("127.0.0.2")})
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server)
	}}
	mx, err := r.LookupMX(t.Context(), "chu.example.")
	if err != nil || len(mx) != 1 || mx[0].Host != "mx.chu.example." {
		t.Fatalf("mail hosts %v, %v", mx, err)
	}
	addrs, err := r.LookupNetIP(t.Context(), "ip4", mx[0].Host)
	if err != nil || len(addrs) != 1 || addrs[0].Unmap().String() != "127.0.0.2" {
		t.Errorf("addresses %v, %v", addrs, err)
	}
	var none *net.DNSError
	if _, err := r.LookupMX(t.Context(), "ailleurs.example."); !errors.As(err, &none) || !none.IsNotFound {
		t.Errorf("a domain that is not: %v", err)
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
