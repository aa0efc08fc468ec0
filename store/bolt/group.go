package bolt

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/relais-sante/relais/store"
)

// group is one durable transaction of several commits.
type group struct {
	seg     *segment
	seq     uint64
	start   int64     // where it begins in the segment
	aside   int64     // end of the room set aside there
	size    int64     // of the messages
	parts   [][]byte  // to append: messages, then the commit record
	heads   [][]byte  // of the records among parts
	rows    []byte    // encoded for the commit record
	count   int       // of rows
	were    chainEnds // of the traces, before
	members int
	ran     []*tx // members that changed something
	changed bool
	durable bool // somebody waits for it to be

	after *level // rows, and
	state state  // state that come of it
	err   error  // set before done
	done  chan struct{}
	lead  chan struct{} // makes one of the members the leader
}

// Bounds of a group, so that the first of it need not wait for ever. It is not
// kept open for more than groupEnough while it could be written.
const (
	groupEnough = 32
	maxMembers  = 256
	maxGroup    = 16 << 20
)

func (g *group) full() bool { return g.members >= maxMembers || g.size+int64(len(g.rows)) >= maxGroup }

// buffers hold encoded rows and commit records.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

const maxBuffer = 1 << 20

func giveBuffer(b []byte) {
	if b = b[:0]; cap(b) <= maxBuffer {
		buffers.Put(&b)
	}
}

// newGroup opens a group behind all that was committed or is about to be.
func (s *Store) newGroup() *group {
	return &group{
		seg: s.seg, seq: s.state.Seq + 1, start: s.state.End, were: s.state.heads, rows: (*buffers.Get().(*[]byte))[:0],
		done: make(chan struct{}), lead: make(chan struct{}, 1),
	}
}

func (s *Store) newTx(g *group) *tx {
	s.turns++
	t := &tx{g: g, turn: s.turns, state: s.state}
	t.s, t.writes, t.over = s, true, &levels{active: s.working}
	t.state.Seq = g.seq
	return t
}

// keep makes what a function did part of its group. There is nothing to wait for
// if it changed nothing and saw nothing that is not durable.
func (s *Store) keep(g *group, t *tx, soon bool) (waits bool, err error) {
	if len(t.log) == 0 && len(t.parts) == 0 {
		s.mu.Lock()
		waits = s.writing || g.members > 0
		s.mu.Unlock()
		if waits {
			g.members++
			g.durable = g.durable || !soon
		}
		return waits, nil
	}
	if err := s.roomFor(g, t); err != nil {
		return false, err
	}
	if len(t.drafts) > 0 {
		s.full.Store(false)
	}
	g.members++
	g.changed = true
	g.durable = g.durable || !soon
	g.parts = append(g.parts, t.parts...)
	g.size += t.size
	g.heads = append(g.heads, t.heads...)
	g.encode(t.log)
	g.ran = append(g.ran, t)
	s.state = t.state
	return true, nil
}

// encode adds the rows that were written to the commit record.
func (g *group) encode(log []change) {
	for i := range log {
		if !log[i].derived {
			g.rows = appendRow(g.rows, log[i].is)
			g.count++
		}
	}
}

// closeGroup ends the open group and makes its commit record: from now on it is
// certain where the next one goes. Nobody runs.
func (s *Store) closeGroup() *group {
	g := s.open
	s.open = nil
	if g.changed {
		if g.err = s.finishGroup(g); g.err != nil {
			g.err = fmt.Errorf("making a commit record: %w", g.err)
		}
	}
	giveBuffer(g.rows)
	g.rows = nil
	return g
}

func (s *Store) finishGroup(g *group) error {
	t := s.newTx(g)
	t.state.Seq = g.seq
	for _, e := range s.ended {
		if err := t.put(bucketSegments, u32(e.Number), hubOwner, &e); err != nil {
			return err
		}
	}
	if s.state.heads != g.were {
		row, err := t.headsOf(&s.state)
		if err != nil {
			return err
		}
		if err := t.putRaw(bucketHeads, keyHeads, row); err != nil {
			return err
		}
	}
	g.encode(t.log)
	s.state.Chain = chained(s.state.Chain, g.heads)
	b := append((*buffers.Get().(*[]byte))[:0], make([]byte, recHead)...)
	b, err := s.appendRecord(b, g.count, g.rows, &s.state)
	if err != nil {
		return err
	}
	head := recordHead{kind: recCommit, seq: g.seq, length: int64(len(b) - recHead), sum: sha256.Sum256(b[recHead:])}
	binary.BigEndian.PutUint64(head.id[:], s.durable)
	copy(b, head.encode())
	g.parts = append(g.parts, b)
	s.state.Chain = chained(s.state.Chain, [][]byte{b[:recHead]})
	n := g.size + int64(len(b))
	s.state.End += n
	s.state.SegmentBytes += n
	s.ended = nil
	g.state, g.after, g.aside = s.state, s.working.copied(), g.seg.aside
	return nil
}

// soonDelay is how long a commit may wait to be durable that need not be at once.
const soonDelay = 20 * time.Millisecond

// write appends a group to its segment, and makes it durable if somebody waits
// for that or something waited long enough.
func (s *Store) write(g *group) error {
	err := g.seg.write(s.o.files, g.parts, g.start, g.aside)
	sync := g.durable || !s.soonSince.IsZero() && time.Since(s.soonSince) > soonDelay
	if err == nil && sync {
		err = s.syncLog(g.seg, g.seq)
	} else if err == nil && s.soonSince.IsZero() {
		s.soonSince = time.Now()
		select {
		case s.soon <- struct{}{}:
		default:
		}
	}
	if err != nil {
		return fmt.Errorf("appending to segment %s: %w", g.seg.name, err)
	}
	giveBuffer(g.parts[len(g.parts)-1])
	s.locked.Store(false)
	return nil
}

// syncLog makes the log durable up to a group. If that fails where something was
// published that is not durable, nothing more can be written: it cannot be taken
// back, and what comes after must not be there without it.
func (s *Store) syncLog(seg *segment, seq uint64) error {
	if err := s.o.files.Sync(seg.f); err != nil {
		if !s.soonSince.IsZero() {
			s.stop(err)
		}
		return err
	}
	s.soonSince = time.Time{}
	s.mu.Lock()
	s.durable = seq
	s.mu.Unlock()
	for _, name := range s.doomed {
		s.removeSegment(name)
	}
	s.doomed = nil
	return nil
}

// publish makes a group known that is written, and durable if it has to be.
func (s *Store) publish(g *group) {
	if g.changed {
		s.levelsMu.Lock()
		lv := *s.levels.Load()
		lv.active, lv.state = g.after, &g.state
		s.levels.Store(&lv)
		s.levelsMu.Unlock()
		s.spare.advance(g.seg, &g.state)
	}
	for _, t := range g.ran {
		for _, d := range t.drafts {
			d.keep()
		}
		for _, name := range t.orphans {
			if s.soonSince.IsZero() {
				s.removeSegment(name)
			} else {
				s.doomed = append(s.doomed, name) // the log may yet lose that it went
			}
		}
		s.wakes.wake(t.lanes)
		s.watches.wake(t.topics)
	}
}

func (s *Store) removeSegment(name string) {
	if err := s.segs.remove(name); err != nil {
		s.log.Warn("removing a segment nothing names any more", "err", err)
	}
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
	b.Segment, b.Offset = t.g.seg.name, t.g.start+t.g.size+t.size
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
