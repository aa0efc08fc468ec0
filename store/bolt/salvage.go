package bolt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"github.com/relais-sante/relais/store"
)

// SalvageOptions say how a salvage goes about.
type SalvageOptions struct {
	// Index makes the letter index of a message again from its bytes. Required.
	Index func(io.Reader) ([]byte, error)
	// Progress, if not nil, is told how many bytes of how many were read.
	Progress func(done, total int64)
}

// Salvaged is what came of a salvage.
type Salvaged struct {
	Pathways   int64 `json:"pathways"`
	Messages   int64 `json:"messages"`
	Held       int64 `json:"held"`
	Traces     int64 `json:"traces"`
	HeldCopies int64 `json:"held_copies"` // deliveries of unknown outcome
	Erased     int64 `json:"erased"`      // rows whose key is gone
	Damaged    int64 `json:"damaged"`     // places in segments, and rows, that do not fit
	// Unread are messages whose bytes cannot be read any more: what is known of
	// them is kept.
	Unread []string `json:"unread"`
	// Unconfirmed are messages of the last groups: nothing tells whether they were
	// acknowledged.
	Unconfirmed []string `json:"unconfirmed"`
}

// salvageGap is left in counters whose last value only the lost index knew.
const salvageGap = 1 << 20

// salvager makes an index again. First the rows that the segments kept are put
// back in order, then what follows from them is made.
type salvager struct {
	ctx     context.Context
	s       *Store
	db      *bolt.DB
	o       SalvageOptions
	out     Salvaged
	state   state
	done    int64
	total   int64
	ended   []segmentEnd
	durable uint64            // last group that a later one vouches for
	last    map[string]uint64 // keys of messages of groups after that
	torn    *segmentTail
	reader  salvagedReader
}

// Salvage makes the index of a folder again from its segments, under the keys.
// An index that is there is kept beside the new one. No process may have the
// folder open.
func Salvage(ctx context.Context, opt Options, o SalvageOptions) (*Salvaged, error) {
	s, err := bare(opt)
	if err != nil {
		return nil, err
	}
	c := &salvager{ctx: ctx, s: s, o: o, last: map[string]uint64{}, out: Salvaged{Unread: []string{}, Unconfirmed: []string{}}}
	if err := s.fenced(c.run); err != nil {
		return nil, fmt.Errorf("salvaging: %w", err)
	}
	return &c.out, nil
}

func (c *salvager) run() error {
	for _, owner := range []store.Owner{hubOwner, traceOwner} {
		if !c.s.keys.Has(owner) {
			return fmt.Errorf("the keystore is not that of these segments: %w", store.ErrNotFound)
		}
	}
	if err := c.s.openChain(); err != nil {
		return err
	}
	path := filepath.Join(c.s.o.Dir, indexName)
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fault(err)
	}
	var err error
	if c.db, err = bolt.Open(fresh, 0o600, &bolt.Options{Timeout: c.s.o.LockTimeout, NoSync: true, NoStatistics: true, FreelistType: bolt.FreelistMapType}); err != nil {
		return fmt.Errorf("making an index: %w", fault(err))
	}
	err = c.fill()
	if err == nil {
		err = fault(c.db.Sync())
	}
	if err = errors.Join(err, c.db.Close()); err != nil {
		return err
	}
	if _, err := os.Lstat(path); err == nil {
		if err := os.Rename(path, fmt.Sprintf("%s.torn-%d", path, c.s.o.Clock().Unix())); err != nil {
			return fault(err)
		}
	}
	if err := os.Rename(fresh, path); err != nil {
		return fault(err)
	}
	return syncDir(c.s.o.Dir)
}

func (c *salvager) fill() error {
	if err := c.update(c.begin); err != nil {
		return err
	}
	if err := c.readSegments(); err != nil {
		return err
	}
	for _, step := range []struct {
		bucket []byte
		do     func(t *tx, k, row []byte) error
	}{
		{bucketPathways, c.pathway},
		{bucketBoxes, c.box},
		{bucketAccounts, c.account},
		{bucketThreads, c.message},
		{bucketDeliveries, c.delivery},
		{bucketHeld, c.held},
		{bucketItems, c.item},
		{bucketTraces, c.trace},
		{bucketReaders, c.readerRow},
	} {
		if err := c.each(step.bucket, step.do); err != nil {
			return err
		}
	}
	if err := c.update(c.endReader); err != nil {
		return err
	}
	return c.update(c.end)
}

func (c *salvager) update(fn func(t *tx) error) error {
	return c.db.Update(func(btx *bolt.Tx) error {
		t := &tx{view: view{s: c.s, tx: btx}, state: c.state}
		err := fn(t)
		c.state = t.state
		return err
	})
}

// begin makes the buckets. The look-ups go under the newest key there is.
func (c *salvager) begin(t *tx) error {
	for _, b := range buckets {
		if _, err := t.tx.CreateBucket(b); err != nil {
			return err
		}
	}
	generation := uint32(0)
	for _, o := range c.s.keys.Owners(store.OwnedByHub) {
		var n uint32
		if _, err := fmt.Sscanf(o.ID, "lookups-%d", &n); err == nil {
			generation = max(generation, n)
		}
	}
	if generation == 0 {
		return fmt.Errorf("the keystore holds no key of look-ups: %w", store.ErrNotFound)
	}
	if _, err := t.tx.CreateBucket(lookupsBucket(generation)); err != nil {
		return err
	}
	return errors.Join(
		t.putRaw(bucketMeta, keyLookups, joined(u32(generation), u32(0))),
		t.putRaw(bucketMeta, keyFormat, u32(migrations[len(migrations)-1].to)))
}

// end writes the state that a hub goes on from: in a new segment, with counters
// beyond all that could have been given.
func (c *salvager) end(t *tx) error {
	for i := range c.ended {
		if err := t.put(bucketSegments, u32(c.ended[i].Number), hubOwner, &c.ended[i]); err != nil {
			return err
		}
	}
	st := &t.state
	st.renew(c.s)
	if _, err := io.ReadFull(c.s.o.Rand, st.Line[:]); err != nil {
		return err
	}
	st.ModSeq += salvageGap
	st.Arrival += salvageGap
	st.Lease = uint64(c.s.o.Clock().UnixNano())
	st.Keys = c.s.keys.Number() // what was sealed with others is gone, and was counted
	var head headRow
	if err := t.get(bucketHeads, keyHeads, traceOwner, &head); err == nil {
		st.Trace = max(st.Trace, head.Trace)
	}
	st.Segment++
	f, err := os.OpenFile(c.s.segs.path(sharedName(st.Segment)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fault(err)
	}
	_, err = f.Write(segmentHead('s'))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close(), syncDir(c.s.segs.dir)); err != nil {
		return fault(err)
	}
	st.End = segHead
	st.SegmentBytes += segHead
	return t.put(bucketMeta, keyState, hubOwner, st)
}
