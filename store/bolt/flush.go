package bolt

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/relais-sante/relais/store"
)

// The index follows the log. What was committed waits in the active level until
// that is large or old enough; then it is frozen, another begins, and the frozen
// one is brought to the index in one transaction of bbolt, with the state that it
// ends with. That disturbs nobody: readers go on seeing the frozen level over an
// index that may or may not have it. It is dropped only when the index is durable
// with it, and stays readable where the index cannot be written.

// flushLoop brings the index up to date from time to time.
func (s *Store) flushLoop() {
	defer s.loops.Done()
	tick := time.NewTicker(max(s.o.FlushAge/8, 1))
	defer tick.Stop()
	var wait time.Time // after a failure, until when
	pause := s.o.FlushAge / 8
	last, seen := time.Now(), uint64(0)
	for {
		select {
		case <-s.closing:
			return
		case <-s.brimming:
		case <-tick.C:
			now := s.levels.Load().state.Seq
			rests := now == seen
			if seen = now; !rests && time.Since(last) < s.o.FlushAge {
				continue
			}
		}
		if time.Now().Before(wait) {
			continue
		}
		err := s.flush(context.Background(), nil)
		switch {
		case err == nil:
			last, pause = time.Now(), s.o.FlushAge/8
		case s.torn.Load(), s.fault.Load() != nil:
			return
		case !errors.Is(err, store.ErrClosed):
			// Each attempt makes bbolt read its free pages anew.
			wait = time.Now().Add(pause)
			pause = min(2*pause, maxPause)
		}
	}
}

const maxPause = 10 * time.Second

// soonLoop makes durable what need not be at once, if nothing else does.
func (s *Store) soonLoop() {
	defer s.loops.Done()
	for {
		select {
		case <-s.closing:
			return
		case <-s.soon:
		}
		wait := time.NewTimer(soonDelay)
		select {
		case <-s.closing:
			wait.Stop()
			return
		case <-wait.C:
		}
		_ = s.syncTo(s.levels.Load().state.Seq) // told by the commits that follow
	}
}

// syncTo makes the log durable up to a group that is published.
func (s *Store) syncTo(seq uint64) error {
	s.mu.Lock()
	for s.writing && s.durable < seq {
		s.cond.Wait()
	}
	if s.durable >= seq {
		s.mu.Unlock()
		return nil
	}
	s.writing = true
	s.mu.Unlock()
	defer s.handOver()
	return s.syncRest()
}

// syncRest is syncTo for who may write: all that is published.
func (s *Store) syncRest() error {
	if s.soonSince.IsZero() {
		return nil
	}
	err := s.ready()
	if err == nil {
		if err = s.syncLog(s.seg, s.levels.Load().state.Seq); err != nil {
			s.afterFailure(err)
		}
	}
	return err
}

// makeRoom waits until the levels have room for another commit. Whoever calls has
// the turn.
func (s *Store) makeRoom(ctx context.Context) error {
	for {
		s.mu.Lock()
		over := s.working.bytes >= s.o.FlushBytes
		flushed := s.flushed
		s.mu.Unlock()
		if !over {
			return nil
		}
		if s.levels.Load().frozen == nil {
			s.quiet(s.freeze)
			select {
			case s.brimming <- struct{}{}:
			default:
			}
			continue
		}
		if err := s.stalled.Load(); err != nil {
			return fmt.Errorf("committing: %w", *err)
		}
		s.quiet(func() {}) // nobody else sees to a group that is open
		select {
		case <-flushed:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closing:
			return store.ErrClosed
		}
	}
}

// freeze begins another active level. Nothing runs and nothing is written, and
// nothing is frozen.
func (s *Store) freeze() {
	s.levelsMu.Lock()
	defer s.levelsMu.Unlock()
	lv := *s.levels.Load()
	if !lv.active.used || lv.frozen != nil {
		return
	}
	lv.frozen, lv.until, lv.active = lv.active, lv.state, newLevel()
	s.levels.Store(&lv)
	s.mu.Lock()
	s.working = newLevel()
	s.mu.Unlock()
}

// flush brings the index up to date with all that is published now. At that
// moment, while nothing runs, at is called; when flush returns nil, and until
// s.flushing is given up, the index is what it was then.
func (s *Store) flush(ctx context.Context, at func()) error {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	return s.flushLocked(ctx, at)
}

func (s *Store) flushLocked(ctx context.Context, at func()) error {
	for frozen := false; ; {
		if err := s.writeFrozen(); err != nil || frozen {
			return err
		}
		if at == nil && !s.levels.Load().active.used {
			return nil
		}
		if err := s.takeTurn(ctx); err != nil {
			return err
		}
		s.quiet(func() {
			if s.levels.Load().frozen != nil {
				return // a commit that found no room was first
			}
			if at != nil {
				at()
			}
			s.freeze()
			frozen = true
		})
		<-s.turn
	}
}

// writeFrozen brings the frozen level to the index. Whoever calls has flushing.
func (s *Store) writeFrozen() error {
	lv := s.levels.Load()
	if lv.frozen == nil {
		return nil
	}
	err := s.ready()
	if err == nil {
		// The index must not know of what the log could lose.
		err = s.syncTo(lv.until.Seq)
	}
	if err == nil {
		err = s.writeIndex(lv)
	}
	if err != nil {
		err = fmt.Errorf("bringing the index up to date: %w", fault(err))
		s.stalled.Store(&err)
		s.wakeWaiting()
		return err
	}
	s.levelsMu.Lock()
	next := *s.levels.Load()
	next.frozen, next.until = nil, nil
	next.flushed++
	s.levels.Store(&next)
	s.levelsMu.Unlock()
	s.stalled.Store(nil)
	s.crammed.Store(false)
	s.wakeWaiting()
	return nil
}

// wakeWaiting lets those look again who wait for a flush.
func (s *Store) wakeWaiting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.flushed)
	s.flushed = make(chan struct{})
}

// writeIndex writes a level into the index. A failure is looked into: if the new
// root page is there although its sync failed, what bbolt has in memory no longer
// fits the file, and it is opened anew. Whichever it is, the level can be written
// again.
func (s *Store) writeIndex(lv *levels) error {
	if s.db == nil {
		if err := s.reopen(); err != nil {
			return err
		}
	}
	btx, err := s.db.Begin(true)
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", fault(err))
	}
	id := btx.ID()
	if err = s.fenced(func() error { return s.fill(btx, lv) }); err == nil {
		err = s.committed(btx)
	}
	if err == nil {
		return nil
	}
	// Where a torn page does not let it end, the index is not even closed: that
	// would wait for it.
	if s.fenced(btx.Rollback) == errTorn {
		s.stuck = true
	}
	switch {
	case s.torn.Load():
		return err
	case noRoom(err):
		if !s.crammed.Swap(true) {
			s.log.Error("no room for the index", "err", fault(err))
		}
	case errors.Is(err, syscall.EIO):
		s.afterFailure(err)
	default:
		s.locked.Store(errors.Is(err, syscall.EROFS))
		s.log.Error("the index cannot be written", "err", fault(err))
	}
	if s.indexAt() != id-1 {
		if rerr := s.reopen(); rerr != nil {
			s.log.Error("opening the index again", "err", rerr)
		}
	}
	return fmt.Errorf("writing the index: %w", err)
}

func (s *Store) committed(btx *bolt.Tx) error {
	if s.o.flush != nil {
		s.o.flush(true)
		defer s.o.flush(false)
	}
	return s.fenced(btx.Commit)
}

// fill puts the rows of a level into the index, and the state.
func (s *Store) fill(btx *bolt.Tx, lv *levels) error {
	v := &view{s: s, tx: btx, over: &levels{active: lv.frozen}}
	current, next := v.generations()
	var (
		last []byte // place of the bucket of the row before
		into *bolt.Bucket
		err  error
	)
	lv.frozen.rows.Scan(func(e *entry) bool {
		name, key, ok := splitPlace(e.key)
		if !ok {
			err = store.ErrCorrupt
			return false
		}
		if at := e.key[:len(e.key)-len(key)]; string(at) != string(last) {
			last = at
			if into, err = s.bucketFor(btx, name, current, next); err != nil {
				return false
			}
			if into != nil && appending[string(name)] {
				into.FillPercent = 0.9
			}
		}
		switch {
		case into == nil: // of a generation that is no more
		case e.row == nil:
			err = into.Delete(key)
		default:
			err = into.Put(key, e.row)
		}
		return err == nil
	})
	if err == nil {
		if _, changed := v.bucket(bucketMeta).find(lv.frozen, keyLookups); changed {
			err = tidyLookups(btx, current, next)
		}
	}
	if err != nil {
		return err
	}
	t := tx{view: view{s: s, tx: btx}}
	return t.put(bucketMeta, keyState, hubOwner, lv.until)
}

// bucketFor gives the bucket of rows to be written. Look-ups have one for each
// generation in use or being made, and none for any other.
func (s *Store) bucketFor(btx *bolt.Tx, name []byte, current, next uint32) (*bolt.Bucket, error) {
	if _, ok := numbers[string(name)]; !ok && string(name) != string(lookupsBucket(current)) && string(name) != string(lookupsBucket(next)) {
		return nil, nil
	}
	return btx.CreateBucketIfNotExists(name)
}

// indexAt is the number of the last transaction in the index.
func (s *Store) indexAt() int {
	btx, err := s.db.Begin(false)
	if err != nil {
		return -1
	}
	defer btx.Rollback()
	return btx.ID()
}
