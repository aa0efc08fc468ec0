package bolt

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/relais-sante/relais/store"
)

// tidy makes the segments fit the index at a start: what lies beyond it was
// never acknowledged and goes. Large segments that nothing names are drafts that
// a crash left.
//
// The crash of this program can only leave the one group that was being
// committed. Anything later means that the index is older than the segments (a
// wrong backup, a lost disk): then nothing is cut off and the store refuses to
// open.
func (s *Store) tidy() error {
	if err := os.RemoveAll(filepath.Join(s.o.Dir, snapshotDir)); err != nil {
		return fmt.Errorf("removing an old snapshot: %w", fault(err))
	}
	entries, err := os.ReadDir(s.segs.dir)
	if err != nil {
		return fmt.Errorf("listing segments: %w", fault(err))
	}
	var beyond, large []string
	for _, e := range entries {
		name := e.Name()
		number, shared := sharedNumber(name)
		switch {
		case shared && number > s.state.Segment:
			beyond = append(beyond, name)
		case strings.HasPrefix(name, largePrefix):
			large = append(large, name)
		}
	}
	if s.state.Segment > 0 {
		if err := s.fits(sharedName(s.state.Segment), s.state.End); err != nil {
			return err
		}
	}
	for _, name := range beyond {
		if err := s.fits(name, segHead); err != nil {
			return err
		}
	}
	if err := s.cutTail(); err != nil {
		return err
	}
	orphans := beyond
	err = s.db.View(func(btx *bolt.Tx) error {
		named := btx.Bucket(bucketLarge)
		for _, name := range large {
			if named.Get([]byte(name)) == nil {
				orphans = append(orphans, name)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading names of large segments: %w", fault(err))
	}
	for _, name := range orphans {
		if err := os.Remove(s.segs.path(name)); err != nil {
			return fmt.Errorf("removing orphan segment %s: %w", name, fault(err))
		}
	}
	return nil
}

// fits checks that a segment reaches as far as the index says, and that what
// lies behind is at most the one group a crash can leave.
func (s *Store) fits(name string, from int64) error {
	f, err := s.o.files.OpenFile(s.segs.path(name), os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("segment %s is missing: %w", name, store.ErrCorrupt)
	}
	if err != nil {
		return fmt.Errorf("opening segment %s: %w", name, fault(err))
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return fmt.Errorf("opening segment %s: %w", name, fault(err))
	}
	if fi.Size() < from && sharedName(s.state.Segment) == name {
		return fmt.Errorf("segment %s is shorter than the index says: %w", name, store.ErrCorrupt)
	}
	head := make([]byte, recHead)
	for at := from; ; {
		_, err := f.ReadAt(head, at)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading segment %s: %w", name, fault(err))
		}
		h, ok := decodeRecordHead(head)
		if !ok || h.length > fi.Size() {
			return nil
		}
		if h.seq > s.state.Seq+1 {
			return fmt.Errorf("segment %s goes on after the index ends, salvage it: %w", name, store.ErrCorrupt)
		}
		at += int64(recHead) + h.length
	}
}

// cutTail cuts off what lies behind the last group.
func (s *Store) cutTail() error {
	if s.state.Segment == 0 {
		return nil
	}
	name := sharedName(s.state.Segment)
	fi, err := os.Stat(s.segs.path(name))
	if err == nil && fi.Size() > s.state.End {
		err = os.Truncate(s.segs.path(name), s.state.End)
	}
	if err != nil {
		return fmt.Errorf("cutting segment %s: %w", name, fault(err))
	}
	return nil
}
