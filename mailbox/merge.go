package mailbox

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/store"
)

// Merging: one child was included twice. From the first commit on, everything
// sent to the old pathway goes into the other one, whose team and consents are
// united with it; the messages follow one by one, each in a commit of its own
// (new ids and UIDs, sealed to the new key, nothing mailed again), by a timer
// that survives a crash. The old pathway stays, closed and without identity:
// its addresses work for ever and its history can be read.

// mergedWord is the reason of what a merge withdraws or puts on hold.
const mergedWord = "merged"

// MergePathways merges from into into, and shows into.
func (h *Hub) MergePathways(ctx context.Context, by Actor, from, into string) (PathwayView, error) {
	var view PathwayView
	var timer store.Item
	err := h.change(ctx, func(tx store.Tx) error {
		a, err := liveNamed(tx, by, from)
		if err != nil {
			return err
		}
		b, err := liveNamed(tx, by, into)
		if err != nil {
			return err
		}
		if err := mergeable(a, b); err != nil {
			return err
		}
		h.unite(a, b, by)
		if err := h.pause(tx, a); err != nil {
			return err
		}
		if err := h.readdress(tx, a, b); err != nil {
			return err
		}
		if err := h.save(tx, a); err != nil {
			return err
		}
		if err := h.save(tx, b); err != nil {
			return err
		}
		if err := h.releaseLater(tx, b); err != nil {
			return err
		}
		now := h.o.Now()
		timer = store.Item{ID: store.ItemID(h.ids.next(now)), Lane: laneMerge, Due: now, Pathway: a.Code}
		if err := tx.PutItem(timer); err != nil {
			return fmt.Errorf("setting a timer: %w", err)
		}
		view = h.pathwayView(b)
		return h.trace(tx, by, "pathway.merged", b.Code, string(a.Code), outcomeDone, nil)
	})
	return view, err
}

// mergeable refuses to merge what is not the same child in the same programme,
// or would carry messages past a consent withdrawn.
func mergeable(a, b *store.Pathway) error {
	args := map[string]any{"from": string(a.Code), "into": string(b.Code)}
	switch {
	case a.Code == b.Code:
		return fail("merge-same", args)
	case a.Programme != b.Programme:
		return fail("merge-programme", args)
	case !live(b):
		return fail("pathway-status-closed", map[string]any{"pathway": string(b.Code)})
	case pathwayConsent(a) == consentWithdrawn || pathwayConsent(b) == consentWithdrawn:
		return fail("merge-consent", args)
	}
	if x, y := a.Patient.INS, b.Patient.INS; x != "" && y != "" {
		if x != y {
			return fail("merge-child", args)
		}
		return nil
	}
	if identity.Agree(traits(&a.Patient), traits(&b.Patient)) != identity.Same {
		return fail("merge-child", args)
	}
	return nil
}

// unite brings team, consents and identity of a into b, and closes a.
func (h *Hub) unite(a, b *store.Pathway, by Actor) {
	now := h.o.Now()
	for i := range a.Members {
		m := &a.Members[i]
		active := m.ActiveAt(now)
		n := samePerson(b, m)
		if n == nil {
			c := *m
			c.ID, c.Periods = nextMember(b), slices.Clone(m.Periods)
			b.Members = append(b.Members, c)
			n = &b.Members[len(b.Members)-1]
		} else {
			if active && !n.ActiveAt(now) {
				n.Periods = append(n.Periods, store.Period{From: now})
			}
			for _, addr := range m.Former {
				if addr != n.Mailbox && !slices.Contains(n.Former, addr) {
					n.Former = append(n.Former, addr)
				}
			}
		}
		m.MergedAs = n.ID
		leave(m, now, mergedWord)
		uniteConsents(a, b, m.ID, n.ID)
	}
	uniteConsents(a, b, "", "")
	if b.Patient.INS == "" {
		b.Patient.INS, b.Patient.INSOID = a.Patient.INS, a.Patient.INSOID
	}
	if b.Phone == "" {
		b.Phone = a.Phone
	}
	// The child is followed under one code: look-ups by identity must not find
	// the other, nor take it for another child's.
	a.Patient = store.Patient{}
	a.Status, a.MergedInto = store.PathwayClosed, b.Code
	b.Merged = append(append(b.Merged, a.Code), a.Merged...)
	a.Events = append(a.Events, store.Event{At: now, By: by.Name, Status: a.Status, Reason: mergedWord})
}

// samePerson finds a member of another pathway in this one.
func samePerson(b *store.Pathway, m *store.Member) *store.Member {
	stranger := *m
	stranger.ID = "" // an id means nothing in another pathway
	return sameMember(b, &stranger)
}

// uniteConsents takes over consents where b has none of its own, and a
// withdrawal in any case: in doubt, narrower.
func uniteConsents(a, b *store.Pathway, from, to store.MemberID) {
	theirs := lastConsent(a, from)
	if theirs == consentNone || lastConsent(b, to) != consentNone && theirs != consentWithdrawn {
		return
	}
	for _, c := range a.Consents {
		if c.For == from {
			c.For = to
			b.Consents = append(b.Consents, c)
		}
	}
}

// pause keeps the queued copies of a pathway from going, or being cancelled
// because it is closed, before they have followed their messages.
func (h *Hub) pause(tx store.Tx, p *store.Pathway) error {
	return h.eachLive(tx, p.Code, func(d *store.Delivery) error {
		if d.Notice != nil || d.State != store.Queued {
			return nil
		}
		if err := h.unqueue(tx, d); err != nil {
			return err
		}
		d.State, d.LastError, d.Next = store.OnHold, mergedWord, time.Time{}
		return putDelivery(tx, d)
	})
}

// readdress lets what is held for a wait for b.
func (h *Hub) readdress(tx store.Tx, a, b *store.Pathway) error {
	held, err := tx.HeldOfPathway(a.Code)
	if err != nil {
		return fmt.Errorf("listing what is held for %s: %w", a.Code, err)
	}
	for _, m := range held {
		m.Addressed = b.Code
		if err := tx.UpdateHeld(m); err != nil {
			return fmt.Errorf("writing held message %s: %w", m.ID, err)
		}
	}
	return nil
}
