package demo

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store/journal/journaltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(journaltest.Watched{Runner: m}) }

// output is what a run tells, safe to read while it goes on.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// play plays the story in a language; the stage is left up.
func play(t *testing.T, l texts.Locale) (*Stage, Result, *output) {
	t.Helper()
	out := new(output)
	s, err := Set(t.Context(), Options{Out: out, Locale: l, Boxes: true, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	dir := s.dir
	t.Cleanup(func() {
		s.Close()
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Error("the folder is still there")
		}
	})
	r, err := s.Play(t.Context())
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return s, r, out
}

// TestStory plays the whole story in both languages: it passes, tells the same,
// and what stays up can be used as it says.
func TestStory(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds: it waits for a retry of the hub")
	}
	told := map[texts.Locale][]string{}
	var mu sync.Mutex
	t.Run("in", func(t *testing.T) {
		for _, l := range texts.Locales() {
			t.Run(string(l), func(t *testing.T) {
				t.Parallel()
				s, r, out := play(t, l)
				if !r.Passed || len(r.Claims) != 13 || strings.Contains(out.String(), "✗") {
					t.Errorf("the verdict does not hold:\n%s", out)
				}
				mu.Lock()
				told[l] = shape(out.String())
				mu.Unlock()
				if l == texts.English {
					t.Run("stay", func(t *testing.T) { stays(t, s, out) })
					return
				}
				t.Run("verdict", func(t *testing.T) { tampered(t, s) })
			})
		}
	})
	if diff := cmp.Diff(told[texts.French], told[texts.English]); diff != "" {
		t.Errorf("not the same story (-fr +en):\n%s", diff)
	}
	if len(told[texts.French]) < 40 {
		t.Errorf("a short story: %q", told[texts.French])
	}
}

var (
	timed  = regexp.MustCompile(`^ *[0-9]+[.,][0-9]+ s  `)
	titled = regexp.MustCompile(`^[1-6]\. `)
)

// shape is the kinds of lines of a telling, without those that go on.
func shape(out string) []string {
	var kinds []string
	for line := range strings.Lines(out) {
		trimmed := strings.TrimSpace(line)
		switch {
		case titled.MatchString(line):
			kinds = append(kinds, "chapter "+line[:1])
		case timed.MatchString(line):
			kinds = append(kinds, "event")
		case strings.HasPrefix(trimmed, "→"):
			kinds = append(kinds, "item")
		case strings.HasPrefix(trimmed, "✓"), strings.HasPrefix(trimmed, "✗"):
			kinds = append(kinds, "claim")
		}
	}
	return kinds
}

// tampered changes what the operators received: each time the verdict sees it.
func tampered(t *testing.T, s *Stage) {
	town := s.at(boxPractice)
	replace := func(i int, change func(*mail)) func() {
		before := town.taken
		town.taken = slices.Clone(before)
		m := *town.taken[i]
		change(&m)
		town.taken[i] = &m
		return func() { town.taken = before }
	}
	header := func(m *mail, field, value string) {
		parsed, err := readMail(m.box, append([]byte(field+": "+value+"\r\n"), m.raw...))
		if err != nil {
			t.Fatal(err)
		}
		m.raw, m.header = parsed.raw, parsed.header
		m.header[field] = []string{value}
	}
	for _, c := range []struct {
		name   string
		change func() (undo func())
		want   []string // claims that do not hold
	}{
		{"nothing", func() func() { return func() {} }, nil},
		{"a copy lost", func() func() {
			before := town.taken
			town.taken = before[:len(before)-1]
			return func() { town.taken = before }
		}, []string{"delivery", "down"}},
		{"a copy twice", func() func() {
			before := town.taken
			town.taken, town.proved = append(slices.Clone(before), before[1]), town.proved+1
			return func() { town.taken, town.proved = before, town.proved-1 }
		}, []string{"delivery"}},
		{"a byte of a body", func() func() {
			return replace(1, func(m *mail) { m.body = append(slices.Clone(m.body[:3]), append([]byte{'!'}, m.body[4:]...)...) })
		}, []string{"bodies"}},
		{"another's name on an answer", func() func() {
			return replace(2, func(m *mail) { header(m, "From", `"Julie Blanc" <x@parcours.example>`) })
		}, []string{"nobody"}},
		{"an answer out of the thread", func() func() {
			return replace(1, func(m *mail) { header(m, "In-Reply-To", "<elsewhere@example>") })
		}, []string{"thread"}},
		{"the other child's report", func() func() {
			return replace(0, func(m *mail) {
				m.raw = append(slices.Clone(m.raw), s.posts[len(s.posts)-1].body...)
			})
		}, []string{"wrong"}},
		{"a hub that proved nothing", func() func() {
			town.doubted++
			return func() { town.doubted-- }
		}, []string{"secure"}},
		{"a name in clear", func() func() {
			leak := filepath.Join(s.hub.data, "leak")
			if err := os.WriteFile(leak, []byte("... "+lea.Family+" ..."), 0o600); err != nil {
				t.Fatal(err)
			}
			return func() { os.Remove(leak) }
		}, []string{"disk"}},
	} {
		undo := c.change()
		r, err := s.verdict(t.Context())
		undo()
		if err != nil {
			t.Fatal(err)
		}
		var fallen []string
		for _, claim := range r.Claims {
			if !claim.OK {
				fallen = append(fallen, claim.Claim)
			}
		}
		if !slices.Equal(fallen, c.want) || r.Passed != (c.want == nil) {
			t.Errorf("%s: %q do not hold, want %q", c.name, fallen, c.want)
		}
	}
}

// stays sends the sample as the invitation says, and finds it at a box as a
// file.
func stays(t *testing.T, s *Stage, out *output) {
	if err := s.Invite(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{s.dir, s.pathway.Address, "relais thread show " + s.pathway.ID, "curl --url smtp://" + s.hub.inbound, "IMAP"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the invitation does not say %q", want)
		}
	}
	if _, command, _ := strings.Cut(out.String(), "imaps://"); !strings.HasPrefix(command, "localhost:") {
		t.Error("the invitation does not say where to read")
	}
	raw, err := os.ReadFile(filepath.Join(s.dir, sampleName))
	if err != nil {
		t.Fatal(err)
	}
	files := len(s.received(boxWard)) + 1
	if err := s.at(boxDoctor).send(t.Context(), s.hub.inbound, boxDoctor, s.pathway.Address, raw); err != nil {
		t.Fatal(err)
	}
	subject := s.tell.text("demo.mail-sample-subject", nil)
	err = s.await(t.Context(), "the sample", func() (bool, error) {
		found, err := filepath.Glob(filepath.Join(s.dir, boxesName, boxWard, "new", "*"))
		return len(found) == files && strings.Contains(out.String(), subject+"”"), err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestInterrupted ends the story in its middle: nothing is left.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s, err := Set(ctx, Options{Out: new(output), Locale: texts.French})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	cancel()
	if _, err := s.Play(ctx); !Interrupted(err) {
		t.Errorf("interrupted: %v", err)
	}
	s.Close()
	if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder: %v", err)
	}
}

// TestOperator: an operator takes mail from the hub alone, for its own domain
// alone, and can go and come back.
func TestOperator(t *testing.T) {
	s, err := Set(t.Context(), Options{Out: new(output), Locale: texts.French})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	notKnown := smtp.EnhancedCode{5, 7, 1}
	town, ward := s.at(boxPractice), s.at(boxWard)
	hub := ward.client.Clone() // as the hub calls it, but with the ward's certificate
	hub.ServerName = town.host()
	raw := []byte("From: <x@parcours.example>\r\nMessage-ID: <1@parcours.example>\r\n\r\nhello\r\n")
	if err := transmit(t.Context(), town.address, hub, "", boxPractice, raw); !refused(err, notKnown) {
		t.Errorf("another operator: %v", err)
	}
	hub.Certificates = nil
	if err := transmit(t.Context(), town.address, hub, "", boxPractice, raw); err == nil || refused(err, notKnown) {
		t.Errorf("nobody's certificate must not even get through the handshake: %v", err)
	}
	if len(town.taken) != 0 || town.doubted != 1 {
		t.Errorf("%d taken, %d doubted", len(town.taken), town.doubted)
	}
	address := town.address
	town.away()
	if conn, err := net.Dial("tcp", address); err == nil {
		conn.Close()
		t.Error("away, and still answers")
	}
	if err := town.back(address); err != nil {
		t.Fatal(err)
	}
	if err := transmit(t.Context(), town.address, ward.client, "", boxPractice, raw); err == nil {
		t.Error("the operator's name was not checked")
	}
}

func refused(err error, code smtp.EnhancedCode) bool {
	var answer *smtp.SMTPError
	return errors.As(err, &answer) && answer.EnhancedCode == code
}
