package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
)

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
	// Those of one pathway, and of no other; notices about none are of none.
	q := b.pathway("ccccccc")
	theirs := &store.Delivery{ID: "01e01", Pathway: q.Code, Mailbox: "a@chu.example", State: store.Queued, Created: noon.Add(time.Hour)}
	notice := &store.Delivery{ID: "01e02", Mailbox: "desk@chu.example", State: store.Queued, Created: noon.Add(time.Hour)}
	b.commit(func(t store.Tx) error { return errors.Join(t.PutDelivery(theirs), t.PutDelivery(notice)) })
	of := func(c store.PathwayCode) []store.DeliveryID {
		var out []store.DeliveryID
		for _, d := range got(b, func(v store.View) ([]*store.Delivery, error) { return v.DeliveriesOfPathway(c) }) {
			out = append(out, d.ID)
		}
		return out
	}
	b.same("of a pathway", of(p.Code), live)
	b.same("of another", of(q.Code), []store.DeliveryID{theirs.ID})
	theirs.State, notice.State = store.Sent, store.Sent
	b.commit(func(t store.Tx) error { return errors.Join(t.PutDelivery(theirs), t.PutDelivery(notice)) })
	b.same("none left of another", of(q.Code), []store.DeliveryID(nil))
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
	b.same("fewer of the pathway", of(p.Code), live[2:])
	if st, err := b.Stats(t.Context()); err != nil || st.Queued != 3 || st.Failed != 1 || !st.OldestUndelivered.Equal(noon.Add(2*time.Second)) {
		t.Errorf("figures %+v, %v: want 3 queued, 1 failed, the oldest two seconds later", st, err)
	}
}

// noticesPurged: only what is about no pathway, over and wanted gone goes.
func noticesPurged(t *testing.T, b *bench) {
	p := b.pathway("bbbbbbb")
	var all []*store.Delivery
	for i := range 10 {
		d := &store.Delivery{ID: store.DeliveryID(fmt.Sprintf("01n%02d", i)), Mailbox: "a@chu.example", Notice: []byte("text"), State: store.Sent, Created: noon.Add(time.Duration(i) * time.Hour)}
		switch i {
		case 2:
			d.Pathway = p.Code
		case 3:
			d.State = store.Queued
		case 4:
			d.State = store.Failed
		}
		all = append(all, d)
		b.commit(func(t store.Tx) error { return t.PutDelivery(d) })
	}
	old := func(d *store.Delivery) bool { return d.Created.Before(noon.Add(7 * time.Hour)) }
	var after store.DeliveryID
	gone, rounds := 0, 0
	for {
		b.commit(func(t store.Tx) error {
			last, n, err := t.PurgeNotices(after, 4, old)
			after, gone = last, gone+n
			return err
		})
		if rounds++; after == "" {
			break
		}
	}
	if gone != 4 || rounds != 3 {
		t.Errorf("%d went in %d rounds", gone, rounds)
	}
	b.reopen()
	for i, d := range all {
		_, err := read(b, func(v store.View) (*store.Delivery, error) { return v.Delivery(d.ID) })
		if want := i == 0 || i == 1 || i == 5 || i == 6; errors.Is(err, store.ErrNotFound) != want {
			t.Errorf("%s: %v", d.ID, err)
		}
	}
}
