package storetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/relais-sante/relais/store"
)

// erasing goes the way of an erasure: rows, then keys. The other pathway, a box
// of both and its account lose nothing.
func erasing(t *testing.T, b *bench) {
	ctx := context.Background()
	one, other := b.pathway("aaaaaaa"), b.pathway("bbbbbbb")
	one.Patient = store.Patient{INS: "279035121518989", NameKey: "EXEMPLE"}
	one.Members = []store.Member{{ID: "m1", Mailbox: "mere@famille.example"}, {ID: "m2", Mailbox: "anne@chu.example"}}
	other.Patient = store.Patient{INS: "115037511800158", NameKey: "EXEMPLE"}
	other.Members = []store.Member{{ID: "m1", Mailbox: "anne@chu.example"}}
	b.commit(func(t store.Tx) error {
		for _, p := range []*store.Pathway{one, other} {
			if err := t.PutPathway(p); err != nil {
				return err
			}
		}
		for _, a := range []store.Address{"mere@famille.example", "anne@chu.example"} {
			if err := t.PutBox(&store.Box{Address: a}); err != nil {
				return err
			}
		}
		return nil
	})
	b.account("01a", "anne@chu.example", "anne@chu.example")
	b.account("01m", "mere@famille.example", "mere@famille.example")
	var blobs []*store.Blob
	for i, code := range []store.PathwayCode{"aaaaaaa", "bbbbbbb", "aaaaaaa"} {
		id := store.MessageID(fmt.Sprintf("01msg%d", i))
		d := b.draft(fmt.Appendf(nil, "texte %d", i))
		m := &store.Message{
			ID: id, Pathway: code, RFCID: fmt.Sprintf("m%d@chu.example", i), Keys: []string{"k"},
			Filings: []store.Filing{{Rubric: "r"}}, Fingerprint: [32]byte{byte(i + 1)},
		}
		b.commit(func(t store.Tx) error {
			if err := t.FileMessage(m, []byte("index"), d); err != nil {
				return err
			}
			if err := t.PutItem(store.Item{ID: store.ItemID("i" + id), Lane: "out:x", Due: noon}); err != nil {
				return err
			}
			return t.PutDelivery(&store.Delivery{ID: store.DeliveryID("d" + id), Pathway: code, Message: id, State: store.Queued, RFCID: m.RFCID + ".c", Item: store.ItemID("i" + id)})
		})
		blobs = append(blobs, m.Blob)
	}
	b.commit(func(t store.Tx) error {
		return t.Trace(store.Trace{Family: store.Application, Action: "x", Pathway: "aaaaaaa"})
	})
	before := got(b, func(v store.View) ([]*store.Message, error) { return v.Thread("bbbbbbb", 0, 0) })

	// What an account that stays noted on messages of both.
	kept := &store.ReaderMark{Pathway: "bbbbbbb", Message: before[0].ID, System: 1}
	for _, m := range []*store.ReaderMark{{Pathway: "aaaaaaa", Message: "01msg0", System: 1}, kept} {
		b.commit(func(t store.Tx) error { return t.PutMark("01a", m) })
	}

	for done := false; !done; {
		b.commit(func(t store.Tx) (err error) {
			done, err = t.PurgePathway("aaaaaaa", 1)
			return err
		})
	}
	owners := []store.Owner{{Kind: store.OwnedByPathway, ID: "aaaaaaa"}}
	b.commit(func(t store.Tx) error {
		more, err := t.DropBox("mere@famille.example")
		owners = append(owners[:1], more...)
		return err
	})
	e := &store.Erasure{Code: "aaaaaaa", State: store.ErasureForgetting, Asked: noon, Owners: owners}
	b.commit(func(t store.Tx) error { return t.PutErasure(e) })
	first, err := b.Store.Forget(ctx, owners)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := b.Store.Forget(ctx, owners); err != nil || again != first {
		t.Errorf("forgetting again: epoch %d, then %d: %v", first, again, err)
	}
	for range 2 {
		missing(b, store.ErrNotFound, func(v store.View) (*store.Pathway, error) { return v.Pathway("aaaaaaa") })
		missing(b, store.ErrNotFound, func(v store.View) (uint64, error) { return v.Revision("aaaaaaa") })
		missing(b, store.ErrNotFound, func(v store.View) (*store.Message, error) { return v.Message("aaaaaaa", "01msg0") })
		missing(b, store.ErrNotFound, func(v store.View) (store.PathwayCode, error) { return v.Locate("01msg2") })
		missing(b, store.ErrNotFound, func(v store.View) (*store.Delivery, error) { return v.Delivery("d01msg0") })
		missing(b, store.ErrNotFound, func(v store.View) (*store.Item, error) { return v.Item("i01msg0") })
		missing(b, store.ErrNotFound, func(v store.View) (*store.Box, error) { return v.Box("mere@famille.example") })
		missing(b, store.ErrNotFound, func(v store.View) (*store.Account, error) { return v.AccountNamed("mere@famille.example") })
		missing(b, store.ErrNotFound, func(v store.View) (store.MessageRef, error) { return v.Duplicate([32]byte{1}) })
		none := []store.PathwayCode(nil)
		b.same("by patient", got(b, func(v store.View) ([]store.PathwayCode, error) { return v.PathwaysOfPatient("279035121518989") }), none)
		b.same("by name", got(b, func(v store.View) ([]store.PathwayCode, error) { return v.PathwaysOfName("EXEMPLE") }), []store.PathwayCode{"bbbbbbb"})
		b.same("by box", got(b, func(v store.View) ([]store.PathwayCode, error) { return v.PathwaysOfBox("anne@chu.example") }), []store.PathwayCode{"bbbbbbb"})
		b.same("by id", got(b, func(v store.View) ([]store.MessageRef, error) { return v.MessagesByID("m0@chu.example.c") }), []store.MessageRef(nil))
		b.same("the other thread", got(b, func(v store.View) ([]*store.Message, error) { return v.Thread("bbbbbbb", 0, 0) }), before)
		b.same("its box", got(b, func(v store.View) (*store.Box, error) { return v.Box("anne@chu.example") }), &store.Box{Address: "anne@chu.example"})
		if a := got(b, func(v store.View) (*store.Account, error) { return v.AccountNamed("anne@chu.example") }); a.ID != "01a" {
			t.Errorf("account %s", a.ID)
		}
		b.same("marks", got(b, func(v store.View) ([]store.ReaderMark, error) { return v.Marks("01a", "aaaaaaa") }), []store.ReaderMark(nil))
		b.same("marks that stay", got(b, func(v store.View) ([]store.ReaderMark, error) { return v.MarkChanges("01a", 0) }), []store.ReaderMark{*kept})
		b.same("the erasure", got(b, func(v store.View) (*store.Erasure, error) { return v.Erasure("aaaaaaa") }), e)
		if n := len(got(b, func(v store.View) ([]*store.Trace, error) { return v.TracesOfPathway("aaaaaaa", 0, 0) })); n != 1 {
			t.Errorf("%d traces of the erased pathway", n)
		}
		if _, err := b.Store.Open(ctx, *blobs[0]); err == nil {
			t.Error("its bytes open still")
		}
		if s := got(b, func(v store.View) ([]*store.Erasure, error) { return v.Erasures("", 0) }); len(s) != 1 {
			t.Errorf("%d erasures", len(s))
		}
		st, err := b.Store.Stats(ctx)
		if err != nil || st.Pathways != 1 || st.Messages != 1 || st.Queued != 1 {
			t.Errorf("figures: %+v, %v", st, err)
		}
		b.sound() // its traces are still found under it
		b.reopen()
	}
}
