package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/relais-sante/relais/store"
)

// Erasure implements [store.View].
func (v *view) Erasure(c store.PathwayCode) (*store.Erasure, error) {
	e := new(store.Erasure)
	if err := v.get(bucketErasures, []byte(c), hubOwner, e); err != nil {
		return nil, fmt.Errorf("reading the erasure of %s: %w", c, err)
	}
	return e, nil
}

// Erasures implements [store.View].
func (v *view) Erasures(from store.PathwayCode, limit int) ([]*store.Erasure, error) {
	var out []*store.Erasure
	c := v.bucket(bucketErasures).Cursor()
	k, row := c.First()
	if from != "" {
		k, row = c.Seek(after([]byte(from), nil))
	}
	for ; k != nil && (limit <= 0 || len(out) < limit); k, row = c.Next() {
		e := new(store.Erasure)
		if err := v.open(bucketErasures, k, hubOwner, row, e); err != nil {
			return nil, fmt.Errorf("listing erasures: %w", err)
		}
		out = append(out, e)
	}
	return out, nil
}

// PutErasure implements [store.Tx].
func (t *tx) PutErasure(e *store.Erasure) error {
	if err := t.put(bucketErasures, []byte(e.Code), hubOwner, e); err != nil {
		return fmt.Errorf("writing the erasure of %s: %w", e.Code, err)
	}
	return nil
}

// PurgePathway implements [store.Tx].
func (t *tx) PurgePathway(c store.PathwayCode, most int) (bool, error) {
	done, err := t.purge(c, most)
	if err != nil {
		return false, fmt.Errorf("purging pathway %s: %w", c, err)
	}
	return done, nil
}

func (t *tx) purge(c store.PathwayCode, most int) (bool, error) {
	p, err := t.Pathway(c)
	if errors.Is(err, store.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	page, err := t.Thread(c, 0, most)
	if err != nil {
		return false, err
	}
	for _, m := range page {
		if err := t.purgeMessage(m); err != nil {
			return false, fmt.Errorf("message %s: %w", m.ID, err)
		}
	}
	if len(page) == most {
		return false, nil
	}
	live, err := t.DeliveriesOfPathway(c)
	if err != nil {
		return false, err
	}
	for _, d := range live { // notices
		if err := t.purgeDelivery(d); err != nil {
			return false, err
		}
	}
	// What is left in the thread: rubrics, tombstones. Traces stay.
	rest := t.keysOf(bucketThreads, t.handle(c), func(k []byte) bool { return k[handleSize] != 't' })
	for _, bucket := range [][]byte{bucketHeldOf} {
		for _, k := range t.keysOf(bucket, t.handle(c), nil) {
			if err := t.drop(bucket, k); err != nil {
				return false, err
			}
		}
	}
	for _, k := range rest {
		if err := t.drop(bucketThreads, k); err != nil {
			return false, err
		}
	}
	if err := t.purgeMarks(c); err != nil {
		return false, err
	}
	if err := t.moveFinds(pathwayFinds(t.handle(c), p), nil); err != nil {
		return false, err
	}
	t.state.Pathways--
	t.touched(c.Topic())
	return true, t.drop(bucketPathways, clone(t.handle(c)))
}

// purgeMarks removes what accounts noted on messages of a pathway: one look for
// each account, those that no longer have a part in it included.
func (t *tx) purgeMarks(c store.PathwayCode) error {
	for _, id := range t.keysOf(bucketAccounts, nil, nil) {
		a := store.AccountID(id)
		keys := t.keysOf(bucketReaders, t.readerKey(a, kindMark, t.handle(c)), nil)
		if len(keys) == 0 {
			continue
		}
		if r, err := t.Reader(a); err == nil {
			r.Marks -= int64(len(keys))
			if err := t.putReader(a, r); err != nil {
				return err
			}
		} else if !errors.Is(err, store.ErrErased) {
			return err
		}
		for _, k := range keys {
			var m store.ReaderMark
			if err := t.get(bucketReaders, k, a.Owner(), &m); err != nil && !errors.Is(err, store.ErrErased) {
				return fmt.Errorf("marks of account %s: %w", a, err)
			}
			for _, k := range [][]byte{k, t.readerKey(a, kindMarkLog, u64(m.ModSeq))} {
				if err := t.drop(bucketReaders, k); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// keysOf lists the keys with a prefix, before any of them is dropped.
func (t *tx) keysOf(bucket, prefix []byte, want func([]byte) bool) [][]byte {
	var out [][]byte
	prefix = clone(prefix)
	c := t.bucket(bucket).Cursor()
	for k, _ := c.Seek(prefix); k != nil && hasPrefix(k, prefix); k, _ = c.Next() {
		if want == nil || want(k) {
			out = append(out, clone(k))
		}
	}
	return out
}

// purgeMessage removes the rows of a message, of its deliveries and of what it is
// found by, and the file of a large one.
func (t *tx) purgeMessage(m *store.Message) error {
	deliveries, err := t.Deliveries(m.Pathway, m.ID)
	if err != nil {
		return err
	}
	known := ids(m)
	for _, d := range deliveries {
		known = append(known, d.RFCID)
		if err := t.purgeDelivery(d); err != nil {
			return err
		}
	}
	for _, id := range known {
		if err := t.purgeRefs(t.lookup("message-id", id), m.ID); err != nil {
			return err
		}
	}
	for _, key := range m.Keys {
		if err := t.purgeRefs(t.keyLookup(m.Pathway, key), m.ID); err != nil {
			return err
		}
	}
	if ref, err := t.Duplicate(m.Fingerprint); err == nil && ref.Message == m.ID {
		if err := t.drop(bucketPrints, t.lookup("fingerprint", string(m.Fingerprint[:]))); err != nil {
			return err
		}
	}
	for i := range m.Filings {
		if err := t.dropFiling(m.Pathway, &m.Filings[i]); err != nil {
			return err
		}
	}
	seq := u64(m.Seq)
	err = errors.Join(
		t.drop(bucketThreads, t.threadKey(m.Pathway, kindUpdated, u64(m.ModSeq))),
		t.drop(bucketThreads, t.messageKey(m.Pathway, seq)),
		t.drop(bucketThreads, t.indexKey(m.Pathway, seq)),
		t.drop(bucketLocated, []byte(m.ID)),
		t.dropLarge(m.Blob))
	for _, k := range t.keysOf(bucketThreads, t.threadKey(m.Pathway, 'd', t.messageHash(m.ID)), nil) {
		err = errors.Join(err, t.drop(bucketThreads, k))
	}
	t.state.Messages--
	return err
}

// purgeRefs removes the look-ups that lead to a message.
func (t *tx) purgeRefs(prefix []byte, id store.MessageID) error {
	for _, k := range t.keysOf(bucketIDs, prefix, nil) {
		var ref store.MessageRef
		err := t.getOwned(bucketIDs, k, &ref)
		if errors.Is(err, store.ErrErased) || err == nil && ref.Message != id {
			continue
		}
		if err == nil {
			err = t.drop(bucketIDs, k)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// purgeDelivery removes a delivery, from the queue as well.
func (t *tx) purgeDelivery(d *store.Delivery) error {
	if d.Item != "" {
		if err := t.DropItem(store.Item{ID: d.Item}); err != nil {
			return err
		}
	}
	if err := t.moveLive(d.ID, liveness(d.State), 0); err != nil {
		return err
	}
	if err := t.drop(bucketThreads, t.threadKey(d.Pathway, 'w', []byte(d.ID))); err != nil {
		return err
	}
	t.delivery = placed{}
	return t.drop(bucketDeliveries, []byte(d.ID))
}

// DropBox implements [store.Tx].
func (t *tx) DropBox(a store.Address) ([]store.Owner, error) {
	owners, err := t.dropBox(a)
	if err != nil {
		return nil, fmt.Errorf("dropping a box: %w", err)
	}
	return owners, nil
}

func (t *tx) dropBox(a store.Address) ([]store.Owner, error) {
	accounts, err := t.AccountsOfBox(a)
	if err != nil {
		return nil, err
	}
	var owners []store.Owner
	for _, account := range accounts {
		if err := t.dropAccount(account); err != nil {
			return nil, err
		}
		owners = append(owners, account.ID.Owner())
	}
	b, id, err := t.box(a)
	if errors.Is(err, store.ErrNotFound) {
		return owners, nil
	}
	if err != nil {
		return nil, err
	}
	id = clone(id)
	if err := t.moveFinds(boxFinds(id, b), nil); err != nil {
		return nil, err
	}
	return append(owners, boxOwner(id)), t.drop(bucketBoxes, id)
}

// dropAccount removes an account with all that its reader has.
func (t *tx) dropAccount(a *store.Account) error {
	if err := t.moveFinds(accountFinds(a), nil); err != nil {
		return err
	}
	h := t.s.keys.Handle(a.ID.Owner())
	for _, k := range t.keysOf(bucketReaders, h[:], nil) {
		if bytes.HasPrefix(k[handleSize:], []byte{kindMail}) {
			m, err := t.Mail(a.ID, store.MailID(k[handleSize+1:]))
			if err == nil {
				err = t.dropLarge(m.Blob)
			}
			if err != nil {
				return err
			}
		}
		if err := t.drop(bucketReaders, k); err != nil {
			return err
		}
	}
	t.touched(a.ID.Topic())
	return t.drop(bucketAccounts, []byte(a.ID))
}

// Forget implements [store.Store].
func (s *Store) Forget(ctx context.Context, owners []store.Owner) (uint32, error) {
	held := false
	for _, o := range owners {
		if o == hubOwner || o == traceOwner {
			return 0, errOwnKeys
		}
		held = held || s.keys.Lingers(o)
	}
	if !held {
		number, _ := s.keys.Epoch()
		return number, s.keys.Settle(ctx)
	}
	former, err := s.rekey(ctx)
	if err != nil {
		return 0, err
	}
	number, err := s.keys.Rotate(ctx, append(former, owners...)...)
	for _, o := range owners {
		if o.Kind == store.OwnedByPathway && !s.keys.Has(o) {
			s.pathways.forget(store.PathwayCode(o.ID))
		}
	}
	return number, err
}
