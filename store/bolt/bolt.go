// Package bolt is the engine that keeps everything in one directory: records,
// look-ups, queue and traces in one bbolt file, sealed messages in append-only
// segments beside it.
//
//	DIR/index.db          the index (buckets are listed in format.go)
//	DIR/segments/*.seg    sealed messages and commit records (see segment.go)
//	DIR/keystore          belongs to store/seal
//
// Rules that hold here:
//
//   - One goroutine commits. It combines whoever waits into one group: their
//     functions run one after the other in one bbolt transaction, their sealed
//     messages and commit records are appended to the segment, the segment is
//     synced once, and only then the bbolt transaction commits. What a crash
//     leaves in a segment beyond the index was never acknowledged and is cut off
//     at the next start.
//   - A caller's function runs in the caller's goroutine while the committer
//     waits, so that a panic is the caller's own. What a failing function wrote is
//     undone row by row before the next one runs; the others need not run again.
//   - A read transaction lasts as long as the function given to View and no
//     longer. When the file outgrows its mapping, bbolt waits for every reader:
//     a View that waits for a Commit would wait for ever, and a slow one stops
//     all writing. Everything a View returns is a copy.
//   - Every row is a version byte and sealed bytes, or (where it holds only ids,
//     numbers and keyed hashes) a version byte and fixed fields. Keys hold
//     handles (keyed hashes of owners), hub ids and numbers only.
//
// Lock order: Store.db (read side) before any bbolt transaction; a draft's own
// lock last. The committer takes the write side of Store.db only to open the
// index anew after a failed write.
package bolt

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
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

// Options say where the store lies and how it behaves. Dir and Keys are
// required; everything else has a default.
type Options struct {
	Dir  string     // must exist; must also hold the keystore of Keys
	Keys *seal.Keys // open; stays the caller's to close, after the store

	Logger *slog.Logger     // default: none
	Clock  func() time.Time // default: time.Now
	Rand   io.Reader        // default: crypto/rand; must be safe for concurrent use

	// SmallMessage is the size in clear bytes up to which a message waits in
	// memory for its commit; larger ones stream to a file. Default 1 MiB.
	SmallMessage int64
	// SegmentSize is the size from which on a new segment is begun. Default
	// 256 MiB.
	SegmentSize int64
	// InitialMmapSize is the address space mapped for the index, so that it
	// seldom has to be mapped anew. Default 16 GiB; costs no memory.
	InitialMmapSize int
	// MaxIndexBytes limits the index file; beyond it commits fail with
	// [store.ErrFull]. Default: no limit.
	MaxIndexBytes int
	// LockTimeout is how long to wait for another process to let go of the
	// directory. Default 1 s.
	LockTimeout time.Duration

	readOnly bool // see OpenReader

	steps  []step // for tests; default: migrations
	files  files  // for tests; default: the operating system
	failed func() // for tests: called after a failed write was dealt with
}

// Store implements [store.Store].
type Store struct {
	o    Options
	keys *seal.Keys
	log  *slog.Logger

	chain *seal.Chain // keyed hash of the traces

	dbMu sync.RWMutex // held for reading by views; see the package comment
	db   *bolt.DB     // nil after an index could not be opened anew

	queue   chan *request
	closing chan struct{}
	closed  sync.Once
	done    chan struct{} // the committer has ended

	// Owned by the committer.
	state  state
	seg    *segment    // segment being appended to; nil: open or begin one
	fault  error       // sticky: nothing can be written any more until a restart
	torn   atomic.Bool // a page of the index is not what bbolt wrote: see fence.go
	full   atomic.Bool // the last write failed for want of room
	broken atomic.Bool // fault holds an error of a device
	locked atomic.Bool // the last write found the file system read-only

	stuck     bool         // a write transaction of bbolt could not be ended
	indexFile *opened      // under db
	unlogged  []loggedRow  // rows of the index that wait for the segment
	ended     []segmentEnd // segments left behind, which the index does not know yet
	rejoined  []uint64     // see headRow

	published atomic.Pointer[state]
	segs      segments
	pathways  pathwayCache
	wakes     wakes
	watches   watches
	finders   finders
	rekeying  sync.Mutex // held while a generation of look-ups is made
}

var _ store.Store = (*Store)(nil)

func (o *Options) fill() error {
	if o.Dir == "" || o.Keys == nil {
		return journal.Fault("directory and keys are required")
	}
	if o.Logger == nil {
		o.Logger = journal.Discard()
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.SmallMessage == 0 {
		o.SmallMessage = 1 << 20
	}
	if o.SegmentSize == 0 {
		o.SegmentSize = 256 << 20
	}
	if o.InitialMmapSize == 0 {
		o.InitialMmapSize = 1 << 30
		if math.MaxInt > math.MaxInt32 {
			o.InitialMmapSize <<= 4
		}
	}
	if o.MaxIndexBytes > 0 {
		o.InitialMmapSize = min(o.InitialMmapSize, o.MaxIndexBytes)
	}
	if o.LockTimeout == 0 {
		o.LockTimeout = time.Second
	}
	if o.steps == nil {
		o.steps = migrations
	}
	if o.files == nil {
		o.files = osFiles{}
	}
	return nil
}

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
		queue: make(chan *request), closing: make(chan struct{}), done: make(chan struct{}),
	}
	s.segs.init(filepath.Join(o.Dir, "segments"), o.files)
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
	needed, err := s.resumeLookups()
	go s.commitLoop()
	if err == nil && needed {
		_, err = s.rekey(context.Background())
	}
	if err != nil {
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
	if err := s.prepare(); err != nil {
		return err
	}
	if err := s.load(); err != nil {
		return err
	}
	if err := s.tidy(); err != nil {
		return err
	}
	if s.unlogged, err = s.unloggedTraces(); err != nil {
		return err
	}
	return s.noteOpen()
}

// startReading is start without a change.
func (s *Store) startReading() error {
	s.fault = store.ErrUnavailable
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
	return s.load()
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
	s.dbMu.RLock()
	defer s.dbMu.RUnlock()
	if s.db == nil {
		return store.ErrUnavailable
	}
	btx, err := s.db.Begin(false)
	if err != nil {
		if errors.Is(err, berrors.ErrDatabaseNotOpen) {
			return store.ErrClosed
		}
		return fmt.Errorf("reading the index: %w", fault(err))
	}
	defer btx.Rollback()
	return s.fenced(func() error { return fn(&view{s: s, tx: btx}) })
}

// Close implements [store.Store].
func (s *Store) Close() error {
	s.closed.Do(func() { close(s.closing) })
	<-s.done
	s.dbMu.Lock()
	defer s.dbMu.Unlock()
	var err error
	if s.db != nil && s.fault == nil && !s.torn.Load() {
		err = s.fenced(s.logRest)
	}
	if s.seg != nil {
		// What was set aside beyond the last record is given back.
		terr := s.seg.f.Truncate(s.state.End)
		if terr == nil {
			terr = s.seg.f.Sync()
		}
		err = errors.Join(err, terr, s.seg.f.Close())
		s.seg = nil
	}
	s.segs.close()
	if s.db != nil {
		inOrder := err == nil
		_ = s.fenced(func() error { s.noteClosed(inOrder); return nil })
		if s.stuck {
			s.indexFile.letGo() // all that can be given back
		} else {
			err = errors.Join(err, s.db.Close())
		}
	}
	if err != nil {
		return fmt.Errorf("closing store: %w", fault(err))
	}
	return nil
}
