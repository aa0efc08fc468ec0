package seal

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/relais-sante/relais/store"
)

type waiting struct {
	rec    record
	needed bool // false: the record would change nothing
	done   chan struct{}
	err    error
}

// write queues w and waits until it is durable. Whoever finds nobody writing
// writes for all who wait. Once queued it cannot be taken back, so ctx is only
// asked before.
func (k *Keys) write(ctx context.Context, w *waiting) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.done = make(chan struct{})
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return errClosed
	}
	if k.broken != nil {
		k.mu.Unlock()
		return k.broken
	}
	k.pending = append(k.pending, w)
	if k.writing {
		k.mu.Unlock()
		<-w.done
		return w.err
	}
	k.writing = true
	k.drain()
	k.mu.Unlock()
	return w.err
}

// drain writes for all who wait, and lets go of the file. The caller holds mu
// and has the file.
func (k *Keys) drain() {
	wrote := false
	for len(k.pending) > 0 {
		batch := k.pending
		k.pending = nil
		k.sift(batch)
		e := k.epoch
		k.mu.Unlock()
		to, err := k.writeBatch(e, batch)
		k.mu.Lock()
		wrote = wrote || to != k.tip
		k.settle(batch, to, err)
	}
	k.writing = false
	k.idle.Broadcast()
	if wrote {
		k.lag()
	}
}

// sift marks the records of a batch that change something: of several keys made
// at once for one owner the first stands, since something may be sealed with it
// by the time the second is asked for.
func (k *Keys) sift(batch []*waiting) {
	has := map[store.Owner]bool{}
	for _, w := range batch {
		o := w.rec.owner
		there, seen := has[o]
		if !seen {
			there = k.keys[o] != nil
		}
		w.needed = there == (w.rec.kind == recordTombstone)
		has[o] = w.rec.kind == recordKey
	}
}

// writeBatch makes a batch durable and returns the tip that comes of it, which is
// the one of before if it is not.
func (k *Keys) writeBatch(e *epoch, batch []*waiting) (tip, error) {
	var recs []*record
	for _, w := range batch {
		if w.needed {
			recs = append(recs, &w.rec)
		}
	}
	if len(recs) == 0 {
		return k.tip, nil
	}
	b, to, err := e.appendRecords(nil, recs, k.tip, k.random)
	if err != nil {
		return k.tip, err
	}
	if k.remains {
		err = k.file.Truncate(k.tip.end)
	}
	if err == nil {
		_, err = k.file.WriteAt(b, k.tip.end)
	}
	if err == nil {
		err = k.file.Sync()
	}
	if err != nil {
		// What was written of it must not come back at the next start, nor stand
		// behind what is written next.
		k.remains = k.file.Truncate(k.tip.end) != nil
		return k.tip, storeFault(err)
	}
	k.remains = false
	return to, nil
}

// settle makes a durable batch visible and wakes who waited for it.
func (k *Keys) settle(batch []*waiting, to tip, err error) {
	k.tip = to
	for _, w := range batch {
		w.err = err
		o := w.rec.owner
		switch {
		case err != nil || !w.needed:
			// nothing new
		case w.rec.kind == recordTombstone:
			delete(k.keys, o)
			k.rows.forget(o)
			k.dropped[o] = true
			if k.lookups != nil {
				delete(k.handles, k.handleOf(o))
			}
		default:
			e := &key{secret: w.rec.secret, made: w.rec.made}
			k.keys[o] = e
			delete(k.dropped, o)
			if k.lookups != nil {
				k.name(o, e)
			}
		}
		if err == nil && w.needed && k.noted != nil {
			k.noted = append(k.noted, w.rec)
		}
		close(w.done)
	}
}

// storeFault gives write errors the names that callers know.
func storeFault(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}
