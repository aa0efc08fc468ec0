package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/relais-sante/relais/mailbox/texts"
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
		c, err := h.postNamed(tx, id)
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
func (h *Hub) postNamed(v store.View, id string) (*post, error) {
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
		c.m.Filings, c.m.Filed = filings, "hand"
		if err := c.tx.UpdateMessage(c.m); err != nil {
			return fmt.Errorf("refiling message %s: %w", c.m.ID, err)
		}
		return h.followRights(c, "refiled")
	})
}

// followRights lets copies follow a change of who may see a message.
func (h *Hub) followRights(c *post, word string) error {
	if _, err := h.cancelUnentitled(c.tx, c.p, word); err != nil {
		return err
	}
	now := h.o.Now()
	err := h.tellRetracted(c.tx, c.p, c.m, func(d *store.Delivery) bool {
		return !slices.ContainsFunc(d.Members, func(id store.MemberID) bool {
			mem := member(c.p, id)
			return mem != nil && h.maySee(c.p, c.prog, mem, c.m, now).ok
		})
	})
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
	if m.Parent != "" {
		if plan.parent, err = tx.Message(p.Code, m.Parent); err != nil && !errors.Is(err, store.ErrNotFound) {
			return 0, fmt.Errorf("reading message %s: %w", m.Parent, err)
		}
	}
	ds, err := h.copies(tx, &plan, ok)
	if err != nil || len(ds) == 0 {
		return 0, err
	}
	known := len(m.KnownAs)
	for _, d := range ds {
		if !slices.Contains(m.KnownAs, d.RFCID) {
			m.KnownAs = append(m.KnownAs, d.RFCID)
		}
	}
	if len(m.KnownAs) > known {
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
		old := c.m.Author
		c.m.Author = authorOf(mem, store.Sure, "corrected")
		c.m.Author.CorrectedBy = by.Name
		if old.Mailbox != "" {
			c.m.Author.Mailbox = old.Mailbox // where it came from stays a fact
		}
		if err := c.tx.UpdateMessage(c.m); err != nil {
			return fmt.Errorf("writing message %s: %w", c.m.ID, err)
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
			a.Audience.Answered = slices.DeleteFunc(slices.Clone(a.Audience.Answered), func(id store.MemberID) bool { return id == from })
			if !slices.Contains(a.Audience.Answered, to) {
				a.Audience.Answered = append(a.Audience.Answered, to)
			}
			if err := c.tx.UpdateMessage(a); err != nil {
				return fmt.Errorf("writing message %s: %w", a.ID, err)
			}
		}
		if len(page) < listPage {
			return nil
		}
	}
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
