package inbound

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/gateway/login"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

// submission runs a submission server over the real hub, with an account for
// Dr Roux.
func submission(t *testing.T, security Security) (h *house, hub *mailbox.Hub, code, password string) {
	t.Helper()
	hub, code = realHub(t)
	h = start(t, security, func(o *Options) {
		o.Hub = hub
		o.Submission = &Submission{Accounts: hub, Login: login.Options{
			Hub: hub, Guard: o.Guard, Via: mailbox.ViaSubmit, PasswordFrom: netip.Addr.IsLoopback,
		}}
	})
	made, err := hub.CreateAccount(t.Context(), mailbox.Actor{Name: "unix:0"}, mailbox.AccountRequest{Mailbox: "roux@chu.example"})
	if err != nil {
		t.Fatal(err)
	}
	return h, hub, code, made.Password
}

func plainText(username, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + username + "\x00" + password))
}

// filled puts the pathway's code and the login into a dialogue.
func filled(dialogue, code, password string) string {
	word := base64.StdEncoding.EncodeToString
	return strings.NewReplacer(
		"<CODE@", "<"+code+"@", "GOOD", plainText("roux@chu.example", password), "WRONG", plainText("roux@chu.example", "wrong"),
		"STRANGER", plainText("nobody@chu.example", password), "USERNAME", word([]byte("roux@chu.example")), "PASSWORD", word([]byte(password)),
		"LONG", strings.Repeat("QUFB", 3100),
	).Replace(dialogue)
}

func TestSubmission(t *testing.T) {
	h, hub, code, password := submission(t, StartTLS)
	p := client(t, h)
	p.until(filled(`S+ 220
		C: EHLO desk.example
		S: 250-Hello *
		S: 250-PIPELINING
		S: 250-8BITMIME
		S: 250-ENHANCEDSTATUSCODES
		S: 250-CHUNKING
		S: 250-STARTTLS
		S+ 250
		C: AUTH PLAIN GOOD
		S: 504 *
		C: MAIL FROM:<roux@chu.example>
		S: 530 5.7.0 *
		C: STARTTLS
		S+ 220
		TLS -
		C: EHLO desk.example
		S: 250-Hello *
		S: 250-PIPELINING
		S: 250-8BITMIME
		S: 250-ENHANCEDSTATUSCODES
		S: 250-CHUNKING
		S: 250-AUTH PLAIN LOGIN
		S+ 250
		C: MAIL FROM:<roux@chu.example>
		S: 530 5.7.0 *
		C: AUTH CRAM-MD5
		S: 504 5.5.4 *
		C: AUTH EXTERNAL =
		S: 504 5.5.4 *
		C: AUTH PLAIN WRONG
		S: 535 5.7.8 *
		C: AUTH PLAIN STRANGER
		S: 535 5.7.8 *
		C: AUTH PLAIN QUJD
		S: 501 5.5.2 *
		C: AUTH PLAIN LONG
		S: 500 5.5.2 *
		EOF
		---
		S+ 220
		C: STARTTLS
		S+ 220
		TLS -
		C: EHLO desk.example
		S+ 250
		C: AUTH LOGIN
		S: 334 VXNlcm5hbWU6
		C: USERNAME
		S: 334 UGFzc3dvcmQ6
		C: *
		S+ 501
		C: AUTH LOGIN
		S+ 334
		C: STARTTLS
		S+ 501
		C: AUTH LOGIN USERNAME
		S+ 334
		C: PASSWORD
		S: 235 *
		C: AUTH PLAIN GOOD
		S: 503 *
		C: MAIL FROM:<>
		S: 550 5.7.1 *
		C: MAIL FROM:<bernard@chg.example>
		S: 550 5.7.1 *
		C: MAIL FROM:<roux@chu.example>
		S+ 250
		C: AUTH PLAIN GOOD
		S: 503 *
		C: RCPT TO:<bernard@chg.example>
		S: 550 5.7.1 *
		C: RCPT TO:<CODE@parcours.example>
		S+ 250
		C: DATA
		S+ 354
		C: From: "Luc Bernard" <bernard@chg.example>
		C: Message-ID: <1@desk.example>
		C:
		C: usurpation
		C: .
		S: 550 5.7.1 *
		C: MAIL FROM:<roux@chu.example>
		S+ 250
		C: RCPT TO:<CODE@parcours.example>
		S+ 250
		C: DATA
		S+ 354
		C: From: "Anne Roux" <roux@chu.example>
		C: Message-ID: <2@desk.example>
		C: Subject: essai
		C:
		C: bonjour
		C: .
		S: 250 2.0.0 OK *
		C: QUIT
		S+ 221`, code, password))
	thread, err := hub.Thread(t.Context(), mailbox.Actor{Name: "unix:0"}, code, "")
	if err != nil || len(thread.Messages) != 1 {
		t.Fatalf("%d messages, %v", len(thread.Messages), err)
	}
	if m := thread.Messages[0]; m.Author.Member != "m1" || m.Author.Certainty != "sure" || len(m.Deliveries) != 1 {
		t.Errorf("filed as %+v", m)
	}
	for _, secret := range []string{password, "roux", "bernard"} {
		if strings.Contains(h.log.String(), secret) {
			t.Errorf("the journal holds %q:\n%s", secret, h.log)
		}
	}
}

// A token fills a line that is longer than any other command, in one go or
// after a challenge; longer still, and the connection ends.
func TestLongAuthLine(t *testing.T) {
	h, _, _, password := submission(t, ImplicitTLS)
	long := base64.StdEncoding.EncodeToString([]byte("\x00" + strings.Repeat("x", 8000) + "\x00" + password))
	for _, dialogue := range []string{
		"C: AUTH PLAIN " + long + "\nS: 535 5.7.8 *",
		"C: AUTH PLAIN\nS: 334*\nC: " + long + "\nS: 535 5.7.8 *",
		"C: NOOP " + long + "\nS: 500 5.5.2 *\nEOF",
	} {
		client(t, h).until("TLS -\nS+ 220\nC: EHLO a\nS+ 250\n" + dialogue)
	}
}

// What is offered does not depend on what another server of the program does:
// operators are never offered AUTH.
func TestOperatorsAreNotOfferedAuth(t *testing.T) {
	h := start(t, ImplicitTLS, nil)
	client(t, h).until(`TLS chu
		S+ 220
		C: AUTH PLAIN AGEAYg==
		S: 502 *
		C: EHLO mail.chu.example
		S: 250-Hello *
		S: 250-PIPELINING
		S: 250-8BITMIME
		S: 250-ENHANCEDSTATUSCODES
		S: 250-CHUNKING
		S: 250-DSN
		S: 250-SIZE *
		S: 250 LIMITS *
		C: AUTH PLAIN AGEAYg==
		S+ 5`)
}

func TestRevocationEndsTheConnection(t *testing.T) {
	h, hub, code, password := submission(t, ImplicitTLS)
	idle, posting := client(t, h), client(t, h)
	in := filled("TLS -\nS+ 220\nC: EHLO a\nS+ 250\nC: AUTH PLAIN GOOD\nS+ 235", code, password)
	idle.until(in)
	posting.until(in + filled("\nC: MAIL FROM:<roux@chu.example>\nS+ 250\nC: RCPT TO:<CODE@parcours.example>\nS+ 250\nC: DATA\nS+ 354\nC: From: <roux@chu.example>\nC:\n", code, password))
	if n := hub.Sessions(); n != 2 {
		t.Errorf("%d sessions", n)
	}
	if _, err := hub.RevokeAccount(t.Context(), mailbox.Actor{Name: "unix:0"}, mailbox.AccountRevoke{Username: "roux@chu.example"}); err != nil {
		t.Fatal(err)
	}
	idle.until("S+ 421\nEOF")
	posting.until("C: .\nS: 550 5.7.1 *\nS+ 421\nEOF")
	if thread, err := hub.Thread(t.Context(), mailbox.Actor{Name: "unix:0"}, code, ""); err != nil || len(thread.Messages) != 0 {
		t.Errorf("%d messages filed, %v", len(thread.Messages), err)
	}
	for deadline := time.Now().Add(5 * time.Second); hub.Sessions() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d sessions are left", hub.Sessions())
		}
	}
}

// FuzzLogin: whatever is said before and in a login, over TLS, ends without a
// panic and lets nobody in.
func FuzzLogin(f *testing.F) {
	for _, said := range []string{
		"AUTH PLAIN AGEAYg==\r\n", "AUTH PLAIN\r\nAGEAYg==\r\n", "AUTH LOGIN\r\nYQ==\r\nYg==\r\n", "AUTH LOGIN YQ==\r\n*\r\n",
		"AUTH XOAUTH2 dXNlcj1hAWF1dGg9QmVhcmVyIGIBAQ==\r\n\r\n", "AUTH OAUTHBEARER bixhPWEsAWF1dGg9QmVhcmVyIGIBAQ==\r\nAQ==\r\n",
		"AUTH EXTERNAL =\r\n", "AUTH\r\n", "AUTH PLAIN " + strings.Repeat("A", 13000) + "\r\n", "AUTH LOGIN\r\n\x00\r\r\nMAIL FROM:<a@b.c>\r\n",
	} {
		f.Add([]byte(said))
	}
	guard, _ := guardFor(f)
	hub := &doorman{stub: &stub{}}
	server, err := New(Options{
		Hub: hub, Guard: guard, Domain: domain,
		Limits: Limits{Command: time.Second, Read: time.Second, Handshake: time.Second, Linger: time.Millisecond},
		Submission: &Submission{Accounts: hub, Login: login.Options{
			Hub: hub, Guard: guard, Via: mailbox.ViaSubmit, PasswordFrom: func(netip.Addr) bool { return true }, Tokens: true,
		}},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { server.Shutdown(f.Context()) })
	f.Fuzz(func(t *testing.T, said []byte) {
		before := journal.Panics()
		here, there := net.Pipe()
		server.accept(there, ImplicitTLS)
		here.SetDeadline(time.Now().Add(5 * time.Second))
		conn := clientTLS(here)
		var replies []string
		done := make(chan struct{})
		go func() {
			defer close(done)
			for lines := bufio.NewReader(conn); ; {
				line, err := lines.ReadString('\n')
				replies = append(replies, line)
				if err != nil {
					return
				}
			}
		}()
		io.WriteString(conn, "EHLO a.example\r\n")
		conn.Write(said)
		io.WriteString(conn, "\r\n*\r\nQUIT\r\n")
		<-done
		here.Close()
		if journal.Panics() != before {
			t.Fatal("a panic was recovered")
		}
		if slices.ContainsFunc(replies, func(s string) bool { return strings.HasPrefix(s, "235") }) {
			t.Fatalf("let in after %q", said)
		}
	})
}

// doorman lets nobody in.
type doorman struct{ *stub }

func (*doorman) Authenticate(context.Context, mailbox.Login) (*mailbox.Account, error) {
	return nil, mailbox.ErrLogin
}

func (*doorman) MaySend(context.Context, *mailbox.Account, store.Address) (bool, error) {
	return false, nil
}

func (*doorman) AccountGone(context.Context, *mailbox.Account) (<-chan struct{}, func(), error) {
	return nil, func() {}, nil
}

func clientTLS(conn net.Conn) net.Conn {
	return tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
}
