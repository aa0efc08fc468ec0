package bolt

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

// maxGroup bounds a group, so that the first of it need not wait for ever.
const maxGroup = 256

// errUnwound stands for a function that did not return: it panicked, or ended
// its goroutine. The caller's goroutine carries that on by itself.
const errUnwound = journal.Fault("function did not return")

// request is one Commit waiting for its turn.
type request struct {
	fn   func(store.Tx) error
	turn chan *tx   // the committer lends the transaction…
	ran  chan error // …and gets it back with fn's error
	done chan error // outcome
	fate atomic.Int32
	tx   *tx // of the last run: what it put, for afterwards
}

// Fates of a request. Caller and committer race for one that waits.
const (
	fateWaiting = iota
	fateTaken   // by the committer: there will be an outcome
	fateLeft    // its caller gave up
)

func (r *request) take() bool {
	return r.fate.CompareAndSwap(fateWaiting, fateTaken) || r.fate.Load() == fateTaken
}

// Commit implements [store.Store].
func (s *Store) Commit(ctx context.Context, fn func(store.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := &request{fn: fn, turn: make(chan *tx), ran: make(chan error), done: make(chan error, 1)}
	select {
	case <-s.closing: // first, since select chooses at random
		return store.ErrClosed
	default:
	}
	select {
	case s.queue <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return store.ErrClosed
	}
	gaveUp := ctx.Done()
	for {
		select {
		case t := <-r.turn:
			r.run(t)
		case err := <-r.done:
			return err
		case <-gaveUp:
			if r.fate.CompareAndSwap(fateWaiting, fateLeft) {
				return ctx.Err() // its turn had not come, and never will
			}
			gaveUp = nil // too late to leave: the outcome must be known
		}
	}
}

// CommitSoon implements [store.Store].
func (s *Store) CommitSoon(ctx context.Context, fn func(store.Tx) error) error {
	return s.Commit(ctx, fn)
}

// run runs fn and gives the transaction back, whatever happens.
func (r *request) run(t *tx) {
	err := error(errUnwound)
	defer func() { r.ran <- err }()
	err = t.s.fenced(func() error { return r.fn(t) })
}

// commitLoop is the committer.
func (s *Store) commitLoop() {
	defer close(s.done)
	for {
		select {
		case r := <-s.queue:
			s.runGroup(r)
		case <-s.closing:
			return
		}
	}
}

// waiting takes the next request, if one waits.
func (s *Store) waiting() *request {
	select {
	case r := <-s.queue:
		return r
	default:
		return nil
	}
}

// runGroup runs first and whoever waits, and makes all of it durable as one.
func (s *Store) runGroup(first *request) {
	todo := []*request{first}
	if err := s.ready(); err != nil {
		for r := first; r != nil; r = s.waiting() {
			s.answer(r, err)
		}
		return
	}
	for again := false; len(todo) > 0; again = true {
		todo = s.attempt(todo, !again)
	}
}

// answer ends a request, unless its caller left.
func (s *Store) answer(r *request, err error) {
	if r.take() {
		r.done <- err
	}
}

// attempt runs a group once. It answers everybody except those it returns,
// which are to run again without the ones whose messages found no room.
func (s *Store) attempt(todo []*request, more bool) []*request {
	g, err := s.begin()
	if err != nil {
		for _, r := range todo {
			s.answer(r, err)
		}
		return nil
	}
	var ran []*request
	for i := 0; i < len(todo) || more && i < maxGroup; i++ {
		var r *request
		if i < len(todo) {
			r = todo[i]
		} else if r = s.waiting(); r == nil {
			break
		}
		if !r.take() {
			continue
		}
		err := g.run(r)
		if g.broken {
			g.rollback()
			for _, r := range append(ran, r) {
				r.done <- fmt.Errorf("committing: %w", errTorn)
			}
			return nil
		}
		if err != nil {
			r.done <- err
			continue
		}
		ran = append(ran, r)
	}
	if !g.changed() {
		g.rollback()
		for _, r := range ran {
			r.done <- nil
		}
		return nil
	}
	err = g.writeSegment()
	if err != nil {
		g.rollback()
		wasFull := s.full.Load()
		s.afterFailure(err)
		var rest []*request
		for _, r := range ran {
			if len(r.tx.parts) > 0 {
				r.done <- fmt.Errorf("storing a message: %w", fault(err))
			} else {
				rest = append(rest, r)
			}
		}
		if len(rest) == len(ran) && (wasFull || !s.full.Load()) {
			// Only rows that waited were to be written, and they cannot wait longer.
			for _, r := range rest {
				r.done <- fmt.Errorf("committing: %w", fault(err))
			}
			return nil
		}
		return rest
	}
	if err := g.commitIndex(); err != nil {
		for _, r := range ran {
			r.done <- fmt.Errorf("committing: %w", fault(err))
		}
		s.afterFailure(err)
		return nil
	}
	if g.size > 0 {
		s.full.Store(false)
		s.locked.Store(false)
	}
	g.publish(ran)
	for _, r := range ran {
		r.done <- nil
	}
	return nil
}

// ready refuses at once what cannot succeed, without an attempt that would cost
// a scan of the whole index (bbolt reads its free pages anew after a failure).
func (s *Store) ready() error {
	if s.fault != nil {
		return fmt.Errorf("committing: %w", s.fault)
	}
	if s.torn.Load() {
		return fmt.Errorf("committing: %w", errTorn)
	}
	if s.full.Load() {
		const least = 256 << 10
		if free, err := s.o.files.Free(s.o.Dir); err == nil && free < least {
			return fmt.Errorf("committing: %w", store.ErrFull)
		}
	}
	s.dbMu.RLock()
	gone := s.db == nil
	s.dbMu.RUnlock()
	if gone {
		return s.reopen()
	}
	return nil
}

// afterFailure remembers what a failed write says about the next one.
//
// After an I/O error nothing can be known about what the kernel still holds and
// what it dropped (pages are marked clean after a failed write-back), so no
// later sync proves anything: the store stays readable and writes no more until
// it is started again.
func (s *Store) afterFailure(err error) {
	switch {
	case noRoom(err):
		if !s.full.Load() {
			s.log.Error("store full", "err", fault(err))
		}
		s.full.Store(true)
	case errors.Is(err, syscall.EIO):
		s.log.Error("input/output error: no more writing until a restart", "err", fault(err))
		s.fault = fault(err)
		s.broken.Store(true)
	default:
		s.locked.Store(errors.Is(err, syscall.EROFS))
		s.log.Error("store cannot write", "err", fault(err))
	}
	if s.o.failed != nil {
		s.o.failed()
	}
}
