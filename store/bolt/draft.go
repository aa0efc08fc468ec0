package bolt

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
	"github.com/relais-sante/relais/store/seal"
)

const (
	errDraftEnded = journal.Fault("draft already ended")
	errDraftOpen  = journal.Fault("draft not finished")
	errDraftUsed  = journal.Fault("draft already used or discarded")
	errDraftAlien = journal.Fault("draft of another store")
)

// draft is a message on its way in. Sealed bytes wait in memory, or, for a
// large message, in a segment file of its own that nothing names yet.
//
// Write, Finish and Discard belong to one goroutine; the lock is there because
// the committer reads, and readers may outlive the draft.
type draft struct {
	s       *Store
	w       *seal.Writer
	session *seal.SessionKey
	id      [16]byte
	wraps   map[store.Owner][]byte // session key as wrapped so far

	blocks [][]byte // sealed bytes in memory, in order
	inMem  int64

	mu       sync.Mutex
	large    *os.File // nil: in memory
	name     string   // of the large segment
	written  int64    // end of large
	finished bool
	over     bool // kept by a commit, or discarded
	lent     bool // a reader may look at blocks
}

// blockPool holds sealed chunks: full chunks are all of one length.
var blockPool = sync.Pool{New: func() any { b := make([]byte, 0, blockSize); return &b }}

const blockSize = 1<<16 + 64

// Create implements [store.Store].
func (s *Store) Create(ctx context.Context, sizeHint int64) (store.Draft, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case <-s.closing:
		return nil, store.ErrClosed
	default:
	}
	d := &draft{s: s}
	if _, err := io.ReadFull(s.o.Rand, d.id[:]); err != nil {
		return nil, fmt.Errorf("creating a draft: %w", err)
	}
	var err error
	if d.session, err = seal.NewSession(s.o.Rand); err != nil {
		return nil, err
	}
	if sizeHint > s.o.SmallMessage {
		if err := d.spill(); err != nil {
			return nil, err
		}
	}
	if d.w, err = seal.NewWriter((*draftSink)(d), d.session, s.o.Rand); err != nil {
		d.Discard()
		return nil, err
	}
	return d, nil
}

// Write implements [io.Writer].
func (d *draft) Write(p []byte) (int, error) {
	if d.finished || d.over {
		return 0, errDraftEnded
	}
	n, err := d.w.Write(p)
	if err != nil {
		return n, fmt.Errorf("sealing a message: %w", err)
	}
	return n, nil
}

// Size implements [store.Draft].
func (d *draft) Size() int64 { return d.w.Size() }

// draftSink takes the sealed bytes.
type draftSink draft

func (k *draftSink) Write(p []byte) (int, error) {
	d := (*draft)(k)
	if d.large == nil && d.inMem+int64(len(p)) > seal.SealedSize(d.s.o.SmallMessage) {
		if err := d.spill(); err != nil {
			return 0, err
		}
	}
	if d.large != nil {
		return len(p), d.append(p)
	}
	var b []byte
	if len(p) > blockSize/2 && len(p) <= blockSize {
		b = (*blockPool.Get().(*[]byte))[:0]
	}
	d.blocks = append(d.blocks, append(b, p...))
	d.inMem += int64(len(p))
	return len(p), nil
}

// spill moves the message to a file of its own.
func (d *draft) spill() error {
	var tag [12]byte
	if _, err := io.ReadFull(d.s.o.Rand, tag[:]); err != nil {
		return fmt.Errorf("beginning a large segment: %w", err)
	}
	name := largePrefix + hex.EncodeToString(tag[:]) + segSuffix
	d.s.segs.drafting(name, true)
	f, err := d.s.o.files.OpenFile(d.s.segs.path(name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		d.s.segs.drafting(name, false)
		return fmt.Errorf("beginning a large segment: %w", d.s.noted(err))
	}
	d.mu.Lock()
	d.large, d.name = f, name
	d.mu.Unlock()
	// The record's header is filled in at the end.
	if err := d.append(append(segmentHead('l'), make([]byte, recHead)...)); err != nil {
		return err
	}
	for _, b := range d.blocks {
		if err := d.append(b); err != nil {
			return err
		}
	}
	d.giveBack()
	return nil
}

func (d *draft) append(p []byte) error {
	if _, err := d.s.o.files.WriteAt(d.large, p, d.written); err != nil {
		return fmt.Errorf("writing a large segment: %w", d.s.noted(err))
	}
	d.written += int64(len(p))
	return nil
}

// giveBack drops the blocks in memory.
func (d *draft) giveBack() {
	for _, b := range d.blocks {
		if cap(b) == blockSize && !d.lent {
			blockPool.Put(&b)
		}
	}
	d.blocks = nil
}

// Finish implements [store.Draft].
func (d *draft) Finish() error {
	if d.finished {
		return nil
	}
	if d.over {
		return errDraftUsed
	}
	if err := d.w.Close(); err != nil {
		return fmt.Errorf("sealing a message: %w", err)
	}
	if d.large != nil {
		if err := d.settle(); err != nil {
			return fmt.Errorf("making a large segment durable: %w", d.s.noted(err))
		}
	}
	d.mu.Lock()
	d.finished = true
	d.mu.Unlock()
	return nil
}

// settle makes a large segment durable, name included.
func (d *draft) settle() error {
	head := recordHead{kind: recMessage, id: d.id, length: d.w.Length(), sum: d.w.Sum()}
	if _, err := d.s.o.files.WriteAt(d.large, head.encode(), segHead); err != nil {
		return err
	}
	if err := d.s.o.files.Sync(d.large); err != nil {
		return err
	}
	return syncDir(d.s.segs.dir)
}

// Expect implements [store.Draft].
func (d *draft) Expect(o store.Owner) error {
	_, err := d.wrap(o)
	return err
}

// wrap wraps the session key to o, once for each owner.
func (d *draft) wrap(o store.Owner) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if w := d.wraps[o]; w != nil {
		return w, nil
	}
	w, err := d.s.keys.Wrap(o, d.session)
	if err != nil {
		return nil, err
	}
	if d.wraps == nil {
		d.wraps = make(map[store.Owner][]byte, 1)
	}
	d.wraps[o] = w
	return w, nil
}

// Open implements [store.Draft].
func (d *draft) Open() (io.ReadCloser, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.over:
		return nil, fmt.Errorf("opening a draft: %w", errDraftUsed)
	case !d.finished:
		return nil, fmt.Errorf("opening a draft: %w", errDraftOpen)
	}
	if d.large != nil {
		return d.s.openBytes(d.name, segHead+int64(recHead), d.w.Length(), d.w.Size(), d.session)
	}
	d.lent = true
	return seal.NewReader(blocksAt(d.blocks), 0, d.w.Length(), d.w.Size(), d.session)
}

// usable tells whether a commit may file the draft.
func (d *draft) usable(s *Store) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.s != s:
		return errDraftAlien
	case d.over:
		return errDraftUsed
	case !d.finished:
		return errDraftOpen
	}
	return nil
}

// keep ends the draft after its commit; what it wrote stays.
func (d *draft) keep() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return
	}
	d.over = true
	if d.large != nil {
		d.large.Close()
		d.s.segs.drafting(d.name, false)
	}
	d.giveBack()
}

// Discard implements [store.Draft].
func (d *draft) Discard() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return
	}
	d.over = true
	if d.w != nil {
		d.w.Abandon()
	}
	d.giveBack()
	if d.large != nil {
		d.large.Close()
		if err := d.s.segs.remove(d.name); err != nil {
			d.s.log.Warn("removing a discarded draft", "err", err)
		}
		d.s.segs.drafting(d.name, false)
	}
}

// blocksAt reads blocks in memory as one.
type blocksAt [][]byte

func (b blocksAt) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for _, block := range b {
		if off >= int64(len(block)) {
			off -= int64(len(block))
			continue
		}
		n += copy(p[n:], block[off:])
		off = 0
		if n == len(p) {
			return n, nil
		}
	}
	return n, io.EOF
}

func syncDir(dir string) error {
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
