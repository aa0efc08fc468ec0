package mailbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

// Messages looked through, by a search: index and content of many, by several
// goroutines at once.

// Bounds of one batch: what is held of it until it was looked through.
const (
	lookBatch = 128
	lookBytes = 4 << 20 // of stored indexes
)

// lookers are the goroutines that help searches, in all sessions together: one
// for each processor. A search that gets none goes on alone.
var lookers = make(chan struct{}, runtime.GOMAXPROCS(0))

// lookFunc looks at a message, see [folder.Folder].
type lookFunc = func(uid uint32, m *folder.Shown, c folder.Content) (found bool, err error)

// candidate is a message that was made ready on a snapshot.
type candidate struct {
	readable
	stored []byte
	sheet  bool
	blob   *store.Blob
	opened bool
}

const errLook = journal.Fault("a message could not be looked through for a defect of the hub")

// errBatch ends a batch early: its indexes are large. Inner.
var errBatch = errors.New("enough for one batch")

// Look implements [folder.Folder].
func (o *opened) Look(ctx context.Context, uids []uint32, depth folder.Depth, fn lookFunc) error {
	l := &looking{o: o, ctx: ctx, uids: uids, depth: depth, fn: fn}
	// A sheet is made for the session, which serves one at a time.
	if o.kind != kindSheet {
		for range min(len(uids)/lookBatch, cap(lookers)-1) {
			select {
			case lookers <- struct{}{}:
				l.wg.Go(func() {
					defer func() { <-lookers }()
					l.work()
				})
				continue
			default:
			}
			break
		}
	}
	l.work()
	l.wg.Wait()
	o.reads.searched.join(&l.searched)
	return l.fault
}

// looking is one call of Look, shared by the goroutines that work for it.
type looking struct {
	o     *opened
	ctx   context.Context
	depth folder.Depth
	fn    lookFunc
	wg    sync.WaitGroup

	mu       sync.Mutex
	uids     []uint32 // not yet looked at
	searched searched
	fault    error // the first
}

// work looks at one batch after the other until there is none.
func (l *looking) work() {
	// A panic over one mail must not reach other connections.
	defer func() {
		if v := recover(); v != nil {
			journal.Recovered(l.o.r.h.log, v)
			l.stop(errLook)
		}
	}()
	for {
		l.mu.Lock()
		batch := l.uids[:min(len(l.uids), lookBatch)]
		l.uids = l.uids[len(batch):]
		l.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		var err error
		if l.depth != folder.Whole {
			err = l.fields(batch)
		} else {
			err = l.contents(batch)
		}
		if err != nil {
			l.stop(err)
			return
		}
	}
}

func (l *looking) stop(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.uids = nil
	if l.fault == nil {
		l.fault = err
	}
}

// fields looks at the header fields of a batch.
func (l *looking) fields(batch []uint32) error {
	var seen searched
	defer l.note(&seen)
	e := l.o.each(l.depth, nil)
	e.passing = true
	e.fn = func(uid uint32, m *folder.Shown) error {
		found, err := l.fn(uid, m, nil)
		seen.add(e.now, found, false)
		return err
	}
	err := l.o.r.h.view(l.ctx, func(v store.View) error { return e.batch(v, batch) })
	if e.stopped == nil && err != nil {
		return fmt.Errorf("reading indexes: %w", err)
	}
	return e.stopped
}

// contents looks at index and content of a batch.
func (l *looking) contents(batch []uint32) error {
	var seen searched
	defer l.note(&seen)
	for len(batch) > 0 {
		all, err := l.o.ready(l.ctx, batch)
		switch {
		case errors.Is(err, errBatch): // go on behind the last one
			at, _ := slices.BinarySearch(batch, all[len(all)-1].uid)
			batch = batch[at+1:]
		case err != nil:
			return fmt.Errorf("reading indexes: %w", err)
		default:
			batch = nil
		}
		for i := range all {
			found, err := l.o.lookAt(l.ctx, &all[i], l.fn)
			seen.add(all[i].m, found, all[i].opened)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// note notes what was looked at.
func (l *looking) note(seen *searched) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.searched.join(seen)
}

// ready reads what is needed of some messages on one snapshot.
func (o *opened) ready(ctx context.Context, uids []uint32) (all []candidate, err error) {
	held := 0
	r := &readables{o: o}
	r.take = func(v store.View, one *readable, stored []byte) error {
		l := candidate{readable: *one, stored: bytes.Clone(stored)}
		if one.mail != "" {
			m, err := v.Mail(o.r.a.ID, one.mail)
			if err != nil {
				return err
			}
			l.blob = m.Blob
		} else if l.blob = one.m.Blob; l.blob == nil {
			return nil
		}
		all = append(all, l)
		if held += len(stored); held > lookBytes {
			return errBatch
		}
		return nil
	}
	r.sheet = func(uid uint32) error {
		if _, ok := o.row(uid); !ok {
			return errGone
		}
		all = append(all, candidate{readable: readable{uid: uid}, sheet: true})
		return nil
	}
	err = o.r.h.view(ctx, func(v store.View) error { return r.batch(v, uids) })
	return all, err
}

// lookAt calls fn for one message.
func (o *opened) lookAt(ctx context.Context, l *candidate, fn lookFunc) (found bool, err error) {
	if l.sheet {
		return o.lookAtSheet(l.uid, fn)
	}
	idx, err := decodeIndex(l.stored)
	if err != nil {
		return false, err
	}
	var shown folder.Shown
	c := &content{blob: l.blob, shown: letter.Shown{Spans: []letter.Span{{End: l.blob.Size}}, Size: l.blob.Size}}
	if l.mail != "" {
		shown = mailShown(&l.readable, idx)
	} else {
		c.shown = o.r.h.shownAs(l.s.p, idx)
		refs := append([]string{l.m.Root}, l.m.References...)
		shown = messageShown(&l.readable, c.shown.IndexOf(idx), threadID(l.m), refs)
	}
	c.open = func() (io.ReadCloser, error) {
		l.opened = true
		return o.r.h.store.Open(ctx, *c.blob)
	}
	l.stored = nil
	defer c.Close()
	return fn(l.uid, &shown, c)
}

func (o *opened) lookAtSheet(uid uint32, fn lookFunc) (found bool, err error) {
	shown, err := o.sheetIndex(uid)
	if err != nil {
		return false, err
	}
	c, err := o.sheetContent(uid)
	if err != nil {
		return false, err
	}
	return fn(uid, &shown, c)
}
