package bolt

import (
	"fmt"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"

	"github.com/relais-sante/relais/store"
)

// takeUp goes on from where the store was left: with what the index holds and, if
// it was not closed in order, what the log holds beyond.
func (s *Store) takeUp(change bool) error {
	st, err := s.readState()
	if err != nil {
		return err
	}
	r := &replay{s: s, state: *st, rows: newLevel()}
	if change || !st.Closed {
		if err := r.run(); err != nil {
			return err
		}
	}
	s.state, s.working, s.durable, s.anew = r.state, r.rows, r.state.Seq, r.anew
	s.levels.Store(&levels{active: r.rows.copied(), state: &r.state})
	if change {
		if err := s.tidy(); err != nil {
			return err
		}
	}
	return s.loadHeads()
}

// readState reads what the index says.
func (s *Store) readState() (*state, error) {
	var st *state
	err := s.db.View(func(btx *bolt.Tx) (err error) {
		for _, name := range buckets {
			if btx.Bucket(name) == nil {
				return fmt.Errorf("index without its %s: %w", name, store.ErrCorrupt)
			}
		}
		st, err = (&view{s: s, tx: btx}).now()
		return err
	})
	return st, err
}

// tidy makes the segments fit the log: what lies behind its end was never
// acknowledged and goes, and so do files that nothing names. What was taken from
// the log is durable from here on, whatever the crash left in the kernel's hands.
func (s *Store) tidy() error {
	if err := os.RemoveAll(filepath.Join(s.o.Dir, snapshotDir)); err != nil {
		return fmt.Errorf("removing an old snapshot: %w", fault(err))
	}
	if err := s.cutTail(); err != nil {
		return err
	}
	var orphans []string
	err := s.see(func(v *view) (err error) {
		orphans, err = s.orphans(v)
		return err
	})
	if err != nil {
		return err
	}
	for _, name := range orphans {
		if err := os.Remove(s.segs.path(name)); err != nil {
			return fmt.Errorf("removing orphan segment %s: %w", name, fault(err))
		}
	}
	return nil
}

// cutTail cuts off what lies behind the last group.
func (s *Store) cutTail() error {
	if s.state.Segment == 0 {
		return nil
	}
	name := sharedName(s.state.Segment)
	f, err := s.o.files.OpenFile(s.segs.path(name), os.O_RDWR, 0)
	if err == nil {
		defer f.Close()
		var fi os.FileInfo
		if fi, err = f.Stat(); err == nil && (fi.Size() > s.state.End || s.levels.Load().active.used) {
			if err = s.o.files.Truncate(f, s.state.End); err == nil {
				err = s.o.files.Sync(f)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("cutting segment %s: %w", name, fault(err))
	}
	return nil
}
