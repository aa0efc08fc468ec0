package inbound

import (
	"context"
	"crypto/rand"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/password"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store/bolt"
	"github.com/relais-sante/relais/store/seal"
)

// realHub is the hub itself on its real engine, with one child and her team.
func realHub(t *testing.T) (hub *mailbox.Hub, code string) {
	t.Helper()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(path("data"), 0o700))
	must(os.Mkdir(path("epochs"), 0o700))
	must(seal.NewHubKey(path("hub.key"), rand.Reader))
	o := seal.Options{DataDir: path("data"), EpochDir: path("epochs"), Hub: seal.File(path("hub.key"))}
	must(seal.Create(o))
	keys, err := seal.Open(o)
	must(err)
	s, err := bolt.Open(bolt.Options{Dir: path("data"), Keys: keys})
	must(err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		keys.Close()
	})
	set, _ := rules.LoadFS(configs.Programmes, "programmes", rules.LoadOptions{Dev: true})
	hub = mailbox.New(mailbox.Options{
		Store: s, Programmes: func() *rules.Set { return set }, Domain: domain, Locale: "fr", Dev: true, MaxMessage: 25 << 20, Instance: "test",
		Triage: mailbox.TriageTimes{Alert: time.Hour, UrgentAlert: time.Hour, GiveUp: time.Hour},
		Retry:  mailbox.RetryTimes{Steps: []time.Duration{time.Minute}, GiveUp: time.Hour},
		Listed: func(string) bool { return true },
		Login: mailbox.LoginOptions{
			Cost: password.Cost{Memory: 64, Passes: 1, Threads: 1}, PasswordFrom: netip.Addr.IsLoopback,
		},
	})
	ctx, actor := context.Background(), mailbox.Actor{Name: "unix:1000(jeanne)", Where: "socket"}
	pathway, err := hub.Include(ctx, actor, mailbox.IncludeRequest{
		Programme: "pon", INS: "279035121518989", FamilyName: "Martin", GivenName: "Léa", BirthDate: "2015-03-02", Sex: "F",
		Establishment: "CHU Caen", Consent: "oral", ConsentFrom: "mère", ConsentBy: "IDEC PON",
	})
	must(err)
	for _, m := range []mailbox.MemberRequest{
		{Name: "Dr Anne Roux", Role: "oncologue", Mailbox: "roux@chu.example"},
		{Name: "M. Luc Bernard", Role: "kinesitherapeute", Mailbox: "bernard@chg.example"},
	} {
		m.Pathway, m.Type = pathway.ID, "PER"
		_, err := hub.AddMember(ctx, actor, m)
		must(err)
	}
	return hub, pathway.ID
}

// The whole way in, over TLS, to the real hub: what is acknowledged is filed and
// queued for the rest of the team, and its bytes are those that were sent.
func TestRealHub(t *testing.T) {
	hub, code := realHub(t)
	h := start(t, StartTLS, func(o *Options) { o.Hub = hub })
	p := client(t, h)
	p.until(strings.ReplaceAll(`S+ 220
		C: STARTTLS
		S+ 220
		TLS chu
		C: EHLO mail.chu.example
		S+ 250
		C: MAIL FROM:<roux@chu.example>
		S+ 250
		C: RCPT TO:<CODE@ailleurs.example>
		S: 550 5.7.1 *
		C: RCPT TO:<bcdfghj@parcours.example>
		S: 550 5.1.1 *
		C: RCPT TO:<postmaster>
		S+ 250
		C: RSET
		S+ 250
		C: MAIL FROM:<roux@chu.example> BODY=8BITMIME
		S+ 250
		C: RCPT TO:<CODE@parcours.example>
		S+ 250
		C: DATA
		S+ 354
		C: From: <roux@chu.example>
		C: Message-ID: <1@chu.example>
		C: Subject: essai
		C:
		C: ..bonjour
		C: .
		S: 250 2.0.0 OK *
		C: MAIL FROM:<roux@chu.example>
		S+ 250
		C: RCPT TO:<CODE@parcours.example>
		S+ 250
		C> "BDAT 74 LAST\r\nFrom: <autre@chg.example>\r\nMessage-ID: <2@chu.example>\r\n\r\nusurpation\r\n\r\n\r\n"
		S: 550 5.7.1 *
		C: MAIL FROM:<>
		S+ 250
		C: RCPT TO:<CODE@parcours.example>
		S: 550 5.7.1 *
		C: QUIT
		S+ 221`, "CODE", code))
	ctx, actor := context.Background(), mailbox.Actor{Name: "unix:1000(jeanne)", Where: "socket"}
	thread, err := hub.Thread(ctx, actor, code, "")
	if err != nil {
		t.Fatal(err)
	}
	if len(thread.Messages) != 1 {
		t.Fatalf("%d messages on the thread", len(thread.Messages))
	}
	m := thread.Messages[0]
	if len(m.Deliveries) != 1 || m.Deliveries[0].Mailbox != "bernard@chg.example" {
		t.Errorf("deliveries %+v", m.Deliveries)
	}
	if !strings.Contains(h.log.String(), `"message":"`+string(m.ID)+`"`) {
		t.Errorf("the journal does not name the message:\n%s", h.log)
	}
}
