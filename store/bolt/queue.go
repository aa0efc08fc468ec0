package bolt

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

const errLane = journal.Fault("not a lane")

// maxLane is the longest name of a lane: "out:" and a domain.
const maxLane = 300

// dueKey orders items: lane, then due time, then id. Times before 1970 count as
// due at once.
func (s *Store) dueKey(it *store.Item) []byte {
	return joined([]byte(s.laneKey(it.Lane)), []byte{0}, u64(dueNumber(it.Due)), []byte(it.ID))
}

func dueNumber(t time.Time) uint64 {
	if t.IsZero() || t.Unix() < 0 {
		return 0
	}
	return uint64(t.UnixNano())
}

func dueTime(n uint64) time.Time { return time.Unix(0, int64(n)).UTC() }

// parseDue takes a key of bucketDue apart; lane is the key of one.
func parseDue(k []byte) (lane string, due uint64, id store.ItemID, ok bool) {
	i := bytes.IndexByte(k, 0)
	if i < 0 || len(k) < i+9 {
		return "", 0, "", false
	}
	return string(k[:i]), binary.BigEndian.Uint64(k[i+1:]), store.ItemID(k[i+9:]), true
}

// Item implements [store.View].
func (v *view) Item(id store.ItemID) (*store.Item, error) {
	it := new(store.Item)
	if err := v.get(bucketItems, []byte(id), hubOwner, it); err != nil {
		return nil, fmt.Errorf("reading item %s: %w", id, err)
	}
	return it, nil
}

// head is the item of a lane that is due first.
type head struct {
	lane string // key of it, later its name
	due  uint64
	id   store.ItemID
}

// heads calls fn with the head of each lane: one seek per lane.
func (v *view) heads(prefix string, fn func(head)) error {
	prefix = v.s.laneKey(prefix)
	c := v.bucket(bucketDue).Cursor()
	for k, _ := c.Seek([]byte(prefix)); k != nil && hasPrefix(k, []byte(prefix)); {
		lane, due, id, ok := parseDue(k)
		if !ok {
			return store.ErrCorrupt
		}
		fn(head{lane, due, id})
		k, _ = c.Seek(append([]byte(lane), 1))
	}
	return nil
}

// Lanes implements [store.View]: lanes in order of their oldest item.
func (v *view) Lanes(prefix string, now time.Time) ([]string, error) {
	var due []head
	if err := v.heads(prefix, func(h head) {
		if h.due <= dueNumber(now) {
			due = append(due, h)
		}
	}); err != nil {
		return nil, fmt.Errorf("listing lanes: %w", err)
	}
	for i := range due {
		h := &due[i]
		name, err := v.laneName(h.lane, h.id)
		if err != nil {
			return nil, fmt.Errorf("listing lanes: %w", err)
		}
		h.lane = name
	}
	slices.SortFunc(due, func(a, b head) int { return cmp.Or(cmp.Compare(a.due, b.due), strings.Compare(a.lane, b.lane)) })
	out := make([]string, len(due))
	for i, h := range due {
		out[i] = h.lane
	}
	return out, nil
}

// NextDue implements [store.View].
func (v *view) NextDue(prefix string) (time.Time, error) {
	var first uint64
	found := false
	if err := v.heads(prefix, func(h head) {
		if !found || h.due < first {
			first, found = h.due, true
		}
	}); err != nil {
		return time.Time{}, fmt.Errorf("finding the next item: %w", err)
	}
	if !found {
		return time.Time{}, nil
	}
	return dueTime(first), nil
}

// Leased implements [store.View].
func (v *view) Leased() ([]store.Item, error) {
	var out []store.Item
	c := v.bucket(bucketLeases).Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		it, err := v.Item(store.ItemID(k))
		if err != nil {
			return nil, fmt.Errorf("listing leases: %w", err)
		}
		out = append(out, *it)
	}
	return out, nil
}

// PutItem implements [store.Tx].
func (t *tx) PutItem(it store.Item) error {
	if it.Lane == "" || len(it.Lane) > maxLane || strings.IndexByte(it.Lane, 0) >= 0 {
		return fmt.Errorf("queueing item %s: %w", it.ID, errLane)
	}
	old, err := t.held(it)
	if err == nil && old != nil {
		err = t.dropItem(old)
	}
	if err == nil {
		it.Token, it.Owner = 0, ""
		err = t.putItem(&it)
	}
	if err != nil {
		return fmt.Errorf("queueing item %s: %w", it.ID, err)
	}
	if t.lanes == nil {
		t.lanes = make(map[string]struct{})
	}
	t.lanes[it.Lane] = struct{}{}
	return nil
}

// DropItem implements [store.Tx].
func (t *tx) DropItem(it store.Item) error {
	old, err := t.held(it)
	if err == nil && old != nil {
		err = t.dropItem(old)
	}
	if err != nil {
		return fmt.Errorf("dropping item %s: %w", it.ID, err)
	}
	return nil
}

// held finds the stored item, nil if there is none, and checks that whoever
// comes with a token still holds the lease.
func (t *tx) held(it store.Item) (*store.Item, error) {
	old := new(store.Item)
	switch err := t.get(bucketItems, []byte(it.ID), hubOwner, old); {
	case errors.Is(err, store.ErrNotFound):
		old = nil
	case err != nil:
		return nil, fmt.Errorf("reading the item: %w", err)
	}
	if it.Token != 0 && (old == nil || old.Token != it.Token) {
		return nil, store.ErrLeaseLost
	}
	return old, nil
}

func (t *tx) putItem(it *store.Item) error {
	row, err := t.sealed(nil, bucketItems, []byte(it.ID), hubOwner, it)
	if err != nil {
		return err
	}
	if err := t.putRaw(bucketItems, []byte(it.ID), row); err != nil {
		return err
	}
	if it.Token != 0 {
		if err := t.putRaw(bucketLeases, []byte(it.ID), []byte{clearVersion}); err != nil {
			return err
		}
	}
	return t.putRaw(bucketDue, t.s.dueKey(it), []byte{clearVersion})
}

func (t *tx) dropItem(it *store.Item) error {
	if err := t.drop(bucketDue, t.s.dueKey(it)); err != nil {
		return err
	}
	if it.Token != 0 {
		if err := t.drop(bucketLeases, []byte(it.ID)); err != nil {
			return err
		}
	}
	return t.drop(bucketItems, []byte(it.ID))
}

// Claim implements [store.Tx].
func (t *tx) Claim(lane string, now time.Time, lease time.Duration, owner string, most int) ([]store.Item, error) {
	ids, err := t.dueIn(lane, now, most)
	if err != nil {
		return nil, fmt.Errorf("claiming of %s: %w", journal.Word(lane), err)
	}
	out := make([]store.Item, 0, len(ids))
	for _, id := range ids {
		it, err := t.Item(id)
		if err == nil {
			err = t.drop(bucketDue, t.s.dueKey(it))
		}
		if err == nil {
			// One counter for all leases: a token is never given twice, not
			// even to an item that was dropped and queued again.
			t.state.Lease++
			it.Token, it.Owner, it.Due = t.state.Lease, owner, now.Add(lease)
			err = t.putItem(it)
		}
		if err != nil {
			return nil, fmt.Errorf("claiming item %s: %w", id, err)
		}
		out = append(out, *it)
	}
	return out, nil
}

// dueIn lists what is due in a lane, before any of it is changed.
func (t *tx) dueIn(lane string, now time.Time, most int) ([]store.ItemID, error) {
	prefix := append([]byte(t.s.laneKey(lane)), 0)
	var ids []store.ItemID
	c := t.bucket(bucketDue).Cursor()
	for k, _ := c.Seek(prefix); hasPrefix(k, prefix) && len(ids) < most; k, _ = c.Next() {
		_, due, id, ok := parseDue(k)
		if !ok {
			return nil, store.ErrCorrupt
		}
		if due > dueNumber(now) {
			break
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// wakes are the channels that tell of new items.
type wakes struct {
	mu sync.Mutex
	m  map[string]chan struct{}
}

// Wake implements [store.Store]. Whoever asks for the same prefix shares a
// channel.
func (s *Store) Wake(prefix string) <-chan struct{} {
	s.wakes.mu.Lock()
	defer s.wakes.mu.Unlock()
	if s.wakes.m == nil {
		s.wakes.m = make(map[string]chan struct{})
	}
	c := s.wakes.m[prefix]
	if c == nil {
		c = make(chan struct{}, 1)
		s.wakes.m[prefix] = c
	}
	return c
}

func (w *wakes) wake(lanes map[string]struct{}) {
	if len(lanes) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for prefix, c := range w.m {
		for lane := range lanes {
			if strings.HasPrefix(lane, prefix) {
				select {
				case c <- struct{}{}:
				default:
				}
				break
			}
		}
	}
}
