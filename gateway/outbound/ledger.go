package outbound

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

const (
	// maxBatch bounds the outcomes recorded in one commit.
	maxBatch = 256
	// company is how long a copy that was sent waits for others to be recorded
	// with, unless enough of them are there.
	company = 3 * time.Millisecond
	enough  = 32
)

// ledger records outcomes: of what was sent, those of some milliseconds in one
// commit; anything else at once. While a commit is under way it gathers what
// comes in for the next. When the store cannot follow, senders wait.
type ledger struct {
	hub     Hub
	log     *slog.Logger
	metrics *metrics
	in      chan mailbox.Result
	done    chan struct{}
	// nudge tells Run that something was recorded that was not sent: it may be due
	// again.
	nudge chan struct{}
}

func newLedger(r *Relay) *ledger {
	return &ledger{
		hub: r.o.Hub, log: r.o.Log, metrics: r.metrics,
		in: make(chan mailbox.Result, maxBatch), done: make(chan struct{}), nudge: make(chan struct{}, 1),
	}
}

func (l *ledger) record(job mailbox.Job, o mailbox.Outcome) {
	l.in <- mailbox.Result{Job: job, Outcome: o}
}

// run writes until the channel is closed. ctx ends what cannot be written.
func (l *ledger) run(ctx context.Context) {
	defer close(l.done)
	batch := make([]mailbox.Result, 0, maxBatch)
	wait := time.NewTimer(0)
	defer wait.Stop()
	for first := range l.in {
		batch = append(batch[:0], first)
		wait.Reset(company)
		for more := true; more; {
			batch, more = l.gather(batch, wait.C)
		}
		l.write(ctx, batch)
		if slices.ContainsFunc(batch, func(r mailbox.Result) bool { return r.Outcome.Kind != mailbox.OutcomeSent }) {
			select {
			case l.nudge <- struct{}{}:
			default:
			}
		}
		clear(batch)
	}
}

// gather takes one more result into a batch, and reports whether to go on.
func (l *ledger) gather(batch []mailbox.Result, over <-chan time.Time) ([]mailbox.Result, bool) {
	var r mailbox.Result
	open := true
	select {
	case r, open = <-l.in:
	default:
		if len(batch) >= enough || batch[len(batch)-1].Outcome.Kind != mailbox.OutcomeSent {
			return batch, false
		}
		select {
		case r, open = <-l.in:
		case <-over:
			return batch, false
		}
	}
	if !open {
		return batch, false
	}
	return append(batch, r), len(batch)+1 < maxBatch
}

// close waits until everything handed in is written.
func (l *ledger) close() {
	close(l.in)
	<-l.done
}

// write records a batch, and goes on trying: an outcome that is lost makes a
// sent copy go out again when its lease ends.
func (l *ledger) write(ctx context.Context, batch []mailbox.Result) {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := l.hub.Finish(ctx, batch)
		switch {
		case err == nil:
			return
		case ctx.Err() != nil, len(batch) == 1 && final(err):
			l.lose(batch, err)
			return
		case final(err):
			// One of them spoils the commit for the others.
			for i := range batch {
				l.write(ctx, batch[i:i+1])
			}
			return
		}
		l.log.Warn("recording outcomes of deliveries failed, trying again", "count", len(batch), "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// final errors do not pass by waiting.
func final(err error) bool {
	return errors.Is(err, store.ErrLeaseLost) || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrErased) ||
		errors.Is(err, store.ErrCorrupt) || errors.Is(err, store.ErrClosed)
}

func (l *ledger) lose(batch []mailbox.Result, err error) {
	l.metrics.unrecorded.Add(float64(len(batch)))
	for _, r := range batch {
		l.log.Error("outcome of a delivery not recorded", "delivery", r.Job.Delivery.ID,
			"outcome", r.Outcome.Kind, "reason", journal.Word(r.Outcome.Reason), "error", err)
	}
}
