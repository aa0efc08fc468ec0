package mailbox

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// What is secret for parents. A message is marked when it is filed, and never
// unmarked: the mark is of the message, so that whoever refiles, resends, moves
// or exports it later cannot lose it, and it passes on to every answer and to
// whatever carries one of its documents again.

// hiddenFrom reports whether a message is secret for a member: one of the
// family, or anybody at a box that the family reads.
func hiddenFrom(p *store.Pathway, prog *rules.Programme, mem *store.Member, m *store.Message, at time.Time) bool {
	return secret(prog, m) && readByFamily(p, prog, mem, at)
}

// secret reports whether a message is marked, or lies in a rubric that is.
func secret(prog *rules.Programme, m *store.Message) bool {
	return m.Audience.HiddenFromParents || slices.ContainsFunc(m.Rubrics(), prog.HidesFromParents)
}

// readByFamily reports whether the box of a member is one that the family
// reads: the member is of the family, it is the child's own box, or one of the
// family shares it.
func readByFamily(p *store.Pathway, prog *rules.Programme, mem *store.Member, at time.Time) bool {
	if mem.Mailbox.Citizen() || ofFamily(prog, mem) {
		return true
	}
	for i := range p.Members {
		if m := &p.Members[i]; m.Mailbox == mem.Mailbox && m.ActiveAt(at) && ofFamily(prog, m) {
			return true
		}
	}
	return false
}

func ofFamily(prog *rules.Programme, mem *store.Member) bool {
	role := prog.Role(mem.Role)
	return role != nil && role.Family
}

// citizenRole refuses a role of the care team at a box of Mon espace santé: it
// is the child's, and parents read it.
func citizenRole(prog *rules.Programme, mem *store.Member) error {
	if role := prog.Role(mem.Role); mem.Mailbox.Citizen() && role != nil && role.CareTeam {
		return fail("citizen-role", map[string]any{"role": role.ID})
	}
	return nil
}

// Keys by which messages of a pathway are found again (store.Message.Keys).
const (
	keyContent = "sum:"    // digest of what it carries
	keySecret  = "secret:" // + key of content: the message is marked
)

func keyOfContent(sum []byte) string { return keyContent + hex.EncodeToString(sum) }

// markSecret marks a message, so that what carries its documents again finds
// the mark, be they in a thousand others besides (a logo).
func markSecret(m *store.Message) {
	m.Audience.HiddenFromParents = true
	for _, key := range slices.Clone(m.Keys) {
		if strings.HasPrefix(key, keyContent) {
			m.Keys = addMissing(m.Keys, keySecret+key)
		}
	}
}

// contentKeys are the keys of all that a mail carries, PDF copies of its
// documents included.
func contentKeys(in *incoming) []string {
	var keys []string
	add := func(sum []byte) {
		if key := keyOfContent(sum); len(sum) > 0 && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	for i := range in.documents {
		add(in.documents[i].Sum)
		for _, number := range in.documents[i].Copies {
			if part := in.idx.Root.Find(number); part != nil {
				add(part.Sum)
			}
		}
	}
	return keys
}

// inheritsSecret reports whether a mail must be secret because of what it
// answers or carries again: every message of the pathway that it names counts,
// not only the one it is taken to answer.
func (h *Hub) inheritsSecret(v store.View, pl *plan, in *incoming) (bool, error) {
	if in.held != nil && in.held.HiddenFromParents || pl.parent != nil && secret(pl.prog, pl.parent) {
		return true, nil
	}
	var found []store.MessageID
	for _, id := range threadIDs(&in.idx.Envelope) {
		refs, err := v.MessagesByID(id)
		if err != nil {
			return false, fmt.Errorf("looking up a message id: %w", err)
		}
		for _, ref := range refs {
			if ref.Pathway == pl.pathway.Code {
				found = append(found, ref.Message)
			}
		}
	}
	keys := contentKeys(in)
	for _, key := range keys {
		marked, err := v.MessagesOfKey(pl.pathway.Code, keySecret+key, 1)
		if err != nil || len(marked) > 0 {
			return err == nil, err
		}
	}
	// What lies in a rubric that hides it bears no mark if the programme came to
	// say so later.
	if unmarked, err := h.anyInHidden(v, pl); err != nil {
		return false, err
	} else if unmarked {
		for _, key := range keys {
			ids, err := v.MessagesOfKey(pl.pathway.Code, key, 0)
			if err != nil {
				return false, err
			}
			found = append(found, ids...)
		}
	}
	slices.Sort(found)
	for _, id := range slices.Compact(found) {
		m, err := v.Message(pl.pathway.Code, id)
		if err != nil {
			return false, fmt.Errorf("reading message %s: %w", id, err)
		}
		if secret(pl.prog, m) {
			return true, nil
		}
	}
	return false, nil
}

// anyInHidden reports whether anything is filed in a rubric that is secret for
// parents.
func (h *Hub) anyInHidden(v store.View, pl *plan) (bool, error) {
	for i := range pl.prog.Rubrics {
		r := &pl.prog.Rubrics[i]
		if !r.HiddenFromParents {
			continue
		}
		some, err := v.Filed(pl.pathway.Code, r.ID, 0, 1)
		if err != nil {
			return false, fmt.Errorf("reading a rubric of %s: %w", pl.pathway.Code, err)
		}
		if len(some) > 0 {
			return true, nil
		}
	}
	return false, nil
}

// hide marks a message secret for parents, and everything that answers it or
// carries its documents again. Copies that wait for the family are cancelled,
// and the boxes that got one are asked to delete it.
func (h *Hub) hide(c *post) error {
	marked := map[store.MessageID]bool{}
	keys := map[string]bool{}
	var after uint64
	for { // in the order of the thread: an answer comes after what it answers
		page, err := c.tx.Thread(c.p.Code, after, listPage)
		if err != nil {
			return fmt.Errorf("reading the thread of %s: %w", c.p.Code, err)
		}
		for _, m := range page {
			after = m.Seq
			if m.ID == c.m.ID {
				m = c.m
			} else if !marked[m.Parent] && !slices.ContainsFunc(m.Keys, func(k string) bool { return keys[k] }) {
				continue
			}
			marked[m.ID] = true
			for _, k := range m.Keys {
				keys[k] = true
			}
			if m.Kind != store.KindPost || m.Audience.HiddenFromParents {
				continue
			}
			markSecret(m)
			if err := c.tx.UpdateMessage(m); err != nil {
				return fmt.Errorf("marking message %s: %w", m.ID, err)
			}
			if m.ID == c.m.ID || m.Retracted != nil {
				continue
			}
			err := h.tellRetracted(c.tx, c.p, m, func(d *store.Delivery) bool { return h.atFamily(c, d) && !h.anySees(c, m, d) })
			if err != nil {
				return err
			}
		}
		if len(page) < listPage {
			return nil
		}
	}
}

// atFamily reports whether a copy went to a box that the family reads.
func (h *Hub) atFamily(c *post, d *store.Delivery) bool {
	now := h.o.Now()
	return slices.ContainsFunc(d.Members, func(id store.MemberID) bool {
		mem := member(c.p, id)
		return mem != nil && readByFamily(c.p, c.prog, mem, now)
	})
}

// anySees reports whether one of those a copy is for may see its message.
func (h *Hub) anySees(c *post, m *store.Message, d *store.Delivery) bool {
	now := h.o.Now()
	return slices.ContainsFunc(d.Members, func(id store.MemberID) bool {
		mem := member(c.p, id)
		return mem != nil && h.maySee(c.p, c.prog, mem, m, now).ok
	})
}

// textOf is what a mail says, for words that mark it.
func textOf(in *incoming) string {
	if in.reading == nil {
		return ""
	}
	return in.reading.Text
}
