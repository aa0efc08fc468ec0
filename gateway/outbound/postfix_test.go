package outbound

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"

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
