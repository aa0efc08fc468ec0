package bolt

import (
	"fmt"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/seal"
)

// tx reads and writes for one Commit within a group. What it wrote can be
// undone while the group goes on.
type tx struct {
	view
	g     *group // nil: straight into the index, in a transaction of bbolt
	state state
	turn  uint64

	log     []change // rows as they were, in order of writing
	derived bool     // what is written can be made again, and is not logged
	restore []func() // callers' records as they were
	parts   [][]byte // for the segment
	size    int64
	drafts  []*draft
	orphans []string            // large segments to remove afterwards
	lanes   map[string]struct{} // that got items
	topics  map[string]struct{} // that changed
	heads   [][]byte            // of the records among parts

	delivery placed // the one read last, until one is written
}

var _ store.Tx = (*tx)(nil)

// change is a row that was written, and what the level had there before.
type change struct {
	is, was *entry
	derived bool
}

// appending are buckets whose keys only grow: their pages are filled up.
var appending = map[string]bool{
	string(bucketLocated): true, string(bucketDeliveries): true, string(bucketTraces): true,
}

func (t *tx) putRaw(bucket, key, value []byte) error {
	if t.g != nil {
		t.set(t.bucket(bucket), key, nonNil(value))
		return nil
	}
	if err := t.tx.Bucket(bucket).Put(key, value); err != nil {
		return fmt.Errorf("writing a row of %s: %w", bucket, err)
	}
	return nil
}

func (t *tx) drop(bucket, key []byte) error {
	b := t.bucket(bucket)
	if t.g != nil {
		t.unset(b, key)
		return nil
	}
	if b.Get(key) == nil {
		return nil
	}
	if err := b.index().Delete(key); err != nil {
		return fmt.Errorf("deleting a row of %s: %w", bucket, err)
	}
	return nil
}

// set writes a row into the level.
func (t *tx) set(b *bucket, key, row []byte) {
	e := &entry{key: joined(b.place, key), row: row, turn: t.turn}
	t.note(e, t.over.active.set(e))
}

// note logs an entry and what was there before. What this Commit itself had put
// there is not logged any more: nobody else has seen it.
func (t *tx) note(e, was *entry) {
	if was != nil && was.turn == t.turn {
		e.at = was.at
		c := &t.log[e.at]
		c.is, c.derived = e, c.derived && t.derived
		return
	}
	if t.log == nil {
		t.log = make([]change, 0, 16)
	}
	e.at = len(t.log)
	t.log = append(t.log, change{e, was, t.derived})
}

// unset deletes a row. Where neither the frozen level nor the index has it, now
// or later, nothing need be left in the active one that says so: otherwise what
// comes and goes, as queued items do, would lie in the way of all who look for
// the next until the index is up to date.
func (t *tx) unset(b *bucket, key []byte) {
	l := t.over.active
	have, is := b.find(l, key)
	if is && have.row == nil {
		return
	}
	below := b.below(key) != nil
	if !is && !below {
		return
	}
	if below {
		t.set(b, key, nil)
		return
	}
	l.remove(have)
	t.note(&entry{key: have.key, turn: t.turn}, have)
}

// undo leaves nothing of this Commit in the level.
func (t *tx) undo() {
	for i := len(t.log) - 1; i >= 0; i-- {
		t.over.active.unset(t.log[i].is, t.log[i].was)
	}
	t.takeBack()
}

// takeBack makes the callers' records what they were.
func (t *tx) takeBack() {
	for i := len(t.restore) - 1; i >= 0; i-- {
		t.restore[i]()
	}
	t.restore = nil
}

// encode gives the clear form of a row.
func encode(record any) ([]byte, error) {
	if b, ok := record.([]byte); ok {
		return b, nil
	}
	b, err := encoding.Marshal(record)
	if err != nil {
		return nil, fmt.Errorf("encoding a record: %w", err)
	}
	return b, nil
}

// sealed gives the row of a record, or of bytes, after what goes before it.
func (t *tx) sealed(before, bucket, key []byte, owner store.Owner, record any) ([]byte, error) {
	clear, err := encode(record)
	if err != nil {
		return nil, err
	}
	return t.s.keys.SealRow(before, owner, string(bucket), key, clear)
}

// put seals a record, or bytes, into the row at key.
func (t *tx) put(bucket, key []byte, owner store.Owner, record any) error {
	row, err := t.sealed(nil, bucket, key, owner, record)
	if err != nil {
		return err
	}
	return t.putRaw(bucket, key, row)
}

// putOwned seals a record into a row that names its owner.
func (t *tx) putOwned(bucket, key []byte, owner store.Owner, record any) error {
	row, err := t.sealed(t.ownedBy(owner), bucket, key, owner, record)
	if err != nil {
		return err
	}
	return t.putRaw(bucket, key, row)
}

// ownedBy is what an owned row begins with.
func (t *tx) ownedBy(owner store.Owner) []byte {
	var h seal.Handle
	if owner != hubOwner {
		h = t.s.keys.Handle(owner)
	}
	return h[:]
}

// next numbers what must be kept in order.
func (t *tx) next() uint64 {
	t.state.Number++
	return t.state.Number
}

// modSeq gives the next modseq; over all lists, in the order of commits.
func (t *tx) modSeq() uint64 {
	t.state.ModSeq++
	return t.state.ModSeq
}

// ModSeq implements [store.View]: inside a Commit it is this Commit's.
func (t *tx) ModSeq() (uint64, error) { return t.state.ModSeq, nil }

// take makes a draft, if there is one, part of this Commit.
func (t *tx) take(d store.Draft, o store.Owner) (*store.Blob, error) {
	if d == nil {
		return nil, nil
	}
	own, ok := d.(*draft)
	if !ok {
		return nil, errDraftAlien
	}
	if err := own.usable(t.s); err != nil {
		return nil, err
	}
	for _, other := range t.drafts {
		if other == own {
			return nil, errDraftUsed
		}
	}
	blob, err := t.blobFor(own, o)
	if err != nil {
		return nil, err
	}
	t.drafts = append(t.drafts, own)
	return blob, nil
}
