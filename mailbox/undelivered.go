package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store"
)

// When copies are given up or refused, author and desk get one notice per post
// with everybody not reached. Copies of one post end at different times, so
// failures are gathered for a short while: until every copy is over, at most
// tellWithin after the first failure. A copy that is given up days after the
// others were told of makes a second notice: better than an author who does not
// know, for days, that a colleague refused the first.

// Times of gathering.
const (
	tellStep         = 2 * time.Second // between two looks
	tellWithin       = time.Minute
	tellWithinUrgent = 20 * time.Second
)

// tellNotDelivered makes sure that the author of m, and the desk, hear of
// copies that failed. The copies are stored as failed in the same commit.
func (h *Hub) tellNotDelivered(tx store.Tx, p *store.Pathway, m *store.Message, failed []*store.Delivery) error {
	if !slices.ContainsFunc(failed, untold) {
		return nil
	}
	return h.tellSoon(tx, p, m)
}

// tellPartial makes sure that the author hears that a box got the text alone.
func (h *Hub) tellPartial(tx store.Tx, p *store.Pathway, m *store.Message, d *store.Delivery) error {
	return h.tellNotDelivered(tx, p, m, []*store.Delivery{d})
}

// tellCancelled makes sure that the authors hear of copies that were cancelled.
func (h *Hub) tellCancelled(tx store.Tx, p *store.Pathway, cancelled []*store.Delivery) error {
	told := map[store.MessageID]bool{}
	for _, d := range cancelled {
		if told[d.Message] {
			continue
		}
		told[d.Message] = true
		m, err := tx.Message(p.Code, d.Message)
		if err != nil {
			return fmt.Errorf("reading message %s: %w", d.Message, err)
		}
		if err := h.tellNotDelivered(tx, p, m, []*store.Delivery{d}); err != nil {
			return err
		}
	}
	return nil
}

// Last errors of copies that were cancelled, which for their author is the same
// as failed. Of other cancellations the author need not hear: the member left,
// the message was withdrawn.
const (
	droppedByHand    = "dropped"
	endedWithConsent = "consent-withdrawn"
)

// untold reports whether the author has yet to hear how a copy ended.
func untold(d *store.Delivery) bool {
	if d.Notice != nil || d.Told {
		return false
	}
	switch d.State {
	case store.Failed, store.Partial:
		return true
	case store.Cancelled:
		return d.LastError == droppedByHand || d.LastError == endedWithConsent
	}
	return false
}

// tellSoon tells now if every copy of the post is over, else by a timer.
func (h *Hub) tellSoon(tx store.Tx, p *store.Pathway, m *store.Message) error {
	ds, err := tx.Deliveries(p.Code, m.ID)
	if err != nil {
		return fmt.Errorf("reading the deliveries of %s: %w", m.ID, err)
	}
	now := h.o.Now()
	if h.worthWaiting(ds, m.Urgent, now) {
		// One timer per post: it has the post's id.
		item := store.Item{ID: store.ItemID(m.ID), Lane: laneTell, Due: now.Add(tellStep), Pathway: p.Code, Message: m.ID}
		if _, err := tx.Item(item.ID); err == nil {
			return nil
		} else if !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("reading a timer: %w", err)
		}
		if err := tx.PutItem(item); err != nil {
			return fmt.Errorf("setting a timer: %w", err)
		}
		return nil
	}
	return h.tellOutcomes(tx, p, m, ds)
}

// worthWaiting reports whether another copy of the post will be over soon, so
// that one notice can speak of both.
func (h *Hub) worthWaiting(ds []*store.Delivery, urgent bool, now time.Time) bool {
	var first time.Time
	for _, d := range ds {
		if untold(d) && (first.IsZero() || d.Ended.Before(first)) {
			first = d.Ended
		}
	}
	until := first.Add(tellWithin)
	if urgent {
		until = first.Add(tellWithinUrgent)
	}
	if first.IsZero() || !now.Before(until) {
		return false
	}
	return slices.ContainsFunc(ds, func(d *store.Delivery) bool {
		if d.Notice != nil || d.State.Over() || d.State == store.OnHold {
			return false
		}
		return d.Attempts == 0 || d.State == store.Sending || !h.givenUpAt(d).After(until)
	})
}

// givenUpAt is when a copy that keeps failing is given up.
func (h *Hub) givenUpAt(d *store.Delivery) time.Time {
	giveUp := h.o.Retry.GiveUp
	if giveUp <= 0 {
		giveUp = defaultGiveUp
	}
	return since(d).Add(giveUp)
}

// since is when the time for giving up a delivery began to run.
func since(d *store.Delivery) time.Time {
	if d.Since.IsZero() {
		return d.Created
	}
	return d.Since
}

// tellTimer is the timer of gathered failures.
func (h *Hub) tellTimer(ctx context.Context, it store.Item) error {
	return h.change(ctx, func(tx store.Tx) error {
		p, m, err := h.postOf(tx, &store.Delivery{Pathway: it.Pathway, Message: it.Message})
		if err != nil {
			return err
		}
		if m == nil || !p.Deceased.IsZero() {
			return tx.DropItem(it)
		}
		ds, err := tx.Deliveries(p.Code, m.ID)
		if err != nil {
			return fmt.Errorf("reading the deliveries of %s: %w", m.ID, err)
		}
		if now := h.o.Now(); h.worthWaiting(ds, m.Urgent, now) {
			again := it
			again.Due = now.Add(tellStep)
			return tx.PutItem(again)
		}
		if err := tx.DropItem(it); err != nil {
			return err
		}
		return h.tellOutcomes(tx, p, m, ds)
	})
}

// tellOutcomes writes to author and desk what they do not know yet of the
// copies of a post.
func (h *Hub) tellOutcomes(tx store.Tx, p *store.Pathway, m *store.Message, ds []*store.Delivery) error {
	var lost, partial []store.MemberID
	var failed []*store.Delivery
	var errs []string
	for _, d := range ds {
		if !untold(d) {
			continue
		}
		if d.State == store.Partial {
			partial = append(partial, d.Members...)
		} else {
			lost = append(lost, d.Members...)
			failed = append(failed, d)
			errs = append(errs, "- "+string(d.ID)+": "+d.LastError)
		}
		d.Told = true
		if err := tx.PutDelivery(d); err != nil {
			return fmt.Errorf("writing delivery %s: %w", d.ID, err)
		}
	}
	prog, err := h.programme(p.Programme)
	if err != nil {
		return err
	}
	mail := h.quote(m.Received, m.Subject)
	if len(lost) > 0 {
		author := h.aboutPost(p, prog, m, noticeNotDelivered, texts.T(h.o.Locale, "notices.undelivered-subject", nil),
			texts.T(h.o.Locale, "notices.undelivered", map[string]any{"mail": mail, "pathway": string(p.Code)}),
			h.names(p, prog, lost), h.citizenRefused(failed),
			texts.T(h.o.Locale, "notices.undelivered-next", nil), h.phone(p))
		if err := h.queueNotice(tx, author); err != nil {
			return err
		}
		desk := h.aboutPost(p, prog, m, noticeNotDelivered, texts.T(h.o.Locale, "notices.undelivered-desk-subject", nil),
			texts.T(h.o.Locale, "notices.undelivered-desk", map[string]any{"pathway": string(p.Code), "message": string(m.ID)}),
			h.names(p, prog, lost), texts.T(h.o.Locale, "notices.undelivered-errors", map[string]any{"errors": strings.Join(errs, "\n")}),
			texts.T(h.o.Locale, "notices.undelivered-desk-next", nil))
		desk.answers = ""
		if err := h.toDesk(tx, desk); err != nil {
			return err
		}
	}
	if len(partial) > 0 {
		author := h.aboutPost(p, prog, m, noticePartial, texts.T(h.o.Locale, "notices.partial-subject", nil),
			texts.T(h.o.Locale, "notices.partial", map[string]any{"mail": mail, "pathway": string(p.Code)}),
			h.names(p, prog, partial), texts.T(h.o.Locale, "notices.partial-next", nil))
		return h.queueNotice(tx, author)
	}
	return nil
}
