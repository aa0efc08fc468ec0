package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/seal"
)

// Snapshot is the store as it was between two groups of commits. While it is
// open every byte it names stays: segments only grow, and files that nothing
// names any more wait to be removed. Intake goes on meanwhile; only a commit that
// outgrew the index's mapping would wait, for as long as the index is copied.
type Snapshot struct {
	Sequence uint64   // of the last group in it
	Line     [16]byte // history: segments of another are not the same though named so
	Segments []SegmentSize
	Keys     *seal.Snapshot

	s     *Store
	dir   string
	state state
	tail  tail
}

// SegmentSize is a segment and how much of it counts.
type SegmentSize struct {
	Name string
	Size int64
}

// tail is what lay behind the last group in the shared segment, where the room
// set aside is.
type tail struct {
	size  int64 // of the file
	aside int64
	dirty bool // something else than zeros
}

const snapshotDir = "snapshot"

// Snapshot copies the index to a file in the store's directory, in one pass, and
// gives what belongs to it. It must be closed.
func (s *Store) Snapshot(ctx context.Context) (*Snapshot, error) {
	n := &Snapshot{s: s}
	s.segs.pin()
	if err := s.snapshot(ctx, n); err != nil {
		n.Close()
		return nil, fmt.Errorf("taking a snapshot: %w", err)
	}
	return n, nil
}

func (s *Store) snapshot(ctx context.Context, n *Snapshot) error {
	parent := filepath.Join(s.o.Dir, snapshotDir)
	if err := os.Mkdir(parent, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fault(err)
	}
	var err error
	if n.dir, err = os.MkdirTemp(parent, ""); err != nil {
		return fault(err)
	}
	btx, err := s.snapshotIndex(ctx, n)
	if err != nil {
		return err
	}
	defer s.dbMu.RUnlock()
	defer func() { _ = btx.Rollback() }()
	return s.fenced(func() error {
		if err := n.list(btx); err != nil {
			return err
		}
		return n.copyIndex(ctx, btx)
	})
}

// snapshotIndex brings the index up to date and gives it as it is then, with
// s.dbMu held for reading. Between two groups: what is committed is there, its
// keys are, and no key was dropped yet for a commit that is not.
func (s *Store) snapshotIndex(ctx context.Context, n *Snapshot) (*bolt.Tx, error) {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	// Most of it first, so that little is left for the moment that counts.
	err := s.flushLocked(ctx, nil)
	if err == nil {
		err = s.flushLocked(ctx, func() {
			n.state = *s.levels.Load().state
			n.Keys, n.tail = s.keys.Snapshot(), s.lookBehind(&n.state)
		})
	}
	if err != nil {
		return nil, err
	}
	s.dbMu.RLock()
	if s.db == nil {
		s.dbMu.RUnlock()
		return nil, store.ErrUnavailable
	}
	btx, err := s.db.Begin(false)
	if err != nil {
		s.dbMu.RUnlock()
		return nil, fault(err)
	}
	return btx, nil
}

// lookBehind looks at what follows the last group. Nothing is written meanwhile.
func (s *Store) lookBehind(st *state) tail {
	if s.seg == nil || s.seg.name != sharedName(st.Segment) {
		t := tail{aside: st.End}
		if fi, err := os.Stat(s.segs.path(sharedName(st.Segment))); err == nil {
			t.size = fi.Size()
		}
		return t
	}
	t := tail{aside: max(s.seg.aside, st.End)}
	if fi, err := s.seg.f.Stat(); err == nil {
		t.size = fi.Size()
	}
	if t.size > st.End {
		b := make([]byte, min(t.size-st.End, setAside))
		k, _ := s.seg.f.ReadAt(b, st.End)
		t.dirty = !zeros(b[:k])
	}
	return t
}

func zeros(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// list reads which segments the index names.
func (n *Snapshot) list(btx *bolt.Tx) error {
	n.Sequence, n.Line = n.state.Seq, n.state.Line
	var err error
	n.Segments, err = segmentSizes(&view{s: n.s, tx: btx}, &n.state)
	return err
}

// segmentSizes lists the segments that an index names.
func segmentSizes(v *view, st *state) ([]SegmentSize, error) {
	var out []SegmentSize
	for number := uint32(1); number <= st.Segment; number++ {
		size := st.End
		if number < st.Segment {
			var e segmentEnd
			if err := v.get(bucketSegments, u32(number), hubOwner, &e); err != nil {
				return nil, fmt.Errorf("reading the end of segment %s: %w", sharedName(number), err)
			}
			size = e.End
		}
		out = append(out, SegmentSize{sharedName(number), size})
	}
	c := v.bucket(bucketLarge).Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		fi, err := os.Stat(v.s.segs.path(string(k)))
		if err != nil {
			return nil, fmt.Errorf("looking at segment %s: %w", k, lost(err))
		}
		out = append(out, SegmentSize{string(k), fi.Size()})
	}
	return out, nil
}

// copyIndex writes the index as it is in btx.
func (n *Snapshot) copyIndex(ctx context.Context, btx *bolt.Tx) error {
	f, err := os.OpenFile(n.IndexPath(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fault(err)
	}
	_, err = btx.WriteTo(&untilDone{ctx, f})
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("copying the index: %w", fault(err))
	}
	return nil
}

// untilDone stops a copy when its context ends.
type untilDone struct {
	ctx context.Context
	w   io.Writer
}

func (u *untilDone) Write(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.w.Write(p)
}

// IndexPath is where the copy of the index lies until Close.
func (n *Snapshot) IndexPath() string { return filepath.Join(n.dir, indexName) }

// OpenSegment opens a segment of the snapshot.
func (n *Snapshot) OpenSegment(name string) (*os.File, error) {
	if filepath.Base(name) != name || !strings.HasSuffix(name, segSuffix) {
		return nil, fmt.Errorf("opening a segment: %w", store.ErrNotFound)
	}
	f, err := os.Open(n.s.segs.path(name))
	if err != nil {
		return nil, fmt.Errorf("opening segment %s: %w", name, err)
	}
	return f, nil
}

// Close gives up the snapshot and removes its copy of the index.
func (n *Snapshot) Close() error {
	for _, name := range n.s.segs.unpin() {
		if err := os.Remove(n.s.segs.path(name)); err != nil {
			n.s.log.Warn("removing a segment nothing names any more", "err", err)
		}
	}
	if n.dir == "" {
		return nil
	}
	return os.RemoveAll(n.dir)
}
