package outbound

import (
	"context"
	"crypto/rand"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store/bolt"
	"github.com/relais-sante/relais/store/seal"
)

// kept opens the real hub on its real engine.
func kept(t *testing.T) *mailbox.Hub {
	t.Helper()
	data, epochs, key := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "hub.key")
	if err := seal.NewHubKey(key, rand.Reader); err != nil {
		t.Fatal(err)
	}
	sealing := seal.Options{DataDir: data, EpochDir: epochs, Hub: seal.File(key)}
	if err := seal.Create(sealing); err != nil {
		t.Fatal(err)
	}
	keys, err := seal.Open(sealing)
	if err != nil {
		t.Fatal(err)
	}
	s, err := bolt.Open(bolt.Options{Dir: data, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		keys.Close()
	})
	set, _ := rules.LoadFS(configs.Programmes, "programmes", rules.LoadOptions{Dev: true})
	return mailbox.New(mailbox.Options{
		Store: s, Programmes: func() *rules.Set { return set }, Domain: "hub.example", Locale: "fr", Dev: true,
		NIL: "DEV000000", MaxMessage: 25 << 20, Instance: "test",
		Retry:  mailbox.RetryTimes{Steps: []time.Duration{50 * time.Millisecond}, GiveUp: time.Hour},
		Listed: func(string) bool { return true },
	})
}

// TestRealHub: one post of the real hub, to boxes of four operators with
// different manners. The thread then tells what became of each copy.
func TestRealHub(t *testing.T) {
	h := kept(t)
	ctx, idec := context.Background(), mailbox.Actor{Name: "unix:1000(idec)", Where: "socket"}
	p, err := h.Include(ctx, idec, mailbox.IncludeRequest{
		Programme: "pon", INS: "279035121518989", FamilyName: "Essai", GivenName: "Zoé", BirthDate: "2015-03-02", Sex: "F",
		Establishment: "CHU", Consent: "oral", ConsentFrom: "mère", ConsentBy: "IDEC",
	})
	if err != nil {
		t.Fatal(err)
	}
	ops := map[string]*remote{
		"good.example": newOperator(t, nil),
		"flaky.example": newOperator(t, func(conn, mail int) manners {
			switch {
			case conn == 1:
				return manners{cut: "BODY"}
			case conn == 2 && mail == 1:
				return on(true, "MAIL", "451 4.3.0 later")
			}
			return manners{}
		}),
		"closed.example": newOperator(t, func(int, int) manners { return on(true, "RCPT", "550 5.1.1 no such box") }),
		"small.example":  newOperator(t, func(int, int) manners { return manners{offers: []string{"SIZE 20000"}} }),
		"away.example":   nil,
		"author.example": newOperator(t, nil),
	}
	route := toward{"away.example": nobody(t)}
	for d, op := range ops {
		if op != nil {
			route[d] = op.addr()
		}
		_, err := h.AddMember(ctx, idec, mailbox.MemberRequest{
			Pathway: p.ID, Type: "PER", Name: "Dr " + d, Role: "pediatre", Mailbox: "box@" + d,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	document := strings.Repeat("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo=\r\n", 1000)
	body := "\r\n--b\r\nContent-Type: text/plain\r\n\r\nBonjour.\r\n..\r\n--b\r\nContent-Type: application/pdf\r\n" +
		"Content-Disposition: attachment; filename=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + document + "--b--\r\n"
	to, err := h.Recipient(ctx, &mailbox.Envelope{MailFrom: "box@author.example"}, p.ID+"@hub.example")
	if err != nil {
		t.Fatal(err)
	}
	receipt, err := h.Intake(ctx, mailbox.Envelope{
		MailFrom: "box@author.example", Rcpts: []mailbox.Recipient{to}, Via: mailbox.ViaSMTP, Received: time.Now(),
		Peer: mailbox.Peer{Where: "test", SpeaksFor: func(string) bool { return true }},
	}, strings.NewReader("From: <box@author.example>\r\nMessage-ID: <1@author.example>\r\nSubject: essai\r\n"+
		"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n"+body))
	if err != nil || receipt.Held != "" {
		t.Fatalf("receipt %+v, error %v", receipt, err)
	}

	o := quick(nil, route)
	o.Hub = h
	_, stop := start(t, o)
	want := map[string]string{
		"box@good.example": "sent", "box@flaky.example": "sent", "box@closed.example": "failed",
		"box@small.example": "partial", "box@away.example": "queued",
	}
	var states map[string]mailbox.DeliveryView
	settled := func() bool {
		thread, err := h.Thread(ctx, idec, p.ID, "")
		if err != nil {
			t.Fatal(err)
		}
		states = map[string]mailbox.DeliveryView{}
		for _, d := range thread.Messages[0].Deliveries {
			states[d.Mailbox] = d
		}
		for box, state := range want {
			if s := states[box].State; s != state && !(state == "queued" && s == "sending") {
				return false
			}
		}
		return true
	}
	for deadline := time.Now().Add(20 * time.Second); !settled(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("deliveries %+v", states)
		}
	}
	stop()
	for _, d := range []string{"good.example", "flaky.example"} {
		mails := ops[d].taken()
		if len(mails) != 1 || !strings.HasSuffix(mails[0].body, body) {
			t.Errorf("%s took %d mails, or not as they were", d, len(mails))
		}
	}
	if s := states["box@flaky.example"]; s.Attempts != 3 {
		t.Errorf("the flaky one: %+v", s)
	}
	if s := states["box@closed.example"]; !strings.Contains(s.LastError, "550 5.1.1") {
		t.Errorf("the closed one: %+v", s)
	}
	if s := states["box@away.example"]; s.Attempts == 0 || !strings.Contains(s.LastError, "dial") {
		t.Errorf("the one away: %+v", s)
	}
	small := ops["small.example"].taken()
	if len(small) != 1 || strings.Contains(small[0].body, document) || !strings.Contains(small[0].body, "a.pdf") {
		t.Errorf("the small one took %v", small)
	}
}
