package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// Sending a filed message again, and saying who wrote it.

// Resend makes new deliveries of a message: for the members named, who must be
// allowed to see it, or for all who should have it and have no copy.
func (h *Hub) Resend(ctx context.Context, by Actor, r MessageRequest) (MessageView, error) {
	return h.onMessage(ctx, by, r.Message, "message.resent", func(c *post) error {
		if err := c.correctable(); err != nil {
			return err
		}
		if err := mailable(c.p); err != nil {
			return err
		}
		now := h.o.Now()
		named := map[store.MemberID]bool{}
		for _, id := range r.Members {
			mem, err := memberNamed(c.p, id)
			if err != nil {
				return err
			}
			if v := h.maySee(c.p, c.prog, mem, c.m, now); !v.ok {
				return fail("member-not-entitled", map[string]any{"member": string(mem.ID), "why": said{texts.ID("why." + string(v.why)), map[string]any{"rule": v.rule}}})
			}
			named[mem.ID] = true
		}
		ok := func(mem *store.Member) bool { return named[mem.ID] }
		if len(named) == 0 {
			reached, err := h.reached(c.tx, c.m)
			if err != nil {
				return err
			}
			ok = func(mem *store.Member) bool {
				return !reached[mem.ID] && mem.ID != c.m.Author.Member && h.mayReceive(c.p, c.prog, mem, c.m, now).ok
			}
		}
		n, err := h.mailTo(c.tx, c.p, c.prog, c.m, len(named) > 0, ok)
		if err == nil && n == 0 {
			return fail("nobody-to-send-to", map[string]any{"message": string(c.m.ID)})
		}
		return err
	})
}

// mailable refuses to mail from a pathway that is closed, suspended or without
// consent.
func mailable(p *store.Pathway) error {
	switch {
	case !live(p) || p.Status == store.PathwaySuspended:
		return fail("pathway-status-"+string(p.Status), map[string]any{"pathway": string(p.Code)})
	case pathwayConsent(p) != consentRecorded:
		return fail("pathway-no-consent", map[string]any{"pathway": string(p.Code)})
	}
	return nil
}

// mailTo queues copies of a filed message for the members that ok accepts, and
// says how many. fresh gives them a new Message-ID whatever the box got before.
func (h *Hub) mailTo(tx store.Tx, p *store.Pathway, prog *rules.Programme, m *store.Message, fresh bool, ok func(*store.Member) bool) (int, error) {
	plan := copyPlan{p: p, prog: prog, m: m, copyID: m.RFCID, fresh: fresh, now: h.o.Now()}
	indexed, err := tx.Index(p.Code, m.ID)
	if err != nil {
		return 0, fmt.Errorf("reading the index of %s: %w", m.ID, err)
	}
	idx, err := decodeIndex(indexed)
	if err != nil {
		return 0, err
	}
	plan.xdm = isXDM(idx)
	if !fresh {
		if plan.under, err = tx.MessagesByID(plan.copyID); err != nil {
			return 0, fmt.Errorf("looking up a message id: %w", err)
		}
	}
	if m.Parent != "" {
		if plan.parent, err = tx.Message(p.Code, m.Parent); err != nil && !errors.Is(err, store.ErrNotFound) {
			return 0, fmt.Errorf("reading message %s: %w", m.Parent, err)
		}
	}
	ds, err := h.copies(tx, &plan, ok)
	if err != nil || len(ds) == 0 {
		return 0, err
	}
	if noteCopies(m, ds) {
		if err := tx.UpdateMessage(m); err != nil {
			return 0, fmt.Errorf("writing message %s: %w", m.ID, err)
		}
	}
	return len(ds), h.put(tx, ds)
}

// SetAuthor says who wrote a message. Copies that went out keep the author they
// were sent with; the author's rights on it and on its answers follow.
func (h *Hub) SetAuthor(ctx context.Context, by Actor, r MessageRequest) (MessageView, error) {
	return h.onMessage(ctx, by, r.Message, "message.author", func(c *post) error {
		if err := c.correctable(); err != nil {
			return err
		}
		mem, err := memberNamed(c.p, r.Member)
		if err != nil {
			return err
		}
		old, before := c.m.Author, *c.m
		c.m.Author = authorOf(mem, store.Sure, "corrected")
		c.m.Author.CorrectedBy = by.Name
		if old.Mailbox != "" {
			c.m.Author.Mailbox = old.Mailbox // where it came from stays a fact
		}
		if err := h.updateMessage(c, &before, c.m); err != nil {
			return err
		}
		if err := h.passAnswers(c, old.Member, mem.ID); err != nil {
			return err
		}
		_, err = h.cancelUnentitled(c.tx, c.p, "author-corrected")
		return err
	})
}

// passAnswers lets the answers to a message be seen by its author as corrected,
// and no longer by the one it was taken for.
func (h *Hub) passAnswers(c *post, from, to store.MemberID) error {
	if from == to {
		return nil
	}
	after := c.m.Seq
	for {
		page, err := c.tx.Thread(c.p.Code, after, listPage)
		if err != nil {
			return fmt.Errorf("reading the thread of %s: %w", c.p.Code, err)
		}
		for _, a := range page {
			after = a.Seq
			if a.Parent != c.m.ID || a.Kind != store.KindPost {
				continue
			}
			before := *a
			a.Audience.Answered = slices.DeleteFunc(slices.Clone(a.Audience.Answered), func(id store.MemberID) bool { return id == from })
			if !slices.Contains(a.Audience.Answered, to) {
				a.Audience.Answered = append(a.Audience.Answered, to)
			}
			if err := h.updateMessage(c, &before, a); err != nil {
				return err
			}
		}
		if len(page) < listPage {
			return nil
		}
	}
}
