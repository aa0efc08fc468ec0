package backup

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/bolt"
	"github.com/relais-sante/relais/store/seal"
)

// Keeper gives snapshots of a store in this process. What nobody asks for any
// more is given up after a while: a backup that was cut off must not keep files
// for ever.
type Keeper struct {
	store *bolt.Store
	keys  *seal.Keys
	now   func() time.Time
	idle  time.Duration

	mu   sync.Mutex
	open map[string]*kept
}

type kept struct {
	snap  *bolt.Snapshot
	keys  []byte
	files map[string]int64
	used  time.Time
	busy  int
}

// giveUp is after how long without a question a snapshot is given up.
const giveUp = 10 * time.Minute

// maxOpen bounds the snapshots at a time: each is a copy of the index.
const maxOpen = 2

var _ Source = (*Keeper)(nil)

// NewKeeper returns a keeper of a store's snapshots.
func NewKeeper(s *bolt.Store, k *seal.Keys) *Keeper {
	return &Keeper{store: s, keys: k, now: time.Now, idle: giveUp, open: map[string]*kept{}}
}

// Begin implements [Source].
func (k *Keeper) Begin(ctx context.Context) (*Snapshot, error) {
	if k.sweep(); k.count() >= maxOpen {
		return nil, ErrBusy
	}
	snap, err := k.store.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	s, err := k.take(snap)
	if err != nil {
		return nil, errors.Join(err, snap.Close())
	}
	return s, nil
}

func (k *Keeper) take(snap *bolt.Snapshot) (*Snapshot, error) {
	var id [8]byte
	_, _ = rand.Read(id[:])
	hub := k.keys.ID()
	s := &Snapshot{
		ID: hex.EncodeToString(id[:]), Taken: k.now().UTC().Truncate(time.Second), Hub: hex.EncodeToString(hub[:]),
		Line: hex.EncodeToString(snap.Line[:]), Sequence: snap.Sequence, Epoch: snap.Keys.Epoch(),
	}
	e := &kept{snap: snap, files: map[string]int64{}, used: k.now()}
	var err error
	if e.keys, err = snap.Keys.Encode(); err != nil {
		return nil, err
	}
	info, err := os.Stat(snap.IndexPath())
	if err != nil {
		return nil, fmt.Errorf("looking at the copy of the index: %w", err)
	}
	for _, g := range snap.Segments {
		s.Files = append(s.Files, File{path.Join(segmentsDir, g.Name), g.Size})
	}
	s.Files = append(s.Files, File{keystoreName, int64(len(e.keys))}, File{indexName, info.Size()})
	for _, f := range s.Files {
		e.files[f.Name] = f.Size
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.open[s.ID] = e
	return s, nil
}

// sweep gives up what is not used.
func (k *Keeper) sweep() {
	k.mu.Lock()
	var gone []*kept
	for id, e := range k.open {
		if e.busy == 0 && k.now().Sub(e.used) > k.idle {
			gone = append(gone, e)
			delete(k.open, id)
		}
	}
	k.mu.Unlock()
	for _, e := range gone {
		_ = e.snap.Close()
	}
}

func (k *Keeper) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.open)
}

// Run gives up snapshots that nobody asks for, until ctx ends; then all.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(k.idle / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			k.sweep()
		}
	}
}

// Close gives up everything.
func (k *Keeper) Close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, e := range k.open {
		_ = e.snap.Close()
		delete(k.open, id)
	}
}

// use finds a file of a snapshot; release must follow.
func (k *Keeper) use(id, name string, end int64) (*kept, func(), error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.open[id]
	if e == nil {
		return nil, nil, fmt.Errorf("snapshot: %w", store.ErrNotFound)
	}
	size, ok := e.files[name]
	if name != "" && (!ok || end < 0 || end > size) {
		return nil, nil, fmt.Errorf("file of a snapshot: %w", store.ErrNotFound)
	}
	e.busy++
	return e, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		e.busy--
		e.used = k.now()
	}, nil
}

// Read implements [Source].
func (k *Keeper) Read(_ context.Context, id, name string, offset, length int64) (io.ReadCloser, error) {
	if offset < 0 || length < 0 {
		return nil, fmt.Errorf("file of a snapshot: %w", store.ErrNotFound)
	}
	e, release, err := k.use(id, name, offset+length)
	if err != nil {
		return nil, err
	}
	if name == keystoreName {
		return &part{Reader: strings.NewReader(string(e.keys[offset : offset+length])), end: release}, nil
	}
	f, err := e.file(name)
	if err != nil {
		release()
		return nil, err
	}
	return &part{Reader: io.NewSectionReader(f, offset, length), end: func() { f.Close(); release() }}, nil
}

func (e *kept) file(name string) (*os.File, error) {
	if name == indexName {
		return os.Open(e.snap.IndexPath())
	}
	return e.snap.OpenSegment(filepath.Base(name))
}

type part struct {
	io.Reader
	end func()
}

func (p *part) Close() error {
	if p.end != nil {
		p.end()
		p.end = nil
	}
	return nil
}

// Digest implements [Source].
func (k *Keeper) Digest(ctx context.Context, id, name string, length int64) ([]byte, error) {
	r, err := k.Read(ctx, id, name, 0, length)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, &whileAlive{ctx, r}); err != nil {
		return nil, err
	}
	return sum.Sum(nil), nil
}

// Sign implements [Source].
func (k *Keeper) Sign(_ context.Context, id string, digest []byte) ([]byte, error) {
	_, release, err := k.use(id, "", 0)
	if err != nil {
		return nil, err
	}
	defer release()
	sum := k.keys.Mac(macUse, string(digest))
	return sum[:], nil
}

// End implements [Source].
func (k *Keeper) End(_ context.Context, id string, _ Outcome) error {
	k.mu.Lock()
	e := k.open[id]
	delete(k.open, id)
	k.mu.Unlock()
	if e == nil {
		return nil
	}
	return e.snap.Close()
}
