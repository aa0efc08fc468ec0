package mailbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/relais-sante/relais/store"
)

// What time does to held mail.

// triageTimer announces a held message again, or gives it up.
func (h *Hub) triageTimer(ctx context.Context, it store.Item) error {
	var gone store.HeldID
	err := h.change(ctx, func(tx store.Tx) error {
		gone = ""
		held, err := tx.Held(it.Held)
		if errors.Is(err, store.ErrNotFound) {
			return tx.DropItem(it)
		}
		if err != nil {
			return fmt.Errorf("reading held message %s: %w", it.Held, err)
		}
		p, err := h.addressed(tx, held)
		if err != nil {
			return err
		}
		if p != nil && !p.Deceased.IsZero() {
			return tx.DropItem(it) // it waits for a human, without a word
		}
		now := h.o.Now()
		if !now.Before(h.heldUntil(held)) {
			gone = held.ID
			if err := tx.DropItem(it); err != nil {
				return err
			}
			held.Item = ""
			return h.expire(tx, held, nil)
		}
		if held.Alerts < 2 {
			err = h.announce(tx, held, true)
		} else {
			err = h.toAnyDesk(tx, h.toStaff(held, p, true))
		}
		if err != nil {
			return err
		}
		held.Alerts++
		if err := tx.UpdateHeld(held); err != nil {
			return fmt.Errorf("writing held message %s: %w", held.ID, err)
		}
		again := it
		again.Due = h.nextAlert(held, now)
		if err := tx.PutItem(again); err != nil {
			return err
		}
		return h.trace(tx, hubActor, "triage.announced", held.Addressed, string(held.ID), outcomeDone, nil)
	})
	if err == nil && gone != "" {
		h.forget(ctx, gone)
	}
	return err
}

// expire gives up a held message, in time or as its pathway takes no more mail:
// its sender and the desk are told.
func (h *Hub) expire(tx store.Tx, held *store.Held, refused *Refusal) error {
	if err := h.tellNotTransmitted(tx, held, ending{refused: refused}); err != nil {
		return err
	}
	return h.discard(tx, hubActor, held, "triage.expired")
}
