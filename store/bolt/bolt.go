// Package bolt is the engine that keeps everything in one directory: sealed
// messages and a log of all changes in append-only segments, and beside them
// records, look-ups, queue and traces in one bbolt file, which follows the log.
//
//	DIR/segments/*.seg      sealed messages and commit records (see segment.go)
//	DIR/segments/spare.new  zeros: the segment that comes next (see spare.go)
//	DIR/index.db            the index (buckets are listed in format.go)
//	DIR/keystore            belongs to store/seal
//
// Rules that hold here:
//
//   - A commit is durable when it is in the log: the messages of a group and one
//     commit record with every row it changed are appended to a segment and synced
//     once (commit.go, group.go). Then it is published. Nothing is written that
//     builds on a group whose write failed.
//   - The index is behind the log, by what is kept in memory: rows of one level
//     that grows and of one that is being written to the index (level.go,
//     flush.go). A reader sees both over the index (bucket.go, cursor.go). The
//     index never knows what the log could lose.
//   - A start brings back from the log what the index lacks (replay.go). The first
//     group that is not whole ends the log: it was never acknowledged, and is cut
//     off. If one behind it proves that it was, the start is refused.
//   - Rows that can be made again may be left out of the log only if the index has
//     them durably before anything that is logged relies on them (lookups.go).
//   - A caller's function runs in the caller's goroutine, one at a time, so that a
//     panic is the caller's own. What a failing function wrote is undone row by row
//     before the next one runs; the others need not run again.
//   - A read transaction lasts as long as the function given to View and no
//     longer. When the file outgrows its mapping, bbolt waits for every reader: a
//     slow one then stops the writing of the index, and in the end all commits.
//     Everything a View returns is a copy.
//   - Every row is a version byte and sealed bytes, or (where it holds only ids,
//     numbers and keyed hashes) a version byte and fixed fields; in the log and in
//     memory as in the index. Keys hold handles (keyed hashes of owners), hub ids
//     and numbers only.
//
// Lock order: Store.flushing, the turn, Store.dbMu (read side), Store.mu,
// Store.levelsMu; transactions of bbolt after Store.dbMu; a draft's own lock last.
// The write side of Store.dbMu is taken only to open the index anew after a failed
// write, and to close it.
package bolt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
	"github.com/relais-sante/relais/store/seal"
)

// Store implements [store.Store].
type Store struct {
	o    Options
	keys *seal.Keys
	log  *slog.Logger

	chain *seal.Chain // keyed hash of the traces

	dbMu sync.RWMutex // held for reading by views; see the package comment
	db   *bolt.DB     // nil after an index could not be opened anew

	closing chan struct{}
	closed  sync.Once
	loops   sync.WaitGroup

	turn   chan struct{} // taken by whoever runs a function
	coming atomic.Int32  // how many wait for it, or have it, to run one and do not yet
	turns  uint64

	// mu guards who does what, see commit.go: state and working belong to who
	// runs, or, while nobody does, to who holds mu.
	mu      sync.Mutex
	cond    sync.Cond
	running bool   // a function runs
	writing bool   // a group is being written
	failing bool   // one could not be
	open    *group // that functions join
	state   state  // after the open group
	working *level // rows of all groups since the last freeze
	seg     *segment
	ended   []segmentEnd  // left behind, told by the next group
	durable uint64        // last group that is
	flushed chan struct{} // closed after each attempt to write the index

	// These belong to who writes.
	soonSince time.Time // since when something published is not durable; zero: all is
	doomed    []string  // segments to remove when it is

	levelsMu sync.Mutex // held while levels change
	levels   atomic.Pointer[levels]

	flushing  sync.Mutex            // held while the index is written
	soon      chan struct{}         // something is published that is not durable
	brimming  chan struct{}         // a level was frozen since it was full
	stalled   atomic.Pointer[error] // why the index could not be written, the last time
	stuck     bool                  // a write transaction of bbolt could not be ended
	indexFile *opened               // under db

	fault   atomic.Pointer[error] // sticky: nothing can be written any more until a restart
	torn    atomic.Bool           // a page of the index is not what bbolt wrote: see fence.go
	full    atomic.Bool           // a message found no room
	crammed atomic.Bool           // the index found no room
	broken  atomic.Bool           // fault holds an error of a device
	locked  atomic.Bool           // the last write found the file system read-only

	rejoined []uint64 // see headRow
	anew     bool     // see replay

	segs      segments
	spare     spare
	pathways  pathwayCache
	wakes     wakes
	watches   watches
	finders   finders
	laneNames laneNames
	rekeying  sync.Mutex // held while a generation of look-ups is made
}

var _ store.Store = (*Store)(nil)

// OpenReader opens a store that is there to read and verify it, and changes no
// byte of it: nothing is migrated, made or cut off, and commits are refused. It
// needs the directory for itself ([store.ErrUnavailable] while a hub runs).
func OpenReader(o Options) (*Store, error) {
	o.readOnly = true
	return Open(o)
}

// Open opens the store, making it if the directory holds none. Only one process
// may have it open ([store.ErrUnavailable] otherwise). It migrates an older
// format, refuses a newer one with [store.ErrNewer], and refuses with
// [store.ErrCorrupt] an index that is missing or older than its segments: that
// needs a salvage, not a start that would cut off acknowledged messages.
func Open(o Options) (*Store, error) {
	if err := o.fill(); err != nil {
		return nil, fmt.Errorf("opening store: %w", err)
	}
	s := &Store{
		o: o, keys: o.Keys, log: o.Logger,
		closing: make(chan struct{}), turn: make(chan struct{}, 1), soon: make(chan struct{}, 1), brimming: make(chan struct{}, 1),
		flushed: make(chan struct{}),
	}
	s.cond.L = &s.mu
	s.segs.init(filepath.Join(o.Dir, "segments"), o.files)
	s.spare.init(o.SegmentSize)
	start := s.start
	if o.readOnly {
		start = s.startReading
	}
	if err := s.fenced(start); err != nil {
		s.segs.close()
		if s.db != nil {
			_ = s.fenced(s.db.Close)
		}
		return nil, fmt.Errorf("opening store: %w", err)
	}
	if o.readOnly {
		return s, nil
	}
	s.loops.Add(3)
	go s.flushLoop()
	go s.soonLoop()
	go s.spareLoop()
	if err := s.resumeLookups(context.Background()); err != nil {
		return nil, errors.Join(fmt.Errorf("opening store: %w", err), s.Close())
	}
	return s, nil
}

func (s *Store) start() error {
	if err := os.Mkdir(s.segs.dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fault(err)
	}
	for _, owner := range []store.Owner{hubOwner, traceOwner} {
		if err := s.keys.NewKey(context.Background(), owner); err != nil {
			return err
		}
	}
	if err := s.openChain(); err != nil {
		return err
	}
	var err error
	if s.db, err = s.openIndex(); err != nil {
		return err
	}
	have, err := s.prepare()
	if err != nil {
		return err
	}
	if err := s.takeUp(true); err != nil {
		return err
	}
	if err := s.upgrade(have); err != nil {
		return err
	}
	return s.noteOpen()
}

// startReading is start without a change.
func (s *Store) startReading() error {
	s.stop(store.ErrUnavailable)
	err := s.openChain()
	if err != nil {
		return err
	}
	if s.db, err = s.openIndex(); err != nil {
		return err
	}
	have, err := s.format()
	switch last := s.o.steps[len(s.o.steps)-1].to; {
	case err != nil:
		return err
	case have > last:
		return fmt.Errorf("index of format %d, this program knows %d: %w", have, last, store.ErrNewer)
	case have < last:
		return fmt.Errorf("index of format %d is brought to %d by a start: %w", have, last, store.ErrUnavailable)
	}
	return s.takeUp(false)
}

const errOwnKeys = journal.Fault("the hub's own keys cannot be dropped")

// NewKey implements [store.Store].
func (s *Store) NewKey(ctx context.Context, o store.Owner) error { return s.keys.NewKey(ctx, o) }

// DropKey implements [store.Store].
func (s *Store) DropKey(ctx context.Context, o store.Owner) error {
	if o == hubOwner || o == traceOwner {
		return errOwnKeys
	}
	if err := s.keys.DropKey(ctx, o); err != nil {
		return err
	}
	s.pathways.forget(store.PathwayCode(o.ID))
	return nil
}

// Mac implements [store.Store].
func (s *Store) Mac(use string, parts ...string) [32]byte { return s.keys.Mac(use, parts...) }

// View implements [store.Store].
func (s *Store) View(ctx context.Context, fn func(store.View) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.see(func(v *view) error { return fn(v) })
}

// see runs fn on what is published now.
func (s *Store) see(fn func(*view) error) error {
	s.dbMu.RLock()
	defer s.dbMu.RUnlock()
	lv, btx, err := s.look()
	if err != nil {
		return err
	}
	defer func() { _ = btx.Rollback() }()
	return s.fenced(func() error { return fn(&view{s: s, tx: btx, over: lv}) })
}

// look gives the levels and a transaction of the index that fit each other: the
// index may have the frozen level, but nothing that came after it.
func (s *Store) look() (*levels, *bolt.Tx, error) {
	if s.db == nil {
		return nil, nil, store.ErrUnavailable
	}
	for {
		lv := s.levels.Load()
		btx, err := s.db.Begin(false)
		if errors.Is(err, berrors.ErrDatabaseNotOpen) {
			return nil, nil, store.ErrClosed
		}
		if err != nil {
			return nil, nil, fmt.Errorf("reading the index: %w", fault(err))
		}
		if s.levels.Load().flushed == lv.flushed {
			return lv, btx, nil
		}
		_ = btx.Rollback()
	}
}

// Close implements [store.Store].
func (s *Store) Close() (err error) {
	s.closed.Do(func() {
		close(s.closing)
		s.loops.Wait()
		s.turn <- struct{}{} // and nobody gets it any more
		if err = s.close(); err != nil {
			err = fmt.Errorf("closing store: %w", fault(err))
		}
	})
	return err
}

func (s *Store) close() error {
	var err error
	s.quiet(func() { err = s.syncRest() })
	if s.ready() == nil {
		s.flushing.Lock()
		for range 2 { // what is frozen, and what came after it
			if err == nil {
				err = s.writeFrozen()
			}
			if err == nil {
				s.quiet(s.freeze)
			}
		}
		s.flushing.Unlock()
	}
	s.dbMu.Lock()
	defer s.dbMu.Unlock()
	if s.seg != nil && s.seg.number == s.state.Segment {
		// What was set aside beyond the last record is given back.
		terr := s.o.files.Truncate(s.seg.f, s.state.End)
		if terr == nil {
			terr = s.o.files.Sync(s.seg.f)
		}
		err = errors.Join(err, terr)
	}
	s.dropSegment()
	s.segs.close()
	if s.db != nil {
		_ = s.fenced(func() error { s.noteClosed(err == nil); return nil })
		if s.stuck {
			s.indexFile.letGo() // all that can be given back
		} else {
			err = errors.Join(err, s.db.Close())
		}
	}
	return err
}
