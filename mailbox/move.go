package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/relais-sante/relais/store"
)

// Moving a message to another pathway. It is withdrawn here and goes through
// triage there, in two commits: the first withdraws it and holds a copy sealed
// to a key of its own, the second takes the copy like any held mail somebody
// assigned. Should the hub stop in between, or the other pathway not take it,
// the message waits in triage, where people see it.

// MoveMessage moves a message to another pathway. Queued copies are cancelled
// and the boxes that got one asked to delete it; there, it is decided about as
// if it had just come. The view is that of the message as filed there, or, when
// it had to be held, of the one withdrawn.
func (h *Hub) MoveMessage(ctx context.Context, by Actor, r MessageRequest) (MessageView, error) {
	var (
		c       *post
		to      *store.Pathway
		indexed []byte
	)
	err := h.view(ctx, func(v store.View) error {
		var err error
		if c, err = h.postNamed(v, by, r.Message); err != nil {
			return err
		}
		if err := c.correctable(); err != nil {
			return err
		}
		if to, err = h.takesMail(v, by, r); err != nil {
			return err
		}
		if to.Code == c.p.Code {
			return fail("move-same", map[string]any{"pathway": string(to.Code)})
		}
		indexed, err = v.Index(c.p.Code, c.m.ID)
		return err
	})
	if err != nil {
		return MessageView{}, err
	}
	held, err := h.setApart(ctx, by, c.m, to, indexed)
	if err != nil {
		return MessageView{}, err
	}
	receipt, err := h.takeHeld(ctx, held, assignment{
		pathway: to.Code, member: store.MemberID(r.Member), rubrics: r.Rubrics, by: by,
		settled: []string{reasonConflicting, reasonNoPathway},
	})
	var refusal *Refusal
	if err != nil && !errors.As(err, &refusal) {
		// It is withdrawn and safe in triage; whoever asked must know where.
		h.log.Warn("a moved message waits in triage", "held", held.ID, "error", err)
	}
	if err != nil || receipt.Held != "" {
		view, err := h.Message(ctx, by, string(c.m.ID))
		view.HeldAs = string(held.ID)
		return view, err
	}
	return h.linkMoved(ctx, by, c.m.ID, store.MessageRef{Pathway: receipt.Pathway, Message: receipt.Message})
}

// takesMail finds the pathway a request names, and checks that it takes mail
// and knows the member and rubrics named.
func (h *Hub) takesMail(v store.View, by Actor, r MessageRequest) (*store.Pathway, error) {
	p, err := liveNamed(v, by, r.Pathway)
	if err != nil {
		return nil, err
	}
	if err := standing(p); err != nil {
		return nil, refusalFailure(p.Code, err)
	}
	if r.Member != "" {
		if _, err := memberNamed(p, r.Member); err != nil {
			return nil, err
		}
	}
	prog, err := h.programme(p.Programme)
	if err != nil {
		return nil, err
	}
	_, err = rubricsNamed(prog, r.Rubrics)
	return p, err
}

// refusalFailure says a refusal to a coordinator.
func refusalFailure(code store.PathwayCode, err error) error {
	var refusal *Refusal
	if !errors.As(err, &refusal) {
		return err
	}
	switch refusal.Reason {
	case RefuseClosed:
		return fail("pathway-status-closed", map[string]any{"pathway": string(code)})
	case RefuseWithdrawn:
		return fail("pathway-consent-withdrawn", map[string]any{"pathway": string(code)})
	}
	return err
}

// setApart withdraws a message and holds a copy of it for another pathway, in
// one commit.
func (h *Hub) setApart(ctx context.Context, by Actor, m *store.Message, to *store.Pathway, indexed []byte) (*store.Held, error) {
	draft, err := h.recopy(ctx, m)
	if err != nil {
		return nil, err
	}
	defer draft.Discard()
	now := h.o.Now()
	held := &store.Held{
		ID: store.HeldID(h.ids.next(now)), Reason: reasonConflicting, Detail: "moved", Received: m.Received, Since: now,
		From: m.From, MailFrom: m.MailFrom, FromName: m.Author.Name, Subject: m.Subject, Programme: to.Programme,
		Rcpts: []store.Address{store.Address(h.pathwayAddress(to.Code))}, Addressed: to.Code, Size: m.Size,
		Via: m.Via, RFCID: m.RFCID, Urgent: m.Urgent, Trusted: h.listed(m.MailFrom.Domain()),
		Alerts: 1, Item: store.ItemID(h.ids.next(now)),
	}
	for _, a := range []store.Address{m.MailFrom, m.From} {
		if a != "" {
			held.Listed = append(held.Listed, a.Domain()) // vouched for when it came
		}
	}
	owner := store.Owner{Kind: store.OwnedByTriage, ID: string(held.ID)}
	if err := h.store.NewKey(ctx, owner); err != nil {
		return nil, fmt.Errorf("making the key of a held message: %w", err)
	}
	_, err = h.onMessage(ctx, by, string(m.ID), "message.moved", func(c *post) error {
		if err := c.correctable(); err != nil {
			return err
		}
		held.HiddenFromParents = secret(c.prog, c.m)
		if err := c.tx.Hold(held, indexed, draft); err != nil {
			return fmt.Errorf("holding message %s: %w", held.ID, err)
		}
		item := store.Item{ID: held.Item, Lane: laneTriage, Due: now.Add(h.alertAfter(held)), Held: held.ID}
		if err := c.tx.PutItem(item); err != nil {
			return fmt.Errorf("setting a timer: %w", err)
		}
		return h.withdraw(c, store.Retraction{At: now, By: by.Name, Reason: "moved"}, "moved")
	})
	if err != nil {
		return nil, err
	}
	// As stored: with its bytes.
	err = h.view(ctx, func(v store.View) (err error) {
		held, err = v.Held(held.ID)
		return err
	})
	return held, err
}

// recopy reads a stored message into a new draft, to be sealed to another key.
func (h *Hub) recopy(ctx context.Context, m *store.Message) (store.Draft, error) {
	if m.Blob == nil {
		return nil, fail("message-empty", map[string]any{"message": string(m.ID)})
	}
	r, err := h.store.Open(ctx, *m.Blob)
	if err != nil {
		return nil, fmt.Errorf("opening message %s: %w", m.ID, err)
	}
	defer r.Close()
	draft, err := h.store.Create(ctx, m.Size)
	if err != nil {
		return nil, fmt.Errorf("copying message %s: %w", m.ID, err)
	}
	if _, err = io.Copy(draft, r); err == nil {
		err = draft.Finish()
	}
	if err != nil {
		draft.Discard()
		return nil, fmt.Errorf("copying message %s: %w", m.ID, err)
	}
	return draft, nil
}

// linkMoved notes on a withdrawn message what it became, and shows that.
func (h *Hub) linkMoved(ctx context.Context, by Actor, id store.MessageID, to store.MessageRef) (MessageView, error) {
	var view MessageView
	err := h.change(ctx, func(tx store.Tx) error {
		c, err := h.postNamed(tx, by, string(id))
		if err != nil {
			return err
		}
		if c.m.Retracted != nil {
			c.m.Retracted.To = &to
			if err := tx.UpdateMessage(c.m); err != nil {
				return fmt.Errorf("writing message %s: %w", id, err)
			}
		}
		moved, err := h.postNamed(tx, by, string(to.Message))
		if err != nil {
			return err
		}
		if view, err = h.messageView(tx, moved.m); err != nil {
			return err
		}
		return h.trace(tx, by, "message.filed", to.Pathway, string(to.Message), outcomeDone, map[string]string{"from": string(id)})
	})
	return view, err
}
