package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/seal"
)

// The steps of an erasure after its first commit, each of which may be begun
// again.

// erasePage is how many messages one commit of an erasure removes: others wait
// for it.
const erasePage = 50

func (h *Hub) eraseTimer(ctx context.Context, it store.Item) error { return h.erase(ctx, it) }

// erase goes on with an erasure, from wherever it is.
func (h *Hub) erase(ctx context.Context, it store.Item) error {
	h.erasing.Lock()
	defer h.erasing.Unlock()
	var e *store.Erasure
	err := h.view(ctx, func(v store.View) (err error) {
		e, err = erasureOf(v, it.Pathway)
		return err
	})
	switch {
	case err != nil:
		return err
	case e == nil || e.State == store.ErasureDone:
		return h.change(ctx, func(tx store.Tx) error { return tx.DropItem(store.Item{ID: it.ID}) })
	}
	if e.State == store.ErasureListing {
		if err := h.listErased(ctx, e); err != nil {
			return fmt.Errorf("gathering the proof for %s: %w", e.Code, err)
		}
	}
	if e.State == store.ErasurePurging {
		if err := h.purgeErased(ctx, e); err != nil {
			return err
		}
	}
	after, err := h.store.Forget(ctx, e.Owners)
	h.forgetReading(append([]store.PathwayCode{e.Code}, e.With...), e.Owners) // be the end of the keys owed or not
	if away, why := waitsFor(err); why != "" {
		return h.eraseWaits(ctx, it, e, away, why)
	}
	if err != nil {
		return fmt.Errorf("forgetting the keys of %s: %w", e.Code, err)
	}
	return h.proveErased(ctx, it, e, after)
}

// waitsFor tells what an erasure has to wait for, if it has.
func waitsFor(err error) (place, why string) {
	var away *seal.Away
	switch {
	case errors.As(err, &away):
		return away.Place, "place"
	case errors.Is(err, seal.ErrHubSwitch):
		return "", "hub-key"
	}
	return "", ""
}

// listErased does step 2.
func (h *Hub) listErased(ctx context.Context, e *store.Erasure) error {
	found := *e
	private := map[store.Address]bool{} // whether a copy went there
	for _, code := range append([]store.PathwayCode{e.Code}, e.With...) {
		if err := h.listPathway(ctx, code, &found, private); err != nil {
			return err
		}
	}
	for _, copied := range private {
		if copied {
			found.Unnamed++
		}
	}
	slices.Sort(found.Boxes)
	found.Boxes = slices.Compact(found.Boxes)
	slices.Sort(found.Remains)
	found.Remains = slices.Compact(found.Remains)
	found.State = store.ErasurePurging
	if err := h.change(ctx, func(tx store.Tx) error { return tx.PutErasure(&found) }); err != nil {
		return err
	}
	*e = found
	return nil
}

// listPathway gathers of one pathway: where copies went, the keys its messages
// were held under, and where messages that were moved here are still withdrawn.
func (h *Hub) listPathway(ctx context.Context, code store.PathwayCode, e *store.Erasure, private map[store.Address]bool) error {
	var p *store.Pathway
	err := h.view(ctx, func(v store.View) (err error) {
		p, err = v.Pathway(code)
		return err
	})
	if err != nil {
		return err
	}
	prog, _ := h.programme(p.Programme)
	for _, a := range relatives(p, prog) {
		if !private[a] {
			private[a] = false // none went there so far
		}
	}
	var after uint64
	for {
		var page []*store.Message
		err := h.view(ctx, func(v store.View) error {
			var err error
			if page, err = v.Thread(code, after, listPage); err != nil {
				return err
			}
			for _, m := range page {
				ds, err := v.Deliveries(code, m.ID)
				if err != nil {
					return err
				}
				for _, d := range ds {
					if d.Notice != nil || !mayHaveCopy(d) {
						continue
					}
					if _, of := private[d.Mailbox]; of {
						private[d.Mailbox] = true
					} else {
						e.Boxes = append(e.Boxes, d.Mailbox)
					}
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, m := range page {
			after = m.Seq
			if m.Held != "" {
				e.Owners = append(e.Owners, store.Owner{Kind: store.OwnedByTriage, ID: string(m.Held)})
			}
			if m.Retracted == nil || m.Retracted.To == nil {
				e.Messages++
			}
		}
		if len(page) < listPage {
			break
		}
	}
	return h.view(ctx, func(v store.View) error {
		traces, err := v.TracesOfPathway(code, 0, 0)
		if err != nil {
			return err
		}
		for _, t := range traces {
			from := store.MessageID(t.Detail["from"])
			if t.Action != "message.filed" || from == "" {
				continue
			}
			if c, err := v.Locate(from); err == nil && c != e.Code && !slices.Contains(e.With, c) {
				e.Remains = append(e.Remains, c)
			}
		}
		return nil
	})
}

// mayHaveCopy reports whether a box may have got a copy: in doubt, it has.
func mayHaveCopy(d *store.Delivery) bool {
	switch d.State {
	case store.Sent, store.Partial, store.Sending:
		return true
	}
	return d.Attempts > 0
}

// purgeErased does step 3.
func (h *Hub) purgeErased(ctx context.Context, e *store.Erasure) error {
	for _, code := range append(slices.Clone(e.With), e.Code) {
		for done := false; !done; {
			err := h.change(ctx, func(tx store.Tx) (err error) {
				done, err = h.purgePage(tx, e, code)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	err := h.change(ctx, func(tx store.Tx) error {
		now, err := tx.Erasure(e.Code)
		if err != nil {
			return err
		}
		now.State = store.ErasureForgetting
		*e = *now
		return tx.PutErasure(now)
	})
	if err != nil {
		return fmt.Errorf("writing the erasure of %s: %w", e.Code, err)
	}
	return nil
}

// purgePage removes a page of a pathway; with the last also the boxes of the
// child and the family that no other pathway has.
func (h *Hub) purgePage(tx store.Tx, e *store.Erasure, code store.PathwayCode) (bool, error) {
	p, err := tx.Pathway(code)
	if errors.Is(err, store.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	done, err := tx.PurgePathway(code, erasePage)
	if err != nil || !done {
		return false, err
	}
	prog, _ := h.programme(p.Programme)
	now, err := tx.Erasure(e.Code)
	if err != nil {
		return false, err
	}
	for _, a := range relatives(p, prog) {
		others, err := tx.PathwaysOfBox(a)
		if err != nil {
			return false, fmt.Errorf("looking up a box: %w", err)
		}
		if len(others) > 0 {
			continue
		}
		owners, err := tx.DropBox(a)
		if err != nil {
			return false, err
		}
		now.Owners = append(now.Owners, owners...)
	}
	return true, tx.PutErasure(now)
}

// eraseWaits notes what an erasure waits for, and looks again later.
func (h *Hub) eraseWaits(ctx context.Context, it store.Item, e *store.Erasure, place, why string) error {
	err := h.change(ctx, func(tx store.Tx) error {
		now, err := tx.Erasure(e.Code)
		if err != nil {
			return err
		}
		if now.Waits == place && now.Why == why {
			return nil
		}
		now.Waits, now.Why = place, why
		if err := tx.PutErasure(now); err != nil {
			return err
		}
		return h.trace(tx, hubActor, "pathway.erasing", e.Code, "", "waits", map[string]string{"place": place, "for": why})
	})
	if err != nil {
		return err
	}
	return h.eraseLater(ctx, it, eraseAgain)
}

func (h *Hub) eraseLater(ctx context.Context, it store.Item, wait time.Duration) error {
	it.Due, it.Token = h.o.Now().Add(wait), 0
	return h.change(ctx, func(tx store.Tx) error { return tx.PutItem(it) })
}
