package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
)

func traces(t *testing.T, b *bench) {
	p := b.pathway("bbbbbbb")
	want := map[store.Family][]*store.Trace{}
	var about []*store.Trace
	for i := range 9 {
		r := store.Trace{
			Family: store.Application, At: noon, Actor: "idec", Action: "post.read", Outcome: "done",
			Object: string(messageID(i)), Detail: map[string]string{"rubric": "imagerie"},
		}
		if i%3 == 0 {
			r.Family = store.Technical
		}
		if i%2 == 0 {
			r.Pathway = p.Code
		}
		b.commit(func(t store.Tx) error { return t.Trace(r) })
		want[r.Family] = append(want[r.Family], &r)
		if r.Pathway != "" {
			about = append(about, &r)
		}
	}
	b.refusedAny(func(t store.Tx) error {
		if err := t.Trace(store.Trace{Family: store.Technical}); err != nil {
			return err
		}
		return errors.New("stop")
	})
	b.reopen()
	for f, list := range want {
		have := got(b, func(v store.View) ([]*store.Trace, error) { return v.Traces(f, 0, 0) })
		if len(have) != len(list) {
			t.Fatalf("%d traces of %s, want %d", len(have), f, len(list))
		}
		var last uint64
		for i, r := range have {
			if r.Seq <= last {
				t.Errorf("trace %d has number %d after %d", i, r.Seq, last)
			}
			if (len(r.Prev) == 0) != (i == 0) {
				t.Errorf("trace %d: hash of the one before has %d bytes", i, len(r.Prev))
			}
			last = r.Seq
			list[i].Seq, list[i].Prev = r.Seq, r.Prev
		}
		b.same("traces", have, list)
		b.same("page", got(b, func(v store.View) ([]*store.Trace, error) { return v.Traces(f, have[0].Seq, 1) }), list[1:2])
	}
	b.same("of the pathway", got(b, func(v store.View) ([]*store.Trace, error) { return v.TracesOfPathway(p.Code, 0, 0) }), about)
	b.same("of the pathway, page", got(b, func(v store.View) ([]*store.Trace, error) {
		return v.TracesOfPathway(p.Code, about[1].Seq, 2)
	}), about[2:4])
	b.refusedAny(func(t store.Tx) error { return t.Trace(store.Trace{Family: "other"}) })

	// Traces outlive the pathway they are about.
	if err := b.DropKey(t.Context(), owner(p.Code)); err != nil {
		t.Fatal(err)
	}
	b.same("after an erasure", got(b, func(v store.View) ([]*store.Trace, error) { return v.TracesOfPathway(p.Code, 0, 0) }), about)
}

// traceOfMany: one record may be about many messages and pathways.
func traceOfMany(t *testing.T, b *bench) {
	p, q := b.pathway("bbbbbbb"), b.pathway("ccccccc")
	r := store.Trace{
		Family: store.Application, At: noon, Actor: "idec", OnBehalf: "member:m1", Action: "pathway.listed", Outcome: "done",
		Also: []store.PathwayCode{p.Code, q.Code}, Objects: []string{"01a", "01b"},
	}
	b.commit(func(t store.Tx) error { return t.Trace(r) })
	r.Seq = 1
	for _, code := range r.Also {
		b.same(string(code), got(b, func(v store.View) ([]*store.Trace, error) { return v.TracesOfPathway(code, 0, 0) }), []*store.Trace{&r})
	}
}

// purges: the oldest go, what is left verifies, and heads kept before hold.
func purges(t *testing.T, b *bench) {
	p := b.pathway("bbbbbbb")
	b.sound()
	for i := range 40 {
		b.commit(func(t store.Tx) error {
			return t.Trace(store.Trace{
				Family: store.Families[i%2], At: noon.Add(time.Duration(i) * time.Hour), Action: "post.read", Pathway: p.Code, Object: string(messageID(i)),
			})
		})
	}
	first := b.head()
	if f := first.Of(store.Application); f.Count != 20 || f.Last != 39 || f.Purged != 0 || first.Trace != 40 {
		t.Errorf("head %+v", first)
	}
	purge := func(f store.Family, limit int, goes func(*store.Trace) bool) (out store.Purged) {
		b.commit(func(t store.Tx) (err error) {
			out, err = t.PurgeTraces(f, limit, goes)
			return err
		})
		return out
	}
	old := func(n int) func(*store.Trace) bool {
		return func(r *store.Trace) bool { return r.At.Before(noon.Add(time.Duration(n) * time.Hour)) }
	}
	b.same("purged", purge(store.Application, 100, old(10)), store.Purged{
		Count: 5, First: 1, Last: 9, Oldest: noon, Newest: noon.Add(8 * time.Hour), Hash: b.head().Of(store.Application).PurgedHash,
	})
	b.sound(first)
	if n := purge(store.Application, 100, old(10)).Count; n != 0 {
		t.Errorf("%d more went", n)
	}
	if n := purge(store.Application, 3, old(20)).Count; n != 3 {
		t.Errorf("%d went, the limit was 3", n)
	}
	b.refusedAny(func(t store.Tx) error {
		if _, err := t.PurgeTraces(store.Application, 100, old(99)); err != nil {
			return err
		}
		return errors.New("stop")
	})
	b.refusedAny(func(t store.Tx) error { _, err := t.PurgeTraces("other", 1, old(99)); return err })
	b.reopen()
	b.sound(first)
	if left := got(b, func(v store.View) ([]*store.Trace, error) { return v.Traces(store.Application, 0, 0) }); len(left) != 12 || left[0].Seq != 17 {
		t.Errorf("%d are left", len(left))
	}
	// The pathway's list goes with them.
	if left := got(b, func(v store.View) ([]*store.Trace, error) { return v.TracesOfPathway(p.Code, 0, 0) }); len(left) != 32 {
		t.Errorf("%d of the pathway are left", len(left))
	}
	second := b.head()
	for _, f := range store.Families {
		purge(f, 100, old(99))
	}
	b.sound(first, second)
	b.commit(func(t store.Tx) error { return t.Trace(store.Trace{Family: store.Technical, Action: "after"}) })
	b.reopen()
	b.sound(first, second)
	if h := b.head(); h.Of(store.Technical).Count != 21 || h.Of(store.Technical).Purged != 20 || h.Trace != 41 {
		t.Errorf("head %+v", h)
	}
}

// signedHeads: a head can be kept elsewhere, and tells what is not on the chain.
func signedHeads(t *testing.T, b *bench) {
	trace := func() {
		b.commit(func(t store.Tx) error { return t.Trace(store.Trace{Family: store.Technical, Action: "x"}) })
	}
	trace()
	trace()
	signed, err := b.SignHead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := b.head()
	trace()
	b.reopen()
	kept, err := b.ReadHead(signed)
	if err != nil {
		t.Fatal(err)
	}
	kept.At, want.At = time.Time{}, time.Time{}
	b.same("head", kept, want)
	b.sound(kept)
	for name, change := range map[string]func(*store.FamilyHead){
		"count": func(f *store.FamilyHead) { f.Count++ }, "last": func(f *store.FamilyHead) { f.Last++ },
		"hash": func(f *store.FamilyHead) { f.Hash = f.Hash[2:] + "00" }, "ahead": func(f *store.FamilyHead) { f.Count, f.Last = 9, 9 },
	} {
		wrong := kept
		wrong.Families = append([]store.FamilyHead(nil), kept.Families...)
		for i := range wrong.Families {
			if wrong.Families[i].Family == store.Technical {
				change(&wrong.Families[i])
			}
		}
		report, err := b.VerifyTraces(t.Context(), kept, wrong)
		if err != nil || len(report.Problems) != 1 || report.Problems[0].Fault != store.TraceNotKept {
			t.Errorf("%s: %+v, %v", name, report.Problems, err)
		}
	}
	if _, err := b.ReadHead(append(signed[:80:80], signed[81:]...)); err == nil {
		t.Error("a changed head was read")
	}
	if key, err := b.HeadKey(); err != nil || len(key) == 0 {
		t.Errorf("key: %v", err)
	}
}

// sound verifies the traces.
func (b *bench) sound(kept ...store.TraceHead) {
	b.Helper()
	report, err := b.VerifyTraces(b.Context(), kept...)
	if err != nil || !report.Sound() {
		b.Fatalf("%+v, %v", report.Problems, err)
	}
}

func (b *bench) head() store.TraceHead {
	b.Helper()
	h, err := b.TraceHead(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return h
}

func stats(t *testing.T, b *bench) {
	before, err := b.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := b.pathway("bbbbbbb")
	b.commit(func(t store.Tx) error { return t.PutPathway(p) })
	b.file(message(p.Code, messageID(1)), noise(10000))
	b.file(message(p.Code, messageID(2)), noise(3<<20))
	b.refusedAny(func(t store.Tx) error {
		if err := t.FileMessage(message(p.Code, messageID(3)), nil, nil); err != nil {
			return err
		}
		return errors.New("stop")
	})
	for range 2 {
		st, err := b.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if st.Pathways != 1 || st.Messages != 2 || st.Held != 0 || st.Queued != 0 || st.Failed != 0 {
			t.Errorf("figures are %+v", st)
		}
		if grown := st.SegmentBytes - before.SegmentBytes; grown < 3<<20 || grown > 4<<20 {
			t.Errorf("segments grew by %d bytes", grown)
		}
		if st.IndexBytes == 0 || st.Sequence <= before.Sequence || !st.OldestHeld.IsZero() || !st.OldestUndelivered.IsZero() {
			t.Errorf("figures are %+v", st)
		}
		b.reopen()
	}
}

func mac(t *testing.T, b *bench) {
	a := b.Mac("use", "x", "y")
	for name, other := range map[string][32]byte{
		"another use": b.Mac("other", "x", "y"), "other parts": b.Mac("use", "xy"), "split otherwise": b.Mac("use", "x", "", "y"),
		"use runs into parts": b.Mac("usex", "y"),
	} {
		if a == other {
			t.Errorf("%s gives the same hash", name)
		}
	}
	b.reopen()
	if b.Mac("use", "x", "y") != a {
		t.Error("the hash changed over a restart")
	}
}

func keys(t *testing.T, b *bench) {
	o := owner("bbbbbbb")
	for range 2 {
		b.key(o)
	}
	p := b.pathway("bbbbbbb")
	b.key(o) // keeps the key that is there
	b.reopen()
	b.same("pathway", got(b, func(v store.View) (*store.Pathway, error) { return v.Pathway(p.Code) }), p)
	if err := b.DropKey(t.Context(), owner("zzzzzzz")); err != nil {
		t.Errorf("dropping a key that is not there: %v", err)
	}
}

func erased(t *testing.T, b *bench) {
	p := b.pathway("bbbbbbb")
	keep := b.pathway("ccccccc")
	m := message(p.Code, messageID(1), "imagerie")
	m.Fingerprint = [32]byte{7}
	b.file(m, []byte("secret"))
	kept := b.file(message(keep.Code, messageID(2)), []byte("kept"))
	d := &store.Delivery{ID: "01d", Pathway: p.Code, Message: m.ID, Mailbox: "a@chu.example", State: store.Queued, Created: noon}
	b.commit(func(t store.Tx) error { return t.PutDelivery(d) })
	h := b.hold(heldRecord("01h"), []byte("held"))

	for _, o := range []store.Owner{owner(p.Code), triage(h.ID)} {
		if err := b.DropKey(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		missing(b, store.ErrErased, func(v store.View) (*store.Pathway, error) { return v.Pathway(p.Code) })
		missing(b, store.ErrErased, func(v store.View) (*store.Message, error) { return v.Message(p.Code, m.ID) })
		missing(b, store.ErrErased, func(v store.View) ([]byte, error) { return v.Index(p.Code, m.ID) })
		missing(b, store.ErrErased, func(v store.View) (store.PathwayCode, error) { return v.Locate(m.ID) })
		missing(b, store.ErrErased, func(v store.View) (*store.Delivery, error) { return v.Delivery(d.ID) })
		missing(b, store.ErrErased, func(v store.View) (*store.Held, error) { return v.Held(h.ID) })
		if _, err := b.bytesOf(m.Blob); !errors.Is(err, store.ErrErased) {
			t.Errorf("bytes of an erased message: got %v, want ErrErased", err)
		}
		if _, err := b.bytesOf(h.Blob); !errors.Is(err, store.ErrErased) {
			t.Errorf("bytes of an erased held message: got %v, want ErrErased", err)
		}
		// Lists go on without what is erased.
		b.same("pathways", got(b, func(v store.View) ([]*store.Pathway, error) { return v.Pathways("", 0) }), []*store.Pathway{keep})
		b.same("of the box", got(b, func(v store.View) ([]store.PathwayCode, error) { return v.PathwaysOfBox("anne@chu.example") }), []store.PathwayCode{keep.Code})
		b.same("by id", got(b, func(v store.View) ([]store.MessageRef, error) { return v.MessagesByID(m.RFCID) }), []store.MessageRef(nil))
		b.same("deliveries", got(b, func(v store.View) ([]*store.Delivery, error) { return v.DeliveryList("", 0) }), []*store.Delivery(nil))
		b.same("held", got(b, func(v store.View) ([]*store.Held, error) { return v.HeldList("", 0) }), []*store.Held(nil))
		b.holds(kept.Blob, []byte("kept"))
		if _, err := b.Stats(t.Context()); err != nil {
			t.Errorf("figures: %v", err)
		}
		b.reopen()
	}
	b.refused(store.ErrErased, func(t store.Tx) error { return t.FileMessage(message(p.Code, messageID(5)), nil, nil) })
}
