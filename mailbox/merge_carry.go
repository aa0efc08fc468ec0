package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/relais-sante/relais/store"
)

// The messages of a merged pathway follow it, one by one.

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
			if a.Status == store.PathwayErasing {
				return store.ErrErased
			}
			page, err = v.Thread(a.Code, after, listPage)
			return err
		})
		if errors.Is(err, store.ErrErased) || errors.Is(err, store.ErrNotFound) {
			return h.change(ctx, func(tx store.Tx) error { return tx.DropItem(it) })
		}
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
		if err := h.followVersions(tx, b, n); err != nil && !errors.Is(err, ErrNoProgramme) {
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
	n.KnownAs, n.Boxes = slices.Clone(old.KnownAs), slices.Clone(old.Boxes)
	n.Documents = slices.Clone(old.Documents)
	for i := range n.Documents { // linked anew among what has come over
		n.Documents[i].Former, n.Documents[i].ReplacedBy = nil, nil
	}
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
