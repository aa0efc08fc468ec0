package bolt

import (
	"crypto/rand"
	"io"
	"log/slog"
	"math"
	"time"

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
	// SegmentSize is the size from which on a new segment is begun, at the latest:
	// where one is prepared it comes sooner (spare.go). Default 64 MiB: no more than
	// a start after a crash can look through in a moment.
	SegmentSize int64
	// InitialMmapSize is the address space mapped for the index, so that it
	// seldom has to be mapped anew. Default 16 GiB; costs no memory.
	InitialMmapSize int
	// MaxIndexBytes limits the index file; beyond it commits fail with
	// [store.ErrFull]. Default: no limit.
	MaxIndexBytes int
	// FlushBytes is how much memory rows take that the index does not have yet,
	// before they are brought there; twice as much and commits wait. Default 16 MiB.
	FlushBytes int
	// FlushAge is how often they are brought there while there are more and more;
	// an eighth of it after the last of them, so that a store at rest has nothing
	// to bring back at its next start. Default 15 s.
	FlushAge time.Duration
	// LockTimeout is how long to wait for another process to let go of the
	// directory. Default 1 s.
	LockTimeout time.Duration

	readOnly bool // see OpenReader

	steps  []step            // for tests; default: migrations
	files  files             // for tests; default: the operating system
	flush  func(begins bool) // for tests: called around each write of the index
	failed func()            // for tests: called after a failed write was dealt with
}

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
		o.SegmentSize = 64 << 20
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
	if o.FlushBytes == 0 {
		o.FlushBytes = 16 << 20
	}
	if o.FlushAge == 0 {
		o.FlushAge = 15 * time.Second
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
