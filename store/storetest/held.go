package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
)

// hold holds a message with the given bytes.
func (b *bench) hold(h *store.Held, clear []byte) *store.Held {
	b.Helper()
	b.key(triage(h.ID))
	d := b.draft(clear)
	defer d.Discard()
	b.commit(func(t store.Tx) error { return t.Hold(h, []byte("index of "+h.ID), d) })
	return h
}

func heldRecord(id store.HeldID) *store.Held {
	return &store.Held{
		ID: id, Reason: "unknown-sender", Received: noon, From: "x@chu.example", MailFrom: "x@chu.example", FromName: "Dr X",
		Subject: "Léa L.", Rcpts: []store.Address{"k@hub.example"}, Candidates: []store.PathwayCode{"bbbbbbb"}, Size: 4, Trusted: true,
	}
}

func held(t *testing.T, b *bench) {
	missing(b, store.ErrNotFound, func(v store.View) (*store.Held, error) { return v.Held("01h0") })
	var want []*store.Held
	for i := range 4 {
		h := heldRecord(store.HeldID(fmt.Sprintf("01h%d", i)))
		h.Received = noon.Add(time.Duration(i) * time.Minute)
		want = append(want, b.hold(h, []byte(fmt.Sprintf("held %d", i))))
	}
	want[1].Alerts, want[1].Blob = 3, nil // the place is not the caller's to change
	b.commit(func(t store.Tx) error { return t.UpdateHeld(want[1]) })
	for range 2 {
		for i, h := range want {
			have := got(b, func(v store.View) (*store.Held, error) { return v.Held(h.ID) })
			b.same("held", have, h)
			b.holds(have.Blob, []byte(fmt.Sprintf("held %d", i)))
			b.same("index", got(b, func(v store.View) ([]byte, error) { return v.HeldIndex(h.ID) }), []byte("index of "+h.ID))
		}
		b.same("list", got(b, func(v store.View) ([]*store.Held, error) { return v.HeldList("", 0) }), want)
		b.same("page", got(b, func(v store.View) ([]*store.Held, error) { return v.HeldList("01h1", 1) }), want[2:3])
		b.reopen()
	}
	if st, err := b.Stats(t.Context()); err != nil || st.Held != 4 || !st.OldestHeld.Equal(noon) {
		t.Errorf("figures %+v, %v", st, err)
	}
	b.refused(store.ErrConflict, func(t store.Tx) error { return t.Hold(heldRecord("01h1"), nil, nil) })
	b.refused(store.ErrNotFound, func(t store.Tx) error { return t.Hold(heldRecord("01x"), nil, nil) }) // no key
	b.refused(store.ErrNotFound, func(t store.Tx) error { return t.UpdateHeld(heldRecord("01x")) })
}

func heldIsFiled(t *testing.T, b *bench) {
	p := b.pathway("bbbbbbb")
	for i, n := range []int{10, 2 << 20} {
		clear := noise(n)
		h := b.hold(heldRecord(store.HeldID(fmt.Sprintf("01h%d", i))), clear)
		m := message(p.Code, messageID(i), "coordination")
		b.commit(func(t store.Tx) error { return t.FileHeld(m, []byte("new index"), h.ID) })
		if err := b.DropKey(t.Context(), triage(h.ID)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			have := got(b, func(v store.View) (*store.Message, error) { return v.Message(p.Code, m.ID) })
			b.same("filed", have, m)
			b.holds(have.Blob, clear)
			b.same("index", got(b, func(v store.View) ([]byte, error) { return v.Index(p.Code, m.ID) }), []byte("new index"))
			missing(b, store.ErrNotFound, func(v store.View) (*store.Held, error) { return v.Held(h.ID) })
			b.reopen()
		}
		if have := m.Blob; have.Segment != h.Blob.Segment || have.Offset != h.Blob.Offset {
			t.Error("the sealed bytes were moved")
		}
		if _, err := b.bytesOf(h.Blob); err == nil {
			t.Error("the triage key still opens the message")
		}
		b.refused(store.ErrNotFound, func(t store.Tx) error { return t.FileHeld(message(p.Code, messageID(50)), nil, h.ID) })
	}
	if st, err := b.Stats(t.Context()); err != nil || st.Held != 0 || st.Messages != 2 {
		t.Errorf("figures %+v, %v", st, err)
	}
}

func heldIsDropped(t *testing.T, b *bench) {
	for i, n := range []int{10, 2 << 20} {
		h := b.hold(heldRecord(store.HeldID(fmt.Sprintf("01h%d", i))), noise(n))
		b.commit(func(t store.Tx) error { return t.DropHeld(h.ID) })
		if err := b.DropKey(t.Context(), triage(h.ID)); err != nil {
			t.Fatal(err)
		}
		missing(b, store.ErrNotFound, func(v store.View) (*store.Held, error) { return v.Held(h.ID) })
		missing(b, store.ErrNotFound, func(v store.View) ([]byte, error) { return v.HeldIndex(h.ID) })
		if _, err := b.bytesOf(h.Blob); err == nil {
			t.Error("a dropped message can be read")
		}
		b.refused(store.ErrNotFound, func(t store.Tx) error { return t.DropHeld(h.ID) })
	}
	b.reopen()
	if st, err := b.Stats(t.Context()); err != nil || st.Held != 0 || !st.OldestHeld.IsZero() {
		t.Errorf("figures %+v, %v", st, err)
	}
}

func heldLookups(t *testing.T, b *bench) {
	b.pathway("bbbbbbb")
	b.pathway("ccccccc")
	one, two := heldRecord("01h1"), heldRecord("01h2")
	one.Addressed, two.Addressed = "bbbbbbb", "bbbbbbb"
	one.Fingerprint = [32]byte{1}
	b.hold(one, nil)
	b.hold(two, nil)
	of := func(c store.PathwayCode) []*store.Held {
		t.Helper()
		return got(b, func(v store.View) ([]*store.Held, error) { return v.HeldOfPathway(c) })
	}
	duplicate := func(v store.View) (store.HeldID, error) { return v.HeldDuplicate([32]byte{1}) }
	b.same("of pathway", of("bbbbbbb"), []*store.Held{one, two})
	b.same("duplicate", got(b, duplicate), one.ID)
	missing(b, store.ErrNotFound, func(v store.View) (store.HeldID, error) { return v.HeldDuplicate([32]byte{2}) })

	two.Addressed = "ccccccc"
	b.commit(func(t store.Tx) error { return t.UpdateHeld(two) })
	b.reopen()
	b.same("moved from", of("bbbbbbb"), []*store.Held{one})
	b.same("moved to", of("ccccccc"), []*store.Held{two})
	b.commit(func(t store.Tx) error { return t.DropHeld(one.ID) })
	b.same("dropped", of("bbbbbbb"), []*store.Held(nil))
	missing(b, store.ErrNotFound, duplicate)
}
