package mailbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/store"
)

// The queue as an administrator works it: deliveries that are not over, and
// those that failed until somebody drops them.

// Queue lists deliveries in the order they were made.
func (h *Hub) Queue(ctx context.Context, by Actor, f QueueFilter) ([]QueueView, error) {
	views := []QueueView{}
	if err := oneOf("state", f.State, store.Queued, store.Sending, store.Sent, store.Failed, store.Partial, store.OnHold, store.Cancelled); err != nil {
		return nil, err
	}
	if f.Pathway = strings.ToLower(strings.TrimSpace(f.Pathway)); f.Pathway != "" && !identity.CheckCode(f.Pathway) {
		return nil, fail("pathway-code", map[string]any{"pathway": f.Pathway})
	}
	box := store.NewAddress(f.Mailbox)
	after := store.DeliveryID(f.After)
	programmes := map[store.PathwayCode]bool{}
	var codes []store.PathwayCode
	for {
		var page []*store.Delivery
		err := h.view(ctx, func(v store.View) (err error) {
			if page, err = v.DeliveryList(after, listPage); err != nil {
				return err
			}
			for _, d := range page {
				if _, known := programmes[d.Pathway]; !known {
					if programmes[d.Pathway], err = by.mayPathway(v, d.Pathway); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("listing the queue: %w", err)
		}
		for _, d := range page {
			after = d.ID
			if !programmes[d.Pathway] || f.Pathway != "" && string(d.Pathway) != f.Pathway || box != "" && d.Mailbox != box || f.State != "" && string(d.State) != f.State {
				continue
			}
			views = append(views, h.queueView(d))
			if d.Pathway != "" {
				codes = append(codes, d.Pathway)
			}
			if f.Limit > 0 && len(views) >= f.Limit {
				return views, h.seenList(ctx, by, "queue.listed", codes)
			}
		}
		if len(page) < listPage {
			return views, h.seenList(ctx, by, "queue.listed", codes)
		}
	}
}

// QueueEntry shows one delivery, over or not.
func (h *Hub) QueueEntry(ctx context.Context, by Actor, id string) (QueueView, error) {
	return h.onDelivery(ctx, by, id, "queue.read", func(store.Tx, *store.Delivery) error { return nil })
}

// RetryDelivery makes a delivery due now: one that waits for its next attempt,
// is on hold, or has failed. Rights are checked again when it is claimed.
func (h *Hub) RetryDelivery(ctx context.Context, by Actor, r QueueRequest) (QueueView, error) {
	return h.onDelivery(ctx, by, r.ID, "delivery.retried", func(tx store.Tx, d *store.Delivery) error {
		if d.State != store.Failed && !waiting(d) {
			return notNow(d)
		}
		if d.State != store.Queued {
			d.Since, d.Told = h.o.Now(), false
		}
		if err := h.unqueue(tx, d); err != nil {
			return err
		}
		d.State, d.Next, d.Ended, d.LastError = store.Queued, h.o.Now(), time.Time{}, ""
		if d.Item == "" {
			d.Item = store.ItemID(h.ids.next(h.o.Now()))
		}
		return h.put(tx, []*store.Delivery{d})
	})
}

// HoldDelivery stops a delivery until it is retried or dropped by hand.
func (h *Hub) HoldDelivery(ctx context.Context, by Actor, r QueueRequest) (QueueView, error) {
	return h.onDelivery(ctx, by, r.ID, "delivery.held", func(tx store.Tx, d *store.Delivery) error {
		if d.State != store.Queued {
			return notNow(d)
		}
		if err := h.unqueue(tx, d); err != nil {
			return err
		}
		d.State, d.Next = store.OnHold, time.Time{}
		return putDelivery(tx, d)
	})
}

// DropDelivery gives a delivery up by hand. Its author is told, if not already.
func (h *Hub) DropDelivery(ctx context.Context, by Actor, r QueueRequest) (QueueView, error) {
	return h.onDelivery(ctx, by, r.ID, "delivery.dropped", func(tx store.Tx, d *store.Delivery) error {
		if d.State != store.Failed && !waiting(d) {
			return notNow(d)
		}
		if err := h.cancelCopy(tx, d, droppedByHand); err != nil {
			return err
		}
		if d.Notice != nil { // a notice never makes another
			return nil
		}
		p, m, err := h.postOf(tx, d)
		if err != nil || m == nil {
			return err
		}
		return h.tellNotDelivered(tx, p, m, []*store.Delivery{d})
	})
}

// onDelivery reads a delivery, lets fn change it, and shows what came of it.
func (h *Hub) onDelivery(ctx context.Context, by Actor, id, action string, fn func(store.Tx, *store.Delivery) error) (QueueView, error) {
	var view QueueView
	key := store.DeliveryID(strings.ToLower(strings.TrimSpace(id)))
	err := h.change(ctx, func(tx store.Tx) error {
		d, err := tx.Delivery(key)
		if errors.Is(err, store.ErrNotFound) {
			return fail("delivery-unknown", map[string]any{"id": id})
		}
		if err != nil {
			return fmt.Errorf("reading delivery %s: %w", key, err)
		}
		if may, err := by.mayPathway(tx, d.Pathway); err != nil {
			return err
		} else if !may {
			return by.outside()
		}
		if err := fn(tx, d); err != nil {
			return err
		}
		view = h.queueView(d)
		return h.trace(tx, by, action, d.Pathway, string(d.ID), outcomeDone, nil)
	})
	return view, err
}

// notNow says why a delivery cannot be acted on.
func notNow(d *store.Delivery) error {
	if d.State == store.Sending {
		return fail("delivery-sending", map[string]any{"id": string(d.ID)})
	}
	return fail("delivery-state", map[string]any{"id": string(d.ID), "state": string(d.State)})
}

func putDelivery(tx store.Tx, d *store.Delivery) error {
	if err := tx.PutDelivery(d); err != nil {
		return fmt.Errorf("writing delivery %s: %w", d.ID, err)
	}
	return nil
}

func (h *Hub) queueView(d *store.Delivery) QueueView {
	return QueueView{
		ID: string(d.ID), Mailbox: h.shownBox(d.Mailbox), Pathway: string(d.Pathway), State: string(d.State),
		Attempts: d.Attempts, NextAttempt: nextAttempt(d), LastError: d.LastError, Message: string(d.Message),
		Kind: deliveryKind(d), Created: d.Created,
	}
}

// nextAttempt is when a delivery will be tried, or nil if nothing is planned.
func nextAttempt(d *store.Delivery) *time.Time {
	if d.State != store.Queued || d.Next.IsZero() {
		return nil
	}
	return &d.Next
}
