package mailbox

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// Closing because the patient has died. In the commit that closes the pathway
// everything the hub would still send by itself is stopped: notices, receipts
// and reminders in the queue, the timers that would make more, and every copy
// that waits for the family. Copies for professionals that were posted before
// still go: somebody wrote them, and counts on their arriving. From then on
// nothing is ever written to the family's boxes, and nobody is told of the
// death by a machine.

const whyDeceased why = "deceased"

// ofDeath reports whether a reason for closing is that the patient has died.
func ofDeath(reason string) bool {
	return slices.Contains([]string{
		"death", "deceased", "died", "deces", "decede", "decedee", "mort", "deces du patient", "deces de la patiente", "deces de l enfant",
	}, identity.FoldName(reason))
}

// silence stops what the hub would send by itself about a pathway closed for
// death.
func (h *Hub) silence(tx store.Tx, p *store.Pathway) error {
	prog, err := h.programme(p.Programme)
	if err != nil && !errors.Is(err, ErrNoProgramme) {
		return err
	}
	now := h.o.Now()
	err = h.eachLive(tx, p.Code, func(d *store.Delivery) error {
		if !waiting(d) || d.Notice == nil && !forFamily(p, prog, d, now) {
			return nil
		}
		return h.cancelCopy(tx, d, string(whyDeceased))
	})
	if err != nil {
		return err
	}
	return h.eachHeld(tx, p, func(held *store.Held) error { return h.dropTimer(tx, held) })
}

// wake lets what a pathway holds be announced again, after one that was closed
// for death by mistake is opened.
func (h *Hub) wake(tx store.Tx, p *store.Pathway) error {
	return h.eachHeld(tx, p, func(held *store.Held) error {
		if held.Item == "" {
			return nil
		}
		item := store.Item{ID: held.Item, Lane: laneTriage, Due: h.o.Now().Add(h.alertAfter(held)), Held: held.ID}
		if err := tx.PutItem(item); err != nil {
			return fmt.Errorf("setting the timer of held message %s: %w", held.ID, err)
		}
		return nil
	})
}

func (h *Hub) eachHeld(tx store.Tx, p *store.Pathway, fn func(*store.Held) error) error {
	held, err := tx.HeldOfPathway(p.Code)
	if err != nil {
		return fmt.Errorf("listing what is held for %s: %w", p.Code, err)
	}
	for _, m := range held {
		if err := fn(m); err != nil {
			return err
		}
	}
	return nil
}

// forFamily reports whether a copy goes to a box that the family reads. Without
// the programme nobody can tell, and every box counts.
func forFamily(p *store.Pathway, prog *rules.Programme, d *store.Delivery, at time.Time) bool {
	return prog == nil || d.Mailbox.Citizen() || slices.ContainsFunc(d.Members, func(id store.MemberID) bool {
		mem := member(p, id)
		return mem != nil && readByFamily(p, prog, mem, at)
	})
}

// ofAFamily reports whether an address is one of those of the family, present
// or past: a member's box, one they had, or one they write from.
func (h *Hub) ofAFamily(p *store.Pathway, prog *rules.Programme, a store.Address) bool {
	return a.Citizen() || slices.ContainsFunc(p.Members, func(m store.Member) bool {
		return (prog == nil || ofFamily(prog, &m)) && (m.Mailbox == a || slices.Contains(m.AlsoFrom, a) || slices.Contains(m.Former, a))
	})
}

// muted reports whether a notice must not be written, or not be sent: about a
// patient who has died, and for the family, or from before.
func (h *Hub) muted(v store.View, code store.PathwayCode, to store.Address, created time.Time) (bool, error) {
	if code == "" {
		return false, nil
	}
	p, err := v.Pathway(code)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading pathway %s: %w", code, err)
	}
	if p.Deceased.IsZero() {
		return false, nil
	}
	prog, err := h.programme(p.Programme)
	if err != nil && !errors.Is(err, ErrNoProgramme) {
		return false, err
	}
	return created.Before(p.Deceased) || h.ofAFamily(p, prog, to), nil
}

// followedElsewhere lists the other live pathways of a patient.
func followedElsewhere(v store.View, p *store.Pathway) ([]string, error) {
	if p.Patient.INS == "" {
		return nil, nil
	}
	codes, err := v.PathwaysOfPatient(p.Patient.INS)
	if err != nil {
		return nil, fmt.Errorf("looking up an INS: %w", err)
	}
	var warnings []string
	for _, code := range codes {
		other, err := v.Pathway(code)
		if err != nil {
			return nil, fmt.Errorf("reading pathway %s: %w", code, err)
		}
		if code != p.Code && live(other) {
			warnings = append(warnings, warnElsewhere+" "+string(code))
		}
	}
	return warnings, nil
}
