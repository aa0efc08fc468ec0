package mailbox

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/store"
)

// A hub that comes back from a backup or a salvage does not know what happened
// since. What it would send again may have gone out; whom it would tell that a
// message waits too long may have had it assigned.

// Restored says on a hub's first start what it came back from.
type Restored struct {
	Action string // store.restored, store.salvaged
	Object string // generation of the backup
	Detail map[string]string
	Resume bool // copies go out again by themselves
}

// lastRestored is why a copy is on hold: its outcome is not known.
const lastRestored = "restored"

// TakeUpRestored puts every copy that is not over on hold, unless told to go on,
// and lets the waiting of held mail begin anew. It may run again after a crash.
// Call it before any worker runs. It returns how many copies are on hold now.
func (h *Hub) TakeUpRestored(ctx context.Context, r Restored) (int, error) {
	held := 0
	after := store.DeliveryID("")
	for more := !r.Resume; more; {
		var page []*store.Delivery
		err := h.change(ctx, func(tx store.Tx) (err error) {
			if page, err = tx.DeliveryList(after, listPage); err != nil {
				return err
			}
			for _, d := range page {
				if d.State.Over() || d.State == store.Failed || d.State == store.OnHold {
					continue
				}
				if err := h.unqueue(tx, d); err != nil {
					return err
				}
				d.State, d.Next, d.LastError = store.OnHold, time.Time{}, lastRestored
				if err := putDelivery(tx, d); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return held, fmt.Errorf("holding restored copies: %w", err)
		}
		for _, d := range page {
			after = d.ID
			if d.State == store.OnHold {
				held++
			}
		}
		more = len(page) == listPage
	}
	if err := h.waitAnew(ctx); err != nil {
		return held, err
	}
	detail := map[string]string{"held": fmt.Sprint(held)}
	for k, v := range r.Detail {
		detail[k] = v
	}
	return held, h.change(ctx, func(tx store.Tx) error {
		return h.trace(tx, hubActor, r.Action, "", r.Object, outcomeDone, detail)
	})
}

// waitAnew lets held mail wait from now on.
func (h *Hub) waitAnew(ctx context.Context) error {
	after := store.HeldID("")
	for {
		var page []*store.Held
		err := h.change(ctx, func(tx store.Tx) (err error) {
			if page, err = tx.HeldList(after, listPage); err != nil {
				return err
			}
			for _, m := range page {
				m.Since = h.o.Now()
				if m.Item == "" {
					continue
				}
				if err := tx.UpdateHeld(m); err != nil {
					return err
				}
				if err := tx.PutItem(store.Item{ID: m.Item, Lane: laneTriage, Due: h.nextAlert(m, h.o.Now()), Held: m.ID}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("letting held messages wait anew: %w", err)
		}
		if len(page) < listPage {
			return nil
		}
		after = page[len(page)-1].ID
	}
}

// Record traces what an operator did with the hub as a whole.
func (h *Hub) Record(ctx context.Context, by Actor, action, object string, done bool, detail map[string]string) error {
	outcome := outcomeDone
	if !done {
		outcome = outcomeFailed
	}
	return h.change(ctx, func(tx store.Tx) error { return h.trace(tx, by, action, "", object, outcome, detail) })
}

// IndexOf makes the stored index of a mail again from its bytes.
func IndexOf(r io.Reader) ([]byte, error) {
	reading, err := letter.Read(r, letter.Limits{})
	if err != nil {
		return nil, fmt.Errorf("reading a message again: %w", err)
	}
	b, err := cbor.Marshal(reading.Index)
	if err != nil {
		return nil, fmt.Errorf("writing the index of a message: %w", err)
	}
	return b, nil
}
