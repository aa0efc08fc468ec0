package bolt

import (
	"fmt"
	"os"

	bolt "go.etcd.io/bbolt"

	"github.com/relais-sante/relais/store"
)

// group is one durable transaction of several commits.
type group struct {
	s     *Store
	btx   *bolt.Tx
	state state    // as it will be
	parts [][]byte // to append to the segment
	size  int64    // of parts
	heads [][]byte // of the records among parts
	rows  []loggedRow
	undo  []func() // what to put back in callers' records if nothing is kept

	broken  bool // what a failed request wrote could not be undone
	changes bool // something was written to the index
	urgent  bool // the rows may not wait for another group
	logs    bool // the rows, and all that waited, are among parts
}

// begin opens a group. The segment it appends to is made sure of first.
func (s *Store) begin() (*group, error) {
	if err := s.segmentReady(); err != nil {
		s.afterFailure(err)
		return nil, fmt.Errorf("beginning a segment: %w", fault(err))
	}
	btx, err := s.db.Begin(true)
	if err != nil {
		return nil, fmt.Errorf("beginning a transaction: %w", fault(err))
	}
	g := &group{s: s, btx: btx, state: s.state}
	g.state.Seq++
	return g, nil
}

// run runs one request in the group. After an error nothing of it is left.
func (g *group) run(r *request) error {
	t := newTx(g)
	r.turn <- t
	err := <-r.ran
	if err != nil {
		g.broken = g.s.fenced(t.undoAll) != nil
		return err
	}
	g.changes = g.changes || len(t.log) > 0
	g.parts = append(g.parts, t.parts...)
	g.size += t.size
	g.heads = append(g.heads, t.heads...)
	g.rows = append(g.rows, t.kept...)
	g.urgent = g.urgent || t.urgent
	g.undo = append(g.undo, t.restore...)
	g.state = t.state
	r.tx = t
	return nil
}

func (g *group) changed() bool { return g.changes || g.size > 0 }

func (g *group) rollback() {
	g.endIndex()
	for i := len(g.undo) - 1; i >= 0; i-- {
		g.undo[i]()
	}
}

// endIndex ends the transaction of bbolt. Where a torn page does not let it end,
// the index is not even closed: that would wait for it.
func (g *group) endIndex() {
	if g.s.fenced(g.btx.Rollback) == errTorn {
		g.s.stuck = true
	}
}

// writeSegment appends and syncs. After a failure the segment ends where the
// index says; if even that cannot be had, another is begun.
func (g *group) writeSegment() error {
	if err := g.writeHeads(); err != nil {
		return err
	}
	if err := g.writeRows(); err != nil || g.size == 0 {
		return err
	}
	s := g.s
	n, err := s.seg.write(s.o.files, g.parts, s.state.End)
	if err != nil {
		s.cutSegment()
		return fmt.Errorf("appending to segment %s: %w", s.seg.name, err)
	}
	g.state.End += n
	g.state.SegmentBytes += n
	g.state.Chain = chained(g.state.Chain, g.heads)
	return nil
}

// cutSegment takes back what a failed group appended.
func (s *Store) cutSegment() {
	if s.seg == nil {
		return
	}
	if err := s.seg.f.Truncate(s.state.End); err != nil {
		s.log.Error("cutting off a failed append", "err", fault(err))
	}
	s.seg.aside = s.state.End
	s.seg.noAside = false
}

// commitIndex commits the bbolt transaction. A failure is looked into: if the
// new root page is there although its sync failed, what bbolt has in memory no
// longer fits the file, and it is opened anew.
func (g *group) commitIndex() error {
	s := g.s
	if err := s.fenced(g.writeState); err != nil {
		g.rollback()
		s.cutSegment()
		return err
	}
	id := g.btx.ID()
	err := s.fenced(g.btx.Commit)
	if err == nil {
		return nil
	}
	for i := len(g.undo) - 1; i >= 0; i-- {
		g.undo[i]()
	}
	g.endIndex()       // no more than bbolt did itself
	if s.torn.Load() { // nothing was written yet
		s.cutSegment()
		return err
	}
	if s.indexAt() != id-1 {
		if rerr := s.reopen(); rerr != nil {
			s.log.Error("opening the index again", "err", rerr)
		}
	} else {
		s.cutSegment()
	}
	return fmt.Errorf("writing the index: %w", err)
}

// writeState writes what the next group goes on from, and where segments ended
// that were left behind.
func (g *group) writeState() error {
	t := tx{view: view{s: g.s, tx: g.btx}}
	for _, e := range g.s.ended {
		if err := t.put(bucketSegments, u32(e.Number), hubOwner, &e); err != nil {
			return err
		}
	}
	return t.put(bucketMeta, keyState, hubOwner, &g.state)
}

// indexAt is the number of the last transaction in the index.
func (s *Store) indexAt() int {
	btx, err := s.db.Begin(false)
	if err != nil {
		return -1
	}
	defer btx.Rollback()
	return btx.ID()
}

// publish makes a durable group known.
func (g *group) publish(ran []*request) {
	s := g.s
	s.state = g.state
	st := g.state
	s.published.Store(&st)
	s.ended = nil
	if g.logs {
		s.unlogged = nil
	} else {
		s.unlogged = append(s.unlogged, g.rows...)
	}
	for _, r := range ran {
		for _, d := range r.tx.drafts {
			d.keep()
		}
		for _, name := range r.tx.orphans {
			if err := s.segs.remove(name); err != nil {
				s.log.Warn("removing a segment nothing names any more", "err", err)
			}
		}
		s.wakes.wake(r.tx.lanes)
		s.watches.wake(r.tx.topics)
	}
}

// segmentReady opens or begins the shared segment.
func (s *Store) segmentReady() error {
	if s.seg != nil && s.state.End < s.o.SegmentSize {
		return nil
	}
	if s.seg == nil && s.state.Segment > 0 && s.state.End < s.o.SegmentSize {
		name := sharedName(s.state.Segment)
		f, err := s.o.files.OpenFile(s.segs.path(name), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		s.seg = &segment{f: f, name: name, aside: s.state.End}
		return nil
	}
	return s.nextSegment()
}

// nextSegment begins a segment. It is the index's from the next group on; until
// then a start removes it again.
func (s *Store) nextSegment() error {
	name := sharedName(s.state.Segment + 1)
	f, err := s.o.files.OpenFile(s.segs.path(name), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(segmentHead('s'), 0)
	if err == nil {
		err = datasync(f)
	}
	if err == nil {
		err = syncDir(s.segs.dir)
	}
	if err != nil {
		f.Close()
		_ = os.Remove(s.segs.path(name))
		return err
	}
	if s.seg != nil {
		_ = s.seg.f.Truncate(s.state.End)
		s.seg.f.Close()
	}
	if s.state.Segment > 0 {
		s.ended = append(s.ended, segmentEnd{s.state.Segment, s.state.End, s.state.Chain})
	}
	s.seg = &segment{f: f, name: name, aside: segHead}
	s.state.Segment++
	s.state.End, s.state.Chain = segHead, [32]byte{}
	s.state.SegmentBytes += segHead
	return nil
}

// blobFor says where the bytes of a message will lie.
func (t *tx) blobFor(d *draft, o store.Owner) (*store.Blob, error) {
	key, err := d.wrap(o)
	if err != nil {
		return nil, err
	}
	sum := d.w.Sum()
	b := &store.Blob{Owner: o, Length: d.w.Length(), Size: d.w.Size(), Key: key, Sum: sum[:], Session: clone(d.session[:])}
	if d.large != nil {
		b.Segment, b.Offset = d.name, segHead
		if err := t.putRaw(bucketLarge, []byte(d.name), []byte{clearVersion}); err != nil {
			return nil, err
		}
		t.state.SegmentBytes += d.written
		return b, nil
	}
	b.Segment, b.Offset = t.g.s.seg.name, t.g.state.End+t.g.size+t.size
	head := recordHead{kind: recMessage, seq: t.state.Seq, id: d.id, length: b.Length, sum: sum}
	t.heads = append(t.heads, head.encode())
	t.append(t.heads[len(t.heads)-1])
	for _, p := range d.blocks {
		t.append(p)
	}
	return b, nil
}

func (t *tx) append(p []byte) {
	t.parts = append(t.parts, p)
	t.size += int64(len(p))
}
