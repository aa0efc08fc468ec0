package storetest

import (
	"errors"
	"testing"

	"github.com/relais-sante/relais/store"
)

func drafts(t *testing.T, b *bench) {
	b.pathway("bbbbbbb")
	for _, n := range []int{100, 2 << 20} {
		clear := noise(n)
		d, err := b.Create(t.Context(), int64(n))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Write(clear); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Open(); err == nil {
			t.Error("an unfinished draft was opened")
		}
		b.refusedAny(func(t store.Tx) error { return t.FileMessage(message("bbbbbbb", messageID(n)), nil, d) })
		if err := d.Finish(); err != nil {
			t.Fatal(err)
		}
		if err := d.Finish(); err != nil {
			t.Errorf("finishing twice: %v", err)
		}
		if _, err := d.Write([]byte("x")); err == nil {
			t.Error("a finished draft took more")
		}
		if err := d.Expect(owner("bbbbbbb")); err != nil {
			t.Errorf("expecting an owner: %v", err)
		}
		d.Discard()
		d.Discard()
		if _, err := d.Open(); err == nil {
			t.Error("a discarded draft was opened")
		}
		b.refusedAny(func(t store.Tx) error { return t.FileMessage(message("bbbbbbb", messageID(n)), nil, d) })
	}
	if n := len(got(b, func(v store.View) ([]*store.Message, error) { return v.Thread("bbbbbbb", 0, 0) })); n != 0 {
		t.Errorf("%d messages in the thread, want none", n)
	}
}

// refusedAny must fail, with whatever.
func (b *bench) refusedAny(fn func(store.Tx) error) {
	b.Helper()
	if err := b.Commit(b.Context(), fn); err == nil {
		b.Fatal("commit succeeded")
	}
}

func draftReuse(_ *testing.T, b *bench) {
	p := b.pathway("bbbbbbb")
	for i, n := range []int{100, 2 << 20} {
		clear := noise(n)
		d := b.draft(clear)
		stop := errors.New("stop")
		m := message(p.Code, messageID(10*i))
		// A commit that fails leaves the draft as it was.
		b.refused(stop, func(t store.Tx) error {
			if err := t.FileMessage(m, nil, d); err != nil {
				return err
			}
			return stop
		})
		// Twice in one commit is refused.
		b.refusedAny(func(t store.Tx) error {
			if err := t.FileMessage(message(p.Code, messageID(10*i+1)), nil, d); err != nil {
				return err
			}
			return t.FileMessage(message(p.Code, messageID(10*i+2)), nil, d)
		})
		b.commit(func(t store.Tx) error { return t.FileMessage(m, nil, d) })
		b.holds(m.Blob, clear)
		// So is using it once more.
		b.refusedAny(func(t store.Tx) error { return t.FileMessage(message(p.Code, messageID(10*i+3)), nil, d) })
		b.holds(m.Blob, clear)
	}
}
