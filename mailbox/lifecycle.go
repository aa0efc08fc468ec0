package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/relais-sante/relais/store"
)

// The status of a pathway, and what follows from a change of rights: queued
// copies cancelled in the same commit, held mail released (or given up) by a
// timer.

// SuspendPathway holds what is posted until the pathway is reopened. Copies
// already queued go on: they were posted before.
func (h *Hub) SuspendPathway(ctx context.Context, by Actor, r StatusChange) (PathwayView, error) {
	return h.changeStatus(ctx, by, r, store.PathwaySuspended, "pathway.suspended")
}

// ClosePathway ends a pathway: what is posted from now on is refused. Copies
// already queued go on; mail held for want of consent, or because the pathway
// was suspended, is given up and its senders told. If the patient has died
// nothing goes by itself any more, see death.go.
func (h *Hub) ClosePathway(ctx context.Context, by Actor, r StatusChange) (PathwayView, error) {
	return h.changeStatus(ctx, by, r, store.PathwayClosed, "pathway.closed")
}

// ReopenPathway opens a suspended or closed pathway again, unless its child is
// followed under another code by now.
func (h *Hub) ReopenPathway(ctx context.Context, by Actor, r StatusChange) (PathwayView, error) {
	return h.changeStatus(ctx, by, r, store.PathwayOpen, "pathway.reopened")
}

// before lists the statuses from which one may be reached.
var before = map[store.PathwayStatus][]store.PathwayStatus{
	store.PathwaySuspended: {store.PathwayOpen},
	store.PathwayClosed:    {store.PathwayOpen, store.PathwaySuspended},
	store.PathwayOpen:      {store.PathwaySuspended, store.PathwayClosed},
}

func (h *Hub) changeStatus(ctx context.Context, by Actor, r StatusChange, to store.PathwayStatus, action string) (PathwayView, error) {
	if err := lines("reason", &r.Reason); err != nil {
		return PathwayView{}, err
	}
	died := to == store.PathwayClosed && (r.Deceased || ofDeath(r.Reason))
	if died && r.FIN {
		return PathwayView{}, fail("close-fin-death", map[string]any{"pathway": r.Pathway})
	}
	var view PathwayView
	err := h.change(ctx, func(tx store.Tx) error {
		p, err := liveNamed(tx, by, r.Pathway)
		if err != nil {
			return err
		}
		if !slices.Contains(before[to], p.Status) {
			return fail("pathway-status-"+string(p.Status), map[string]any{"pathway": string(p.Code)})
		}
		if to == store.PathwayOpen {
			if err := alone(tx, p); err != nil {
				return err
			}
		}
		wasDead := !p.Deceased.IsZero()
		p.Status, p.Deceased = to, time.Time{}
		if died {
			p.Deceased = h.o.Now()
		}
		p.Events = append(p.Events, store.Event{At: h.o.Now(), By: by.Name, Status: to, Reason: r.Reason})
		if err := h.save(tx, p); err != nil {
			return err
		}
		view = h.pathwayView(p)
		switch {
		case died:
			if err := h.silence(tx, p); err != nil {
				return err
			}
			if view.Warnings, err = followedElsewhere(tx, p); err != nil {
				return err
			}
		case to != store.PathwaySuspended:
			if err := h.releaseLater(tx, p); err != nil {
				return err
			}
		}
		if wasDead {
			if err := h.wake(tx, p); err != nil {
				return err
			}
		}
		if r.FIN {
			if err := h.endExchanges(tx, p, &view); err != nil {
				return err
			}
		}
		return h.trace(tx, by, action, p.Code, "", outcomeDone, nil)
	})
	return view, h.refusedNaming(ctx, by, action, err)
}

// waitsForPathway reports whether a message is held only until its pathway's
// state changes.
func waitsForPathway(held *store.Held) bool {
	return held.Reason == reasonConsent || held.Reason == reasonSuspended
}

// releaseLater queues the release of what waited for this change.
func (h *Hub) releaseLater(tx store.Tx, p *store.Pathway) error {
	held, err := tx.HeldOfPathway(p.Code)
	if err != nil {
		return fmt.Errorf("listing what is held for %s: %w", p.Code, err)
	}
	if !slices.ContainsFunc(held, waitsForPathway) {
		return nil
	}
	now := h.o.Now()
	item := store.Item{ID: store.ItemID(h.ids.next(now)), Lane: laneRelease, Due: now, Pathway: p.Code}
	if err := tx.PutItem(item); err != nil {
		return fmt.Errorf("queueing the release of what is held for %s: %w", p.Code, err)
	}
	return nil
}

// cancelUnentitled cancels the queued copies of a pathway for which nobody at
// the box may see the message any more, as the one rights function says.
// What is being sent this moment cannot be stopped. reason is a word.
func (h *Hub) cancelUnentitled(tx store.Tx, p *store.Pathway, reason string) ([]*store.Delivery, error) {
	prog, err := h.programme(p.Programme)
	if err != nil && !errors.Is(err, ErrNoProgramme) {
		return nil, err
	}
	now := h.o.Now()
	var cancelled []*store.Delivery
	messages := map[store.MessageID]*store.Message{}
	err = h.eachLive(tx, p.Code, func(d *store.Delivery) error {
		if d.Notice != nil || !waiting(d) {
			return nil
		}
		m := messages[d.Message]
		if m == nil {
			var err error
			if m, err = tx.Message(p.Code, d.Message); err != nil {
				return fmt.Errorf("reading message %s: %w", d.Message, err)
			}
			messages[d.Message] = m
		}
		for _, id := range d.Members {
			// Without its programme nobody knows who may see what: nobody may.
			mem := member(p, id)
			if prog != nil && mem != nil && mem.Mailbox == d.Mailbox && h.maySee(p, prog, mem, m, now).ok {
				return nil
			}
		}
		cancelled = append(cancelled, d)
		return h.cancelCopy(tx, d, reason)
	})
	return cancelled, err
}

// eachLive gives fn every delivery of a pathway that is not over or has failed,
// as they were before fn changed any.
func (h *Hub) eachLive(v store.View, code store.PathwayCode, fn func(*store.Delivery) error) error {
	live, err := v.DeliveriesOfPathway(code)
	if err != nil {
		return fmt.Errorf("listing the queue of %s: %w", code, err)
	}
	for _, d := range live {
		if err := fn(d); err != nil {
			return err
		}
	}
	return nil
}

// waiting reports whether a delivery may still be cancelled: nobody is sending
// it now.
func waiting(d *store.Delivery) bool { return d.State == store.Queued || d.State == store.OnHold }

// cancelCopy ends a delivery that waits. reason is a word.
func (h *Hub) cancelCopy(tx store.Tx, d *store.Delivery, reason string) error {
	if err := h.unqueue(tx, d); err != nil {
		return err
	}
	d.State, d.Ended, d.LastError = store.Cancelled, h.o.Now(), reason
	if err := tx.PutDelivery(d); err != nil {
		return fmt.Errorf("cancelling delivery %s: %w", d.ID, err)
	}
	return nil
}

// unqueue takes a delivery's item out of the queue, if it is there.
func (h *Hub) unqueue(tx store.Tx, d *store.Delivery) error {
	if d.Item == "" {
		return nil
	}
	item, err := tx.Item(d.Item)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the queue place of %s: %w", d.ID, err)
	}
	item.Token = 0 // nobody's lease: the delivery's state says that nobody sends it
	if err := tx.DropItem(*item); err != nil {
		return fmt.Errorf("unqueueing delivery %s: %w", d.ID, err)
	}
	return nil
}
