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
	h.forgetReading([]store.PathwayCode{h.child})
	if n := kept(pathwaySlab(h.child)); n != 0 {
		t.Errorf("%d at hand after an erasure", n)
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
