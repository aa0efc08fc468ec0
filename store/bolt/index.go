package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/seal"
)

const indexName = "index.db"

func (s *Store) openIndex() (*bolt.DB, error) {
	path := filepath.Join(s.o.Dir, indexName)
	if err := s.soundPages(path); err != nil {
		return nil, fmt.Errorf("opening index: %w", err)
	}
	file := &opened{files: s.o.files}
	var db *bolt.DB
	err := s.fenced(func() (err error) {
		db, err = bolt.Open(path, 0o600, &bolt.Options{
			Timeout:         s.o.LockTimeout,
			NoFreelistSync:  true,
			FreelistType:    bolt.FreelistMapType,
			InitialMmapSize: s.o.InitialMmapSize,
			MaxSize:         s.o.MaxIndexBytes,
			NoStatistics:    true,
			OpenFile:        file.OpenFile,
			ReadOnly:        s.o.readOnly,
		})
		return err
	})
	s.indexFile = file
	if s.torn.Load() {
		file.letGo()
	}
	switch {
	case errors.Is(err, store.ErrCorrupt):
		return nil, fmt.Errorf("opening index: %w", err)
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("locking index: another process has it open: %w", store.ErrUnavailable)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrVersionMismatch), errors.Is(err, berrors.ErrChecksum):
		return nil, fmt.Errorf("opening index: %w", store.ErrCorrupt)
	case err != nil:
		return nil, fmt.Errorf("opening index: %w", fault(err))
	}
	return db, nil
}

// soundPages checks the pages of an index that was not closed in order, before
// bbolt looks for its free pages: it reads them all in a goroutine of its own,
// where a torn one would end the program.
func (s *Store) soundPages(path string) error {
	f, err := s.o.files.OpenFile(path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return fault(err)
	}
	torn := error(nil)
	p, err := openPages(f, info.Size(), func(f pageFault) {
		if f.page > 1 && torn == nil { // of the two meta pages one does
			torn = f
		}
	})
	if err != nil || p.free != noFreeList {
		return err
	}
	if err := p.walk(); err != nil {
		return err
	}
	if torn != nil {
		return fmt.Errorf("salvage it: %w", torn)
	}
	return nil
}

// noteClosed, with all that was committed in the index, writes down that the store was closed in order, so that whatever
// lies behind the end of a segment later is not the rest of a crash; and which
// pages of the index are free. While the store runs that would be written anew
// with each commit, so it is left out; but then a start has to read the whole
// index (2 s for 3 GiB in the cache). Only after a crash it does.
func (s *Store) noteClosed(inOrder bool) {
	if s.db.IsReadOnly() || s.ready() != nil || !inOrder {
		return
	}
	s.db.NoFreelistSync = false
	st := *s.levels.Load().state
	st.Closed, st.Keys = true, s.keys.Number()
	err := s.db.Update(func(btx *bolt.Tx) error {
		t := tx{view: view{s: s, tx: btx}}
		return t.put(bucketMeta, keyState, hubOwner, &st)
	})
	if err != nil && !errors.Is(err, berrors.ErrDatabaseNotOpen) {
		s.log.Warn("noting the end in the index", "err", fault(err))
	}
}

// lacksKeys tells a keystore that is older than the rows that were sealed with its
// keys: a copy that was behind, or one that lost its end. The rows of the keys it
// lacks would pass for erased.
func (st *state) lacksKeys(k *seal.Keys) bool { return k.Number() < st.Keys }

// noteOpen takes back what noteClosed said. It refuses a keystore that lacks keys:
// once it went on, nothing would tell that any more.
func (s *Store) noteOpen() error {
	if s.state.lacksKeys(s.keys) {
		return fmt.Errorf("the keystore lacks keys that were made: put its newest copy in place, or salvage: %w", store.ErrCorrupt)
	}
	if !s.state.Closed {
		return nil
	}
	s.state.Closed = false
	st := s.state
	err := s.db.Update(func(btx *bolt.Tx) error {
		t := tx{view: view{s: s, tx: btx}}
		return t.put(bucketMeta, keyState, hubOwner, &st)
	})
	if err != nil {
		return fmt.Errorf("noting the start in the index: %w", fault(err))
	}
	s.levels.Store(&levels{active: newLevel(), state: &st})
	return nil
}

// reopen opens the index anew, after a failed write.
func (s *Store) reopen() error {
	s.dbMu.Lock()
	defer s.dbMu.Unlock()
	if s.db != nil {
		if err := s.db.Close(); err != nil {
			s.log.Error("closing a failed index", "err", fault(err))
		}
		s.db = nil
	}
	db, err := s.openIndex()
	if err != nil {
		return fmt.Errorf("opening the index again: %w", err)
	}
	s.db = db
	return nil
}
