package storetest

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/relais-sante/relais/store"
)

func messages(t *testing.T, b *bench) {
	p := b.pathway("bbbbbbb")
	clear := []byte("Subject: essai\r\n\r\nBonjour.\r\n")
	m := b.file(message(p.Code, messageID(1), "coordination", "imagerie"), clear)
	if m.Seq != 1 || m.Blob == nil || m.Blob.Size != int64(len(clear)) {
		t.Errorf("filed with seq %d, blob %v", m.Seq, m.Blob)
	}
	for _, f := range m.Filings {
		if f.UID != 1 || f.Message != m.ID || f.ModSeq < 2 {
			t.Errorf("filed as %+v, want UID 1 of the message and a modseq", f)
		}
	}
	for range 2 {
		have := got(b, func(v store.View) (*store.Message, error) { return v.Message(p.Code, m.ID) })
		b.same("message", have, m)
		b.holds(have.Blob, clear)
		b.same("index", got(b, func(v store.View) ([]byte, error) { return v.Index(p.Code, m.ID) }), []byte("index of "+m.ID))
		b.same("located", got(b, func(v store.View) (store.PathwayCode, error) { return v.Locate(m.ID) }), p.Code)
		b.reopen()
	}
	b.pathway("ccccccc")
	missing(b, store.ErrNotFound, func(v store.View) (*store.Message, error) { return v.Message("ccccccc", m.ID) })
	missing(b, store.ErrNotFound, func(v store.View) ([]byte, error) { return v.Index("ccccccc", m.ID) })
	missing(b, store.ErrNotFound, func(v store.View) (store.PathwayCode, error) { return v.Locate(messageID(9)) })
	// An id is used once, over all pathways.
	b.refused(store.ErrConflict, func(t store.Tx) error { return t.FileMessage(message("ccccccc", m.ID), nil, nil) })
	// No key, no message.
	b.refused(store.ErrNotFound, func(t store.Tx) error { return t.FileMessage(message("ddddddd", messageID(2)), nil, nil) })
}

// manyIndexes reads the indexes of many messages in one go, in whatever order
// they are asked for.
func manyIndexes(t *testing.T, b *bench) {
	p := b.pathway("bbbbbbb")
	b.pathway("ccccccc")
	for i := range 12 {
		b.file(message(p.Code, messageID(i), "coordination"), []byte("clear"))
	}
	b.file(message("ccccccc", messageID(50), "coordination"), []byte("clear"))
	for _, seqs := range [][]uint64{
		nil, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, {1, 3, 9}, {12, 1, 7, 7, 2}, {99, 4, 0, 5, ^uint64(0), 6},
	} {
		have := map[int]string{}
		b.view(func(v store.View) error {
			return v.Indexes(p.Code, seqs, func(i int, index []byte) error {
				have[i] = string(index)
				return nil
			})
		})
		for i, seq := range seqs {
			want := ""
			if seq >= 1 && seq <= 12 {
				want = "index of " + string(messageID(int(seq)-1))
			}
			if have[i] != want {
				t.Errorf("of %d the index at place %d is %q, want %q", seqs, i, have[i], want)
			}
		}
	}
	enough := errors.New("enough")
	n := 0
	err := b.View(t.Context(), func(v store.View) error {
		return v.Indexes(p.Code, []uint64{1, 2, 3}, func(int, []byte) error { n++; return enough })
	})
	if err != enough || n != 1 {
		t.Errorf("fn was called %d times and gave %v", n, err)
	}
}

// messageSizes goes round the limits at which engines change their ways.
func messageSizes(t *testing.T, b *bench) {
	p := b.pathway("bbbbbbb")
	type kept struct {
		blob  *store.Blob
		clear []byte
	}
	var all []kept
	for i, n := range []int{0, 1, 4096, 65535, 65536, 65537, 1<<20 - 1, 1 << 20, 1<<20 + 1, 3<<20 + 5} {
		clear := noise(n)
		hint := int64(n)
		if i%2 == 1 {
			hint = 0
		}
		d, err := b.Create(t.Context(), hint)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyBuffer(d, struct{ io.Reader }{bytes.NewReader(clear)}, make([]byte, 10000)); err != nil {
			t.Fatal(err)
		}
		if d.Size() != int64(n) {
			t.Errorf("size %d, want %d", d.Size(), n)
		}
		if err := d.Finish(); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			r, err := d.Open()
			if err != nil {
				t.Fatal(err)
			}
			if have, err := io.ReadAll(r); err != nil || !bytes.Equal(have, clear) {
				t.Errorf("draft of %d bytes: %d came back, %v", n, len(have), err)
			}
			r.Close()
		}
		m := message(p.Code, messageID(i))
		b.commit(func(t store.Tx) error { return t.FileMessage(m, nil, d) })
		d.Discard() // after a commit it does nothing
		all = append(all, kept{m.Blob, clear})
	}
	for range 2 {
		for _, k := range all {
			b.holds(k.blob, k.clear)
		}
		b.reopen()
	}
}

func messageLookups(t *testing.T, b *bench) {
	one, two := b.pathway("bbbbbbb"), b.pathway("ccccccc")
	m1 := message(one.Code, messageID(1))
	m1.KnownAs = []string{"x@chu.example", "y@chu.example"}
	m1.RFCID = "x@chu.example"
	m2 := message(two.Code, messageID(2))
	m2.KnownAs, m2.RFCID = []string{"x@chu.example"}, "x@chu.example"
	b.file(m1, nil)
	b.file(m2, nil)
	by := func(id string) func(store.View) ([]store.MessageRef, error) {
		return func(v store.View) ([]store.MessageRef, error) { return v.MessagesByID(id) }
	}
	ref1, ref2 := store.MessageRef{Pathway: one.Code, Message: m1.ID}, store.MessageRef{Pathway: two.Code, Message: m2.ID}
	m1.KnownAs = append(m1.KnownAs, "z@hub.example")
	m1.Keys, m2.Keys = []string{"set:1"}, []string{"set:1"}
	b.commit(func(t store.Tx) error { return t.UpdateMessage(m2) })
	b.commit(func(t store.Tx) error { return t.UpdateMessage(m1) })
	b.commit(func(t store.Tx) error { return t.UpdateMessage(m1) })
	for range 2 {
		b.same("newest first", got(b, by("x@chu.example")), []store.MessageRef{ref2, ref1})
		b.same("second id", got(b, by("y@chu.example")), []store.MessageRef{ref1})
		b.same("id added later", got(b, by("z@hub.example")), []store.MessageRef{ref1})
		b.same("unknown id", got(b, by("q@chu.example")), []store.MessageRef(nil))
		b.same("a key is no Message-ID", got(b, by("set:1")), []store.MessageRef(nil))
		b.same("key, in its pathway only", got(b, ofKey(one.Code, "set:1")), []store.MessageID{m1.ID})
		b.same("unknown key", got(b, ofKey(one.Code, "set:2")), []store.MessageID(nil))
		b.reopen()
	}
}

func ofKey(code store.PathwayCode, key string) func(store.View) ([]store.MessageID, error) {
	return func(v store.View) ([]store.MessageID, error) { return v.MessagesOfKey(code, key, 0) }
}

func copyLookups(_ *testing.T, b *bench) {
	p := b.pathway("bbbbbbb")
	m := b.file(message(p.Code, messageID(1)), nil)
	d := &store.Delivery{ID: "01d1", Pathway: p.Code, Message: m.ID, Mailbox: "idec@chu.example", State: store.Queued, Created: noon, RFCID: m.RFCID}
	e := &store.Delivery{ID: "01d2", Pathway: p.Code, Message: m.ID, Mailbox: "kine@chu.example", State: store.Queued, Created: noon, RFCID: "other@hub.example"}
	for range 2 {
		b.commit(func(t store.Tx) error {
			if err := t.PutDelivery(d); err != nil {
				return err
			}
			return t.PutDelivery(e)
		})
	}
	by := func(id string) func(store.View) ([]store.MessageRef, error) {
		return func(v store.View) ([]store.MessageRef, error) { return v.MessagesByID(id) }
	}
	b.same("the message's own id", got(b, by(m.RFCID)), []store.MessageRef{{Pathway: p.Code, Message: m.ID}})
	b.same("the id of a copy", got(b, by("other@hub.example")), []store.MessageRef{{Pathway: p.Code, Message: m.ID, Box: "kine@chu.example"}})
}

func threadOrder(t *testing.T, b *bench) {
	p := b.pathway("bbbbbbb")
	b.pathway("ccccccc")
	var want []*store.Message
	for i := range 7 {
		// Ids in falling order: the order is that of filing.
		want = append(want, b.file(message(p.Code, messageID(100-i)), nil))
		b.file(message("ccccccc", messageID(200+i)), nil)
	}
	for i, m := range want {
		if m.Seq != uint64(i+1) {
			t.Errorf("message %d has seq %d", i, m.Seq)
		}
	}
	thread := func(after uint64, limit int) []*store.Message {
		return got(b, func(v store.View) ([]*store.Message, error) { return v.Thread(p.Code, after, limit) })
	}
	recent := func(limit int) []*store.Message {
		return got(b, func(v store.View) ([]*store.Message, error) { return v.Recent(p.Code, limit) })
	}
	b.same("whole thread", thread(0, 0), want)
	b.same("page", thread(2, 3), want[2:5])
	b.same("behind the end", thread(7, 0), []*store.Message(nil))
	b.same("last two", recent(2), []*store.Message{want[6], want[5]})
	if n := len(recent(0)); n != 7 {
		t.Errorf("%d recent messages, want 7", n)
	}
	b.pathway("ddddddd")
	b.same("empty", got(b, func(v store.View) ([]*store.Message, error) { return v.Recent("ddddddd", 3) }), []*store.Message(nil))
}

func events(t *testing.T, b *bench) {
	p := b.pathway("bbbbbbb")
	m := message(p.Code, messageID(1), "coordination")
	m.Kind = store.KindNotice
	b.commit(func(t store.Tx) error { return t.FileMessage(m, nil, nil) })
	b.reopen()
	have := got(b, func(v store.View) (*store.Message, error) { return v.Message(p.Code, m.ID) })
	b.same("event", have, m)
	if have.Blob != nil {
		t.Error("an event without bytes has a blob")
	}
	b.same("index", got(b, func(v store.View) ([]byte, error) { return v.Index(p.Code, m.ID) }), []byte(nil))
}

func duplicates(_ *testing.T, b *bench) {
	p := b.pathway("bbbbbbb")
	print := [32]byte{1, 2, 3}
	by := func(v store.View) (store.MessageRef, error) { return v.Duplicate(print) }
	missing(b, store.ErrNotFound, by)
	m := message(p.Code, messageID(1))
	m.Fingerprint = print
	b.file(m, nil)
	n := message(p.Code, messageID(2))
	n.Fingerprint = print
	b.file(n, nil)
	b.same("the first filed", got(b, by), store.MessageRef{Pathway: p.Code, Message: m.ID})
	b.file(message(p.Code, messageID(3)), nil)
	missing(b, store.ErrNotFound, func(v store.View) (store.MessageRef, error) { return v.Duplicate([32]byte{}) })
}
