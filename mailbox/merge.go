package mailbox

import (
	"context"
	"errors"
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
		a, err := liveNamed(tx, from)
		if err != nil {
			return err
		}
		b, err := liveNamed(tx, into)
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
	return h.eachLive(tx, func(d *store.Delivery) error {
		if d.Pathway != p.Code || d.Notice != nil || d.State != store.Queued {
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

// errStillSending: a copy is on its way this moment; its message follows when
// that is over.
var errStillSending = errors.New("a copy is being sent")

// mergeTimer moves the messages of a merged pathway, oldest first, so that what
// a message answers has always moved before it.
func (h *Hub) mergeTimer(ctx context.Context, it store.Item) error {
	var after uint64
	for {
		var page []*store.Message
		var a *store.Pathway
		err := h.view(ctx, func(v store.View) error {
			var err error
			if a, err = v.Pathway(it.Pathway); err != nil {
				return err
			}
			page, err = v.Thread(a.Code, after, listPage)
			return err
		})
		if err != nil {
			return fmt.Errorf("reading the thread of %s: %w", it.Pathway, err)
		}
		for _, m := range page {
			after = m.Seq
			if err := h.carryOver(ctx, a, m); err != nil {
				return err
			}
		}
		if len(page) < listPage {
			return h.change(ctx, func(tx store.Tx) error { return tx.DropItem(it) })
		}
	}
}

// carryOver files a message of a merged pathway in the one it went into, and
// withdraws it from the old one without a word to anybody: nothing was wrong
// with it.
func (h *Hub) carryOver(ctx context.Context, a *store.Pathway, m *store.Message) error {
	if m.Retracted != nil && m.Retracted.To != nil {
		return nil // moved, or merged already
	}
	var (
		draft   store.Draft
		indexed []byte
		err     error
	)
	if m.Blob != nil {
		if draft, err = h.recopy(ctx, m); err != nil {
			return err
		}
		defer draft.Discard()
	}
	err = h.view(ctx, func(v store.View) (err error) {
		indexed, err = v.Index(a.Code, m.ID)
		return err
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("reading the index of %s: %w", m.ID, err)
	}
	return h.change(ctx, func(tx store.Tx) error {
		old, err := tx.Message(a.Code, m.ID)
		if err != nil {
			return fmt.Errorf("reading message %s: %w", m.ID, err)
		}
		if old.Retracted != nil && old.Retracted.To != nil {
			return nil
		}
		b, err := h.follow(tx, a.MergedInto)
		if err != nil {
			return err
		}
		ds, err := tx.Deliveries(a.Code, m.ID)
		if err != nil {
			return fmt.Errorf("reading the deliveries of %s: %w", m.ID, err)
		}
		if slices.ContainsFunc(ds, func(d *store.Delivery) bool { return d.Notice == nil && d.State == store.Sending }) {
			return errStillSending
		}
		n, err := h.mergedMessage(tx, a, b, old, indexed)
		if err != nil {
			return err
		}
		if err := tx.FileMessage(n, indexed, draft); err != nil {
			return fmt.Errorf("filing message %s: %w", n.ID, err)
		}
		if err := h.carryDeliveries(tx, a, b, n, ds); err != nil {
			return err
		}
		if old.Retracted == nil {
			old.Retracted = &store.Retraction{At: h.o.Now(), By: hubActor.Name, Reason: mergedWord, Rubrics: old.Rubrics()}
		}
		old.Retracted.To = &store.MessageRef{Pathway: n.Pathway, Message: n.ID}
		old.Filings = nil
		if err := tx.UpdateMessage(old); err != nil {
			return fmt.Errorf("writing message %s: %w", old.ID, err)
		}
		return h.trace(tx, hubActor, "message.merged", n.Pathway, string(n.ID), outcomeDone, map[string]string{"from": string(old.ID)})
	})
}

// mergedMessage is the message as it stands in the pathway merged into: the
// same, with ids of its own.
func (h *Hub) mergedMessage(tx store.Tx, a, b *store.Pathway, old *store.Message, indexed []byte) (*store.Message, error) {
	n := *old
	n.ID, n.Pathway, n.Seq, n.Blob = store.MessageID(h.ids.next(h.o.Now())), b.Code, 0, nil
	n.Filings = nil
	for _, f := range old.Filings {
		n.Filings = append(n.Filings, store.Filing{Rubric: f.Rubric, Message: n.ID})
	}
	n.KnownAs = slices.Clone(old.KnownAs)
	n.Author.Member = mergedMember(a, old.Author.Member)
	n.Audience.Answered = nil
	for _, id := range old.Audience.Answered {
		n.Audience.Answered = append(n.Audience.Answered, mergedMember(a, id))
	}
	var err error
	if n.Parent, err = mergedID(tx, a, old.Parent); err != nil {
		return nil, err
	}
	if old.About != nil && old.About.Pathway == a.Code {
		about := *old.About
		if about.Message, err = mergedID(tx, a, old.About.Message); err != nil {
			return nil, err
		}
		about.Pathway = b.Code
		n.About = &about
	}
	if old.Fingerprint != [32]byte{} && len(indexed) > 0 {
		in := &incoming{rfcID: old.RFCID, fromAddr: old.From}
		if in.idx, err = decodeIndex(indexed); err != nil {
			return nil, err
		}
		in.noID = in.idx.Envelope.MessageID != old.RFCID
		n.Fingerprint = in.fingerprint(b.Code)
	}
	return &n, nil
}

// mergedAt is when a pathway was merged into another.
func mergedAt(a *store.Pathway) time.Time {
	if len(a.Events) == 0 {
		return time.Time{}
	}
	return a.Events[len(a.Events)-1].At
}

// mergedMember is a member's id in the pathway merged into.
func mergedMember(a *store.Pathway, id store.MemberID) store.MemberID {
	if m := member(a, id); m != nil {
		return m.MergedAs
	}
	return ""
}

// mergedID is what a message of a merged pathway became.
func mergedID(v store.View, a *store.Pathway, id store.MessageID) (store.MessageID, error) {
	if id == "" {
		return "", nil
	}
	m, err := v.Message(a.Code, id)
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading message %s: %w", id, err)
	}
	if m.Retracted == nil || m.Retracted.To == nil {
		return "", nil
	}
	return m.Retracted.To.Message, nil
}

// carryDeliveries lets the copies of a message follow it: what is over as
// history, what waited as a new delivery.
func (h *Hub) carryDeliveries(tx store.Tx, a, b *store.Pathway, n *store.Message, ds []*store.Delivery) error {
	now := h.o.Now()
	for _, d := range ds {
		if d.Notice != nil {
			continue
		}
		c := *d
		c.ID, c.Pathway, c.Message, c.Item = store.DeliveryID(h.ids.next(now)), b.Code, n.ID, store.ItemID(h.ids.next(now))
		c.Members, c.Seen = nil, nil
		for _, id := range d.Members {
			c.Members = append(c.Members, mergedMember(a, id))
		}
		for _, s := range d.Seen {
			s.Member = mergedMember(a, s.Member)
			c.Seen = append(c.Seen, s)
		}
		// On hold by pause; or it was being sent then, failed for the time being,
		// and was cancelled because nobody is a member of the old pathway now.
		paused := d.State == store.OnHold && d.LastError == mergedWord ||
			d.State == store.Cancelled && d.LastError == string(whyLeft) && !d.Ended.Before(mergedAt(a))
		if !paused {
			if err := putDelivery(tx, &c); err != nil {
				return err
			}
			continue
		}
		if waiting(d) {
			if err := h.cancelCopy(tx, d, mergedWord); err != nil {
				return err
			}
		}
		c.State, c.LastError, c.Next, c.Ended = store.Queued, "", now, time.Time{}
		c.FromAddress = h.fromOf(n).Address
		if err := h.put(tx, []*store.Delivery{&c}); err != nil {
			return err
		}
	}
	return nil
}
