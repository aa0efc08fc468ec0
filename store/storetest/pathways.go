package storetest

import (
	"errors"
	"testing"

	"github.com/relais-sante/relais/store"
)

func pathways(t *testing.T, b *bench) {
	missing(b, store.ErrNotFound, func(v store.View) (*store.Pathway, error) { return v.Pathway("bbbbbbb") })
	var made []*store.Pathway
	for _, c := range []store.PathwayCode{"bbbbbbb", "ccccccc", "ddddddd", "fffffff"} {
		made = append(made, b.pathway(c))
	}
	for range 2 {
		for _, p := range made {
			if p.Revision != 1 {
				t.Errorf("revision after the first write is %d, want 1", p.Revision)
			}
			have := got(b, func(v store.View) (*store.Pathway, error) { return v.Pathway(p.Code) })
			b.same("pathway", have, p)
		}
		b.reopen()
	}
	all := got(b, func(v store.View) ([]*store.Pathway, error) { return v.Pathways("", 0) })
	if len(all) != len(made) {
		t.Fatalf("%d pathways listed, want %d", len(all), len(made))
	}
	// Page by page gives the same.
	var paged []*store.Pathway
	var after store.PathwayCode
	for {
		page := got(b, func(v store.View) ([]*store.Pathway, error) { return v.Pathways(after, 3) })
		if len(page) == 0 {
			break
		}
		if len(page) > 3 {
			t.Fatalf("a page of %d, want at most 3", len(page))
		}
		paged = append(paged, page...)
		after = page[len(page)-1].Code
	}
	b.same("pages", paged, all)

	// A pathway whose key was never made cannot be written.
	b.refused(store.ErrNotFound, func(t store.Tx) error { return t.PutPathway(&store.Pathway{Code: "ggggggg"}) })
}

func staleRevision(t *testing.T, b *bench) {
	p := b.pathway("bbbbbbb")
	one := got(b, func(v store.View) (*store.Pathway, error) { return v.Pathway(p.Code) })
	two := got(b, func(v store.View) (*store.Pathway, error) { return v.Pathway(p.Code) })
	one.Phone = "01 00 00 00 01"
	b.commit(func(t store.Tx) error { return t.PutPathway(one) })
	if one.Revision != 2 {
		t.Errorf("revision is %d, want 2", one.Revision)
	}
	two.Phone = "01 00 00 00 02"
	b.refused(store.ErrConflict, func(t store.Tx) error { return t.PutPathway(two) })
	if two.Revision != 1 {
		t.Errorf("a refused write changed the revision to %d", two.Revision)
	}
	have := got(b, func(v store.View) (*store.Pathway, error) { return v.Pathway(p.Code) })
	b.same("pathway", have, one)
	// Twice in one commit is not stale.
	b.commit(func(t store.Tx) error {
		if err := t.PutPathway(one); err != nil {
			return err
		}
		return t.PutPathway(one)
	})
	if one.Revision != 4 {
		t.Errorf("revision is %d, want 4", one.Revision)
	}
	// A new record must not overwrite one that is there.
	b.refused(store.ErrConflict, func(t store.Tx) error { return t.PutPathway(&store.Pathway{Code: p.Code}) })
}

func lookupsFollow(t *testing.T, b *bench) {
	p := b.pathway("bbbbbbb")
	other := b.pathway("ccccccc")
	find := func(what string, want []store.PathwayCode, fn func(store.View) ([]store.PathwayCode, error)) {
		t.Helper()
		b.same(what, got(b, fn), want)
	}
	patient := func(ins string) func(store.View) ([]store.PathwayCode, error) {
		return func(v store.View) ([]store.PathwayCode, error) { return v.PathwaysOfPatient(ins) }
	}
	box := func(a store.Address) func(store.View) ([]store.PathwayCode, error) {
		return func(v store.View) ([]store.PathwayCode, error) { return v.PathwaysOfBox(a) }
	}
	name := func(k string) func(store.View) ([]store.PathwayCode, error) {
		return func(v store.View) ([]store.PathwayCode, error) { return v.PathwaysOfName(k) }
	}
	both := []store.PathwayCode{"bbbbbbb", "ccccccc"}
	find("by INS", both[:1], patient("1bbbbbbb"))
	find("by box", both, box("anne@chu.example"))
	find("by sending address", both, box("anne2@chu.example"))
	find("by name", both, name("lune"))
	find("nobody", nil, name("soleil"))

	p.Patient.INS, p.Patient.NameKey = "2bbbbbbb", "soleil"
	p.Members[0].AlsoFrom = nil
	p.Members[0].Former, p.Members[0].Mailbox = []store.Address{"anne@chu.example"}, "anne@chg.example"
	p.Members = append(p.Members, store.Member{ID: "m2", Mailbox: "idec@chu.example"})
	b.commit(func(t store.Tx) error { return t.PutPathway(p) })
	for range 2 {
		find("by old INS", nil, patient("1bbbbbbb"))
		find("by new INS", both[:1], patient("2bbbbbbb"))
		find("by old name", both[1:], name("lune"))
		find("by new name", both[:1], name("soleil"))
		find("by dropped address", both[1:], box("anne2@chu.example"))
		find("by new box", both[:1], box("idec@chu.example"))
		find("by the box a member moved to", both[:1], box("anne@chg.example"))
		find("by the box a member had", both, box("anne@chu.example"))
		b.reopen()
	}
	_ = other
}

func boxes(t *testing.T, b *bench) {
	missing(b, store.ErrNotFound, func(v store.View) (*store.Box, error) { return v.Box("a@chu.example") })
	want := map[store.Address]*store.Box{}
	for _, a := range []store.Address{"a@chu.example", "b@chu.example", "279035121518989@patient.mssante.fr", "d@chu.example"} {
		x := &store.Box{Address: a, Type: store.BoxORG, Name: "Service " + string(a), Created: noon, Mark: &store.Mark{At: noon, Code: "5.1.1"}}
		want[a] = x
		b.commit(func(t store.Tx) error { return t.PutBox(x) })
	}
	want["b@chu.example"].NoCopyBack = true
	b.commit(func(t store.Tx) error { return t.PutBox(want["b@chu.example"]) })
	b.reopen()
	for a, x := range want {
		b.same("box", got(b, func(v store.View) (*store.Box, error) { return v.Box(a) }), x)
	}
	seen := map[store.Address]bool{}
	var after store.Address
	for {
		page := got(b, func(v store.View) ([]*store.Box, error) { return v.Boxes(after, 3) })
		if len(page) == 0 {
			break
		}
		for _, x := range page {
			if seen[x.Address] {
				t.Errorf("a box is listed twice")
			}
			seen[x.Address] = true
			b.same("listed box", x, want[x.Address])
		}
		after = page[len(page)-1].Address
	}
	if len(seen) != len(want) {
		t.Errorf("%d boxes listed, want %d", len(seen), len(want))
	}
}

func settings(_ *testing.T, b *bench) {
	missing(b, store.ErrNotFound, func(v store.View) ([]byte, error) { return v.Setting("cursor") })
	for _, value := range [][]byte{{}, []byte("one"), noise(5000)} {
		b.commit(func(t store.Tx) error { return t.PutSetting("cursor", value) })
		b.same("setting", got(b, func(v store.View) ([]byte, error) { return v.Setting("cursor") }), value)
	}
}

// taken: what was taken with a cursor is known after a restart, as one with it.
func taken(_ *testing.T, b *bench) {
	stop := errors.New("stop")
	one, two := [32]byte{1}, [32]byte{2}
	known := func(source string, digest [32]byte) bool {
		return got(b, func(v store.View) (bool, error) { return v.Taken(source, digest) })
	}
	put := func(digest [32]byte, then error) func(store.Tx) error {
		return func(t store.Tx) error {
			if err := t.PutSetting("cursor", digest[:1]); err != nil {
				return err
			}
			if err := t.PutTaken("box", digest, noon); err != nil {
				return err
			}
			if ok, err := t.Taken("box", digest); err != nil || !ok {
				b.Errorf("a commit does not see what it noted: %v", err)
			}
			return then
		}
	}
	b.commit(put(one, nil))
	b.commit(put(one, nil)) // again is no error
	if err := b.Commit(b.Context(), put(two, stop)); !errors.Is(err, stop) {
		b.Fatal(err)
	}
	b.reopen()
	b.same("cursor", got(b, func(v store.View) ([]byte, error) { return v.Setting("cursor") }), []byte{1})
	if !known("box", one) || known("box", two) || known("other", one) {
		b.Errorf("known: %t, of a commit that failed %t, of another source %t", known("box", one), known("box", two), known("other", one))
	}
}

// takenPurged: what was taken before a day goes, however often it is asked; what
// was taken again counts by the last time.
func takenPurged(_ *testing.T, b *bench) {
	const n, old = 20, 12
	b.commit(func(t store.Tx) error {
		for i := range byte(n) {
			at := noon
			if i < old {
				at = noon.AddDate(0, 0, -30)
			}
			if err := t.PutTaken("box", [32]byte{i}, at); err != nil {
				return err
			}
		}
		return t.PutTaken("box", [32]byte{0}, noon)
	})
	var after []byte
	gone, rounds := 0, 0
	for {
		b.commit(func(t store.Tx) error {
			last, n, err := t.PurgeTaken(after, 6, noon.AddDate(0, 0, -29))
			after, gone = last, gone+n
			return err
		})
		if rounds++; after == nil {
			break
		}
	}
	if gone != old-1 || rounds != 4 {
		b.Errorf("%d went in %d rounds", gone, rounds)
	}
	b.reopen()
	for i := range byte(n) {
		if known := got(b, func(v store.View) (bool, error) { return v.Taken("box", [32]byte{i}) }); known != (i == 0 || i >= old) {
			b.Errorf("mail %d known: %t", i, known)
		}
	}
}
