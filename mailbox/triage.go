package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// What waits for a human, and what people decide about it. (Announcing is in
// triage_notices.go, escalating in triage_timer.go.)

// TriageList lists what waits, oldest first.
func (h *Hub) TriageList(ctx context.Context, by Actor) ([]HeldView, error) {
	views := []HeldView{}
	var codes []store.PathwayCode
	var after store.HeldID
	for {
		var page []*store.Held
		err := h.view(ctx, func(v store.View) (err error) {
			page, err = v.HeldList(after, listPage)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("listing what is held: %w", err)
		}
		for _, held := range page {
			after = held.ID
			if by.mayHeld(held) {
				views = append(views, h.heldView(held))
			}
			if codes = append(codes, held.Candidates...); held.Addressed != "" {
				codes = append(codes, held.Addressed)
			}
		}
		if len(page) < listPage {
			return views, h.seenList(ctx, by, "triage.listed", codes)
		}
	}
}

// heldText is how many bytes of a held message's text are shown.
const heldText = 2000

// Held shows a held message: who sent it, why it waits, how its text begins and
// what it carries.
func (h *Hub) Held(ctx context.Context, by Actor, id string) (HeldView, error) {
	held, err := h.heldNamed(ctx, by, id)
	if err != nil {
		return HeldView{}, err
	}
	if err := h.seen(ctx, by, "triage.read", held.Addressed, string(held.ID)); err != nil {
		return HeldView{}, err
	}
	in, err := h.reopen(ctx, held, assignment{})
	if err != nil {
		return HeldView{}, err
	}
	view := h.heldView(held)
	view.Text = cutText(in.reading.Text, heldText)
	for i := range in.documents {
		d := documentRecord(&in.documents[i])
		view.Documents = append(view.Documents, documentView(&d))
	}
	return view, nil
}

// RawHeld gives the bytes of a held message as received; close it.
func (h *Hub) RawHeld(ctx context.Context, by Actor, id string) (io.ReadCloser, error) {
	held, err := h.heldNamed(ctx, by, id)
	if err != nil {
		return nil, err
	}
	if err := h.seen(ctx, by, "triage.downloaded", held.Addressed, string(held.ID)); err != nil {
		return nil, err
	}
	return h.store.Open(ctx, *held.Blob)
}

func (h *Hub) heldNamed(ctx context.Context, by Actor, id string) (*store.Held, error) {
	var held *store.Held
	err := h.view(ctx, func(v store.View) (err error) {
		held, err = heldOf(v, by, id)
		return err
	})
	return held, err
}

func heldOf(v store.View, by Actor, id string) (*store.Held, error) {
	key := store.HeldID(strings.ToLower(strings.TrimSpace(id)))
	held, err := v.Held(key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fail("held-unknown", map[string]any{"id": id})
	}
	if err != nil {
		return nil, fmt.Errorf("reading held message %s: %w", key, err)
	}
	if !by.mayHeld(held) {
		return nil, by.outside()
	}
	return held, nil
}

func (h *Hub) heldView(held *store.Held) HeldView {
	view := HeldView{
		ID: string(held.ID), Reason: held.Reason, From: h.shownBox(held.From), Received: held.Received, Size: held.Size,
		Subject: held.Subject, FromName: held.FromName, Detail: held.Detail, Addressed: string(held.Addressed), Programme: held.Programme,
	}
	for _, code := range held.Candidates {
		view.Candidates = append(view.Candidates, string(code))
	}
	return view
}

// Assign gives a held message to a pathway, and an unknown sender to a member.
// It then runs as mail that never was held does: a closed pathway or a consent
// withdrawn refuses it, and another reason than those decided here may hold it
// again.
func (h *Hub) Assign(ctx context.Context, by Actor, r TriageRequest) (Receipt, error) {
	held, err := h.heldNamed(ctx, by, r.ID)
	if err != nil {
		return Receipt{}, err
	}
	if strings.TrimSpace(r.Pathway) == "" {
		r.Pathway = string(held.Addressed)
	}
	return h.decided(ctx, by, held, r, "triage.assigned")
}

// Release lets a held message go where it was addressed: somebody has looked at
// what held it. What only a consent, an opening or a name can mend is refused.
func (h *Hub) Release(ctx context.Context, by Actor, r TriageRequest) (Receipt, error) {
	held, err := h.heldNamed(ctx, by, r.ID)
	if err != nil {
		return Receipt{}, err
	}
	r.Pathway = string(held.Addressed)
	if r.Pathway == "" {
		return Receipt{}, fail("release-no-pathway", map[string]any{"id": string(held.ID)})
	}
	return h.decided(ctx, by, held, r, "triage.released")
}

// settledBy lists the reasons that a decision for a pathway has dealt with. Who
// the documents are of was only judged for the pathway the mail was addressed
// to: for another one they are compared again. Consent, suspension and an
// unknown sender are not a matter of opinion.
func settledBy(held *store.Held, to store.PathwayCode) []string {
	settled := []string{reasonConflicting, reasonNoPathway}
	switch held.Reason {
	case reasonRule, reasonUnreadable:
		settled = append(settled, held.Reason)
	case reasonWrongPatient, reasonTwoPatients:
		if held.Addressed == to {
			settled = append(settled, held.Reason)
		}
	}
	return settled
}

// decided runs a held message with what a person decided about it.
func (h *Hub) decided(ctx context.Context, by Actor, held *store.Held, r TriageRequest, action string) (Receipt, error) {
	var to *store.Pathway
	err := h.view(ctx, func(v store.View) (err error) {
		to, err = h.takesMail(v, by, MessageRequest{Pathway: r.Pathway, Member: r.Member, Rubrics: r.Rubrics})
		return err
	})
	if err == nil {
		err = canTakeNow(held, to)
	}
	if err != nil {
		return Receipt{}, err
	}
	given := assignment{
		pathway: to.Code, member: store.MemberID(strings.ToLower(r.Member)), rubrics: r.Rubrics, by: by,
		settled: settledBy(held, to.Code),
	}
	receipt, err := h.takeHeld(ctx, held, given)
	if err != nil {
		return Receipt{}, refusalFailure(to.Code, err)
	}
	if receipt.Held != "" && receipt.Reason == reasonUnknownSender {
		return receipt, fail("still-held-unknown-sender", map[string]any{"id": string(held.ID), "pathway": string(to.Code)})
	}
	err = h.change(ctx, func(tx store.Tx) error {
		if receipt.Held == "" {
			if err := h.dropTimer(tx, held); err != nil {
				return err
			}
		}
		return h.trace(tx, by, action, to.Code, string(held.ID), outcomeDone, map[string]string{"reason": held.Reason, "message": string(receipt.Message)})
	})
	return receipt, err
}

// canTakeNow refuses a decision for a pathway that is suspended or without
// consent: held again for that, the message would go by itself later, and what
// was decided here would be forgotten.
func canTakeNow(held *store.Held, to *store.Pathway) error {
	err := mailable(to)
	if err == nil || !waitsForPathway(held) || held.Addressed != to.Code {
		return err
	}
	reason := reasonConsent
	if to.Status == store.PathwaySuspended {
		reason = reasonSuspended
	}
	return fail("still-held-"+reason, map[string]any{"id": string(held.ID), "pathway": string(to.Code)})
}

// Reject gives a held message back: it is not transmitted, its sender is told,
// with the reason a person gives, and its key is forgotten.
func (h *Hub) Reject(ctx context.Context, by Actor, r TriageRequest) error {
	reason, err := line("reason", r.Reason)
	if err != nil {
		return err
	}
	var gone store.HeldID
	err = h.change(ctx, func(tx store.Tx) error {
		held, err := heldOf(tx, by, r.ID)
		if err != nil {
			return err
		}
		gone = held.ID
		if err := h.tellNotTransmitted(tx, held, ending{rejected: true, reason: reason}); err != nil {
			return err
		}
		return h.discard(tx, by, held, "triage.rejected")
	})
	if err != nil {
		return err
	}
	h.forget(ctx, gone)
	return nil
}

// discard removes a held message and its timer. The caller drops the key after
// the commit.
func (h *Hub) discard(tx store.Tx, by Actor, held *store.Held, action string) error {
	if err := h.dropTimer(tx, held); err != nil {
		return err
	}
	if err := tx.DropHeld(held.ID); err != nil {
		return fmt.Errorf("removing held message %s: %w", held.ID, err)
	}
	return h.trace(tx, by, action, held.Addressed, string(held.ID), outcomeDone, map[string]string{"reason": held.Reason})
}

// dropTimer takes a held message's timer out of the queue, if it is there.
func (h *Hub) dropTimer(tx store.Tx, held *store.Held) error {
	if held.Item == "" {
		return nil
	}
	return h.unqueue(tx, &store.Delivery{ID: store.DeliveryID(held.ID), Item: held.Item})
}

// forget drops the key of a held message that is gone.
func (h *Hub) forget(ctx context.Context, id store.HeldID) {
	if err := h.store.DropKey(ctx, store.Owner{Kind: store.OwnedByTriage, ID: string(id)}); err != nil {
		h.log.Warn("the key of a message no longer held could not be dropped", "held", id, "error", err)
	}
}

// programmeOf is the programme a held message belongs to, or nil.
func (h *Hub) programmeOf(held *store.Held) *rules.Programme {
	return h.o.Programmes().ByID(held.Programme)
}
