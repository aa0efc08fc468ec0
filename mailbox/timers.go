package mailbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

// Timers: work the hub has promised itself for later. Each is an item of the
// queue, so that no crash loses it, done under a lease and ended in the commit
// that does it.

// Lanes of timers.
const (
	laneTriage  = "triage"        // announce held mail again, give it up
	laneRelease = "timer:release" // held mail whose pathway's state has changed
	laneTell    = "timer:tell"    // copies that failed, gathered for one notice
	laneMerge   = "timer:merge"   // messages of a merged pathway
	laneErase   = "timer:erase"   // pathways that are being erased
	// and laneRetention and laneKept, of retention.go

	lanePrefixTimer = "timer:"
)

const (
	timerLease = 10 * time.Minute // longer than moving the largest message takes
	timerBatch = 20
	timerRetry = 30 * time.Second // after a fault
	timerIdle  = 30 * time.Second // between two looks, at most
)

// RunTimers works the timers until ctx ends. Faults are logged and tried again.
func (h *Hub) RunTimers(ctx context.Context) error {
	triage, other := h.store.Wake(laneTriage), h.store.Wake(lanePrefixTimer)
	wait := time.NewTimer(0)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-triage:
		case <-other:
		case <-wait.C:
		}
		if err := h.planRetention(ctx); err != nil && ctx.Err() == nil {
			h.log.Error("the daily purge could not be planned", "error", err)
		}
		idle := timerIdle
		next, err := h.workTimers(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			h.log.Error("timers could not be worked", "error", err)
		case !next.IsZero():
			idle = min(idle, max(next.Sub(h.o.Now()), 0))
		}
		wait.Reset(idle)
	}
}

// workTimers does everything that is due, and says when more will be (zero: not
// known yet).
func (h *Hub) workTimers(ctx context.Context) (time.Time, error) {
	h.agesReviewed(ctx)
	for {
		var items []store.Item
		err := h.change(ctx, func(tx store.Tx) error {
			items = items[:0]
			for _, prefix := range []string{laneTriage, lanePrefixTimer} {
				lanes, err := tx.Lanes(prefix, h.o.Now())
				if err != nil {
					return err
				}
				for _, lane := range lanes {
					claimed, err := tx.Claim(lane, h.o.Now(), timerLease, h.o.Instance, timerBatch)
					if err != nil {
						return err
					}
					items = append(items, claimed...)
				}
			}
			return nil
		})
		if err != nil {
			return time.Time{}, fmt.Errorf("claiming timers: %w", err)
		}
		if len(items) == 0 {
			return h.nextTimer(ctx)
		}
		for _, it := range items {
			if err := h.workTimer(ctx, it); err != nil {
				return time.Time{}, err
			}
		}
	}
}

// nextTimer is when the next timer is due; zero: there is none.
func (h *Hub) nextTimer(ctx context.Context) (time.Time, error) {
	var next time.Time
	err := h.view(ctx, func(v store.View) error {
		next = time.Time{}
		for _, prefix := range []string{laneTriage, lanePrefixTimer} {
			due, err := v.NextDue(prefix)
			if err != nil {
				return err
			}
			if !due.IsZero() && (next.IsZero() || due.Before(next)) {
				next = due
			}
		}
		return nil
	})
	if err != nil {
		return next, fmt.Errorf("asking when a timer is due: %w", err)
	}
	return next, nil
}

// workTimer does what one item asks. What fails is put off; only the end of ctx
// is an error.
func (h *Hub) workTimer(ctx context.Context, it store.Item) error {
	var err error
	switch it.Lane {
	case laneTriage:
		err = h.triageTimer(ctx, it)
	case laneRelease:
		err = h.releaseTimer(ctx, it)
	case laneTell:
		err = h.tellTimer(ctx, it)
	case laneMerge:
		err = h.mergeTimer(ctx, it)
	case laneErase:
		err = h.eraseTimer(ctx, it)
	case laneRetention:
		err = h.retentionTimer(ctx, it)
	case laneKept:
		err = h.keptTimer(ctx, it)
	default:
		err = errNoTimer
	}
	if err == nil || errors.Is(err, store.ErrLeaseLost) {
		return ctx.Err()
	}
	if ctx.Err() != nil {
		return ctx.Err() // its lease ends by itself
	}
	h.log.Warn("a timer is put off", "item", it.ID, "lane", journal.Word(it.Lane), "error", err)
	it.Due = h.o.Now().Add(timerRetry)
	err = h.change(ctx, func(tx store.Tx) error { return tx.PutItem(it) })
	if err != nil && !errors.Is(err, store.ErrLeaseLost) {
		return fmt.Errorf("putting off a timer: %w", err)
	}
	return nil
}

// errNoTimer: an item in a lane that this version does not know.
const errNoTimer = journal.Fault("no such timer")

// releaseTimer runs what waited for a consent or an opening again; where the
// pathway was closed or its consent withdrawn instead, it is given up.
func (h *Hub) releaseTimer(ctx context.Context, it store.Item) error {
	var (
		p    *store.Pathway
		held []*store.Held
	)
	err := h.view(ctx, func(v store.View) error {
		var err error
		if p, err = v.Pathway(it.Pathway); err != nil {
			return err
		}
		held, err = v.HeldOfPathway(it.Pathway)
		return err
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("reading what is held for %s: %w", it.Pathway, err)
	}
	for _, m := range held {
		if !waitsForPathway(m) || !p.Deceased.IsZero() {
			continue
		}
		if err := h.releaseOne(ctx, p, m); err != nil {
			return err
		}
	}
	return h.change(ctx, func(tx store.Tx) error { return tx.DropItem(it) })
}

func (h *Hub) releaseOne(ctx context.Context, p *store.Pathway, held *store.Held) error {
	var refusal *Refusal
	if errors.As(standing(p), &refusal) {
		err := h.change(ctx, func(tx store.Tx) error {
			now, err := tx.Held(held.ID)
			if errors.Is(err, store.ErrNotFound) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("reading held message %s: %w", held.ID, err)
			}
			return h.expire(tx, now, refusal)
		})
		if err == nil {
			h.forget(ctx, held.ID)
		}
		return err
	}
	receipt, err := h.takeHeld(ctx, held, assignment{pathway: p.Code, by: hubActor})
	switch {
	case errors.As(err, &refusal), errors.Is(err, store.ErrNotFound):
		return nil // decided by somebody else meanwhile; the triage timer goes on
	case err != nil:
		return fmt.Errorf("releasing held message %s: %w", held.ID, err)
	case receipt.Held != "":
		return nil
	}
	return h.change(ctx, func(tx store.Tx) error {
		if err := h.dropTimer(tx, held); err != nil {
			return err
		}
		return h.trace(tx, hubActor, "triage.released", p.Code, string(held.ID), outcomeDone, map[string]string{"reason": held.Reason, "message": string(receipt.Message)})
	})
}
