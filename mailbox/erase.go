package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// Erasing a pathway, for good and from every copy. What is kept says that it was
// erased, and how (see erase_proof.go).
//
//  1. One commit sets the state, stops the queue, gives back what was held for
//     it, and sets a timer: from here on no crash leaves it half done, and mail
//     for it is for nobody. Pathways merged with it go with it: they hold copies
//     of the same messages.
//  2. What the proof says is gathered while it can still be read.
//  3. The rows go, with all they are found by; the files of large messages.
//  4. The keys go, everywhere (store.Forget): a new epoch without them is copied
//     to every place and read back before the old one ends. A place that is away
//     is waited for.
//  5. One commit writes the proof.
//
// A pathway may be erased whatever its status: whoever asks for it has a right
// to it, and the confirmation says what is lost. It is not the way to end one:
// closing keeps what the law has kept.

// ErasureRequest asks for a pathway to be erased.
type ErasureRequest struct {
	Pathway string `json:"pathway"`
	// Reason stays in the proof, and may name nobody.
	Reason string `json:"reason,omitempty"`
}

// eraseWait is how long the timer of an erasure leaves to whoever asked for it;
// eraseAgain, how long after a place was away it is looked for again.
const (
	eraseWait  = 10 * time.Minute
	eraseAgain = time.Minute
)

// ErasePathway erases a pathway. Where a place of copies is away the rest is
// done all the same, and the view says what is waited for. Asked again it goes
// on, or shows the proof.
func (h *Hub) ErasePathway(ctx context.Context, by Actor, r ErasureRequest) (ErasureView, error) {
	item, err := h.beginErasure(ctx, by, r)
	if err != nil {
		return ErasureView{}, err
	}
	if item != nil {
		if err := h.erase(ctx, *item); err != nil {
			return ErasureView{}, errors.Join(err, h.eraseLater(context.WithoutCancel(ctx), *item, timerRetry))
		}
	}
	view, err := h.Pathway(ctx, by, r.Pathway)
	if err != nil || view.Erasure == nil {
		return ErasureView{}, errors.Join(err, store.ErrNotFound)
	}
	return *view.Erasure, nil
}

// beginErasure does step 1; no item: it is done already.
func (h *Hub) beginErasure(ctx context.Context, by Actor, r ErasureRequest) (*store.Item, error) {
	if err := lines("reason", &r.Reason); err != nil {
		return nil, err
	}
	var item *store.Item
	err := h.change(ctx, func(tx store.Tx) error {
		item = nil
		e, err := erasureOf(tx, store.PathwayCode(strings.ToLower(strings.TrimSpace(r.Pathway))))
		if err != nil {
			return err
		}
		if e != nil {
			if err := by.within(e.Programme); err != nil {
				return err
			}
			if e.State != store.ErasureDone {
				item = h.eraseItem(e)
				return tx.PutItem(*item)
			}
			return nil
		}
		group, err := h.mergedGroup(tx, by, r.Pathway)
		if err != nil {
			return err
		}
		if err := namesNobody(r.Reason, group); err != nil {
			return err
		}
		now := h.o.Now().UTC().Truncate(time.Second)
		root := group[0]
		e = &store.Erasure{
			Code: root.Code, State: store.ErasureListing, Asked: now, By: by.Name, Reason: r.Reason, Programme: root.Programme,
		}
		for _, p := range group {
			removed, err := h.stop(tx, p, by, e)
			if err != nil {
				return err
			}
			e.Removed += removed
			e.Owners = append(e.Owners, store.Owner{Kind: store.OwnedByPathway, ID: string(p.Code)})
			if p != root {
				e.With = append(e.With, p.Code)
				if err := tx.PutErasure(&store.Erasure{Code: p.Code, Into: root.Code, State: e.State, Asked: now}); err != nil {
					return err
				}
			}
		}
		if h.o.Keys != nil {
			e.EpochBefore, _ = h.o.Keys.Epoch()
		}
		if err := tx.PutErasure(e); err != nil {
			return err
		}
		item = h.eraseItem(e)
		if err := tx.PutItem(*item); err != nil {
			return fmt.Errorf("setting the timer of an erasure: %w", err)
		}
		return h.trace(tx, by, "pathway.erasing", root.Code, "", outcomeDone, nil)
	})
	return item, err
}

// eraseItem is the timer of an erasure: should whoever asked for it not get to
// its end, it does.
func (h *Hub) eraseItem(e *store.Erasure) *store.Item {
	return &store.Item{ID: store.ItemID("erase-" + e.Code), Lane: laneErase, Due: h.o.Now().Add(eraseWait), Pathway: e.Code}
}

// erasureOf finds the erasure of a pathway, or of the one it was merged into;
// nil: it is not erased.
func erasureOf(v store.View, code store.PathwayCode) (*store.Erasure, error) {
	e, err := v.Erasure(code)
	if err == nil && e.Into != "" {
		e, err = v.Erasure(e.Into)
	}
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking up an erasure: %w", err)
	}
	return e, nil
}

// mergedGroup is a pathway with all that were merged with it, the one they were
// merged into first.
func (h *Hub) mergedGroup(v store.View, by Actor, code string) ([]*store.Pathway, error) {
	p, err := pathwayNamed(v, by, code)
	if err != nil {
		return nil, err
	}
	root, err := h.follow(v, p.Code)
	if err != nil {
		return nil, err
	}
	group := []*store.Pathway{root}
	for _, code := range root.Merged {
		p, err := v.Pathway(code)
		if err != nil {
			return nil, fmt.Errorf("reading pathway %s: %w", code, err)
		}
		group = append(group, p)
	}
	return group, nil
}

// namesNobody refuses a reason that says who the pathway is about.
func namesNobody(reason string, group []*store.Pathway) error {
	words := identity.NameTokens(reason)
	digits := strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return r
		}
		return -1
	}, reason)
	for _, p := range group {
		names := []string{p.Patient.NameKey, identity.NameKey(p.Patient.GivenName)}
		if slices.ContainsFunc(names, func(n string) bool { return n != "" && slices.Contains(words, n) }) ||
			len(p.Patient.INS) >= 13 && strings.Contains(digits, p.Patient.INS[:13]) {
			return fail("erase-reason", nil)
		}
	}
	return nil
}

// stop sets a pathway to erasing: what waits in its queue is cancelled, what is
// held for it given back, its senders told.
func (h *Hub) stop(tx store.Tx, p *store.Pathway, by Actor, e *store.Erasure) (removed int, err error) {
	p.Status = store.PathwayErasing
	p.Events = append(p.Events, store.Event{At: h.o.Now(), By: by.Name, Status: p.Status})
	if err := h.save(tx, p); err != nil {
		return 0, err
	}
	err = h.eachLive(tx, p.Code, func(d *store.Delivery) error {
		if !waiting(d) {
			return nil
		}
		return h.cancelCopy(tx, d, string(whyErasing))
	})
	if err != nil {
		return 0, err
	}
	held, err := tx.HeldOfPathway(p.Code)
	if err != nil {
		return 0, fmt.Errorf("listing what is held for %s: %w", p.Code, err)
	}
	for _, m := range held {
		if err := h.giveBack(tx, p, m); err != nil {
			return 0, err
		}
		e.Owners = append(e.Owners, store.Owner{Kind: store.OwnedByTriage, ID: string(m.ID)})
	}
	return len(held), nil
}

// giveBack removes a held message and tells its sender that it was not
// transmitted, in a notice that is not the pathway's: that will be gone. The
// family is not told so, since the notice's row would say who they are.
func (h *Hub) giveBack(tx store.Tx, p *store.Pathway, held *store.Held) error {
	prog, _ := h.programme(p.Programme)
	if !held.MailFrom.Citizen() && !slices.ContainsFunc(relatives(p, prog), func(a store.Address) bool { return a == held.MailFrom }) {
		apart := *held
		apart.Addressed = ""
		if err := h.tellNotTransmitted(tx, &apart, ending{rejected: true}); err != nil {
			return err
		}
	}
	if err := h.dropTimer(tx, held); err != nil {
		return err
	}
	if err := tx.DropHeld(held.ID); err != nil {
		return fmt.Errorf("removing held message %s: %w", held.ID, err)
	}
	return h.trace(tx, hubActor, "triage.rejected", p.Code, string(held.ID), outcomeDone, map[string]string{"reason": string(whyErasing)})
}

// relatives are the addresses of the child and of the family, of whoever is or
// was in the team. Without its programme nobody knows who is family: then only
// the boxes of the national types for professionals are not.
func relatives(p *store.Pathway, prog *rules.Programme) []store.Address {
	var out []store.Address
	for i := range p.Members {
		m := &p.Members[i]
		of := m.Type == store.BoxCitizen || m.Mailbox.Citizen()
		switch {
		case prog != nil:
			of = of || ofFamily(prog, m)
		case m.Type == store.BoxPER:
			of = true
		}
		if of {
			out = append(append(append(out, m.Mailbox), m.AlsoFrom...), m.Former...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
