package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/relais-sante/relais/store"
)

// holdBack keeps a message for a human.
func (h *Hub) holdBack(ctx context.Context, pl *plan, in *incoming) (Receipt, error) {
	held := h.heldRecord(pl, in)
	if in.held == nil {
		// The key must be durable before the commit that names it.
		if err := h.store.NewKey(ctx, store.Owner{Kind: store.OwnedByTriage, ID: string(held.ID)}); err != nil {
			return Receipt{}, fmt.Errorf("making the key of a held message: %w", err)
		}
		if err := in.expect(store.Owner{Kind: store.OwnedByTriage, ID: string(held.ID)}); err != nil {
			return Receipt{}, err
		}
	}
	receipt := Receipt{Held: held.ID, Reason: pl.held}
	again := false
	err := h.take(ctx, in, func(tx store.Tx) error {
		again = false
		if pl.pathway != nil {
			if err := unchanged(tx, pl.pathway); err != nil {
				return err
			}
		}
		if in.held != nil {
			if err := tx.UpdateHeld(held); err != nil {
				return fmt.Errorf("holding message %s: %w", held.ID, err)
			}
			return h.trace(tx, h.senderActor(pl, in), "message.held", held.Addressed, string(held.ID), "done", map[string]string{"reason": pl.held})
		}
		if id, err := tx.HeldDuplicate(held.Fingerprint); err == nil {
			again = true
			receipt = Receipt{Held: id, Reason: pl.held, Duplicate: true}
			return nil
		} else if !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("looking for a held duplicate: %w", err)
		}
		receipt = Receipt{Held: held.ID, Reason: pl.held}
		if err := tx.Hold(held, in.indexed, in.draft); err != nil {
			return fmt.Errorf("holding message %s: %w", held.ID, err)
		}
		if err := h.trace(tx, h.senderActor(pl, in), "message.held", held.Addressed, string(held.ID), "done", map[string]string{"reason": pl.held}); err != nil {
			return err
		}
		if err := h.announceHeld(tx, held); err != nil {
			return err
		}
		return h.answerHeld(tx, held, pl, in)
	})
	if err != nil || again {
		if in.held == nil { // never named by a commit
			_ = h.store.DropKey(ctx, store.Owner{Kind: store.OwnedByTriage, ID: string(held.ID)})
		}
	}
	if err != nil {
		return Receipt{}, err
	}
	return receipt, nil
}

// heldRecord is the triage record of a message.
func (h *Hub) heldRecord(pl *plan, in *incoming) *store.Held {
	if in.held != nil {
		again := *in.held
		again.Reason, again.Detail = pl.held, pl.detail
		return &again
	}
	held := &store.Held{
		ID: store.HeldID(h.ids.next(in.now)), Reason: pl.held, Detail: pl.detail, Received: in.env.Received,
		From: in.fromAddr, MailFrom: in.env.MailFrom, FromName: in.from.Name, Subject: in.idx.Envelope.Subject,
		Size: in.idx.Size, Urgent: in.urgent(), Auto: in.automatic(), Via: string(in.env.Via), RFCID: in.rfcID,
		Peer: in.env.Peer.Where, Trusted: h.listed(in.env.MailFrom.Domain()), Candidates: pl.others,
	}
	if held.Received.IsZero() {
		held.Received = in.now
	}
	for _, r := range in.env.Rcpts {
		held.Rcpts = append(held.Rcpts, r.Address)
		if r.Programme != "" {
			held.Programme = r.Programme
		}
		if r.Pathway != "" {
			held.Addressed = r.Pathway
		}
	}
	if pl.pathway != nil {
		held.Programme = pl.pathway.Programme
	}
	if held.Addressed == "" {
		// Written to a programme or an operator's box: released when that changes
		// what it waits for, it must be known which pathway it is of.
		held.Addressed = writtenOf(pl)
	}
	for _, domain := range []string{held.MailFrom.Domain(), held.From.Domain()} {
		if in.env.Peer.SpeaksFor != nil && in.env.Peer.SpeaksFor(domain) && !slices.Contains(held.Listed, domain) {
			held.Listed = append(held.Listed, domain)
		}
	}
	if a := in.env.Peer.Account; a != nil {
		held.Account = a.ID
	}
	if to, ok := h.receiptWanted(in); ok {
		held.NotifyTo = to
	}
	held.Fingerprint = in.fingerprint(held.Addressed)
	return held
}

// writtenOf is the pathway that a mail to an operator's box was written to: the
// one that its thread or tag names or, from somebody of its team, its documents.
// A stranger who only has a child's INS is told of no pathway.
func writtenOf(pl *plan) store.PathwayCode {
	if pl.pathway == nil {
		return ""
	}
	for _, c := range pl.clues {
		if slices.Contains(c.pathways, pl.pathway.Code) && (c.kind != clueINS || pl.writer != nil) {
			return pl.pathway.Code
		}
	}
	return ""
}

// dropTriageKey forgets the key of a message that is held no more. Should the
// hub stop right here, the key outlives its message and seals nothing; the
// next epoch does not carry it.
func (h *Hub) dropTriageKey(ctx context.Context, in *incoming) {
	if in.held == nil {
		return
	}
	if err := h.store.DropKey(ctx, store.Owner{Kind: store.OwnedByTriage, ID: string(in.held.ID)}); err != nil {
		h.log.Warn("the key of a message no longer held could not be dropped", "held", in.held.ID, "error", err)
	}
}
