package outbound

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway/peertest"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store"
)

// postfixMails are bodies that a mail system might be tempted to mend.
func postfixMails() []string {
	mails := []string{
		plain,
		".\r\n..\r\n...\r\n",
		"accents: \xe9\xe8 \xc3\xa9 \xff\r\n",
		strings.Repeat("x", 5000) + "\r\n",
		strings.Repeat("\r\n", 50),
		"trailing   \t \r\n--=_b\r\n \r\n",
		strings.Repeat(strings.Repeat("QUJD", 19)+"\r\n", 1<<20/78),
	}
	for i, m := range mails {
		mails[i] = fmt.Sprintf("From: <k7f3q2x.m1@hub.example>\r\nSubject: essai %d\r\n\r\n", i) + m
	}
	return mails
}

// TestPostfix delivers to a real Postfix, in clear and with both certificates:
// every mail arrives once, not a byte of it changed.
func TestPostfix(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	pair := s.issue(t, dnCHU)
	for name, tt := range map[string]struct {
		peer peertest.PostfixOptions
		tls  TLSPolicy
	}{
		"in clear": {peertest.PostfixOptions{}, TLSNone},
		"both certificates": {peertest.PostfixOptions{
			Certificate: &pair, Authorities: []*x509.Certificate{s.ca.Certificate()}, WantClient: true,
		}, TLSRequired},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.peer.Domains, tt.peer.MessageSize = []string{"chu.example"}, 10<<20
			op := peertest.StartPostfix(t, tt.peer)
			q := newQueue()
			mails := postfixMails()
			for i, m := range mails {
				q.addMail(mailbox.Outgoing{
					MailFrom: "k7f3q2x.b-1@hub.example", RcptTo: store.Address(fmt.Sprintf("box%d@chu.example", i)),
					EightBit: strings.Contains(m, "\xe9"),
				}, m)
			}
			large := q.addMail(mailbox.Outgoing{RcptTo: "box@chu.example", Size: 11 << 20}, "")
			unknown := q.addMail(mailbox.Outgoing{RcptTo: "box@elsewhere.example"}, plain)
			route := NewMX(port(t, op.Addr), s.guard, dns{"chu.example": {{Host: "mx.chu.example.", Pref: 10}}})
			o := quick(q, route)
			o.TLS, o.Trust = tt.tls, s.guard
			start(t, o)
			q.all(t)
			arrived := op.Mails(len(mails))
			if len(arrived) != len(mails) {
				t.Errorf("%d mails arrived, of %d", len(arrived), len(mails))
			}
			for i, m := range mails {
				n := 0
				for _, a := range arrived {
					if bytes.HasSuffix(a, []byte(m)) {
						n++
						if secured := bytes.Contains(a, []byte("CN \"parcours.hub.example\"")); secured != (tt.tls == TLSRequired) {
							t.Errorf("mail %d: our certificate shown: %v", i, secured)
						}
					}
				}
				if n != 1 {
					t.Errorf("mail %d arrived %d times unchanged", i, n)
				}
			}
			if out := q.get(large).results[0]; out.Kind != mailbox.OutcomeTooLarge || out.Limit != 10<<20 {
				t.Errorf("too large: %+v", out)
			}
			if out := q.get(unknown).results[0]; out.Kind != mailbox.OutcomePermanent {
				t.Errorf("another domain: %+v", out)
			}
			if t.Failed() {
				t.Log(op.Log())
			}
		})
	}
}

// TestPostfixAwayAndBack: the operator stops in the middle and comes back; all
// arrives once.
func TestPostfixAwayAndBack(t *testing.T) {
	t.Parallel()
	op := peertest.StartPostfix(t, peertest.PostfixOptions{Domains: []string{"chu.example"}})
	q := newQueue()
	start(t, quick(q, toward{"chu.example": op.Addr}))
	q.add("box0@chu.example")
	q.all(t)
	op.Stop()
	for i := range 5 {
		q.add(fmt.Sprintf("box%d@chu.example", i+1))
	}
	q.until(t, "an attempt has failed", func() bool { return len(q.entries[q.order[1]].results) > 0 })
	op.Start()
	q.all(t)
	if n := len(op.Mails(6)); n != 6 {
		t.Errorf("%d mails of 6", n)
	}
}

// TestPostfixSubmission hands mails to a real Postfix as the client of a box: by
// each way of logging in, with Dovecot behind it, and by certificate alone.
func TestPostfixSubmission(t *testing.T) {
	t.Parallel()
	peertest.Require(t, "postfix", "dovecot")
	s := newSpace(t)
	var issued atomic.Pointer[string] // the token that is good
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		good := issued.Load()
		w.Header().Set("Content-Type", "application/json")
		active := good != nil && r.PostFormValue("token") == *good
		fmt.Fprintf(w, `{"active":%v,"username":%q}`, active, ownBox)
	}))
	t.Cleanup(tokens.Close)
	logins := peertest.StartDovecot(t, peertest.DovecotOptions{Users: []string{ownBox}, Password: "sésame", Tokens: tokens.URL})
	pair := s.issue(t, "CN=smtp.grades.example")
	hub, err := tls.LoadX509KeyPair(s.options.Certificate, s.options.Key)
	if err != nil {
		t.Fatal(err)
	}
	op := peertest.StartPostfix(t, peertest.PostfixOptions{
		Domains: []string{"chu.example"}, Certificate: &pair, Authorities: []*x509.Certificate{s.ca.Certificate()}, MessageSize: 10 << 20,
		Logins: logins.Auth, Owners: map[string]string{ownBox: ownBox, "autre@grades.example": "autre@grades.example"},
		Known: []*x509.Certificate{hub.Leaf},
	})
	issuer, given := identityProvider(t, 600)
	n := 0
	for _, tt := range []struct {
		name, server, mode string
		set                func(*configs.Operator)
		from               store.Address
		good               int    // the token that Dovecot takes
		reason             string // empty: sent
		status             string // what Postfix says of the connection
	}{
		{"password, STARTTLS", op.Clients, configs.STARTTLS, func(*configs.Operator) {}, ownBox, 0, "", "sasl_method=PLAIN"},
		{"password, TLS at once", op.ClientsTLS, configs.ImplicitTLS, func(*configs.Operator) {}, ownBox, 0, "", "sasl_method=PLAIN"},
		{"token", op.Clients, configs.STARTTLS, func(o *configs.Operator) { o.Auth = configs.AuthXOAUTH2 }, ownBox, 1, "", "sasl_method=XOAUTH2"},
		{"token by RFC 7628", op.ClientsTLS, configs.ImplicitTLS, func(o *configs.Operator) { o.Auth = configs.AuthOAuthBearer }, ownBox, 1, "", "sasl_method=OAUTHBEARER"},
		{"the second token", op.Clients, configs.STARTTLS, func(o *configs.Operator) { o.Auth = configs.AuthXOAUTH2 }, ownBox, 2, "", "sasl_method=XOAUTH2"},
		{"certificate", op.Clients, configs.STARTTLS, func(o *configs.Operator) { o.Auth = configs.AuthCertificate }, ownBox, 0, "", "disconnect from"},
		{"no good token", op.Clients, configs.STARTTLS, func(o *configs.Operator) { o.Auth = configs.AuthOAuthBearer }, ownBox, 9, "login", ""},
		{"another's password", op.Clients, configs.STARTTLS, func(o *configs.Operator) { o.Username = "autre@grades.example" }, ownBox, 0, "login", ""},
		{"another's sender", op.Clients, configs.STARTTLS, func(*configs.Operator) {}, "autre@grades.example", 0, "login", ""},
		{"no sender, as receipts have none", op.Clients, configs.STARTTLS, func(*configs.Operator) {}, "", 0, "", "sasl_method=PLAIN"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := int(given.Load())
			good := fmt.Sprintf("token-%d", before+tt.good) + strings.Repeat("x", 600)
			issued.Store(&good)
			route := submissionTo(t, s, tt.server, tt.mode, func(o *configs.Operator) { o.Issuer = issuer; tt.set(o) })
			q := newQueue()
			q.box = "pon"
			q.retry = func(int) time.Duration { return time.Hour }
			o := quick(q, route)
			o.Trust, o.Timeouts = s.guard, Timeouts{}
			_, stop := start(t, o)
			logged := len(op.Log())
			mail := postfixMails()[6]
			out := q.first(t, q.addMail(mailbox.Outgoing{MailFrom: tt.from, RcptTo: "roux@chu.example"}, mail))
			stop()
			if tt.reason != "" {
				if out.Kind != mailbox.OutcomeTemporary || out.Reason != tt.reason {
					t.Errorf("outcome %+v", out)
				}
				return
			}
			if out.Kind != mailbox.OutcomeSent {
				t.Fatalf("outcome %+v\n%s\n%s", out, op.Log()[logged:], logins.Log())
			}
			n++
			same := 0
			for _, m := range op.Mails(n) {
				if bytes.HasSuffix(m, []byte(mail)) {
					same++
				}
			}
			if same != n {
				t.Errorf("%d mails of %d arrived unchanged", same, n)
			}
			if log := op.Log()[logged:]; !strings.Contains(log, tt.status) {
				t.Errorf("no %q in\n%s", tt.status, log)
			}
		})
	}
}
