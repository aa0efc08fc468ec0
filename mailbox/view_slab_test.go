package mailbox

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/store"
)

// TestSlabsForget: what is kept of envelopes goes with an erasure and with what
// is expunged.
func TestSlabsForget(t *testing.T) {
	h := newHouse(t)
	r := h.reads("roux@chu.test", "")
	h.post(written{from: "moreau@chu.test", to: string(h.child), id: "p@chu.test", subject: "Suite", text: "a"})
	a, err := r.Append(t.Context(), "Brouillons")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		mail := fmt.Sprintf("Subject: Note %d\r\n\r\n", i)
		if err := a.Message(int64(len(mail)), folder.Flags{System: folder.Deleted}, time.Time{}, strings.NewReader(mail)); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := a.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	private, drafts := openFolder(t, r, "Brouillons")
	looksThrough(t, private, uidsOf(drafts), folder.Envelope)
	rubric, posts := openFolder(t, r, h.top()+"/Coordination")
	looksThrough(t, rubric, uidsOf(posts), folder.Envelope)
	kept := func(o store.Owner) int {
		h.slabs.mu.Lock()
		defer h.slabs.mu.Unlock()
		if h.slabs.m[o] == nil {
			return 0
		}
		return len(h.slabs.m[o].m)
	}
	if n, m := kept(accountSlab(r.a.ID)), kept(pathwaySlab(h.child)); n != 2 || m != len(posts.Rows) {
		t.Fatalf("%d private and %d of the pathway at hand", n, m)
	}
	if err := private.Expunge(t.Context(), uidsOf(drafts)[:1]); err != nil {
		t.Fatal(err)
	}
	if _, _, err := private.Sync(t.Context(), drafts); err != nil {
		t.Fatal(err)
	}
	if n := kept(accountSlab(r.a.ID)); n != 1 {
		t.Errorf("%d at hand after one of two was expunged", n)
	}
	h.forgetReading([]store.PathwayCode{h.child}, nil)
	if n := kept(pathwaySlab(h.child)); n != 0 {
		t.Errorf("%d at hand after an erasure", n)
	}
}

// TestWhatIsAtHandGoesWithTheRight: once somebody may see less, nothing that was
// unsealed for them stays in memory, be their session open or over.
func TestWhatIsAtHandGoesWithTheRight(t *testing.T) {
	pathway := func(h *house) string { return string(h.child) }
	for _, tc := range []struct {
		name    string
		lose    func(*house) error
		account bool // all of the account's, or what it saw of the pathway
	}{
		{"account revoked", func(h *house) error {
			_, err := h.RevokeAccount(t.Context(), testActor, AccountRevoke{Username: "bernard@kine.test"})
			return err
		}, true},
		{"member left", func(h *house) error {
			_, err := h.RemoveMember(t.Context(), testActor, MemberRemoval{Pathway: pathway(h), Member: "m4", Reason: "départ"})
			return err
		}, false},
		{"consent withdrawn", func(h *house) error {
			_, err := h.WithdrawConsent(t.Context(), testActor, WithdrawRequest{Pathway: pathway(h), By: "mère"})
			return err
		}, false},
		{"suspended", func(h *house) error {
			_, err := h.SuspendPathway(t.Context(), testActor, StatusChange{Pathway: pathway(h), Reason: "pause"})
			return err
		}, false},
		{"closed", func(h *house) error {
			_, err := h.ClosePathway(t.Context(), testActor, StatusChange{Pathway: pathway(h), Reason: "fin"})
			return err
		}, false},
		{"erased", func(h *house) error {
			_, err := h.ErasePathway(t.Context(), testActor, ErasureRequest{Pathway: pathway(h), Reason: "demande écrite"})
			return err
		}, false},
	} {
		for _, open := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, open %v", tc.name, open), func(t *testing.T) {
				h := newHouse(t)
				r := h.reads("bernard@kine.test", "")
				h.post(written{from: "moreau@chu.test", to: string(h.child), id: "p@chu.test", subject: "Suite", text: "a"})
				a, err := r.Append(t.Context(), "Brouillons")
				if err != nil {
					t.Fatal(err)
				}
				const mail = "Subject: Note\r\n\r\n"
				if err := a.Message(int64(len(mail)), folder.Flags{}, time.Time{}, strings.NewReader(mail)); err != nil {
					t.Fatal(err)
				}
				if _, _, err := a.Commit(t.Context()); err != nil {
					t.Fatal(err)
				}
				look := func() {
					for _, name := range []string{"Brouillons", h.top() + "/Coordination", h.top()} {
						f, table := openFolder(t, r, name)
						looksThrough(t, f, uidsOf(table), folder.Envelope)
					}
				}
				look()
				if !open {
					r.Close()
				}
				of := pathwaySlab(h.child)
				if tc.account {
					of = accountSlab(r.a.ID)
				}
				atHand := func() (envelopes, desk, sheet bool) {
					h.slabs.mu.Lock()
					defer h.slabs.mu.Unlock()
					h.desks.mu.Lock()
					defer h.desks.mu.Unlock()
					d := h.desks.m[r.a.ID]
					return h.slabs.m[of] != nil, d != nil, r.desk.sheets[h.child] != nil
				}
				if envelopes, desk, sheet := atHand(); !envelopes || !desk || !sheet {
					t.Fatalf("at hand before: %v, %v, %v", envelopes, desk, sheet)
				}
				if err := tc.lose(h); err != nil {
					t.Fatal(err)
				}
				envelopes, desk, sheet := atHand()
				if envelopes || desk && (sheet || !open) {
					t.Errorf("at hand after: envelopes %v, desk %v, sheet %v", envelopes, desk, sheet)
				}
				if !open || !tc.account {
					return
				}
				// A session reads on until it notices; with it goes what it read.
				h.slabs.learnt(of, runOf(1, 10), h.slabs.known(of, runOf(1, 1)))
				r.Close()
				if envelopes, _, _ := atHand(); envelopes {
					t.Error("read after the account was revoked, and at hand when its session is over")
				}
			})
		}
	}
}

// runOf are messages of one owner with an envelope of that many bytes each.
func runOf(n, size int) []readable {
	run := make([]readable, n)
	for i := range run {
		run[i] = readable{mail: store.MailID(fmt.Sprint(i)), packed: strings.Repeat("x", size)}
	}
	return run
}

// TestSlabsAreBounded: in bytes, and in time.
func TestSlabsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s slabs
		one, two := accountSlab("a1"), accountSlab("a2")
		for _, o := range []store.Owner{one, two} {
			s.learnt(o, runOf(maxSlabs/1000, 1000), s.known(o, runOf(1, 1)))
		}
		if s.m[one] != nil || s.m[two] == nil || s.held > maxSlabs || s.held < maxSlabs/2 {
			t.Errorf("%d slabs hold %d bytes", len(s.m), s.held)
		}
		gone := s.known(one, runOf(1, 1))
		s.forget(two)
		if s.learnt(one, runOf(1, 10), gone); s.m[one] != nil || s.held != 0 {
			t.Errorf("what was read before an erasure is at hand after it: %d bytes", s.held)
		}
		s.learnt(one, runOf(1, maxPacked+1), s.gone)
		if s.held != 0 {
			t.Errorf("a long envelope is kept")
		}
		s.learnt(one, runOf(1, 10), s.gone)
		time.Sleep(slabLinger / 2)
		s.known(one, runOf(1, 1))
		time.Sleep(slabLinger * 3 / 4)
		synctest.Wait()
		s.mu.Lock()
		if s.held == 0 {
			t.Error("dropped while it was asked")
		}
		s.mu.Unlock()
		time.Sleep(slabLinger)
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.held != 0 || s.m[one] != nil {
			t.Errorf("%d bytes at hand long after", s.held)
		}
	})
}

func TestPackedEnvelopeIsTheSame(t *testing.T) {
	var scratch []byte
	var have letter.Index
	for _, mail := range []string{
		"", "X: y\r\n\r\n",
		"date: x\r\nSUBJECT: " + strings.Repeat("é", 300) + "\r\nTo: a@chu.test\r\nReceived: by x\r\nTo: b@chu.test\r\nCc:\r\n\r\nBonjour",
	} {
		reading, err := letter.Read(strings.NewReader(mail), letter.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		unpackEnvelope(packEnvelope(&scratch, reading.Index), &have)
		var want []string
		for _, f := range reading.Index.Fields {
			if folder.InEnvelope(f.Name) {
				want = append(want, strings.ToLower(f.Name)+f.Value)
			}
		}
		var got []string
		for _, f := range have.Fields {
			got = append(got, strings.ToLower(f.Name)+f.Value)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || have.Size != reading.Index.Size {
			t.Errorf("of %.40q: %d bytes, %.300q", mail, have.Size, got)
		}
	}
}

// TestPrivateRowsAreNotReadAgain: where nothing changed in a private folder
// since its table was made, what its rows stand for is known from it.
func TestPrivateRowsAreNotReadAgain(t *testing.T) {
	h := newHouse(t)
	r := h.reads("roux@chu.test", "")
	a, err := r.Append(t.Context(), "Brouillons")
	if err != nil {
		t.Fatal(err)
	}
	mail := "Subject: Note\r\n\r\n"
	if err := a.Message(int64(len(mail)), folder.Flags{}, time.Time{}, strings.NewReader(mail)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	f, table := openFolder(t, r, "Brouillons")
	stands := func() (yes bool) {
		err := h.view(t.Context(), func(v store.View) error {
			var in entries
			err := in.begin(f.(*opened), v)
			yes = in.stands
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return yes
	}
	if !stands() {
		t.Error("rows are read again though nothing changed")
	}
	if _, _, err := f.SetFlags(t.Context(), uidsOf(table), folder.AddFlags, folder.Flags{System: folder.Seen}, nil); err != nil {
		t.Fatal(err)
	}
	if stands() {
		t.Error("rows are taken from an old table")
	}
}
