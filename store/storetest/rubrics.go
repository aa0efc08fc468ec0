package storetest

import (
	"cmp"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/relais-sante/relais/store"
)

func (b *bench) rubric(code store.PathwayCode, rubric string) store.RubricState {
	b.Helper()
	return got(b, func(v store.View) (store.RubricState, error) { return v.Rubric(code, rubric) })
}

func (b *bench) filed(code store.PathwayCode, rubric string, after uint32, limit int) []store.Filing {
	b.Helper()
	return got(b, func(v store.View) ([]store.Filing, error) { return v.Filed(code, rubric, after, limit) })
}

func (b *bench) vanished(code store.PathwayCode, rubric string, since uint64) []store.Tombstone {
	b.Helper()
	return got(b, func(v store.View) ([]store.Tombstone, error) { return v.Vanished(code, rubric, since) })
}

func rubrics(t *testing.T, b *bench) {
	p := b.pathway("bbbbbbb")
	b.pathway("ccccccc")
	empty := b.rubric(p.Code, "imagerie")
	if empty.UIDValidity == 0 || empty.UIDNext != 1 || empty.HighestModSeq != 1 || empty.Count != 0 {
		t.Errorf("an unused rubric has %+v", empty)
	}
	var want []store.Filing
	for i := range 5 {
		m := b.file(message(p.Code, messageID(i), "imagerie"), nil)
		want = append(want, m.Filings...)
		b.file(message("ccccccc", messageID(100+i), "imagerie"), nil)
		b.file(message(p.Code, messageID(200+i), "social"), nil)
	}
	for i, f := range want {
		if f.UID != uint32(i+1) || f.Rubric != "imagerie" || i > 0 && f.ModSeq <= want[i-1].ModSeq {
			t.Errorf("filing %d is %+v", i, f)
		}
	}
	b.reopen()
	b.same("all", b.filed(p.Code, "imagerie", 0, 0), want)
	b.same("page", b.filed(p.Code, "imagerie", 2, 2), want[2:4])
	st := b.rubric(p.Code, "imagerie")
	if st.UIDValidity != empty.UIDValidity || st.UIDNext != 6 || st.Count != 5 || st.HighestModSeq != want[4].ModSeq {
		t.Errorf("the rubric has %+v", st)
	}
	b.same("nothing vanished", b.vanished(p.Code, "imagerie", 0), []store.Tombstone(nil))
	// A message stands in a rubric once.
	b.refusedAny(func(t store.Tx) error {
		return t.FileMessage(message(p.Code, messageID(300), "imagerie", "imagerie"), nil, nil)
	})
}

func update(t *testing.T, b *bench) {
	p := b.pathway("bbbbbbb")
	clear := []byte("des octets")
	m := b.file(message(p.Code, messageID(1), "imagerie", "social"), clear)
	imagerie, social := m.Filings[0], m.Filings[1]
	blob := *m.Blob

	n := got(b, func(v store.View) (*store.Message, error) { return v.Message(p.Code, m.ID) })
	n.Seq, n.Blob = 77, nil // not the caller's to change
	n.Filings = []store.Filing{{Rubric: "pps"}, {Rubric: "imagerie", UID: imagerie.UID, ModSeq: imagerie.ModSeq}}
	n.Retracted = &store.Retraction{At: noon, By: "idec", Reason: "erreur"}
	n.Author.CorrectedBy = "idec"
	b.commit(func(t store.Tx) error { return t.UpdateMessage(n) })
	b.reopen()

	have := got(b, func(v store.View) (*store.Message, error) { return v.Message(p.Code, m.ID) })
	b.same("updated", have, n)
	b.same("place", *have.Blob, blob)
	b.holds(have.Blob, clear)
	if have.Seq != 1 {
		t.Errorf("seq changed to %d", have.Seq)
	}
	b.same("untouched filing", b.filed(p.Code, "imagerie", 0, 0), []store.Filing{imagerie})
	b.same("filing gone", b.filed(p.Code, "social", 0, 0), []store.Filing(nil))
	if f := b.filed(p.Code, "pps", 0, 0); len(f) != 1 || f[0].UID != 1 || f[0].Message != m.ID {
		t.Errorf("filing added is %+v", f)
	}
	stones := b.vanished(p.Code, "social", social.ModSeq)
	st := b.rubric(p.Code, "social")
	b.same("tombstone", stones, []store.Tombstone{{UID: social.UID, ModSeq: st.HighestModSeq}})
	if st.HighestModSeq <= social.ModSeq || st.Count != 0 || st.UIDNext != 2 {
		t.Errorf("the rubric it left has %+v", st)
	}
	b.same("nothing since", b.vanished(p.Code, "social", st.HighestModSeq), []store.Tombstone(nil))

	// Coming back gives a new UID.
	n.Filings = append(n.Filings, store.Filing{Rubric: "social"})
	b.commit(func(t store.Tx) error { return t.UpdateMessage(n) })
	if f := b.filed(p.Code, "social", 0, 0); len(f) != 1 || f[0].UID != 2 {
		t.Errorf("came back as %+v, want UID 2", f)
	}
	b.refused(store.ErrNotFound, func(t store.Tx) error { return t.UpdateMessage(message(p.Code, messageID(5))) })
}

func touch(t *testing.T, b *bench) {
	p := b.pathway("bbbbbbb")
	m := b.file(message(p.Code, messageID(1), "imagerie"), nil)
	b.file(message(p.Code, messageID(2), "imagerie"), nil)
	before := b.rubric(p.Code, "imagerie")
	m.Filings[0].ModSeq = 0
	b.commit(func(t store.Tx) error { return t.UpdateMessage(m) })
	st := b.rubric(p.Code, "imagerie")
	if st.HighestModSeq <= before.HighestModSeq || st.UIDNext != before.UIDNext || st.Count != before.Count {
		t.Errorf("the rubric went from %+v to %+v", before, st)
	}
	if f := b.filed(p.Code, "imagerie", 0, 1); f[0].ModSeq != st.HighestModSeq || f[0].UID != 1 {
		t.Errorf("the filing is %+v", f[0])
	}
}

// rubricModel compares a rubric with a plain list under random filings, moves,
// touches and failing commits.
func rubricModel(t *testing.T, b *bench) {
	p := b.pathway("bbbbbbb")
	type model struct {
		next    uint32
		modseq  uint64
		filings []store.Filing
		stones  []store.Tombstone
	}
	names := []string{"imagerie", "social", "pps"}
	world := map[string]*model{}
	for _, n := range names {
		world[n] = &model{next: 1, modseq: 1}
	}
	var ids []store.MessageID
	count := 0
	rapid.Check(t, func(rt *rapid.T) {
		for range rapid.IntRange(1, 6).Draw(rt, "steps") {
			want := rapid.SliceOfNDistinct(rapid.SampledFrom(names), 0, 3, rapid.ID[string]).Draw(rt, "rubrics")
			fails := rapid.IntRange(0, 4).Draw(rt, "fails") == 0
			fresh := len(ids) == 0 || rapid.Bool().Draw(rt, "new")
			var id store.MessageID
			if fresh {
				count++
				id = messageID(count)
			} else {
				id = rapid.SampledFrom(ids).Draw(rt, "id")
			}
			touched := rapid.Bool().Draw(rt, "touch")
			err := b.Commit(background(), func(tx store.Tx) error {
				if err := change(tx, p.Code, id, fresh, touched, want); err != nil {
					return err
				}
				if fails {
					return store.ErrConflict
				}
				return nil
			})
			if fails {
				if err != store.ErrConflict {
					rt.Fatalf("failing commit: %v", err)
				}
				continue
			}
			if err != nil {
				rt.Fatal(err)
			}
			if fresh {
				ids = append(ids, id)
			}
			for _, n := range names {
				w := world[n]
				i := slices.IndexFunc(w.filings, func(f store.Filing) bool { return f.Message == id })
				switch in := slices.Contains(want, n); {
				case in && i < 0:
					w.modseq++
					w.filings = append(w.filings, store.Filing{Rubric: n, UID: w.next, ModSeq: w.modseq, Message: id})
					w.next++
				case in && touched && !fresh:
					w.modseq++
					w.filings[i].ModSeq = w.modseq
				case !in && i >= 0:
					w.modseq++
					w.stones = append(w.stones, store.Tombstone{UID: w.filings[i].UID, ModSeq: w.modseq})
					w.filings = slices.Delete(w.filings, i, i+1)
				}
			}
		}
		for _, n := range names {
			w := world[n]
			st := b.rubric(p.Code, n)
			if st.UIDNext != w.next || int(st.Count) != len(w.filings) {
				rt.Fatalf("%s is %+v, want next %d count %d", n, st, w.next, len(w.filings))
			}
			have, lost := b.filed(p.Code, n, 0, 0), b.vanished(p.Code, n, 0)
			if highest := inOrder(have, lost); highest > 0 && st.HighestModSeq != highest {
				rt.Fatalf("%s is at modseq %d, want %d", n, st.HighestModSeq, highest)
			}
			filings, stones := slices.Clone(w.filings), slices.Clone(w.stones)
			inOrder(filings, stones)
			if !slices.Equal(have, filings) {
				rt.Fatalf("%s holds %v, want %v", n, have, filings)
			}
			if !slices.Equal(lost, stones) {
				rt.Fatalf("%s lost %v, want %v", n, lost, stones)
			}
		}
	})
}

// inOrder puts in place of each modseq its place in their order, which is all
// that matters, and gives the highest as it was.
func inOrder(filings []store.Filing, stones []store.Tombstone) (highest uint64) {
	var all []*uint64
	for i := range filings {
		all = append(all, &filings[i].ModSeq)
	}
	for i := range stones {
		all = append(all, &stones[i].ModSeq)
	}
	slices.SortFunc(all, func(a, b *uint64) int { return cmp.Compare(*a, *b) })
	for i, n := range all {
		highest = max(highest, *n)
		*n = uint64(i)
	}
	return highest
}

func change(tx store.Tx, code store.PathwayCode, id store.MessageID, fresh, touched bool, rubrics []string) error {
	if fresh {
		return tx.FileMessage(message(code, id, rubrics...), nil, nil)
	}
	m, err := tx.Message(code, id)
	if err != nil {
		return err
	}
	old := m.Filings
	m.Filings = nil
	for _, r := range rubrics {
		f := store.Filing{Rubric: r}
		if i := slices.IndexFunc(old, func(f store.Filing) bool { return f.Rubric == r }); i >= 0 && !touched {
			f = old[i]
		}
		m.Filings = append(m.Filings, f)
	}
	return tx.UpdateMessage(m)
}
