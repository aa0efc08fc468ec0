package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

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
	b.commit(func(t store.Tx) error { return t.UpdateMessage(m1) })
	b.commit(func(t store.Tx) error { return t.UpdateMessage(m1) })
	for range 2 {
		b.same("newest first", got(b, by("x@chu.example")), []store.MessageRef{ref2, ref1})
		b.same("second id", got(b, by("y@chu.example")), []store.MessageRef{ref1})
		b.same("id added later", got(b, by("z@hub.example")), []store.MessageRef{ref1})
		b.same("unknown id", got(b, by("q@chu.example")), []store.MessageRef(nil))
		b.reopen()
	}
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

func deliveries(_ *testing.T, b *bench) {
	p := b.pathway("bbbbbbb")
	m := b.file(message(p.Code, messageID(1)), nil)
	other := b.file(message(p.Code, messageID(2)), nil)
	var want []*store.Delivery
	// In the order they were made, whatever their ids.
	for i := range 5 {
		d := &store.Delivery{
			ID: store.DeliveryID(fmt.Sprintf("01d%02d", 50-i)), Pathway: p.Code, Message: m.ID,
			Mailbox: store.Address(fmt.Sprintf("b%d@chu.example", i)), Members: []store.MemberID{"m1"}, State: store.Queued, Created: noon,
			Next: noon.Add(time.Minute), Seen: []store.Seen{{Member: "m1", State: "no"}}, References: []string{"a@x", "b@x"},
		}
		want = append(want, d)
		b.commit(func(t store.Tx) error { return t.PutDelivery(d) })
	}
	notice := &store.Delivery{ID: "01n1", Mailbox: "desk@chu.example", State: store.Queued, Created: noon, Notice: []byte("Bonjour"), NoticeKind: "held", Held: "01h"}
	b.commit(func(t store.Tx) error { return t.PutDelivery(notice) })
	want[2].State, want[2].LastError = store.Sent, "250 2.0.0"
	b.commit(func(t store.Tx) error { return t.PutDelivery(want[2]) })
	b.reopen()
	list := func(id store.MessageID) []*store.Delivery {
		return got(b, func(v store.View) ([]*store.Delivery, error) { return v.Deliveries(p.Code, id) })
	}
	b.same("deliveries", list(m.ID), want)
	b.same("of another", list(other.ID), []*store.Delivery(nil))
	b.same("one", got(b, func(v store.View) (*store.Delivery, error) { return v.Delivery(want[2].ID) }), want[2])
	b.same("notice", got(b, func(v store.View) (*store.Delivery, error) { return v.Delivery(notice.ID) }), notice)
	missing(b, store.ErrNotFound, func(v store.View) (*store.Delivery, error) { return v.Delivery("01x") })
}

func deliveryList(t *testing.T, b *bench) {
	p := b.pathway("bbbbbbb")
	m := b.file(message(p.Code, messageID(1)), nil)
	states := []store.DeliveryState{store.Queued, store.Failed, store.Sending, store.Sent, store.OnHold, store.Failed, store.Partial, store.Cancelled, store.Queued}
	var live []store.DeliveryID
	for i, s := range states {
		d := &store.Delivery{ID: store.DeliveryID(fmt.Sprintf("01d%02d", i)), Pathway: p.Code, Message: m.ID, Mailbox: "a@chu.example", State: s, Created: noon.Add(time.Duration(i) * time.Second)}
		if !s.Over() || s == store.Failed {
			live = append(live, d.ID)
		}
		b.commit(func(t store.Tx) error { return t.PutDelivery(d) })
	}
	names := func(after store.DeliveryID, limit int) []store.DeliveryID {
		var out []store.DeliveryID
		for _, d := range got(b, func(v store.View) ([]*store.Delivery, error) { return v.DeliveryList(after, limit) }) {
			out = append(out, d.ID)
		}
		return out
	}
	b.same("live", names("", 0), live)
	b.same("page", names(live[1], 2), live[2:4])
	st, err := b.Stats(t.Context())
	if err != nil || st.Queued != 4 || st.Failed != 2 || !st.OldestUndelivered.Equal(noon) {
		t.Errorf("figures %+v, %v: want 4 queued, 2 failed, the oldest at noon", st, err)
	}
	for i, to := range []store.DeliveryState{store.Sent, store.Cancelled} {
		d := got(b, func(v store.View) (*store.Delivery, error) { return v.Delivery(live[i]) })
		d.State = to
		b.commit(func(t store.Tx) error { return t.PutDelivery(d) })
	}
	b.same("fewer", names("", 0), live[2:])
	if st, err := b.Stats(t.Context()); err != nil || st.Queued != 3 || st.Failed != 1 || !st.OldestUndelivered.Equal(noon.Add(2*time.Second)) {
		t.Errorf("figures %+v, %v: want 3 queued, 1 failed, the oldest two seconds later", st, err)
	}
}
