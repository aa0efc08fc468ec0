package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/store"
)

// Intake takes a message: it reads r to its end, decides, and keeps what was
// decided in one durable commit. It is the only way in.
//
// On nil everything is on disk: the message, where it is filed, the copies to
// send, the trace. On error nothing is: a *Refusal is for the sender, any
// other error is temporary (a read error of r is among them).
func (h *Hub) Intake(ctx context.Context, env Envelope, r io.Reader) (Receipt, error) {
	in, err := h.receive(ctx, env, r)
	if err != nil {
		return Receipt{}, storeFault(err)
	}
	defer in.draft.Discard()
	defer in.text.wipe()
	h.rush.enter()
	defer h.rush.leave()
	if known, err := h.takenBefore(ctx, in); err != nil || known {
		return Receipt{Duplicate: known}, storeFault(err)
	}
	if err := h.vouched(ctx, in); err != nil {
		return Receipt{}, storeFault(err)
	}
	if in.fromOperator() && h.goesRound(in) {
		return Receipt{}, refuse(RefuseLoop, nil)
	}
	if err := h.scan(ctx, in); err != nil {
		return Receipt{}, storeFault(h.tellRefused(ctx, in, err))
	}
	receipt, err := h.settle(ctx, in)
	if !in.fromOperator() { // else tellRefused traces it
		err = h.refusedFor(ctx, &in.env, err)
	}
	return receipt, storeFault(h.tellRefused(ctx, in, err))
}

// storeFault turns the store's own faults into the refusals they stand for.
func storeFault(err error) error {
	switch {
	case errors.Is(err, store.ErrFull):
		return refuse(RefuseFull, err)
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrClosed):
		return refuse(RefuseUnavailable, err)
	}
	return err
}

// vouched checks that the peer may speak for those it says it speaks for.
// Reports have no sender, and their From is the operator's own machine.
func (h *Hub) vouched(ctx context.Context, in *incoming) error {
	if in.env.Peer.Account != nil {
		return h.ownAddresses(ctx, in)
	}
	if in.env.MailFrom == "" || in.fromOperator() { // the operator has vouched, or in.outside
		return nil
	}
	if in.fromAddr == "" { // no readable From: the envelope alone says who sends
		in.fromAddr = in.env.MailFrom
	}
	for _, domain := range []string{in.env.MailFrom.Domain(), in.fromAddr.Domain()} {
		if domain == "" || in.env.Peer.SpeaksFor == nil || !in.env.Peer.SpeaksFor(domain) {
			return refuse(RefuseSender, nil)
		}
	}
	return nil
}

// ownAddresses checks that an account sends in its own name only: envelope
// sender and every mailbox of From (RFC 6409 §6.1).
func (h *Hub) ownAddresses(ctx context.Context, in *incoming) error {
	if in.fromAddr == "" {
		in.fromAddr = in.env.MailFrom
	}
	// It may have been revoked while the message came in.
	alive, err := h.AccountAlive(ctx, in.env.Peer.Account)
	if err != nil {
		return err
	}
	if !alive {
		return refuse(RefuseSender, nil)
	}
	own := []store.Address{in.env.MailFrom, in.fromAddr}
	for _, m := range in.idx.Envelope.From {
		own = append(own, store.NewAddress(m.Address))
	}
	for _, addr := range slices.Compact(own) {
		may, err := h.MaySend(ctx, in.env.Peer.Account, addr)
		if err != nil {
			return err
		}
		if !may {
			return refuse(RefuseSender, nil)
		}
	}
	return nil
}

// maxTries bounds how often a decision is made anew because the pathway
// changed under it.
const maxTries = 8

// settle decides and commits, anew whenever the pathway changed in between.
func (h *Hub) settle(ctx context.Context, in *incoming) (Receipt, error) {
	for range maxTries {
		var pl *plan
		err := h.view(ctx, func(v store.View) error {
			var err error
			if pl, err = h.decide(v, in); err != nil || !pl.files() {
				return err
			}
			return h.planCopies(v, pl, in)
		})
		if err != nil {
			return Receipt{}, err
		}
		receipt, err := h.carryOut(ctx, pl, in)
		if !errors.Is(err, store.ErrConflict) {
			return receipt, err
		}
	}
	return Receipt{}, fmt.Errorf("deciding about a message: %w", store.ErrConflict)
}

// carryOut writes what was decided.
func (h *Hub) carryOut(ctx context.Context, pl *plan, in *incoming) (Receipt, error) {
	switch {
	case pl.files():
		return h.file(ctx, pl, in)
	case pl.report != nil:
		return h.record(ctx, pl, in)
	case pl.duplicate != nil:
		return h.acknowledge(ctx, pl, in)
	}
	return h.holdBack(ctx, pl, in)
}

// files reports whether the message is to be filed.
func (pl *plan) files() bool { return pl.report == nil && pl.duplicate == nil && pl.held == "" }

// unchanged makes sure that the pathway is still the one decided on.
func unchanged(tx store.Tx, p *store.Pathway) error {
	revision, err := tx.Revision(p.Code)
	if err != nil {
		return fmt.Errorf("reading pathway %s: %w", p.Code, err)
	}
	if revision != p.Revision {
		return store.ErrConflict
	}
	return nil
}

// planCopies makes the copies of a message that is to be filed.
func (h *Hub) planCopies(v store.View, pl *plan, in *incoming) error {
	plan := copyPlan{
		p: pl.pathway, prog: pl.prog, m: pl.message, copyID: pl.copyID, under: pl.under, parent: pl.parent, now: in.now,
		xdm: isXDM(in.idx),
	}
	var err error
	pl.copies, err = h.copies(v, &plan, func(mem *store.Member) bool { return pl.verdicts[mem.ID].ok })
	return err
}

// file keeps a message on the thread and queues its copies.
func (h *Hub) file(ctx context.Context, pl *plan, in *incoming) (Receipt, error) {
	m, copies := pl.message, pl.copies
	receipt := Receipt{Pathway: m.Pathway, Message: m.ID}
	noteCopies(m, copies)
	m.Shown = h.shownAs(pl.pathway, in.idx).Size
	if err := in.expect(store.Owner{Kind: store.OwnedByPathway, ID: string(m.Pathway)}); err != nil {
		return Receipt{}, err
	}
	offered := h.openings.offer(m, in.idx, in.text, len(copies))
	err := h.take(ctx, in, func(tx store.Tx) error {
		if err := unchanged(tx, pl.pathway); err != nil {
			return err
		}
		// Two connections may bring the same message at once.
		if ref, err := tx.Duplicate(m.Fingerprint); err == nil {
			receipt = Receipt{Pathway: ref.Pathway, Message: ref.Message, Duplicate: true}
			return nil
		} else if !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("looking for a duplicate: %w", err)
		}
		receipt = Receipt{Pathway: m.Pathway, Message: m.ID, Deliveries: len(copies)}
		if err := h.keep(tx, m, in); err != nil {
			return err
		}
		if err := h.put(tx, copies); err != nil {
			return err
		}
		if err := h.markOwn(tx, pl, in); err != nil {
			return err
		}
		if err := h.followVersions(tx, pl.pathway, m); err != nil {
			return err
		}
		return h.tellFiled(tx, pl, in)
	})
	if err != nil || receipt.Duplicate {
		offered.withdraw()
	}
	if err != nil {
		return Receipt{}, err
	}
	h.dropTriageKey(ctx, in)
	return receipt, nil
}

// expect has the session key of a new message wrapped before the commit, which
// others wait for.
func (in *incoming) expect(o store.Owner) error {
	if in.draft == nil {
		return nil
	}
	if err := in.draft.Expect(o); err != nil {
		return fmt.Errorf("wrapping the key of a message: %w", err)
	}
	return nil
}

// keep stores the bytes: of a new message, or of one that was held.
func (h *Hub) keep(tx store.Tx, m *store.Message, in *incoming) error {
	var err error
	if in.held != nil {
		err = tx.FileHeld(m, in.indexed, in.held.ID)
	} else {
		err = tx.FileMessage(m, in.indexed, in.draft)
	}
	if err != nil {
		return fmt.Errorf("filing message %s: %w", m.ID, err)
	}
	return nil
}

// tellFiled traces a post and writes what its author must be told.
func (h *Hub) tellFiled(tx store.Tx, pl *plan, in *incoming) error {
	m := pl.message
	if err := h.trace(tx, h.senderActor(pl, in), "message.post", m.Pathway, string(m.ID), "done", map[string]string{
		"certainty": string(m.Author.Certainty), "clue": m.Author.Clue, "via": m.Via, "filed": m.Filed,
	}); err != nil {
		return err
	}
	if len(pl.missed) > 0 {
		if err := h.tellNarrowed(tx, pl.pathway, m, pl.missed); err != nil {
			return err
		}
	}
	if len(pl.refused) > 0 {
		if err := h.tellNotReplaced(tx, pl.pathway, pl.prog, m); err != nil {
			return err
		}
	}
	if roles := pl.decision.Notify; len(roles) > 0 && m.Retracted == nil {
		if err := h.tellActivity(tx, pl.pathway, pl.prog, m, roles); err != nil {
			return err
		}
	}
	if in.held != nil { // it had its receipt when it was held
		return nil
	}
	return h.answerReceipt(tx, pl.pathway, m, in.idx.Envelope.Subject)
}

func (h *Hub) listed(domain string) bool { return h.o.Listed == nil || h.o.Listed(domain) }

// senderActor is who a post is traced for.
func (h *Hub) senderActor(pl *plan, in *incoming) Actor {
	name := "box"
	if pl.writer != nil && pl.writer.author.Member != "" {
		name = "member:" + string(pl.writer.author.Member)
	}
	if by := in.given.by; by.Name != "" {
		if by.Name != hubActor.Name {
			by.OnBehalf = name
		}
		return by
	}
	return Actor{Name: name, Where: in.env.Peer.Where}
}

// acknowledge traces a message seen again; it is not relayed again.
func (h *Hub) acknowledge(ctx context.Context, pl *plan, in *incoming) (Receipt, error) {
	err := h.take(ctx, in, func(tx store.Tx) error {
		if in.held != nil {
			if err := tx.DropHeld(in.held.ID); err != nil {
				return fmt.Errorf("dropping a held duplicate: %w", err)
			}
		}
		return h.trace(tx, h.senderActor(pl, in), "message.duplicate", pl.duplicate.Pathway, string(pl.duplicate.Message), "done", nil)
	})
	if err != nil {
		return Receipt{}, err
	}
	h.dropTriageKey(ctx, in)
	return Receipt{Pathway: pl.duplicate.Pathway, Message: pl.duplicate.Message, Duplicate: true}, nil
}

// isXDM reports whether the subject is one that hospital software reads.
func isXDM(idx *letter.Index) bool {
	_, ok := letter.CutXDM(letter.CutTag(idx.Envelope.Subject))
	return ok
}
