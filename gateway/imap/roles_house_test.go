package imap

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway/login"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/mailbox/password"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/bolt"
	"github.com/relais-sante/relais/store/seal"
)

// team is a hub on the real store with an IMAP server: one child and those who
// follow her. Its clock stands still.
type team struct {
	t     *testing.T
	hub   *mailbox.Hub
	child string
	addr  string
}

const teamDomain = "parcours.test"

var (
	teamActor = mailbox.Actor{Name: "unix:1000(jeanne)", Where: "socket"}
	teamTime  = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
)

func newTeam(t *testing.T) *team {
	t.Helper()
	dir := t.TempDir()
	data, epochs := filepath.Join(dir, "data"), filepath.Join(dir, "epochs")
	for _, d := range []string{data, epochs} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	key := filepath.Join(dir, "hub.key")
	o := seal.Options{DataDir: data, EpochDir: epochs, Hub: seal.File(key)}
	check := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	check(seal.NewHubKey(key, rand.Reader))
	check(seal.Create(o))
	keys, err := seal.Open(o)
	check(err)
	s, err := bolt.Open(bolt.Options{Dir: data, Keys: keys})
	check(err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		keys.Close()
	})
	set, _ := rules.LoadFS(configs.Programmes, "programmes", rules.LoadOptions{Dev: true})
	now := func() time.Time { return teamTime }
	m := &team{t: t}
	m.hub = mailbox.New(mailbox.Options{
		Store: s, Keys: keys, Programmes: func() *rules.Set { return set }, Domain: teamDomain, Locale: "fr", Dev: true,
		NIL: "DEV000000", MaxMessage: 25 << 20, Now: now, Instance: "test",
		Triage: mailbox.TriageTimes{Alert: 30 * time.Minute, UrgentAlert: 10 * time.Minute, GiveUp: 48 * time.Hour},
		Retry:  mailbox.RetryTimes{Steps: []time.Duration{time.Minute}, GiveUp: time.Hour},
		Listed: func(domain string) bool { return !strings.HasSuffix(domain, ".outside") },
		Login: mailbox.LoginOptions{
			Cost:         password.Cost{Memory: 64, Passes: 1, Threads: 1},
			PasswordFrom: func(netip.Addr) bool { return true },
		},
	})
	server, err := New(Options{
		TLS: theAuthority().guard.ServerConfig(), Domain: teamDomain, Version: "1", Now: now, Zone: time.UTC,
		Folders: func(ctx context.Context, a *mailbox.Account, where string) (folder.User, error) {
			return m.hub.Read(ctx, a, where)
		},
		Login: login.Options{
			Hub: m.hub, Guard: theAuthority().guard, Via: mailbox.ViaIMAP, PasswordFrom: func(netip.Addr) bool { return true },
		},
		Limits: Limits{Push: time.Millisecond},
	})
	check(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	m.addr = l.Addr().String()
	go server.Serve(l, ImplicitTLS)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Errorf("shutting down: %v", err)
		}
	})
	m.child = m.include("279035121518989", "Martin", "Léa")
	m.member(m.child, "Dr Anne Roux", "oncologue", "roux@chu.test")
	m.member(m.child, "Mme Inès Moreau", "idec", "moreau@chu.test")
	m.member(m.child, "Mme Claire Simon", "psychologue", "simon@chu.test")
	m.member(m.child, "M. Luc Bernard", "kinesitherapeute", "bernard@kine.test")
	m.member(m.child, "Mme Sophie Martin", "parent", "mere@famille.test")
	return m
}

func (m *team) include(ins, family, given string) string {
	m.t.Helper()
	p, err := m.hub.Include(m.t.Context(), teamActor, mailbox.IncludeRequest{
		Programme: "pon", INS: ins, INSOID: identity.OIDTestNIR, FamilyName: family, GivenName: given, BirthDate: "2015-03-02", Sex: "F",
		Establishment: "CHU Caen", Consent: "oral", ConsentFrom: "mère", ConsentBy: "IDEC PON",
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return p.ID
}

func (m *team) member(code, name, role, box string) {
	m.t.Helper()
	_, err := m.hub.AddMember(m.t.Context(), teamActor, mailbox.MemberRequest{Pathway: code, Name: name, Role: role, Mailbox: box, Type: "PER"})
	if err != nil {
		m.t.Fatal(err)
	}
}

// letterOf is a mail as somebody writes it.
func letterOf(from, id, subject, text string, header ...string) string {
	return "From: <" + from + ">\r\nMessage-ID: <" + id + ">\r\nDate: Mon, 23 Nov 2026 09:00:00 +0100\r\nSubject: " + subject + "\r\n" +
		strings.Join(append(header, ""), "\r\n") + "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + text + "\r\n"
}

// post hands a mail over as an operator does.
func (m *team) post(from, to, raw string) mailbox.Receipt {
	m.t.Helper()
	env := mailbox.Envelope{
		MailFrom: store.NewAddress(from), Via: mailbox.ViaSMTP, Received: teamTime,
		Peer: mailbox.Peer{Where: "127.0.0.1:1", SpeaksFor: func(string) bool { return true }},
	}
	r, err := m.hub.Recipient(m.t.Context(), &env, to+"@"+teamDomain)
	if err != nil {
		m.t.Fatal(err)
	}
	env.Rcpts = append(env.Rcpts, r)
	receipt, err := m.hub.Intake(m.t.Context(), env, strings.NewReader(raw))
	if err != nil {
		m.t.Fatal(err)
	}
	return receipt
}

// logs opens an account's mailbox.
func (m *team) logs(box string) *talk {
	m.t.Helper()
	made, err := m.hub.CreateAccount(m.t.Context(), teamActor, mailbox.AccountRequest{Mailbox: box})
	if err != nil {
		m.t.Fatal(err)
	}
	h := &house{addrs: m.addr}
	c, err := h.dial()
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { c.Close() })
	k := &talk{m.t, c, bufio.NewReader(c)}
	k.line()
	k.must("login LOGIN " + made.Username + ` "` + made.Password + `"`)
	return k
}

// must gives a command that has to be obeyed.
func (k *talk) must(command string) []string {
	k.t.Helper()
	lines := k.do(command)
	tag, _, _ := strings.Cut(command, " ")
	if !strings.HasPrefix(lines[len(lines)-1], tag+" OK") {
		k.t.Fatalf("%s: %q", command, lines)
	}
	return lines
}

// whole gives a command and returns all lines of its answer, empty ones of
// messages among them.
func (k *talk) whole(tag, command string) (lines []string) {
	k.t.Helper()
	fmt.Fprintf(k.c, "%s %s\r\n", tag, command)
	return k.until(tag + " ")
}

// quiet gives the lines that come until nothing has for a while.
func (k *talk) quiet() (lines []string) {
	for {
		k.c.SetReadDeadline(time.Now().Add(60 * time.Millisecond))
		l, err := k.in.ReadString('\n')
		if err != nil {
			return lines
		}
		lines = append(lines, strings.TrimRight(l, "\r\n"))
	}
}

// until gives the lines that come up to one that begins with text.
func (k *talk) until(text string) (lines []string) {
	k.t.Helper()
	for {
		k.c.SetReadDeadline(time.Now().Add(10 * time.Second))
		l, err := k.in.ReadString('\n')
		if err != nil {
			k.t.Fatalf("waiting for %s: %v after %q", text, err, lines)
		}
		lines = append(lines, strings.TrimRight(l, "\r\n"))
		if strings.HasPrefix(l, text) {
			return lines
		}
	}
}
