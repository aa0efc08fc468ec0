package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/relais-sante/relais/store"
)

// The relay's side of a delivery: claiming it, with rights checked again and
// the attempt recorded before anybody dials; and taking up what a crash cut
// off.

// leaseTime is how long a worker may hold a delivery. It is longer than any
// transaction may last, so that no copy is ever sent by two workers.
const leaseTime = 45 * time.Minute

// recoverWithin: an attempt cut off by the hub's own stop is retried this soon
// after the start.
const recoverWithin = 5 * time.Second

// Wake gives a value when copies were queued: a hint, also look at NextDue.
func (h *Hub) Wake() <-chan struct{} { return h.store.Wake(lanePrefixOut) }

// Lanes lists the lanes ("out:<domain>") with a copy due now.
func (h *Hub) Lanes(ctx context.Context) ([]string, error) {
	var lanes []string
	err := h.view(ctx, func(v store.View) error {
		var err error
		lanes, err = v.Lanes(lanePrefixOut, h.o.Now())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing lanes: %w", err)
	}
	return lanes, nil
}

// NextDue is when the next copy is due; zero if none is queued.
func (h *Hub) NextDue(ctx context.Context) (time.Time, error) {
	var next time.Time
	err := h.view(ctx, func(v store.View) error {
		var err error
		next, err = v.NextDue(lanePrefixOut)
		return err
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("asking when a copy is due: %w", err)
	}
	return next, nil
}

// ClaimDeliveries leases up to max copies of a lane and records an attempt for
// each before it returns. What a crash of the machine takes back of that is an
// attempt that does not count, and would not have in any case: see Recover.
// Copies whose members have lost their right to them meanwhile are cancelled
// here.
func (h *Hub) ClaimDeliveries(ctx context.Context, lane string, max int) ([]Job, error) {
	var (
		jobs []Job
		of   []*store.Message // those the jobs are copies of
	)
	err := h.commitSoon(ctx, func(tx store.Tx) error {
		jobs = jobs[:0]
		items, err := tx.Claim(lane, h.o.Now(), leaseTime, h.o.Instance, max)
		if err != nil {
			return err
		}
		of = of[:0]
		v := &neighbours{View: tx}
		for _, it := range items {
			job, err := h.begin(tx, v, it)
			if err != nil {
				return err
			}
			if job != nil {
				jobs, of = append(jobs, *job), append(of, v.m)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("claiming copies: %w", err)
	}
	for i := range jobs {
		if jobs[i].Delivery.Notice == nil {
			jobs[i].opening = h.openings.claimed(of[i])
		}
	}
	return jobs, nil
}

// neighbours reads once what copies that are next to each other in the queue
// have in common.
type neighbours struct {
	store.View
	p *store.Pathway
	m *store.Message
}

func (n *neighbours) Pathway(c store.PathwayCode) (p *store.Pathway, err error) {
	if n.p == nil || n.p.Code != c {
		if p, err = n.View.Pathway(c); err != nil {
			return nil, err
		}
		n.p = p
	}
	return n.p, nil
}

func (n *neighbours) Message(c store.PathwayCode, id store.MessageID) (m *store.Message, err error) {
	if n.m == nil || n.m.ID != id || n.m.Pathway != c {
		if m, err = n.View.Message(c, id); err != nil {
			return nil, err
		}
		n.m = m
	}
	return n.m, nil
}

// begin records an attempt, or what makes one needless. v reads for tx.
func (h *Hub) begin(tx store.Tx, v store.View, it store.Item) (*Job, error) {
	d, err := tx.Delivery(it.Delivery)
	if errors.Is(err, store.ErrNotFound) {
		return nil, tx.DropItem(it)
	}
	if err != nil {
		return nil, fmt.Errorf("reading delivery %s: %w", it.Delivery, err)
	}
	if d.State.Over() || d.State == store.OnHold {
		return nil, tx.DropItem(it)
	}
	if d.Notice != nil {
		if muted, err := h.muted(tx, d.Pathway, d.Mailbox, d.Created); err != nil || muted {
			if err != nil {
				return nil, err
			}
			return nil, h.cancel(tx, d, it, string(whyDeceased))
		}
	} else {
		why, err := h.mayStillGo(v, d)
		switch {
		case err != nil:
			return nil, err
		case why != "":
			return nil, h.cancel(tx, d, it, string(why))
		}
	}
	d.Attempts++
	d.State = store.Sending
	d.Next = h.o.Now().Add(h.backoff(d.Attempts))
	if err := tx.PutDelivery(d); err != nil {
		return nil, fmt.Errorf("recording an attempt of %s: %w", d.ID, err)
	}
	return &Job{Delivery: *d, Item: it, Attempt: d.Attempts}, nil
}

// What was posted before a pathway was suspended or closed still goes: it was
// acknowledged. Erasing is another matter.
const whyErasing why = "erasing"

// mayStillGo asks the rights function again for a queued copy: "" when at
// least one of its members may still have it, else why none may.
func (h *Hub) mayStillGo(v store.View, d *store.Delivery) (why, error) {
	p, err := v.Pathway(d.Pathway)
	if err != nil {
		return "", fmt.Errorf("reading pathway %s: %w", d.Pathway, err)
	}
	m, err := v.Message(d.Pathway, d.Message)
	if errors.Is(err, store.ErrNotFound) {
		return whyRetracted, nil
	}
	if err != nil {
		return "", fmt.Errorf("reading message %s: %w", d.Message, err)
	}
	if p.Status == store.PathwayErasing {
		return whyErasing, nil
	}
	prog, err := h.programme(p.Programme)
	if err != nil {
		return "", err
	}
	last := whyLeft
	for _, id := range d.Members {
		mem := member(p, id)
		if mem == nil {
			continue
		}
		if !p.Deceased.IsZero() && readByFamily(p, prog, mem, h.o.Now()) {
			return whyDeceased, nil
		}
		v := h.maySee(p, prog, mem, m, h.o.Now())
		if v.ok {
			return "", nil
		}
		last = v.why
	}
	return last, nil
}

// cancel ends a copy that must not go any more.
func (h *Hub) cancel(tx store.Tx, d *store.Delivery, it store.Item, reason string) error {
	d.State, d.Ended, d.LastError = store.Cancelled, h.o.Now(), reason
	if err := tx.PutDelivery(d); err != nil {
		return fmt.Errorf("cancelling %s: %w", d.ID, err)
	}
	if err := tx.DropItem(it); err != nil {
		return fmt.Errorf("cancelling %s: %w", d.ID, err)
	}
	return h.trace(tx, hubActor, "delivery.cancelled", d.Pathway, string(d.ID), outcomeDone, map[string]string{"why": reason})
}

// backoff is how long to wait after the n-th attempt: the schedule with up to
// a fifth taken off at random, so that copies refused together do not come
// back together.
func (h *Hub) backoff(n int) time.Duration {
	steps := h.o.Retry.Steps
	if len(steps) == 0 {
		steps = defaultRetry
	}
	step := steps[min(n, len(steps))-1]
	if n == 1 {
		step = min(step, 25*time.Second) // the first retry comes within 30 s
	}
	return step - h.jitter(step/5)
}

var defaultRetry = []time.Duration{
	20 * time.Second, 2 * time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour,
}

const defaultGiveUp = 48 * time.Hour

// jitter draws a duration below d.
func (h *Hub) jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(h.ids.draw() % uint64(d))
}

// Recover takes up what the last stop or crash of the hub cut off: such an
// attempt does not count and the copy is due again within 5 s. Call it once,
// before any worker runs.
func (h *Hub) Recover(ctx context.Context) error {
	var leased []store.Item
	err := h.view(ctx, func(v store.View) error {
		var err error
		leased, err = v.Leased()
		return err
	})
	if err != nil {
		return fmt.Errorf("listing leases: %w", err)
	}
	for chunk := range slices.Chunk(leased, 500) {
		err := h.commit(ctx, func(tx store.Tx) error {
			for _, it := range chunk {
				if err := h.takeUp(tx, it); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("taking up interrupted work: %w", err)
		}
	}
	return nil
}

func (h *Hub) takeUp(tx store.Tx, it store.Item) error {
	now := h.o.Now()
	it.Due = now.Add(h.jitter(recoverWithin / 2))
	if it.Delivery == "" {
		it.Due = now
		return tx.PutItem(it)
	}
	d, err := tx.Delivery(it.Delivery)
	if errors.Is(err, store.ErrNotFound) {
		return tx.DropItem(it)
	}
	if err != nil {
		return fmt.Errorf("reading delivery %s: %w", it.Delivery, err)
	}
	if d.State == store.Sending {
		d.State, d.Next = store.Queued, it.Due
		d.Attempts = max(0, d.Attempts-1)
		if err := tx.PutDelivery(d); err != nil {
			return fmt.Errorf("taking up delivery %s: %w", d.ID, err)
		}
	}
	return tx.PutItem(it)
}
