package mailbox

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/mailbox/password"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/bolt"
	"github.com/relais-sante/relais/store/seal"
)

// A house is a hub on the real engine, with the shipped programmes, a clock
// that moves when told, and one child followed by a team. Tests write to it as
// operators would and read what each box gets.

const testDomain = "parcours.test"

type house struct {
	*Hub
	t     testing.TB
	dir   string
	clock *testClock
	store store.Store
	child store.PathwayCode
	sent  map[store.Address][]arrived // by runRelay
}

// arrived is one mail as a box got it.
type arrived struct {
	delivery store.Delivery
	header   map[string]string
	raw      string
	body     string
}

type testClock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *testClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *testClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// openHouse starts an empty hub.
func openHouse(t testing.TB) *house {
	t.Helper()
	dir := t.TempDir()
	data, epochs := filepath.Join(dir, "data"), filepath.Join(dir, "epochs")
	for _, d := range []string{data, epochs, filepath.Join(dir, "copies")} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	hubKey := filepath.Join(dir, "hub.key")
	if err := seal.NewHubKey(hubKey, rand.Reader); err != nil {
		t.Fatal(err)
	}
	o := seal.Options{DataDir: data, EpochDir: epochs, Hub: seal.File(hubKey), Copies: []string{filepath.Join(dir, "copies")}}
	if err := seal.Create(o); err != nil {
		t.Fatal(err)
	}
	keys, err := seal.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := bolt.Open(bolt.Options{Dir: data, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		checkTraces(t, s)
		checkMarks(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		keys.Close()
	})
	set, problems := rules.LoadFS(configs.Programmes, "programmes", rules.LoadOptions{Dev: true})
	for _, p := range problems {
		if !p.Warning {
			t.Fatalf("%s:%d: %s", p.File, p.Line, p.ID)
		}
	}
	clock := &testClock{t: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	h := New(Options{
		Store: s, Keys: keys, Programmes: func() *rules.Set { return set }, Domain: testDomain, Locale: "fr", Dev: true,
		NIL: "DEV000000", MaxMessage: 25 << 20, Now: clock.now, Instance: "test",
		Triage: TriageTimes{Alert: 30 * time.Minute, UrgentAlert: 10 * time.Minute, GiveUp: 48 * time.Hour},
		Retry:  RetryTimes{Steps: []time.Duration{20 * time.Second, time.Minute}, GiveUp: time.Hour},
		Listed: func(domain string) bool { return !strings.HasSuffix(domain, ".outside") },
		Login: LoginOptions{
			Cost:         password.Cost{Memory: 64, Passes: 1, Threads: 1},
			PasswordFrom: func(a netip.Addr) bool { return a.IsLoopback() || a.Is6() },
			Tokens:       testProvider{},
		},
	})
	return &house{Hub: h, t: t, dir: data, clock: clock, store: s, sent: map[store.Address][]arrived{}}
}

var testActor = Actor{Name: "unix:1000(jeanne)", Where: "socket"}

// newHouse starts a hub with the child Léa and her team:
//
//	m1 Dr Anne Roux, oncologue, roux@chu.test        m5 Mme Julie Petit, infirmier, cabinet@idel.test (shared)
//	m2 Mme Inès Moreau, idec, moreau@chu.test        m6 M. Paul Durand, infirmier, cabinet@idel.test (shared)
//	m3 Mme Claire Simon, psychologue, simon@chu.test m7 Mme Martin, parent, mere@famille.test (pending)
//	m4 M. Luc Bernard, kinesitherapeute, bernard@kine.test
func newHouse(t testing.TB) *house {
	t.Helper()
	h := openHouse(t)
	h.child = h.include("279035121518989", "Martin", "Léa", "2015-03-02")
	h.member(h.child, "Dr Anne Roux", "oncologue", "roux@chu.test", "PER", "CHU Caen")
	h.member(h.child, "Mme Inès Moreau", "idec", "moreau@chu.test", "PER", "CHU Caen")
	h.member(h.child, "Mme Claire Simon", "psychologue", "simon@chu.test", "PER", "CHU Caen")
	h.member(h.child, "M. Luc Bernard", "kinesitherapeute", "bernard@kine.test", "PER", "")
	h.member(h.child, "Mme Julie Petit", "infirmier", "cabinet@idel.test", "ORG", "Cabinet du Port")
	h.member(h.child, "M. Paul Durand", "infirmier", "cabinet@idel.test", "ORG", "Cabinet du Port")
	h.member(h.child, "Mme Sophie Martin", "parent", "mere@famille.test", "PER", "")
	return h
}

func (h *house) include(ins, family, given, birth string) store.PathwayCode {
	h.t.Helper()
	p, err := h.Include(context.Background(), testActor, IncludeRequest{
		Programme: "pon", INS: ins, INSOID: identity.OIDTestNIR, FamilyName: family, GivenName: given, BirthDate: birth, Sex: "F",
		Establishment: "CHU Caen", Consent: "oral", ConsentFrom: "mère", ConsentBy: "IDEC PON",
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return store.PathwayCode(p.ID)
}

func (h *house) member(code store.PathwayCode, name, role, box, kind, establishment string) store.MemberID {
	h.t.Helper()
	m, err := h.AddMember(context.Background(), testActor, MemberRequest{
		Pathway: string(code), Name: name, Role: role, Mailbox: box, Type: kind, Establishment: establishment,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return store.MemberID(m.Member)
}

// written is a mail to post: header lines and a text.
type written struct {
	from, to string // envelope; From is from unless a header line says so
	id       string
	subject  string
	header   []string // further lines
	text     string
	content  string // whole MIME header and body instead of text
}

func (w written) bytes() string {
	var b strings.Builder
	from := "From: <" + w.from + ">"
	for _, l := range w.header {
		if strings.HasPrefix(l, "From:") {
			from = ""
		}
	}
	for _, l := range append([]string{from}, w.header...) {
		if l != "" {
			b.WriteString(l + "\r\n")
		}
	}
	if w.id != "" {
		b.WriteString("Message-ID: <" + w.id + ">\r\n")
	}
	b.WriteString("Date: Mon, 23 Nov 2026 09:00:00 +0100\r\nSubject: " + w.subject + "\r\n")
	if w.content != "" {
		b.WriteString(strings.ReplaceAll(w.content, "\n", "\r\n"))
	} else {
		b.WriteString("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n")
		b.WriteString(strings.ReplaceAll(w.text, "\n", "\r\n") + "\r\n")
	}
	return b.String()
}

// try posts a mail over the two steps of SMTP.
func (h *house) try(w written) (Receipt, error) {
	h.t.Helper()
	ctx := context.Background()
	env := Envelope{
		MailFrom: store.NewAddress(w.from), Via: ViaSMTP, Received: h.clock.now(),
		Peer: Peer{Where: "127.0.0.1:1", SpeaksFor: func(string) bool { return true }},
	}
	to := w.to
	if !strings.Contains(to, "@") {
		to += "@" + testDomain
	}
	r, err := h.Recipient(ctx, &env, to)
	if err != nil {
		return Receipt{}, err
	}
	env.Rcpts = append(env.Rcpts, r)
	return h.Intake(ctx, env, strings.NewReader(w.bytes()))
}

// post posts a mail that must be filed.
func (h *house) post(w written) store.MessageID {
	h.t.Helper()
	r, err := h.try(w)
	if err != nil {
		h.t.Fatalf("post: %v", err)
	}
	if r.Held != "" {
		h.t.Fatalf("held: %s", r.Reason)
	}
	return r.Message
}

// message reads a filed message.
func (h *house) message(id store.MessageID) *store.Message {
	h.t.Helper()
	var m *store.Message
	err := h.store.View(context.Background(), func(v store.View) error {
		code, err := v.Locate(id)
		if err != nil {
			return err
		}
		m, err = v.Message(code, id)
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return m
}

// relay delivers everything due, all peers taking all, and returns what each
// box got since the last call.
func (h *house) relay() map[store.Address][]arrived {
	h.t.Helper()
	return h.relayWith(func(Job) Outcome { return Outcome{Kind: OutcomeSent} })
}

func (h *house) relayWith(outcome func(Job) Outcome) map[store.Address][]arrived {
	h.t.Helper()
	ctx := context.Background()
	got := map[store.Address][]arrived{}
	for {
		lanes, err := h.Lanes(ctx)
		if err != nil {
			h.t.Fatal(err)
		}
		if len(lanes) == 0 {
			return got
		}
		slices.Sort(lanes) // of what is due at the same time, a keyed hash is first
		for _, lane := range lanes {
			jobs, err := h.ClaimDeliveries(ctx, lane, 100)
			if err != nil {
				h.t.Fatal(err)
			}
			var results []Result
			for _, j := range jobs {
				o := outcome(j)
				if o.Kind == OutcomeSent {
					m := h.read(j)
					got[j.Delivery.Mailbox] = append(got[j.Delivery.Mailbox], m)
				}
				results = append(results, Result{Job: j, Outcome: o})
			}
			if err := h.Finish(ctx, results); err != nil {
				h.t.Fatal(err)
			}
		}
	}
}

func (h *house) read(j Job) arrived {
	h.t.Helper()
	out, err := h.Open(context.Background(), j)
	if err != nil {
		h.t.Fatal(err)
	}
	defer out.Close()
	raw, err := io.ReadAll(out)
	if err != nil {
		h.t.Fatal(err)
	}
	if int64(len(raw)) != out.Size {
		h.t.Errorf("announced %d bytes, gave %d", out.Size, len(raw))
	}
	head, body, _ := strings.Cut(string(raw), "\r\n\r\n")
	m := arrived{delivery: j.Delivery, raw: string(raw), body: body, header: map[string]string{}}
	for _, line := range strings.Split(strings.ReplaceAll(strings.ReplaceAll(head, "\r\n ", " "), "\r\n\t", " "), "\r\n") {
		name, value, _ := strings.Cut(line, ": ")
		m.header[strings.ToLower(name)] = value
	}
	return m
}

// boxes lists who got a copy, sorted, notices apart.
func boxes(got map[store.Address][]arrived) string {
	var all []string
	for addr, ms := range got {
		n := 0
		for _, m := range ms {
			if m.header["x-relais-kind"] == "" {
				n++
			}
		}
		switch {
		case n == 1:
			all = append(all, addr.Local())
		case n > 1:
			all = append(all, fmt.Sprintf("%s×%d", addr.Local(), n))
		}
	}
	return sorted(all)
}

// notices lists the notices sent, "box:kind", sorted.
func notices(got map[store.Address][]arrived) string {
	var all []string
	for addr, ms := range got {
		for _, m := range ms {
			if k := m.header["x-relais-kind"]; k != "" {
				all = append(all, addr.Local()+":"+k)
			}
		}
	}
	return sorted(all)
}

func sorted(s []string) string {
	slices.Sort(s)
	return strings.Join(s, " ")
}

// settleNotices lets a little time pass and works the timers.
func (h *house) settleNotices() {
	h.t.Helper()
	h.clock.advance(2 * time.Minute)
	if _, err := h.workTimers(context.Background()); err != nil {
		h.t.Fatal(err)
	}
}
