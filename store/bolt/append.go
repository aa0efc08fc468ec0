package bolt

import (
	"fmt"
	"os"

	"github.com/relais-sante/relais/store"
)

// segment is the shared segment being appended to.
type segment struct {
	f       *os.File
	name    string
	number  uint32
	aside   int64  // end of the room set aside; belongs to the turn
	noAside bool   // the file system cannot; this too
	crowded bool   // no other could be begun: go on beyond the usual size
	blank   int64  // up to where bytes were written; belongs to who writes
	begun   int64  // where appending began, in this process
	leave   int64  // from here on for a segment that is prepared
	buf     []byte // to write from
}

// roomFor makes sure that there is room for what a Commit appends, before it
// becomes part of a group: then only its own caller hears of a full disk. What
// brings no message may use the last of the room set aside, so that copies are
// sent, and consents withdrawn, while messages find no room.
func (s *Store) roomFor(g *group, t *tx) error {
	seg := g.seg
	need := g.start + g.size + t.size + int64(len(g.rows)) + recordSlack
	for i := range t.log {
		need += int64(t.log[i].is.size())
	}
	message := len(t.drafts) > 0
	if message && s.full.Load() {
		if free, err := s.o.files.Free(s.o.Dir); err == nil && free < leastFree {
			return fmt.Errorf("storing a message: %w", store.ErrFull)
		}
	}
	if seg.noAside || need+reserve <= seg.aside {
		return nil
	}
	to := (need + reserve + setAside - 1) / setAside * setAside
	err := s.o.files.Allocate(seg.f, seg.aside, to-seg.aside)
	switch {
	case err == nil:
		seg.aside = to
		return nil
	case !noRoom(err):
		seg.noAside = true
		return nil
	case !message && need <= seg.aside:
		return nil
	case !message:
		to = need + leastFree
		if err = s.o.files.Allocate(seg.f, seg.aside, to-seg.aside); err == nil {
			seg.aside = to
			return nil
		}
	}
	s.noteFull(err)
	return fmt.Errorf("setting room aside in segment %s: %w", seg.name, fault(err))
}

// write puts the parts of a group where it begins. Behind small groups zeros are
// written too, at once for those to come: a sync of bytes that were written
// before is one flush of the disk, where the first of each block costs the file
// system's journal another.
func (g *segment) write(fs files, parts [][]byte, at, aside int64) error {
	g.buf = g.buf[:0]
	flush := func(b []byte) error {
		if len(b) == 0 {
			return nil
		}
		k, err := fs.WriteAt(g.f, b, at)
		at += int64(k)
		return err
	}
	for _, p := range parts {
		if len(g.buf)+len(p) > mostBuffered {
			if err := flush(g.buf); err != nil {
				return err
			}
			g.buf = g.buf[:0]
		}
		if len(p) > mostBuffered {
			if err := flush(p); err != nil {
				return err
			}
			continue
		}
		g.buf = append(g.buf, p...)
	}
	if err := flush(g.buf); err != nil {
		return err
	}
	if at <= g.blank {
		return nil
	}
	g.blank = at
	if n := min(aside-at, int64(len(blanks))); n > 0 && len(g.buf) < mostBuffered/2 {
		_, _ = fs.WriteAt(g.f, blanks[:n], at) // only for speed
		g.blank += n
	}
	return nil
}

var blanks [1 << 20]byte

// segmentFits tells whether the next group can go to the segment that is open.
func (s *Store) segmentFits() bool {
	return s.seg != nil && s.seg.number == s.state.Segment &&
		(s.open != nil || s.seg.crowded || s.state.End < s.seg.leave || s.state.End < s.o.SegmentSize && s.spare.made.Load() == nil)
}

// segmentReady opens or begins the shared segment. Whoever calls has the turn.
func (s *Store) segmentReady() (err error) {
	s.mu.Lock()
	fits := s.segmentFits()
	s.mu.Unlock()
	if fits {
		return nil
	}
	s.quiet(func() {
		if s.seg == nil || s.seg.number != s.state.Segment {
			if err = s.openSegment(); err != nil || s.segmentFits() {
				return
			}
		}
		if err = s.nextSegment(); noRoom(err) && s.seg != nil && s.seg.aside > s.state.End {
			s.noteFull(err)
			s.seg.crowded, err = true, nil // what was set aside is there to be used
		}
	})
	return err
}

// openSegment opens the segment that the log ends in, if it has one yet.
func (s *Store) openSegment() error {
	s.dropSegment()
	if s.state.Segment == 0 {
		return nil
	}
	name := sharedName(s.state.Segment)
	f, err := s.o.files.OpenFile(s.segs.path(name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	s.seg = &segment{f: f, name: name, number: s.state.Segment, aside: s.state.End, blank: s.state.End, begun: s.state.End, leave: s.spare.least / 2}
	return nil
}

// nextSegment begins a segment, with the one prepared if there is one. It is the log's from the next group on; until
// then a start removes it again.
func (s *Store) nextSegment() error {
	number := s.state.Segment + 1
	name := sharedName(number)
	p := s.takeSpare(name)
	if p == nil {
		var err error
		if p, err = s.newSegment(name); err != nil {
			return err
		}
	}
	err := syncDir(s.segs.dir)
	if err == nil && s.seg != nil { // the one before ends where its last group does, and is whole
		if err = s.o.files.Truncate(s.seg.f, s.state.End); err == nil {
			s.seg.aside, s.seg.blank = s.state.End, s.state.End
			err = s.syncLog(s.seg, s.state.Seq)
		}
	}
	if err != nil {
		p.f.Close()
		_ = os.Remove(s.segs.path(name))
		return err
	}
	s.dropSegment()
	if s.state.Segment > 0 {
		s.ended = append(s.ended, segmentEnd{s.state.Segment, s.state.End, s.state.Chain})
	}
	s.seg = &segment{f: p.f, name: name, number: number, aside: p.aside, blank: p.blank, begun: segHead, leave: p.size}
	s.state.Segment = number
	s.state.End, s.state.Chain = segHead, [32]byte{}
	s.state.SegmentBytes += segHead
	return nil
}

// newSegment makes a segment of which nothing is prepared.
func (s *Store) newSegment(name string) (*prepared, error) {
	f, err := s.o.files.OpenFile(s.segs.path(name), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err = s.o.files.WriteAt(f, segmentHead('s'), 0); err == nil {
		err = s.o.files.Sync(f)
	}
	if err != nil {
		f.Close()
		_ = os.Remove(s.segs.path(name))
		return nil, err
	}
	return &prepared{f: f, size: s.spare.least / 2, blank: segHead, aside: segHead}, nil
}

// cutSegment takes back what a failed group appended. Where even that fails, a
// start after a crash may find it there: it was refused, and nobody relies on it
// not being there.
func (s *Store) cutSegment() {
	if s.seg == nil {
		return
	}
	err := s.o.files.Truncate(s.seg.f, s.state.End)
	if err == nil {
		err = s.o.files.Sync(s.seg.f)
	}
	if err != nil {
		s.log.Error("cutting off a failed append", "err", fault(err))
	}
	s.seg.aside, s.seg.blank, s.seg.noAside = s.state.End, s.state.End, false
}

func (s *Store) dropSegment() {
	if s.seg != nil {
		s.seg.f.Close()
		s.seg = nil
	}
}
