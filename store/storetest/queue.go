package storetest

import (
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
)

func item(id store.ItemID, lane string, due time.Time) store.Item {
	return store.Item{ID: id, Lane: lane, Due: due.UTC(), Delivery: store.DeliveryID("d" + id), Pathway: "bbbbbbb", Message: "m", What: "w"}
}

func (b *bench) put(items ...store.Item) {
	b.Helper()
	b.commit(func(t store.Tx) error {
		for _, it := range items {
			if err := t.PutItem(it); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *bench) claim(lane string, now time.Time, lease time.Duration, owner string, most int) (out []store.Item) {
	b.Helper()
	b.commit(func(t store.Tx) (err error) {
		out, err = t.Claim(lane, now, lease, owner, most)
		return err
	})
	return out
}

func names(items []store.Item) []store.ItemID {
	var out []store.ItemID
	for _, it := range items {
		out = append(out, it.ID)
	}
	return out
}

func queueOrder(t *testing.T, b *bench) {
	missing(b, store.ErrNotFound, func(v store.View) (*store.Item, error) { return v.Item("i1") })
	b.put(
		item("i1", "out:a.example", noon.Add(3*time.Second)),
		item("i2", "out:a.example", noon.Add(1*time.Second)),
		item("i3", "out:a.example", noon.Add(2*time.Second)),
		item("i4", "out:a.example", noon.Add(time.Hour)),
		item("i5", "out:a.example.org", noon),
	)
	b.reopen()
	want := item("i2", "out:a.example", noon.Add(1*time.Second))
	b.same("item", *got(b, func(v store.View) (*store.Item, error) { return v.Item("i2") }), want)
	now := noon.Add(time.Minute)
	b.same("oldest due first", names(b.claim("out:a.example", now, time.Minute, "w", 2)), []store.ItemID{"i2", "i3"})
	b.same("the rest", names(b.claim("out:a.example", now, time.Minute, "w", 10)), []store.ItemID{"i1"})
	b.same("nothing left", names(b.claim("out:a.example", now, time.Minute, "w", 10)), []store.ItemID(nil))
	b.same("none asked for", names(b.claim("out:a.example.org", now, time.Minute, "w", 0)), []store.ItemID(nil))
	// Rescheduling moves an item, to another lane too.
	b.put(item("i4", "out:b.example", noon))
	b.same("moved", names(b.claim("out:b.example", now, time.Minute, "w", 10)), []store.ItemID{"i4"})
	b.same("not left behind", names(b.claim("out:a.example", now.Add(-30*time.Second).Add(2*time.Hour), time.Minute, "w", 10)), []store.ItemID{"i1", "i2", "i3"})
	for _, lane := range []string{"", "a\x00b"} {
		b.refusedAny(func(t store.Tx) error { return t.PutItem(item("i9", lane, noon)) })
	}
}

func leases(t *testing.T, b *bench) {
	b.put(item("i1", "lane", noon), item("i2", "lane", noon))
	first := b.claim("lane", noon, time.Minute, "worker-1", 1)[0]
	if first.Token == 0 || first.Owner != "worker-1" || !first.Due.Equal(noon.Add(time.Minute)) {
		t.Errorf("claimed %+v", first)
	}
	b.reopen() // durable with its commit
	b.same("leased", got(b, func(v store.View) ([]store.Item, error) { return v.Leased() }), []store.Item{first})
	b.same("stored", *got(b, func(v store.View) (*store.Item, error) { return v.Item("i1") }), first)
	b.same("not claimed twice", names(b.claim("lane", noon.Add(30*time.Second), time.Minute, "worker-2", 10)), []store.ItemID{"i2"})
	// A lease that ran out is anybody's, under a larger token.
	second := b.claim("lane", noon.Add(time.Minute), time.Minute, "worker-2", 1)[0]
	if second.ID != "i1" || second.Token <= first.Token || second.Owner != "worker-2" {
		t.Errorf("claimed %+v after %+v", second, first)
	}
	// PutItem ends the lease.
	second.Due = noon.Add(time.Hour)
	b.put(second)
	have := *got(b, func(v store.View) (*store.Item, error) { return v.Item("i1") })
	if have.Token != 0 || have.Owner != "" || !have.Due.Equal(noon.Add(time.Hour)) {
		t.Errorf("put back as %+v", have)
	}
	b.same("one lease left", names(got(b, func(v store.View) ([]store.Item, error) { return v.Leased() })), []store.ItemID{"i2"})
	// A claim in a commit that fails is no claim.
	b.refused(store.ErrConflict, func(t store.Tx) error {
		if _, err := t.Claim("lane", noon.Add(2*time.Hour), time.Minute, "w", 10); err != nil {
			return err
		}
		return store.ErrConflict
	})
	b.same("after a failed claim", *got(b, func(v store.View) (*store.Item, error) { return v.Item("i1") }), have)
}

func fencing(_ *testing.T, b *bench) {
	b.put(item("i1", "lane", noon))
	old := b.claim("lane", noon, time.Minute, "worker-1", 1)[0]
	current := b.claim("lane", noon.Add(time.Minute), time.Minute, "worker-2", 1)[0]
	b.refused(store.ErrLeaseLost, func(t store.Tx) error { return t.PutItem(old) })
	b.refused(store.ErrLeaseLost, func(t store.Tx) error { return t.DropItem(old) })
	b.same("untouched", *got(b, func(v store.View) (*store.Item, error) { return v.Item("i1") }), current)

	// The desk reschedules: whoever held the lease has lost it.
	b.put(item("i1", "lane", noon))
	b.refused(store.ErrLeaseLost, func(t store.Tx) error { return t.DropItem(current) })
	third := b.claim("lane", noon, time.Minute, "worker-3", 1)[0]
	b.commit(func(t store.Tx) error { return t.DropItem(third) })
	missing(b, store.ErrNotFound, func(v store.View) (*store.Item, error) { return v.Item("i1") })
	b.refused(store.ErrLeaseLost, func(t store.Tx) error { return t.DropItem(third) })
	b.refused(store.ErrLeaseLost, func(t store.Tx) error { return t.PutItem(third) })
	b.commit(func(t store.Tx) error { return t.DropItem(store.Item{ID: "i1"}) })
	b.same("no lease left", names(got(b, func(v store.View) ([]store.Item, error) { return v.Leased() })), []store.ItemID(nil))
}

// reusedItem: a token is never given twice, not even to an item queued again
// under an id that was dropped.
func reusedItem(_ *testing.T, b *bench) {
	b.put(item("i1", "lane", noon))
	old := b.claim("lane", noon, time.Minute, "worker-1", 1)[0]
	b.commit(func(t store.Tx) error { return t.DropItem(store.Item{ID: "i1"}) })
	b.reopen()
	b.put(item("i1", "lane", noon))
	b.claim("lane", noon, time.Minute, "worker-2", 1)
	b.refused(store.ErrLeaseLost, func(t store.Tx) error { return t.DropItem(old) })
}

func lanes(t *testing.T, b *bench) {
	next := func(prefix string) time.Time {
		return got(b, func(v store.View) (time.Time, error) { return v.NextDue(prefix) })
	}
	due := func(prefix string, now time.Time) []string {
		return got(b, func(v store.View) ([]string, error) { return v.Lanes(prefix, now) })
	}
	if !next("").IsZero() {
		t.Error("something is due in an empty queue")
	}
	b.put(
		item("i1", "out:b.example", noon.Add(time.Second)), item("i2", "out:b.example", noon.Add(time.Hour)),
		item("i3", "out:a.example", noon.Add(2*time.Second)), item("i4", "timer:digest", noon.Add(-time.Hour)),
		item("i5", "out:c.example", noon.Add(time.Hour)), item("i6", "out:b.example.org", noon.Add(time.Hour)),
	)
	b.same("by age", due("out:", noon.Add(time.Minute)), []string{"out:b.example", "out:a.example"})
	b.put(item("i7", "out:0.example", noon.Add(2*time.Second)))
	b.same("of one age, by name", due("out:", noon.Add(time.Minute)), []string{"out:b.example", "out:0.example", "out:a.example"})
	b.same("none due", due("out:", noon), []string{})
	b.same("all", due("", noon), []string{"timer:digest"})
	if at := next("out:"); !at.Equal(noon.Add(time.Second)) {
		t.Errorf("next is %v", at)
	}
	if at := next("out:b.example.org"); !at.Equal(noon.Add(time.Hour)) {
		t.Errorf("next is %v", at)
	}
	if !next("in:").IsZero() {
		t.Error("something is due in no lane")
	}
}

func wake(t *testing.T, b *bench) {
	out, all, timer := b.Wake("out:"), b.Wake(""), b.Wake("timer:")
	woken := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	b.put(item("i1", "out:a.example", noon), item("i2", "out:b.example", noon))
	if !woken(out) || !woken(all) || woken(timer) || woken(out) {
		t.Error("a commit must wake those whose prefix it touches, once")
	}
	b.refusedAny(func(t store.Tx) error {
		if err := t.PutItem(item("i3", "out:a.example", noon)); err != nil {
			return err
		}
		return store.ErrConflict
	})
	if woken(out) {
		t.Error("a failed commit woke somebody")
	}
	b.put(item("i3", "timer:x", noon))
	if woken(out) || !woken(timer) || !woken(all) {
		t.Error("a commit must wake those whose prefix it touches")
	}
	if b.Wake("out:") != out {
		t.Error("the same prefix gave another channel")
	}
}
