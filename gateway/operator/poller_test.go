package operator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store/journal/journaltest"
)

func texts(from, to int) []string {
	var all []string
	for n := from; n <= to; n++ {
		all = append(all, text(n))
	}
	return all
}

// took waits until exactly these mails were taken, in their order.
func (h *hub) took(t *testing.T, want []string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d mails are taken", len(want)), func() bool { return len(h.all()) >= len(want) })
	if got := h.all(); !slices.Equal(got, want) {
		t.Fatalf("took %d mails, want %d: %q", len(got), len(want), got)
	}
}

// What is there is taken, then what comes; each is marked once it is taken.
func TestTakenAsItComes(t *testing.T) {
	for _, caps := range []string{"", "IDLE"} {
		t.Run("caps "+caps, func(t *testing.T) {
			s, h := newServer(t, caps), &hub{}
			s.deliver(texts(1, 130)...) // more than a batch, and than a list
			o := s.options(h)
			if caps == "IDLE" {
				o.Settings.Poll = o.Settings.Poll * 1000 // the server tells
			}
			p, _ := run(t, o)
			h.took(t, texts(1, 130))
			if caps == "IDLE" {
				eventually(t, "it waits", func() bool { return s.heard("IDLE") > 0 })
			}
			s.deliver(texts(131, 132)...)
			h.took(t, texts(1, 132))
			eventually(t, "all are marked", func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return !slices.ContainsFunc(s.mails, func(m mail) bool { return !slices.Contains(m.flags, `\Seen`) }) && len(h.at().Pending) == 0
			})
			if st := p.Status(); !st.Connected || st.Taken != 132 || st.Waiting != 0 || st.Fault != "" {
				t.Errorf("status %+v", st)
			}
			if n := s.heard("UID STORE"); n > 132/50+3 {
				t.Errorf("marked in %d steps", n)
			}
		})
	}
}

// However it is interrupted, each mail is taken once.
func TestTakenOnceOverCuts(t *testing.T) {
	s, h := newServer(t, "IDLE"), &hub{}
	s.deliver(texts(1, 40)...)
	n := 0
	s.set(func() {
		s.instead = func(c *talk, _, command string) bool {
			if n++; n%7 == 0 { // in the middle of whatever it is
				if strings.Contains(command, "BODY.PEEK") {
					c.say("* 1 FETCH (UID 1 BODY[] {2000}\r\nFrom: <roux")
				}
				c.Close()
				return true
			}
			return false
		}
	})
	for range 3 { // the hub, too, stops and starts
		_, stop := run(t, s.options(h))
		before := len(h.all())
		eventually(t, "some are taken", func() bool { return len(h.all()) > before+5 || len(h.all()) == 40 })
		stop()
	}
	run(t, s.options(h))
	h.took(t, texts(1, 40))
}

// A box that counts anew is read again, and nothing is taken twice.
func TestBoxCountsAnew(t *testing.T) {
	s, h := newServer(t, "IDLE"), &hub{}
	s.deliver(texts(1, 5)...)
	_, stop := run(t, s.options(h))
	h.took(t, texts(1, 5))
	stop()
	s.set(func() {
		s.validity = 99
		for i := range s.mails {
			s.mails[i].uid = uint32(i + 1)
			s.mails[i].flags = nil
		}
		s.mails = append([]mail{{uid: 0, text: text(6)}}, s.mails...)
		for i := range s.mails {
			s.mails[i].uid = uint32(i + 1)
		}
	})
	run(t, s.options(h))
	h.took(t, append(texts(1, 5), text(6)))
	eventually(t, "the cursor is at the end", func() bool { c := h.at(); return c.Validity == 99 && c.UID == 6 })
}

func TestMovedWhenTaken(t *testing.T) {
	for _, caps := range []string{"MOVE", "UIDPLUS", ""} {
		t.Run("caps "+caps, func(t *testing.T) {
			s, h := newServer(t, caps), &hub{}
			s.deliver(texts(1, 3)...)
			s.set(func() { s.mails = append(s.mails, mail{uid: 4, text: text(4), flags: []string{`\Deleted`}}) })
			o := s.options(h)
			o.Settings.Done = "Pris"
			run(t, o)
			h.took(t, texts(1, 4))
			eventually(t, "all are moved", func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return len(s.folders["Pris"]) == 4 && len(s.mails) == 0
			})
		})
	}
}

// Without UIDPLUS, EXPUNGE would take along what others have marked.
func TestNothingOfOthersIsExpunged(t *testing.T) {
	s, h := newServer(t, ""), &hub{}
	s.set(func() {
		s.mails = []mail{{uid: 3, text: text(1), flags: []string{`\Deleted`}}, {uid: 7, text: text(2)}}
		h.cursor = mailbox.Cursor{Box: "coordination@gradeclic.example", Folder: "INBOX", Validity: 1, UID: 3}
	})
	o := s.options(h)
	o.Settings.Done = "Pris"
	run(t, o)
	h.took(t, []string{text(2)})
	eventually(t, "it is copied", func() bool { return len(h.at().Pending) == 0 })
	if s.heard("EXPUNGE") > 0 || len(s.mails) != 2 {
		t.Errorf("expunged; %d mails are left", len(s.mails))
	}
}

// What cannot be taken for good goes aside, and those behind it come.
func TestSetAside(t *testing.T) {
	for _, folder := range []string{"", "Non pris"} {
		t.Run("folder "+folder, func(t *testing.T) {
			journaltest.Expect(t)
			s, h := newServer(t, "MOVE IDLE"), &hub{}
			large := "Subject: x\r\n\r\n" + strings.Repeat("y", 70<<10) + "\r\n"
			s.deliver(text(1), large, text(2), "infected", text(3), "poison", text(4))
			h.say = func(text string) error {
				switch text {
				case "infected":
					return &mailbox.Refusal{Reason: mailbox.RefuseInfected}
				case "poison":
					panic("index out of range")
				}
				return nil
			}
			o := s.options(h)
			o.Settings.Aside = folder
			began := time.Now()
			p, stop := run(t, o)
			eventually(t, "the last is taken", func() bool { return len(h.all()) == 4 || time.Since(began) > 9*time.Second })
			h.took(t, texts(1, 4))
			if got := fmt.Sprint(h.aside); got != "[too-big infected ]" {
				t.Errorf("aside: %s", got)
			}
			eventually(t, "they are apart", func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				flagged := 0
				for _, m := range s.mails {
					if slices.Contains(m.flags, `\Flagged`) {
						flagged++
					}
				}
				return folder == "" && flagged == 3 || folder != "" && len(s.folders["Non"])+len(s.folders[folder]) == 3
			})
			if n := s.heard("UID FETCH 2 (UID BODY.PEEK[])"); n != 0 {
				t.Errorf("the large one was fetched")
			}
			if st := p.Status(); st.Aside != 3 || st.Taken != 4 {
				t.Errorf("status %+v", st)
			}
			// Should the box count anew, nobody hears of them again.
			stop()
			s.set(func() { s.validity++ })
			run(t, o)
			eventually(t, "it is read again", func() bool {
				c := h.at()
				return c.Validity == s.validity && len(c.Pending) == 0 && c.UID >= s.mails[len(s.mails)-1].uid
			})
			if want := 3; len(h.aside) > want+1 { // poison has no digest of its bytes
				t.Errorf("aside again: %v", h.aside)
			}
		})
	}
}

// While the hub has no room nothing is passed over.
func TestHubThatCannotTakeNow(t *testing.T) {
	s, h := newServer(t, "IDLE"), &hub{}
	s.deliver(texts(1, 2)...)
	full := true
	h.say = func(string) error {
		if full {
			return &mailbox.Refusal{Reason: mailbox.RefuseFull}
		}
		return nil
	}
	p, _ := run(t, s.options(h))
	eventually(t, "it is told", func() bool { return p.Status().Fault == FaultHub })
	if st := p.Status(); st.Waiting != 2 || !st.Connected {
		t.Errorf("status %+v", st)
	}
	h.mu.Lock()
	full = false
	h.mu.Unlock()
	h.took(t, texts(1, 2))
}

// Each defect of a server, or of the client library it would meet, ends the
// conversation with its fault, and the next one goes on.
func TestServerThatMisbehaves(t *testing.T) {
	fetching := func(command string) bool { return strings.Contains(command, "BODY.PEEK") }
	listing := func(command string) bool { return strings.Contains(command, "RFC822.SIZE") }
	for name, c := range map[string]struct {
		when func(command string) bool
		say  func(c *talk, tag string)
		want Fault
	}{
		"silent":                   {listing, func(*talk, string) {}, FaultCut},
		"hangs up":                 {listing, func(c *talk, _ string) { c.Close() }, FaultCut},
		"BYE":                      {listing, func(c *talk, _ string) { c.say("* BYE later"); c.Close() }, FaultCut},
		"a literal cut off":        {fetching, func(c *talk, _ string) { c.say("* 1 FETCH (UID 1 BODY[] {500}\r\nFrom"); c.Close() }, FaultCut},
		"a literal that stalls":    {fetching, func(c *talk, _ string) { c.say("* 1 FETCH (UID 1 BODY[] {500}\r\nFrom") }, FaultCut},
		"a huge literal":           {fetching, func(c *talk, _ string) { c.say("* 1 FETCH (UID 1 BODY[] {9000000000}\r\nFrom") }, FaultProtocol},
		"a number beyond numbers":  {fetching, func(c *talk, _ string) { c.say("* 1 FETCH (UID 1 BODY[] {99999999999999999999}\r\nFrom") }, FaultProtocol},
		"a literal not asked for":  {listing, func(c *talk, _ string) { c.say(`* LIST () "/" {1000000}` + "\r\n") }, FaultProtocol},
		"a quoted text for ever":   {fetching, func(c *talk, _ string) { endless(c, `* 1 FETCH (UID 1 BODY[] "`, "a line of text\r\n") }, FaultProtocol},
		"a line for ever":          {listing, func(c *talk, _ string) { endless(c, "* OK ", "aaaaaaaaaaaaaaaa") }, FaultProtocol},
		"responses for ever":       {listing, func(c *talk, _ string) { endless(c, "", "* 1 EXISTS\r\n") }, FaultProtocol},
		"a list for ever":          {listing, func(c *talk, _ string) { endless(c, "", "* 1 FETCH (UID 1 RFC822.SIZE 3)\r\n") }, FaultProtocol},
		"message zero":             {func(c string) bool { return strings.HasPrefix(c, "UID STORE") }, func(c *talk, _ string) { c.say("* 0 EXPUNGE") }, FaultProtocol},
		"two bodies":               {fetching, func(c *talk, _ string) { c.say("* 1 FETCH (UID 9 BODY[] {3}\r\nabc BODY[] {3}\r\nabc)") }, FaultProtocol},
		"deep nesting":             {listing, func(c *talk, _ string) { c.say("* 1 FETCH (BODY %s", strings.Repeat("(", 3000)) }, FaultProtocol},
		"not IMAP":                 {listing, func(c *talk, _ string) { c.say("HTTP/1.1 400 Bad Request") }, FaultProtocol},
		"another's tag":            {listing, func(c *talk, _ string) { c.say("X99 OK done") }, FaultProtocol},
		"a date that is none":      {listing, func(c *talk, _ string) { c.say(`* 1 FETCH (UID 1 INTERNALDATE "yesterday")`) }, FaultProtocol},
		"a number that is none":    {listing, func(c *talk, _ string) { c.say("* 4294967296 FETCH (UID 1)") }, FaultProtocol},
		"an answer to nothing":     {listing, func(c *talk, _ string) { c.say("+ go on") }, FaultProtocol},
		"no":                       {listing, func(c *talk, tag string) { c.say("%s NO [SERVERBUG] later", tag) }, FaultServer},
		"no inbox":                 {func(c string) bool { return strings.HasPrefix(c, "SELECT") }, func(c *talk, tag string) { c.say("%s NO nothing", tag) }, FaultFolder},
		"an inbox without numbers": {func(c string) bool { return strings.HasPrefix(c, "SELECT") }, func(c *talk, tag string) { c.say("* 1 EXISTS\r\n%s OK", tag) }, FaultProtocol},
		"a login that hangs":       {func(c string) bool { return strings.HasPrefix(c, "AUTHENTICATE") }, func(*talk, string) {}, FaultCut},
		"a login that loops":       {func(c string) bool { return strings.HasPrefix(c, "AUTHENTICATE") }, func(c *talk, _ string) { endless(c, "", "+ \r\n") }, FaultProtocol},
		"a wait that is no wait":   {func(c string) bool { return c == "IDLE" }, func(c *talk, tag string) { c.say("%s BAD what?", tag) }, FaultServer},
		"a wait for ever":          {func(c string) bool { return c == "IDLE" }, func(*talk, string) {}, FaultCut},
		"marks that hang":          {func(c string) bool { return strings.HasPrefix(c, "UID STORE") }, func(*talk, string) {}, FaultCut},
		"no greeting, then text":   {func(c string) bool { return c == "CAPABILITY" }, func(c *talk, tag string) { c.say("* CAPABILITY %s\r\n%s OK", strings.Repeat("A", 70<<10), tag) }, FaultProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, h := newServer(t, "IDLE"), &hub{}
			s.deliver(texts(1, 2)...)
			times := 0
			s.set(func() {
				s.instead = func(talk *talk, tag, command string) bool {
					if !c.when(command) || times > 0 {
						return false
					}
					times++
					c.say(talk, tag)
					return true
				}
			})
			o := s.options(h)
			o.Step, o.MaxMessage, o.MinRate = 2*time.Second, 64<<10, 1<<20
			p, _ := run(t, o)
			eventually(t, "the fault is told", func() bool { return p.Status().Fault != "" })
			if got := p.Status().Fault; got != c.want {
				t.Errorf("fault %q, want %q", got, c.want)
			}
			h.took(t, texts(1, 2))
		})
	}
}

// endless says the same until the other side has enough.
func endless(c *talk, first, again string) {
	_, err := c.Write([]byte(first))
	block := []byte(strings.Repeat(again, 1+4096/len(again)))
	for range 64 << 20 / len(block) {
		if err != nil {
			break
		}
		_, err = c.Write(block)
	}
	c.Close()
}

func TestLoginRefused(t *testing.T) {
	s, h := newServer(t, ""), &hub{}
	s.set(func() {
		s.instead = func(c *talk, tag, command string) bool {
			if !strings.HasPrefix(command, "AUTHENTICATE") {
				return false
			}
			c.say("%s NO [AUTHENTICATIONFAILED] Mme Petit", tag)
			return true
		}
	})
	var pauses atomic.Int32
	o := s.options(h)
	o.Jitter = func() float64 { pauses.Add(1); return 0 }
	p, stop := run(t, o)
	eventually(t, "it is told", func() bool { return p.Status().Fault == FaultRefused })
	eventually(t, "it was time for many more", func() bool { return pauses.Load() > 20 })
	stop()
	if n := s.heard("AUTHENTICATE"); n != 1 {
		t.Errorf("%d attempts", n)
	}
}

// A server without PLAIN gets the command LOGIN, and only if it allows that.
func TestLoginCommand(t *testing.T) {
	for caps, want := range map[string]Fault{"IMAP4rev1": "", "IMAP4rev1 LOGINDISABLED": FaultMechanism} {
		s, h := newServer(t, ""), &hub{}
		s.deliver(text(1))
		s.set(func() {
			s.instead = func(c *talk, tag, command string) bool {
				if command != "CAPABILITY" {
					return false
				}
				c.say("* CAPABILITY %s\r\n%s OK", caps, tag)
				return true
			}
		})
		p, stop := run(t, s.options(h))
		if want == "" {
			h.took(t, texts(1, 1))
			if s.heard(`LOGIN "coordination" "s3cret"`) != 1 {
				t.Errorf("said %q", s.said)
			}
		} else {
			eventually(t, "it is told", func() bool { return p.Status().Fault == want })
		}
		stop()
	}
}

// Nothing is listening, then somebody is.
func TestServerComesBack(t *testing.T) {
	s, h := newServer(t, ""), &hub{}
	s.deliver(text(1))
	o := s.options(h)
	dials := 0
	o.Dial = nil
	o = o.withDefaults()
	real := o.Dial
	o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if dials++; dials < 4 {
			return nil, errors.New("nobody there")
		}
		return real(ctx, network, address)
	}
	run(t, o)
	h.took(t, texts(1, 1))
}

// UIDs far apart cost a few lists, not one for each five hundred.
func TestSparseUIDs(t *testing.T) {
	s, h := newServer(t, ""), &hub{}
	s.set(func() {
		s.mails = []mail{{uid: 5, text: text(1)}, {uid: 900_000, text: text(2)}, {uid: 4_294_967_290, text: text(3)}}
	})
	_, stop := run(t, s.options(h))
	h.took(t, texts(1, 3))
	stop()
	if n := s.heard("UID FETCH"); n > 600 {
		t.Errorf("%d lists", n)
	}
}
