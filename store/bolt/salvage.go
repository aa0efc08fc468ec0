package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

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
}

// segmentTail is a stretch without records at the end of a segment.
type segmentTail struct {
	path string
	at   int64
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
		{bucketReaders, c.reader},
	} {
		if err := c.each(step.bucket, step.do); err != nil {
			return err
		}
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

// readSegments puts back the rows of every commit record, in order.
func (c *salvager) readSegments() error {
	entries, err := os.ReadDir(c.s.segs.dir)
	if err != nil {
		return fmt.Errorf("listing segments: %w", fault(err))
	}
	var numbers []uint32
	for _, e := range entries {
		if n, ok := sharedNumber(e.Name()); ok {
			numbers = append(numbers, n)
			if info, err := e.Info(); err == nil {
				c.total += info.Size()
			}
		}
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		if err := c.segment(n); err != nil {
			return fmt.Errorf("reading segment %s: %w", sharedName(n), err)
		}
		c.state.Segment = n
	}
	if c.torn != nil {
		// What follows the last record was being written: it was acknowledged to
		// nobody.
		return fault(os.Truncate(c.torn.path, c.torn.at))
	}
	return nil
}

func (c *salvager) segment(number uint32) error {
	path := c.s.segs.path(sharedName(number))
	f, err := os.Open(path)
	if err != nil {
		return fault(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fault(err)
	}
	s := &scan{file: f, name: sharedName(number), end: info.Size(), tick: func(n int64) error {
		if c.done += n; c.o.Progress != nil {
			c.o.Progress(min(c.done, c.total), c.total)
		}
		return c.ctx.Err()
	}}
	end := int64(segHead)
	err = s.run(func(h recordHead, at int64, sound bool, payload []byte) error {
		end = at + int64(recHead) + h.length
		if sound && h.kind != recCommit {
			return nil
		}
		rec, _, ok := parseRecord(payload)
		if !sound || !ok {
			c.out.Damaged++
			return nil
		}
		c.state.Seq = max(c.state.Seq, h.seq)
		if d := binary.BigEndian.Uint64(h.id[:]); d > c.durable {
			c.durable = d
			maps.DeleteFunc(c.last, func(_ string, seq uint64) bool { return seq <= d })
		}
		return c.update(func(t *tx) error { return c.putBack(t, h.seq, rec.Rows) })
	})
	if err != nil {
		return err
	}
	c.torn = nil
	c.out.Damaged += int64(len(s.gaps))
	if n := len(s.gaps); n > 0 && s.gaps[n-1] >= end && end > segHead || n == 0 && info.Size() > end {
		c.torn = &segmentTail{path, end}
		if s.onlyZeros {
			c.out.Damaged-- // the room set aside
		}
	}
	c.ended = append(c.ended, segmentEnd{number, end, s.chain})
	c.state.SegmentBytes += info.Size()
	return nil
}

// putBack puts back what nothing else would tell; the rest is made again.
func (c *salvager) putBack(t *tx, seq uint64, rows []loggedRow) error {
	for _, r := range rows {
		name, key, ok := splitPlace(r.place())
		if !ok {
			c.out.Damaged++
			continue
		}
		if !standsAlone(r.Bucket, key) {
			continue
		}
		var err error
		if b := t.tx.Bucket(name); r.Row == nil {
			err = b.Delete(key)
		} else {
			err = b.Put(key, r.Row)
		}
		if err != nil {
			return err
		}
		if r.Bucket == numThreads && seq > c.durable {
			c.last[string(key)] = seq
		}
	}
	return nil
}

// salvagePage is how many rows are worked on in one transaction.
const salvagePage = 500

// each gives every row of a bucket, as it stood before, to fn. Rows whose key is
// gone, or that do not open, go.
func (c *salvager) each(bucket []byte, fn func(t *tx, k, row []byte) error) error {
	var from []byte
	for more := true; more; {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		err := c.update(func(t *tx) error {
			type pair struct{ k, row []byte }
			var page []pair
			cur := t.bucket(bucket).Cursor()
			k, row := cur.First()
			if from != nil {
				k, row = cur.Seek(after(from, nil))
			}
			for ; k != nil && len(page) < salvagePage; k, row = cur.Next() {
				if string(bucket) != string(bucketThreads) || isMessageKey(k) {
					page = append(page, pair{clone(k), clone(row)})
				}
			}
			more = len(page) == salvagePage
			for _, p := range page {
				from = p.k
				err := fn(t, p.k, p.row)
				switch {
				case err == nil:
					continue
				case store.Gone(err):
					c.out.Erased++
				case errors.Is(err, store.ErrCorrupt):
					c.out.Damaged++
				default:
					return err
				}
				if err := t.tx.Bucket(bucket).Delete(p.k); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("making %s again: %w", bucket, err)
		}
	}
	return nil
}

func (c *salvager) finds(t *tx, list []find, err error) error {
	if err != nil {
		return err
	}
	return t.moveFinds(nil, list)
}

func (c *salvager) pathway(t *tx, k, row []byte) error {
	code, ok := t.pathwayOf(k)
	if !ok {
		return store.ErrErased
	}
	p := new(store.Pathway)
	if err := t.open(bucketPathways, k, pathwayOwner(code), row, p); err != nil {
		return err
	}
	t.state.ModSeq = max(t.state.ModSeq, p.ModSeq)
	t.state.Pathways++
	c.out.Pathways++
	return t.moveFinds(nil, pathwayFinds(k, p))
}

func (c *salvager) box(t *tx, k, row []byte) error {
	list, err := t.findsOfBox(k, row)
	return c.finds(t, list, err)
}

func (c *salvager) account(t *tx, k, row []byte) error {
	list, err := t.findsOfAccount(k, row)
	return c.finds(t, list, err)
}

func (c *salvager) message(t *tx, k, row []byte) error {
	code, ok := t.pathwayOf(k[:handleSize])
	if !ok {
		return store.ErrErased
	}
	m := new(store.Message)
	if err := t.open(bucketThreads, k, pathwayOwner(code), row, m); err != nil {
		return err
	}
	seq := k[handleSize+1 : handleSize+1+8]
	if m.Pathway != code || m.Seq != binary.BigEndian.Uint64(seq) {
		return store.ErrCorrupt
	}
	if c.last[string(k)] > c.durable {
		c.out.Unconfirmed = append(c.out.Unconfirmed, string(m.ID))
	}
	c.out.Messages++
	t.state.Messages++
	t.state.ModSeq = max(t.state.ModSeq, m.ModSeq)
	for _, b := range m.Boxes {
		t.state.Arrival = max(t.state.Arrival, b.UID)
	}
	if err := c.filings(t, m); err != nil {
		return err
	}
	index := c.letter(t, m.Blob, string(m.ID))
	return errors.Join(
		t.put(bucketThreads, t.indexKey(code, seq), pathwayOwner(code), index),
		t.putRaw(bucketLocated, []byte(m.ID), joined([]byte{clearVersion}, k[:handleSize], seq)),
		t.putIDs(m, nil), t.putKeys(m, nil), t.putPrint(m))
}

// filings puts a message back into its rubrics, with the UIDs it had.
func (c *salvager) filings(t *tx, m *store.Message) error {
	for i := range m.Filings {
		f := &m.Filings[i]
		f.Message = m.ID
		st, err := t.Rubric(m.Pathway, f.Rubric)
		if err != nil {
			return err
		}
		st.UIDNext, st.HighestModSeq, st.Count = max(st.UIDNext, f.UID+1), max(st.HighestModSeq, f.ModSeq), st.Count+1
		t.state.ModSeq = max(t.state.ModSeq, f.ModSeq)
		if err := errors.Join(t.putFiling(m.Pathway, f), t.putRubric(m.Pathway, f.Rubric, st)); err != nil {
			return err
		}
	}
	return nil
}

// letter makes the index of a message again from its bytes, an empty one where
// they cannot be read.
func (c *salvager) letter(t *tx, b *store.Blob, id string) []byte {
	if b == nil {
		return []byte{}
	}
	if strings.HasPrefix(b.Segment, largePrefix) {
		_ = t.putRaw(bucketLarge, []byte(b.Segment), []byte{clearVersion})
		t.state.SegmentBytes += segHead + int64(recHead) + b.Length
	}
	r, err := c.s.Open(c.ctx, *b)
	if err == nil {
		var index []byte
		index, err = c.o.Index(r)
		if r.Close(); err == nil {
			return index
		}
	}
	c.out.Unread = append(c.out.Unread, id)
	return []byte{}
}

// delivery puts a copy back. Whether one that was not over went out since is not
// known: it waits for a human.
func (c *salvager) delivery(t *tx, k, row []byte) error {
	d := new(store.Delivery)
	if err := t.openOwned(bucketDeliveries, k, row, d); err != nil {
		return err
	}
	if string(d.ID) != string(k) {
		return store.ErrCorrupt
	}
	if liveness(d.State) == liveQueued && d.State != store.OnHold {
		d.State, d.LastError, d.Item = store.OnHold, "restored", ""
		c.out.HeldCopies++
	}
	if d.Pathway != "" && d.Message != "" && t.bucket(bucketLocated).Get([]byte(d.Message)) == nil {
		return store.ErrErased // its message went, or is lost
	}
	if err := t.tx.Bucket(bucketDeliveries).Delete(k); err != nil {
		return err
	}
	t.state.Number = max(t.state.Number, d.Order)
	return t.writeDelivery(d, placed{state: store.Sent}, true)
}

func (c *salvager) held(t *tx, k, row []byte) error {
	h := new(store.Held)
	owner := triageOwner(store.HeldID(k))
	if err := t.open(bucketHeld, k, owner, row, h); err != nil {
		return err
	}
	c.out.Held++
	t.state.Held++
	if err := t.put(bucketHeldIndex, k, owner, c.letter(t, h.Blob, string(h.ID))); err != nil {
		return err
	}
	return t.putHeld(&store.Held{}, h)
}

// item puts a timer back, under nobody's lease. Copies to send follow from their
// deliveries, which wait for a human.
func (c *salvager) item(t *tx, k, row []byte) error {
	it := new(store.Item)
	if err := t.open(bucketItems, k, hubOwner, row, it); err != nil {
		return err
	}
	if it.Delivery != "" {
		return t.tx.Bucket(bucketItems).Delete(k)
	}
	it.Token, it.Owner = 0, ""
	return t.putItem(it)
}

func (c *salvager) trace(t *tx, k, row []byte) error {
	if len(k) != 9 {
		return store.ErrCorrupt
	}
	c.out.Traces++
	t.state.Trace = max(t.state.Trace, binary.BigEndian.Uint64(k[1:]))
	r := new(store.Trace)
	if err := t.open(bucketTraces, k, traceOwner, row, r); err != nil {
		return nil // its absence would hide that it was changed
	}
	for _, code := range r.Pathways() {
		if err := t.putRaw(bucketThreads, t.threadKey(code, 't', u64(r.Seq)), []byte{clearVersion, k[0]}); err != nil {
			return err
		}
	}
	return nil
}

func (c *salvager) reader(t *tx, k, row []byte) error {
	if len(k) <= handleSize {
		return store.ErrCorrupt
	}
	o, ok := c.s.keys.OwnerOf([handleSize]byte(k[:handleSize]))
	if !ok {
		return store.ErrErased
	}
	switch k[handleSize] {
	case kindMail:
		m := new(store.Mail)
		if err := t.open(bucketReaders, k, o, row, m); err != nil {
			return err
		}
		c.out.Messages++
		key := append(append(clone(k[:handleSize]), kindMailIx), k[handleSize+1:]...)
		return t.put(bucketReaders, key, o, c.letter(t, m.Blob, string(m.ID)))
	case kindMark:
		m := new(store.ReaderMark)
		if err := t.open(bucketReaders, k, o, row, m); err != nil {
			return err
		}
		t.state.ModSeq = max(t.state.ModSeq, m.ModSeq)
		return t.putRaw(bucketReaders, joined(k[:handleSize], []byte{kindMarkLog}, u64(m.ModSeq)), joined([]byte{clearVersion}, k[handleSize+1:]))
	case kindEntry:
		e := new(store.Entry)
		if err := t.open(bucketReaders, k, o, row, e); err != nil {
			return err
		}
		t.state.ModSeq = max(t.state.ModSeq, e.ModSeq)
	case kindFolder:
		f := new(store.Folder)
		if err := t.open(bucketReaders, k, o, row, f); err != nil {
			return err
		}
		t.state.ModSeq = max(t.state.ModSeq, f.HighestModSeq)
		t.state.Validity = max(t.state.Validity, f.UIDValidity)
	}
	return nil
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
