package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/relais-sante/relais/store"
)

// Result is the outcome of a job.
type Result struct {
	Job     Job
	Outcome Outcome
}

// Finish records how attempts ended, all in one commit, and does what follows:
// a later attempt, the text in place of a copy too large, giving up and telling
// author and desk. A job whose lease was lost meanwhile is left to whoever
// holds it now.
func (h *Hub) Finish(ctx context.Context, results []Result) error {
	commit := h.commitSoon
	if slices.ContainsFunc(results, tells) {
		commit = h.commit
	}
	err := commit(ctx, func(tx store.Tx) error {
		for i := range results {
			if err := h.finish(tx, &results[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("recording deliveries: %w", err)
	}
	for i := range results {
		results[i].Job.opening.over()
	}
	return nil
}

// tells reports whether somebody may be told of an outcome: it is durable before.
func tells(r Result) bool {
	switch r.Outcome.Kind {
	case OutcomeNoAttempt:
		return false
	case OutcomeSent:
		return len(r.Job.Delivery.Withheld) > 0
	}
	return true
}

func (h *Hub) finish(tx store.Tx, r *Result) error {
	d, err := tx.Delivery(r.Job.Delivery.ID)
	if errors.Is(err, store.ErrNotFound) { // erased meanwhile
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading delivery %s: %w", r.Job.Delivery.ID, err)
	}
	it := r.Job.Item
	now := h.o.Now()
	o := &r.Outcome
	if d.State.Over() { // cancelled or dropped while it was tried
		if o.Kind == OutcomeSent {
			return h.sentAnyway(tx, d)
		}
		return nil
	}
	d.LastError, d.PeerReply = lastError(o), o.Text
	if o.Kind == OutcomePermanent && d.Mailbox.Citizen() {
		if word := citizenRefusal(o.Enhanced, o.Text); word != "" {
			d.LastError = strings.TrimSpace(o.Enhanced + " " + word)
		}
	}
	switch o.Kind {
	case OutcomeSent:
		d.LastError, d.PeerReply = "", ""
		return h.sent(tx, d, it)
	case OutcomeNoAttempt:
		d.Attempts = max(0, d.Attempts-1)
		d.LastError = ""
		return h.again(tx, d, it, now.Add(h.jitter(2*time.Second)))
	case OutcomeTooLarge:
		if d.Notice == nil && len(d.Withheld) == 0 {
			return h.withhold(tx, d, it)
		}
		return h.giveUp(tx, d, it, o)
	case OutcomePermanent:
		return h.giveUp(tx, d, it, o)
	}
	giveUp := h.o.Retry.GiveUp
	if giveUp <= 0 {
		giveUp = defaultGiveUp
	}
	if now.Sub(since(d)) >= giveUp {
		return h.giveUp(tx, d, it, o)
	}
	return h.again(tx, d, it, now.Add(h.backoff(d.Attempts)))
}

// lastError is what `queue list` shows: codes and our own word, never the
// peer's text, which may name people.
func lastError(o *Outcome) string {
	var parts []string
	if o.Code != 0 {
		parts = append(parts, fmt.Sprint(o.Code))
	}
	for _, s := range []string{o.Enhanced, o.Reason} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, " ")
}

// end takes a delivery out of the queue. It reports false when the lease is
// lost: then nothing may be recorded.
func (h *Hub) end(tx store.Tx, d *store.Delivery, it store.Item, state store.DeliveryState) (bool, error) {
	err := tx.DropItem(it)
	if errors.Is(err, store.ErrLeaseLost) || errors.Is(err, store.ErrNotFound) {
		h.log.Warn("a delivery ended after its lease was lost", "delivery", d.ID)
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ending delivery %s: %w", d.ID, err)
	}
	d.State, d.Ended, d.Next = state, h.o.Now(), time.Time{}
	if err := tx.PutDelivery(d); err != nil {
		return false, fmt.Errorf("ending delivery %s: %w", d.ID, err)
	}
	return true, nil
}

func (h *Hub) sent(tx store.Tx, d *store.Delivery, it store.Item) error {
	state := store.Sent
	if len(d.Withheld) > 0 {
		state = store.Partial
	}
	ok, err := h.end(tx, d, it, state)
	if err != nil || !ok {
		return err
	}
	if err := h.trace(tx, hubActor, "delivery."+string(state), d.Pathway, string(d.ID), outcomeDone, nil); err != nil {
		return err
	}
	if state == store.Partial {
		p, m, err := h.postOf(tx, d)
		if err != nil || m == nil {
			return err
		}
		return h.tellPartial(tx, p, m, d)
	}
	return nil
}

// sentAnyway records that a copy cancelled in the middle of being sent did go:
// the thread must not say otherwise.
func (h *Hub) sentAnyway(tx store.Tx, d *store.Delivery) error {
	if d.State != store.Cancelled {
		return nil
	}
	d.State, d.LastError = store.Sent, "too late to cancel"
	if err := tx.PutDelivery(d); err != nil {
		return fmt.Errorf("recording delivery %s: %w", d.ID, err)
	}
	return h.trace(tx, hubActor, "delivery.sent", d.Pathway, string(d.ID), outcomeDone, map[string]string{"why": "too-late-to-cancel"})
}

// again puts a delivery back for later.
func (h *Hub) again(tx store.Tx, d *store.Delivery, it store.Item, due time.Time) error {
	it.Due = due
	err := tx.PutItem(it)
	if errors.Is(err, store.ErrLeaseLost) || errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("rescheduling %s: %w", d.ID, err)
	}
	d.State, d.Next = store.Queued, due
	if err := tx.PutDelivery(d); err != nil {
		return fmt.Errorf("rescheduling %s: %w", d.ID, err)
	}
	return nil
}

// withhold replaces a copy too large for its peer by the text and the list of
// what was withheld, sent at once.
func (h *Hub) withhold(tx store.Tx, d *store.Delivery, it store.Item) error {
	_, m, err := h.postOf(tx, d)
	if err != nil || m == nil {
		return err
	}
	d.Withheld = withheldOf(m)
	return h.again(tx, d, it, h.o.Now())
}

// giveUp ends a delivery that will not be made, and tells author and desk.
func (h *Hub) giveUp(tx store.Tx, d *store.Delivery, it store.Item, o *Outcome) error {
	ok, err := h.end(tx, d, it, store.Failed)
	if err != nil || !ok {
		return err
	}
	if addressError(o.Enhanced) && o.Kind == OutcomePermanent {
		if err := h.mark(tx, d.Mailbox, o.Enhanced); err != nil {
			return err
		}
	}
	if err := h.trace(tx, hubActor, "delivery.failed", d.Pathway, string(d.ID), outcomeFailed, map[string]string{"error": d.LastError}); err != nil {
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
}

// addressError reports whether a status says that the box itself is wrong
// (RFC 3463 §3.2, 3.3).
func addressError(enhanced string) bool {
	return strings.HasPrefix(enhanced, "5.1.") || enhanced == "5.2.1"
}

// mark warns that a box refused mail. It never stops later copies.
func (h *Hub) mark(tx store.Tx, addr store.Address, code string) error {
	box, err := tx.Box(addr)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading a box: %w", err)
	}
	box.Mark = &store.Mark{At: h.o.Now(), Code: code}
	if err := tx.PutBox(box); err != nil {
		return fmt.Errorf("marking a box: %w", err)
	}
	return nil
}

// postOf reads what a delivery is a copy of; nil when it is gone.
func (h *Hub) postOf(v store.View, d *store.Delivery) (*store.Pathway, *store.Message, error) {
	p, err := v.Pathway(d.Pathway)
	if err == nil {
		var m *store.Message
		if m, err = v.Message(d.Pathway, d.Message); err == nil {
			return p, m, nil
		}
	}
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil, nil
	}
	return nil, nil, fmt.Errorf("reading the post of delivery %s: %w", d.ID, err)
}
