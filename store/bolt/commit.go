package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

// How a commit goes. Whoever has the turn runs their function, in their own
// goroutine, against all that was committed and all that is about to be; what it
// changed joins the open group, and the turn goes on. A group is closed when
// nothing is being written and nobody waits for the turn, or enough have joined:
// its commit record is made, and one of its members leads: writes the group behind
// the log, syncs it, publishes it and wakes the others. Meanwhile functions run on
// and join the next group, so that one sync serves as many as came during the one
// before. Who is alone waits for nobody. If a group cannot be written,
// all that was built on it is dropped with it, and runs again.

// errAgain is the fate of what was built on a group that failed.
const errAgain = journal.Fault("run again")

// Commit implements [store.Store].
func (s *Store) Commit(ctx context.Context, fn func(store.Tx) error) error {
	return s.commit(ctx, fn, false)
}

// CommitSoon implements [store.Store].
func (s *Store) CommitSoon(ctx context.Context, fn func(store.Tx) error) error {
	return s.commit(ctx, fn, true)
}

func (s *Store) commit(ctx context.Context, fn func(store.Tx) error, soon bool) error {
	for again := true; ; {
		t, err := s.attempt(ctx, fn, soon)
		switch {
		case err == nil || t == nil:
			return err
		case err == errAgain:
		case again && len(t.drafts) == 0 && noRoom(err):
			again = false // what found no room may have been the message of another
		case len(t.drafts) > 0:
			return fmt.Errorf("storing a message: %w", fault(err))
		default:
			return fmt.Errorf("committing: %w", fault(err))
		}
	}
}

// attempt runs fn once. With a tx, the error is that of its group.
func (s *Store) attempt(ctx context.Context, fn func(store.Tx) error, soon bool) (*tx, error) {
	s.coming.Add(1)
	if err := s.takeTurn(ctx); err != nil {
		s.stayAway()
		return nil, err
	}
	g, err := s.enter(ctx)
	if err != nil {
		<-s.turn
		s.stayAway()
		return nil, err
	}
	t, leads, err := s.runIn(g, fn, soon)
	if t == nil || err != nil {
		return nil, err
	}
	if !leads {
		select {
		case <-g.done:
		case <-g.lead:
			leads = true
		}
	}
	if leads {
		s.lead(g)
	}
	if g.err != nil {
		t.takeBack()
	}
	return t, g.err
}

// takeTurn waits for the turn; <-s.turn gives it up.
func (s *Store) takeTurn(ctx context.Context) error {
	if err := ctx.Err(); err != nil { // first, since select chooses at random
		return err
	}
	select {
	case <-s.closing:
		return store.ErrClosed
	default:
	}
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return store.ErrClosed
	}
}

// enter readies everything for a function to run, and gives the group it runs in.
// Whoever calls has the turn.
func (s *Store) enter(ctx context.Context) (*group, error) {
	for {
		if err := s.ready(); err != nil {
			return nil, err
		}
		if err := s.makeRoom(ctx); err != nil {
			return nil, err
		}
		if err := s.segmentReady(); err != nil {
			s.afterFailure(err)
			return nil, fmt.Errorf("beginning a segment: %w", fault(err))
		}
		if g := s.join(); g != nil {
			return g, nil
		}
	}
}

// join gives the open group, or none if something went wrong since enter looked.
func (s *Store) join() *group {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.failing || s.open != nil && s.open.full() {
		s.cond.Wait()
	}
	if s.ready() != nil || !s.segmentFits() {
		return nil
	}
	s.running = true
	s.coming.Add(-1)
	if s.open == nil {
		s.open = s.newGroup()
	}
	return s.open
}

// awaited tells that the open group stays so, while nobody runs: somebody is about
// to, or to find that they cannot, and leaves or launches it then.
func (s *Store) awaited() bool {
	return s.coming.Load() > 0 && s.open.members < groupEnough && !s.open.full()
}

// stayAway ends the wait of one who did not come to run.
func (s *Store) stayAway() {
	s.coming.Add(-1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.launch()
}

// launch has the open group written if nobody else would see to it.
func (s *Store) launch() {
	if s.open == nil || s.writing || s.running {
		return
	}
	s.writing = true
	next := s.closeGroup()
	next.lead <- struct{}{}
}

// runIn runs fn in a group and gives up the turn, whatever becomes of fn: a panic
// is its caller's own. The tx is nil if there is nothing to wait for.
func (s *Store) runIn(g *group, fn func(store.Tx) error, soon bool) (ran *tx, leads bool, err error) {
	t, kept := s.newTx(g), false
	defer func() {
		if !kept {
			t.undo()
		}
		next := s.leave()
		<-s.turn
		switch {
		case next == nil:
		case next == g && kept:
			leads = true
		default:
			next.lead <- struct{}{}
		}
	}()
	if err := s.run(t, fn); err != nil {
		return nil, false, err
	}
	waits, err := s.keep(g, t, soon)
	if kept = err == nil; !waits {
		return nil, false, err
	}
	return t, false, nil
}

// run runs fn between the levels and the index.
func (s *Store) run(t *tx, fn func(store.Tx) error) error {
	s.dbMu.RLock()
	defer s.dbMu.RUnlock()
	lv, btx, err := s.look()
	if err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	defer func() { _ = s.fenced(btx.Rollback) }()
	t.tx, t.over = btx, &levels{active: s.working, frozen: lv.frozen, state: &t.state}
	defer func() { t.tx = nil }()
	return s.fenced(func() error { return fn(t) })
}

// leave ends a run. If nobody is writing, and nobody else comes, the open group is
// closed and given, to be led by a member.
func (s *Store) leave() *group {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = false
	s.cond.Broadcast()
	if s.open != nil && s.open.members == 0 {
		s.open = nil
	}
	if s.open == nil || s.writing || s.awaited() {
		return nil
	}
	s.writing = true
	return s.closeGroup()
}

// lead writes a group, says what came of it, and hands over to the next.
func (s *Store) lead(g *group) {
	err := g.err
	if err == nil && g.changed {
		err = s.write(g)
	}
	if err != nil {
		s.fail(g, err)
	} else {
		s.publish(g)
	}
	close(g.done)
	s.handOver()
}

// handOver ends the writing, or lets the group that waits be written.
func (s *Store) handOver() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cond.Broadcast()
	s.writing = false
	if s.open != nil && !s.running && !s.awaited() { // otherwise whoever runs leads
		s.launch()
	}
}

// quiet runs fn while nothing runs and nothing is written. Whoever calls has the
// turn.
func (s *Store) quiet(fn func()) {
	s.mu.Lock()
	for s.writing || s.open != nil {
		s.launch()
		s.cond.Wait()
	}
	s.writing = true
	s.mu.Unlock()
	defer s.handOver()
	fn()
}

// fail drops a group and all that was built on it.
func (s *Store) fail(g *group, err error) {
	g.err = err
	s.afterFailure(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing = true
	for s.running {
		s.cond.Wait()
	}
	if doomed := s.open; doomed != nil {
		s.open = nil
		doomed.err = errAgain
		close(doomed.done)
	}
	lv := s.levels.Load()
	s.working, s.state, s.ended = lv.active.copied(), *lv.state, nil
	if g.seg.number == s.state.Segment {
		s.cutSegment()
	} else {
		s.dropSegment() // it was begun for this group
		_ = os.Remove(s.segs.path(g.seg.name))
	}
	s.failing = false
	s.cond.Broadcast()
}

// ready refuses at once what cannot succeed.
func (s *Store) ready() error {
	if err := s.fault.Load(); err != nil {
		return fmt.Errorf("committing: %w", *err)
	}
	if s.torn.Load() {
		return fmt.Errorf("committing: %w", errTorn)
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
		s.noteFull(err)
	case errors.Is(err, syscall.EIO):
		s.log.Error("input/output error: no more writing until a restart", "err", fault(err))
		s.stop(err)
		s.broken.Store(true)
	default:
		s.locked.Store(errors.Is(err, syscall.EROFS))
		s.log.Error("store cannot write", "err", fault(err))
	}
	if s.o.failed != nil {
		s.o.failed()
	}
}

// stop lets nothing be written any more.
func (s *Store) stop(err error) {
	err = fault(err)
	s.fault.CompareAndSwap(nil, &err)
}

// noted gives the fault of a draft's write: a full disk that only large messages
// met is one all the same.
func (s *Store) noted(err error) error {
	if noRoom(err) {
		s.noteFull(err)
	}
	return fault(err)
}

func (s *Store) noteFull(err error) {
	if !s.full.Swap(true) {
		s.log.Error("store full", "err", fault(err))
	}
	s.spare.drop.Store(true)
	s.spare.rouse()
}
