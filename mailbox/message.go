package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// Putting right what went wrong with a message that was filed. (Moving it to
// another pathway is in move.go.)

// Message shows one message.
func (h *Hub) Message(ctx context.Context, by Actor, id string) (MessageView, error) {
	return h.onMessage(ctx, by, id, "message.read", func(*post) error { return nil })
}

// RawMessage gives the bytes exactly as received; close it.
func (h *Hub) RawMessage(ctx context.Context, by Actor, id string) (io.ReadCloser, error) {
	var blob *store.Blob
	_, err := h.onMessage(ctx, by, id, "message.downloaded", func(c *post) error {
		blob = c.m.Blob
		return nil
	})
	if err != nil {
		return nil, err
	}
	if blob == nil {
		return nil, fail("message-empty", map[string]any{"message": id})
	}
	return h.store.Open(ctx, *blob)
}

// post is a message under change, with what it belongs to.
type post struct {
	tx   store.Tx
	p    *store.Pathway
	prog *rules.Programme // nil if it is not loaded (any more)
	m    *store.Message
}

// onMessage reads a message, lets fn change it, and shows what came of it.
func (h *Hub) onMessage(ctx context.Context, by Actor, id, action string, fn func(*post) error) (MessageView, error) {
	var view MessageView
	err := h.change(ctx, func(tx store.Tx) error {
		c, err := h.postNamed(tx, by, id)
		if err != nil {
			return err
		}
		c.tx = tx
		if err := fn(c); err != nil {
			return err
		}
		if view, err = h.messageView(tx, c.m); err != nil {
			return err
		}
		return h.trace(tx, by, action, c.p.Code, string(c.m.ID), outcomeDone, nil)
	})
	return view, err
}

// postNamed finds a message by the hub's own id.
func (h *Hub) postNamed(v store.View, by Actor, id string) (*post, error) {
	key := store.MessageID(strings.ToLower(strings.TrimSpace(id)))
	code, err := v.Locate(key)
	c := &post{}
	if err == nil {
		c.m, err = v.Message(code, key)
	}
	if errors.Is(err, store.ErrNotFound) {
		return nil, fail("message-unknown", map[string]any{"message": id})
	}
	if err != nil {
		return nil, fmt.Errorf("reading message %s: %w", key, err)
	}
	if c.p, err = v.Pathway(code); err != nil {
		return nil, fmt.Errorf("reading pathway %s: %w", code, err)
	}
	if err := by.within(c.p.Programme); err != nil {
		return nil, err
	}
	c.prog, err = h.programme(c.p.Programme)
	if err != nil && !errors.Is(err, ErrNoProgramme) {
		return nil, err
	}
	return c, nil
}

// correctable refuses what is not a post, or is withdrawn already.
func (c *post) correctable() error {
	switch {
	case c.m.Retracted != nil:
		return fail("message-retracted", map[string]any{"message": string(c.m.ID)})
	case c.m.Kind != store.KindPost:
		return fail("message-kind", map[string]any{"message": string(c.m.ID)})
	case c.prog == nil:
		return fmt.Errorf("correcting message %s: %w", c.m.ID, ErrNoProgramme)
	}
	return nil
}

// Retract withdraws a message: gone from IMAP at once, queued copies cancelled,
// the boxes that got one asked to delete it. The thread keeps the entry.
func (h *Hub) Retract(ctx context.Context, by Actor, r MessageRequest) (MessageView, error) {
	reason, err := line("reason", r.Reason)
	if err != nil {
		return MessageView{}, err
	}
	return h.onMessage(ctx, by, r.Message, "message.retracted", func(c *post) error {
		if c.m.Retracted != nil {
			return fail("message-retracted", map[string]any{"message": string(c.m.ID)})
		}
		return h.withdraw(c, store.Retraction{At: h.o.Now(), By: by.Name, Reason: reason}, "retracted")
	})
}

// withdraw takes a message out of its rubrics and calls its copies back.
func (h *Hub) withdraw(c *post, r store.Retraction, word string) error {
	r.Rubrics = c.m.Rubrics()
	c.m.Retracted, c.m.Filings = &r, nil
	if err := c.tx.UpdateMessage(c.m); err != nil {
		return fmt.Errorf("withdrawing message %s: %w", c.m.ID, err)
	}
	if c.prog != nil { // the version before may stand again
		if err := h.followVersions(c.tx, c.p, c.m); err != nil {
			return err
		}
	}
	if err := h.cancelCopies(c.tx, c.m, word); err != nil {
		return err
	}
	return h.tellRetracted(c.tx, c.p, c.m, func(*store.Delivery) bool { return true })
}

// cancelCopies cancels every copy of a message that waits.
func (h *Hub) cancelCopies(tx store.Tx, m *store.Message, word string) error {
	ds, err := tx.Deliveries(m.Pathway, m.ID)
	if err != nil {
		return fmt.Errorf("reading the deliveries of %s: %w", m.ID, err)
	}
	for _, d := range ds {
		if d.Notice == nil && waiting(d) {
			if err := h.cancelCopy(tx, d, word); err != nil {
				return err
			}
		}
	}
	return nil
}

// Refile files a message in other rubrics of its pathway. Who may see it
// follows: newcomers are mailed, queued copies for those who no longer may are
// cancelled, and boxes where nobody may see it any more are asked to delete it.
func (h *Hub) Refile(ctx context.Context, by Actor, r MessageRequest) (MessageView, error) {
	return h.onMessage(ctx, by, r.Message, "message.refiled", func(c *post) error {
		if err := c.correctable(); err != nil {
			return err
		}
		rubrics, err := rubricsNamed(c.prog, r.Rubrics)
		if err != nil {
			return err
		}
		if len(rubrics) == 0 {
			return fail("rubric-missing", nil)
		}
		if sameSet(rubrics, c.m.Rubrics()) {
			return fail("nothing-to-change", nil)
		}
		var filings []store.Filing
		for _, id := range rubrics {
			f := store.Filing{Rubric: id, Message: c.m.ID}
			for _, old := range c.m.Filings {
				if old.Rubric == id {
					f = old
				}
			}
			filings = append(filings, f)
		}
		if slices.ContainsFunc(rubrics, c.prog.HidesFromParents) {
			if err := h.hide(c); err != nil {
				return err
			}
		}
		before := *c.m
		c.m.Filings, c.m.Filed = filings, "hand"
		if err := h.updateMessage(c, &before, c.m); err != nil {
			return err
		}
		return h.followRights(c, "refiled")
	})
}

// updateMessage writes a message that others may see now than before. To them
// it is new: it gets new UIDs, or clients that know higher ones would miss it.
func (h *Hub) updateMessage(c *post, before, m *store.Message) error {
	now := h.o.Now()
	widened := false
	for i := range c.p.Members {
		mem := &c.p.Members[i]
		if !h.maySee(c.p, c.prog, mem, m, now).ok || h.maySee(c.p, c.prog, mem, before, now).ok {
			continue
		}
		widened = true
		for j := range m.Boxes {
			if m.Boxes[j].Box == mem.Mailbox {
				m.Boxes[j].UID = 0
			}
		}
	}
	if widened {
		filings := m.Filings
		m.Filings = nil
		if err := c.tx.UpdateMessage(m); err != nil {
			return fmt.Errorf("writing message %s: %w", m.ID, err)
		}
		for _, f := range filings {
			m.Filings = append(m.Filings, store.Filing{Rubric: f.Rubric, Message: m.ID})
		}
	}
	if err := c.tx.UpdateMessage(m); err != nil {
		return fmt.Errorf("writing message %s: %w", m.ID, err)
	}
	return nil
}

// followRights lets copies follow a change of who may see a message.
func (h *Hub) followRights(c *post, word string) error {
	if _, err := h.cancelUnentitled(c.tx, c.p, word); err != nil {
		return err
	}
	now := h.o.Now()
	err := h.tellRetracted(c.tx, c.p, c.m, func(d *store.Delivery) bool { return !h.anySees(c, c.m, d) })
	if err != nil || c.p.Status == store.PathwayClosed {
		return err
	}
	reached, err := h.reached(c.tx, c.m)
	if err != nil {
		return err
	}
	_, err = h.mailTo(c.tx, c.p, c.prog, c.m, false, func(mem *store.Member) bool {
		return !reached[mem.ID] && mem.ID != c.m.Author.Member && h.mayReceive(c.p, c.prog, mem, c.m, now).ok
	})
	return err
}

// reached are the members a copy of a message has gone to, or will.
func (h *Hub) reached(v store.View, m *store.Message) (map[store.MemberID]bool, error) {
	ds, err := v.Deliveries(m.Pathway, m.ID)
	if err != nil {
		return nil, fmt.Errorf("reading the deliveries of %s: %w", m.ID, err)
	}
	reached := map[store.MemberID]bool{}
	for _, d := range ds {
		if d.Notice != nil || d.State == store.Cancelled || d.State == store.Failed {
			continue
		}
		for _, id := range d.Members {
			reached[id] = true
		}
	}
	return reached, nil
}

// rubricsNamed checks rubric ids as people type them.
func rubricsNamed(prog *rules.Programme, ids []string) ([]string, error) {
	var rubrics []string
	for _, id := range ids {
		id = strings.ToLower(strings.TrimSpace(id))
		if prog.Rubric(id) == nil {
			var known []string
			for _, r := range prog.Rubrics {
				known = append(known, r.ID)
			}
			return nil, fail("rubric-unknown", map[string]any{"rubric": id, "programme": prog.ID, "known": strings.Join(known, " ")})
		}
		if !slices.Contains(rubrics, id) {
			rubrics = append(rubrics, id)
		}
	}
	return rubrics, nil
}

func sameSet(a, b []string) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(s string) bool { return !slices.Contains(b, s) })
}
