package bolt

import (
	"errors"
	"fmt"

	"github.com/relais-sante/relais/store"
)

// A delivery that is not over, or has failed, has a row in bucketLive: its key
// begins with one of these.
const (
	liveQueued = 'q'
	liveFailed = 'f'
)

// liveness is the first byte of a delivery's key in bucketLive, 0 for none.
func liveness(s store.DeliveryState) byte {
	switch {
	case s == store.Failed:
		return liveFailed
	case s.Over():
		return 0
	}
	return liveQueued
}

// Delivery implements [store.View].
func (v *view) Delivery(id store.DeliveryID) (*store.Delivery, error) {
	d := new(store.Delivery)
	if err := v.getOwned(bucketDeliveries, []byte(id), d); err != nil {
		return nil, fmt.Errorf("reading delivery %s: %w", id, err)
	}
	return d, nil
}

// messageHash stands for a message id in keys where another part follows.
func (v *view) messageHash(id store.MessageID) []byte { return v.lookup("message", string(id)) }

// Deliveries implements [store.View].
func (v *view) Deliveries(c store.PathwayCode, id store.MessageID) ([]*store.Delivery, error) {
	prefix := v.threadKey(c, 'd', v.messageHash(id))
	var out []*store.Delivery
	cur := v.bucket(bucketThreads).Cursor()
	for k, row := cur.Seek(prefix); hasPrefix(k, prefix); k, row = cur.Next() {
		d, err := v.Delivery(store.DeliveryID(row[1:]))
		if err != nil {
			return nil, fmt.Errorf("listing deliveries of %s: %w", id, err)
		}
		out = append(out, d)
	}
	return out, nil
}

// DeliveryList implements [store.View]: it merges the two halves of bucketLive.
func (v *view) DeliveryList(from store.DeliveryID, limit int) ([]*store.Delivery, error) {
	var out []*store.Delivery
	queued := v.live(liveQueued, from)
	failed := v.live(liveFailed, from)
	for limit <= 0 || len(out) < limit {
		id := queued.id
		l := queued
		if id == nil || failed.id != nil && string(failed.id) < string(id) {
			id, l = failed.id, failed
		}
		if id == nil {
			break
		}
		d, err := v.Delivery(store.DeliveryID(id))
		l.next()
		if errors.Is(err, store.ErrErased) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("listing deliveries: %w", err)
		}
		out = append(out, d)
	}
	return out, nil
}

// DeliveriesOfPathway implements [store.View].
func (v *view) DeliveriesOfPathway(c store.PathwayCode) ([]*store.Delivery, error) {
	prefix := v.threadKey(c, 'w')
	var out []*store.Delivery
	cur := v.bucket(bucketThreads).Cursor()
	for k, _ := cur.Seek(prefix); hasPrefix(k, prefix); k, _ = cur.Next() {
		d, err := v.Delivery(store.DeliveryID(k[len(prefix):]))
		if err != nil {
			return nil, fmt.Errorf("listing deliveries of pathway %s: %w", c, err)
		}
		out = append(out, d)
	}
	return out, nil
}

// liveCursor walks one half of bucketLive.
type liveCursor struct {
	c    *cursor
	half byte
	id   []byte // nil: at the end
}

func (v *view) live(half byte, from store.DeliveryID) *liveCursor {
	l := &liveCursor{c: v.bucket(bucketLive).Cursor(), half: half}
	start := []byte{half}
	if from != "" {
		start = after(start, []byte(from))
	}
	k, _ := l.c.Seek(start)
	l.at(k)
	return l
}

func (l *liveCursor) next() {
	k, _ := l.c.Next()
	l.at(k)
}

func (l *liveCursor) at(k []byte) {
	l.id = nil
	if len(k) > 0 && k[0] == l.half {
		l.id = k[1:]
	}
}

// PutDelivery implements [store.Tx].
func (t *tx) PutDelivery(d *store.Delivery) error {
	if err := t.putDelivery(d); err != nil {
		return fmt.Errorf("writing delivery %s: %w", d.ID, err)
	}
	return nil
}

// placed is what the rows beside a delivery's follow from.
type placed struct {
	id      store.DeliveryID
	state   store.DeliveryState
	pathway store.PathwayCode
	rfcID   string
	order   uint64
}

func placeOf(d *store.Delivery) placed {
	return placed{d.ID, d.State, d.Pathway, d.RFCID, d.Order}
}

// deliveryKey is the key of the row by which a message finds one of its
// deliveries.
func (v *view) deliveryKey(d *store.Delivery) []byte {
	return v.threadKey(d.Pathway, 'd', v.messageHash(d.Message), u64(d.Order))
}

// Delivery implements [store.View]. What is read is often written next: where it
// stood is remembered.
func (t *tx) Delivery(id store.DeliveryID) (*store.Delivery, error) {
	d, err := t.view.Delivery(id)
	if err == nil {
		t.delivery = placeOf(d)
	}
	return d, err
}

func (t *tx) putDelivery(d *store.Delivery) error {
	old, fresh := t.delivery, false
	if old.id != d.ID {
		stored := new(store.Delivery)
		err := t.getOwned(bucketDeliveries, []byte(d.ID), stored)
		if fresh = errors.Is(err, store.ErrNotFound); fresh {
			stored.State = store.Sent
		} else if err != nil {
			return fmt.Errorf("reading delivery %s: %w", d.ID, err)
		}
		old = placeOf(stored)
	}
	d.Order = old.order
	if fresh && d.Pathway != "" && d.Message != "" {
		d.Order = t.next()
	}
	return t.writeDelivery(d, old, fresh)
}

// writeDelivery writes a delivery with its order, and the rows beside it.
func (t *tx) writeDelivery(d *store.Delivery, old placed, fresh bool) error {
	t.delivery = placed{}
	owner := hubOwner
	if d.Pathway != "" {
		owner = pathwayOwner(d.Pathway)
	}
	row, err := t.sealed(t.ownedBy(owner), bucketDeliveries, []byte(d.ID), owner, d)
	if err != nil {
		return err
	}
	if err := t.putRaw(bucketDeliveries, []byte(d.ID), row); err != nil {
		return err
	}
	is := placeOf(d)
	if err := t.moveLive(d.ID, liveness(old.state), liveness(is.state)); err != nil {
		return err
	}
	if err := t.moveWaiting(old, is); err != nil {
		return err
	}
	if d.Pathway == "" || d.Message == "" {
		return nil
	}
	if fresh {
		if err := t.putRaw(bucketThreads, t.deliveryKey(d), append([]byte{clearVersion}, d.ID...)); err != nil {
			return err
		}
	}
	if d.RFCID == "" || d.RFCID == old.rfcID {
		return nil
	}
	return t.putCopyID(d)
}

// putCopyID makes a message findable under the id one box got it under, unless
// it goes by that id anyway.
func (t *tx) putCopyID(d *store.Delivery) error {
	refs, err := t.MessagesByID(d.RFCID)
	if err != nil {
		return err
	}
	for _, r := range refs {
		if r.Message == d.Message && (r.Box == "" || r.Box == d.Mailbox) {
			return nil
		}
	}
	return t.putID(d.RFCID, store.MessageRef{Pathway: d.Pathway, Message: d.Message, Box: d.Mailbox})
}

// moveWaiting keeps the list of a pathway's deliveries that are in bucketLive.
func (t *tx) moveWaiting(old, now placed) error {
	place := func(p placed) store.PathwayCode {
		if liveness(p.state) == 0 {
			return ""
		}
		return p.pathway
	}
	was, is := place(old), place(now)
	if was == is {
		return nil
	}
	if was != "" {
		if err := t.drop(bucketThreads, t.threadKey(was, 'w', []byte(now.id))); err != nil {
			return err
		}
	}
	if is != "" {
		return t.putRaw(bucketThreads, t.threadKey(is, 'w', []byte(now.id)), []byte{clearVersion})
	}
	return nil
}

// moveLive keeps bucketLive and the counters.
func (t *tx) moveLive(id store.DeliveryID, old, is byte) error {
	if old == is {
		return nil
	}
	count := func(half byte, n int64) {
		switch half {
		case liveQueued:
			t.state.Queued += n
		case liveFailed:
			t.state.Failed += n
		}
	}
	count(old, -1)
	count(is, 1)
	if old != 0 {
		if err := t.drop(bucketLive, append([]byte{old}, id...)); err != nil {
			return err
		}
	}
	if is != 0 {
		return t.putRaw(bucketLive, append([]byte{is}, id...), []byte{clearVersion})
	}
	return nil
}

// PurgeNotices implements [store.Tx].
func (t *tx) PurgeNotices(from store.DeliveryID, visit int, goes func(*store.Delivery) bool) (store.DeliveryID, int, error) {
	var start []byte
	if from != "" {
		start = after(nil, []byte(from))
	}
	var gone [][]byte
	var last store.DeliveryID
	c := t.bucket(bucketDeliveries).Cursor()
	for k, row := c.Seek(start); ; k, row = c.Next() {
		if k == nil {
			last = ""
			break
		}
		if visit--; visit < 0 {
			break
		}
		last = store.DeliveryID(k)
		if !allZero(row, handleSize) {
			continue // a pathway's, or a box's
		}
		d := new(store.Delivery)
		if err := t.openOwned(bucketDeliveries, k, row, d); err != nil {
			return last, 0, fmt.Errorf("purging notices: %w", err)
		}
		if d.Pathway == "" && liveness(d.State) == 0 && goes(d) {
			gone = append(gone, append([]byte(nil), k...))
		}
	}
	t.delivery = placed{}
	for _, k := range gone {
		if err := t.drop(bucketDeliveries, k); err != nil {
			return last, 0, fmt.Errorf("purging notices: %w", err)
		}
	}
	return last, len(gone), nil
}

// allZero reports whether a row begins with n zero bytes.
func allZero(row []byte, n int) bool {
	return len(row) >= n && string(row[:n]) == string(make([]byte, n))
}
