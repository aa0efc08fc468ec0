package bolt

import (
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// The log is synced fastest where it overwrites zeros that are durable already:
// then a sync is one flush of the disk, while the first bytes in a block cost a
// commit of the file system's journal too. So the next segment is prepared while
// the log fills this one: allocated, filled with zeros and synced, through a file
// of its own, so that no commit waits for any of it. It lies beside the segments
// as spareName and is renamed when the log comes to it. It is there for speed
// only: where there is none in time, or no room for one, the log begins a segment
// itself and writes zeros a little ahead (append.go); closing and starting a store
// remove it.
//
// Zeros are written as the log advances, twice as many bytes as it writes, so that
// they take their share of the disk and no more. A small store has small segments
// and small spares: one takes at most twice what all segments have.
type spare struct {
	least int64 // size of the first; for tests it is less, and other bounds follow it

	size atomic.Int64 // of the next to be begun
	due  atomic.Int64 // how much of it should be there
	done atomic.Int64 // how much is
	drop atomic.Bool  // the room is needed
	wake chan struct{}

	mu   sync.Mutex               // held while spareName gets or loses its file
	made atomic.Pointer[prepared] // whole: to be taken
}

// prepared is a segment that nothing stands in yet.
type prepared struct {
	f     *os.File
	size  int64 // where the log leaves it
	blank int64 // up to where it is zeros
	aside int64 // up to where it is allocated
}

const (
	spareName = "spare.new"

	spareLeast = 8 << 20
	sparePiece = 256 << 10   // that is written at a time; and how far groups may reach beyond
	spareRate  = 2           // bytes for each of the log
	spareFree  = 1 << 30     // room there must be besides
	sparePause = time.Minute // after one could not be made
)

func (p *spare) init(segmentSize int64) {
	p.least, p.wake = min(segmentSize, spareLeast), make(chan struct{}, 1)
}

// piece is how much is written at a time.
func (p *spare) piece() int64 { return min(sparePiece, p.least/8) }

// advance says how far the log is in its segment, which tells how much of the next
// should be there. Nothing is prepared before a store has something, and before it
// logged something since it was opened or began a segment.
func (p *spare) advance(seg *segment, st *state) {
	due := spareRate * (st.End - seg.begun - p.least/8)
	if due <= 0 || st.SegmentBytes < p.least/4 || p.made.Load() != nil {
		return
	}
	p.size.Store(2 * seg.leave)
	p.due.Store(due)
	if due >= p.done.Load()+p.piece() {
		p.rouse()
	}
}

func (p *spare) rouse() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// spareLoop prepares segments.
func (s *Store) spareLoop() {
	defer s.loops.Done()
	var (
		p     *prepared // being made
		pause time.Time
	)
	discard := func() {
		s.discardSpare(p)
		p = nil
		s.spare.done.Store(0)
	}
	defer discard()
	for {
		select {
		case <-s.closing:
			return
		case <-s.spare.wake:
		}
		if s.spare.drop.Swap(false) {
			discard()
			pause = time.Now().Add(sparePause)
		}
		if s.spare.made.Load() != nil || time.Now().Before(pause) {
			continue
		}
		err := error(nil)
		if p == nil {
			p, err = s.beginSpare()
		}
		if err == nil {
			err = s.fillSpare(p)
		}
		switch {
		case err != nil:
			discard()
			pause = time.Now().Add(sparePause)
			if !noRoom(err) {
				s.log.Warn("preparing a segment", "err", fault(err))
			}
		case s.spare.done.Load() >= p.blank:
			s.spare.done.Store(0)
			s.spare.made.Store(p)
			p = nil
		}
	}
}

// beginSpare allocates a segment. The end of it that is kept for what must be
// written on a full disk (roomFor) is not filled.
func (s *Store) beginSpare() (*prepared, error) {
	size := min(s.o.SegmentSize, s.spare.size.Load())
	free, err := s.o.files.Free(s.o.Dir)
	if err != nil {
		return nil, err
	}
	if free < spareFree+size {
		return nil, syscall.ENOSPC
	}
	s.spare.mu.Lock()
	defer s.spare.mu.Unlock()
	f, err := s.o.files.OpenFile(s.segs.path(spareName), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	p := &prepared{f: f, size: size, blank: size + s.spare.piece()}
	p.aside = p.blank + reserve + recordSlack
	switch err := s.o.files.Allocate(f, 0, p.aside); {
	case noRoom(err):
		return p, err
	case err != nil:
		p.aside = p.blank
	}
	if _, err = s.o.files.WriteAt(f, segmentHead('s'), 0); err == nil {
		s.spare.done.Store(segHead)
	}
	return p, err
}

// fillSpare writes what is due of a segment, and makes it durable when it is all
// there. Each piece is on its way to the disk before the next, so that a sync of
// the log finds little before it.
func (s *Store) fillSpare(p *prepared) error {
	for at := s.spare.done.Load(); at < p.blank; at = s.spare.done.Load() {
		n := min(s.spare.piece(), p.blank-at)
		if s.spare.due.Load() < at+n {
			return nil
		}
		if _, err := s.o.files.WriteAt(p.f, blanks[:n], at); err != nil {
			return err
		}
		if err := s.o.files.WriteBack(p.f, at, n); err != nil {
			return err
		}
		s.spare.done.Store(at + n)
		select {
		case <-s.closing:
			return nil
		default:
		}
	}
	return s.o.files.Sync(p.f)
}

// discardSpare removes what is being made, if anything is, and what was made.
func (s *Store) discardSpare(p *prepared) {
	s.spare.mu.Lock()
	defer s.spare.mu.Unlock()
	if p == nil {
		p = s.spare.made.Swap(nil)
	}
	if p == nil {
		return
	}
	p.f.Close()
	err := os.Remove(s.segs.path(spareName))
	if err == nil {
		err = syncDir(s.segs.dir) // a store that was closed in order has none
	}
	if err != nil {
		s.log.Warn("removing a prepared segment", "err", fault(err))
	}
}

// takeSpare gives the prepared segment, if there is one, its name in the log.
func (s *Store) takeSpare(name string) *prepared {
	s.spare.mu.Lock()
	defer s.spare.mu.Unlock()
	p := s.spare.made.Swap(nil)
	if p == nil {
		return nil
	}
	s.spare.due.Store(0)
	if err := s.o.files.Rename(s.segs.path(spareName), s.segs.path(name)); err != nil {
		p.f.Close()
		s.log.Warn("renaming a prepared segment", "err", fault(err))
		return nil
	}
	return p
}
