package mailbox

import (
	"fmt"
	"slices"
	"strings"

	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// What versions do to messages: the new one is never seen by more roles than
// the one it replaces, the old one is marked and stays, a deletion withdraws
// what it deletes.

// narrowTo limits an audience to the roles that may see the version before.
func narrowTo(prog *rules.Programme, a *store.Audience, m *store.Message, before []docAt) bool {
	changed := false
	for _, old := range before {
		if old.m == m {
			continue
		}
		var roles []string
		lost := false
		for i := range prog.Roles {
			r := &prog.Roles[i]
			if roleSees(prog, r, old.m) {
				roles = append(roles, r.ID)
			} else {
				lost = lost || roleSees(prog, r, m)
			}
		}
		if lost {
			changed = true
			if a.Limited {
				roles = slices.DeleteFunc(roles, func(r string) bool { return !slices.Contains(a.Only, r) })
			}
			a.Limited, a.Only = true, roles
		}
		if secret(prog, old.m) && !a.HiddenFromParents {
			markSecret(m)
			changed = true
		}
	}
	return changed
}

// roleSees reports whether a role may see a message, people and consent apart.
func roleSees(prog *rules.Programme, r *rules.Role, m *store.Message) bool {
	if r.Family && secret(prog, m) {
		return false
	}
	if r.CareTeam {
		return roleMaySee(prog, r, m)
	}
	a := &m.Audience
	if a.Limited && !slices.Contains(a.Only, r.ID) || a.Inherited && !slices.Contains(a.InheritedOnly, r.ID) {
		return false
	}
	return grantedTo(prog, r, m).ok
}

// replaces reports whether a mail carries a later version of what the pathway
// has: it is filed by its type then, even if it answers.
func (h *Hub) replaces(v store.View, pl *plan, in *incoming) (bool, error) {
	if len(in.documents) == 0 {
		return false, nil
	}
	probe := &store.Message{Pathway: pl.pathway.Code, Kind: store.KindPost, Author: pl.writer.author, Received: in.now}
	probe.Documents = documentsOf(pl, in)
	docs, err := h.versionsOf(v, probe)
	if err != nil {
		return false, err
	}
	all, _ := chains(pl.pathway, docs)
	for _, c := range all {
		for i, version := range c {
			if i > 0 && slices.ContainsFunc(version, func(d docAt) bool { return d.m == probe }) {
				return true, nil
			}
		}
	}
	return false, nil
}

// documentsOf are the records of what a mail carries. `[Annule et remplace]` in
// the subject of an answer names what it replaces where nothing more formal
// does: the document of the same name, the only one of its type, the only one.
func documentsOf(pl *plan, in *incoming) []store.Document {
	docs := make([]store.Document, len(in.documents))
	for i := range in.documents {
		docs[i] = documentRecord(&in.documents[i])
	}
	if pl.parent == nil || !saysReplaces(in.idx.Envelope.Subject) {
		return docs
	}
	old := pl.parent.Documents
	for i := range docs {
		d := &docs[i]
		if d.Replaces != "" || d.SetID != "" || d.Action != "" {
			continue
		}
		d.Replaces = only(old, func(o *store.Document) bool { return o.Filename == d.Filename })
		if d.Replaces == "" && d.Code != "" {
			d.Replaces = only(old, func(o *store.Document) bool { return o.Code == d.Code })
		}
		if d.Replaces == "" && len(docs) == 1 {
			d.Replaces = only(old, func(*store.Document) bool { return true })
		}
	}
	return docs
}

// only gives the key of the only document for which is holds, or "".
func only(docs []store.Document, is func(*store.Document) bool) string {
	key := ""
	for i := range docs {
		if is(&docs[i]) {
			if key != "" {
				return ""
			}
			key = identityKey(&docs[i])
		}
	}
	return key
}

// saysReplaces reports whether a subject begins with "[Annule et remplace]", as
// people write it; an answer to such a mail does not.
func saysReplaces(subject string) bool {
	s := strings.TrimLeft(letter.CutTag(subject), "[( ")
	return strings.HasPrefix(strings.ToLower(s), "annule et remplace")
}

// version works out, before a message is filed, what it replaces or deletes.
func (h *Hub) version(v store.View, pl *plan, in *incoming) error {
	m := pl.message
	settled := slices.Contains(in.given.settled, reasonRule)
	for i := range m.Documents {
		if m.Documents[i].Action == actionDelete && settled {
			m.Documents[i].Action = "" // a human let it through: a mail like any other
		}
	}
	l, err := h.linkVersions(v, pl.pathway, m)
	if err != nil {
		return err
	}
	for _, d := range l.refused {
		if d.m == m {
			pl.refused = append(pl.refused, d.n)
		}
	}
	if slices.ContainsFunc(l.notDeleted, func(d docAt) bool { return d.m == m }) {
		pl.hold(in, reasonRule, texts.T(h.o.Locale, "versions.held-delete", nil))
		return nil
	}
	gone := 0
	for i := range m.Documents {
		d := &m.Documents[i]
		if d.Action == actionDelete {
			d.Deleted = in.now
		}
		if !d.Deleted.IsZero() {
			gone++
		}
	}
	if gone > 0 && gone == len(m.Documents) {
		// Nothing is left of it to be read: an entry of the thread.
		m.Retracted = &store.Retraction{At: in.now, By: m.Author.Name, Reason: texts.T(h.o.Locale, "versions.deleted", nil), Rubrics: m.Rubrics()}
		m.Filings = nil
	}
	return nil
}

// followVersions writes what a message just filed does to others: links,
// narrower rights, deletions.
func (h *Hub) followVersions(tx store.Tx, p *store.Pathway, m *store.Message) error {
	if len(m.Documents) == 0 {
		return nil
	}
	prog, err := h.programme(p.Programme)
	if err != nil {
		return err
	}
	l, err := h.linkVersions(tx, p, m)
	if err != nil {
		return err
	}
	for _, id := range sortedKeys(l.changed) {
		if err := tx.UpdateMessage(l.changed[id]); err != nil {
			return fmt.Errorf("linking versions of %s: %w", id, err)
		}
	}
	for _, id := range sortedKeys(l.narrowed) {
		if id == m.ID {
			continue // filed narrow already
		}
		c := &post{tx: tx, p: p, prog: prog, m: l.narrowed[id]}
		if err := h.followRights(c, "replaced"); err != nil {
			return err
		}
	}
	for i := range m.Documents {
		if m.Documents[i].Former != nil {
			err := h.trace(tx, hubActor, "document.replaced", p.Code, shownRef(m.Documents[i].Former), outcomeDone, map[string]string{"by": string(m.ID)})
			if err != nil {
				return err
			}
		}
	}
	return h.followDeletions(tx, p, prog, m, l.deleted)
}

// followDeletions withdraws posts of which nothing is left, and asks for the
// deletion of single documents of the others.
func (h *Hub) followDeletions(tx store.Tx, p *store.Pathway, prog *rules.Programme, by *store.Message, deleted []docAt) error {
	done := map[store.MessageID]bool{}
	for _, d := range deleted {
		if err := h.trace(tx, hubActor, "document.deleted", p.Code, shownRef(d.ref()), outcomeDone, map[string]string{"by": string(by.ID)}); err != nil {
			return err
		}
		if d.m.ID == by.ID || d.m.Retracted != nil || done[d.m.ID] {
			continue
		}
		whole := !slices.ContainsFunc(d.m.Documents, func(o store.Document) bool { return o.Deleted.IsZero() })
		if !whole {
			if err := h.tellDeleted(tx, p, d); err != nil {
				return err
			}
			continue
		}
		done[d.m.ID] = true
		c := &post{tx: tx, p: p, prog: prog, m: d.m}
		r := store.Retraction{At: h.o.Now(), By: by.Author.Name, Reason: texts.T(h.o.Locale, "versions.deleted", nil)}
		if err := h.withdraw(c, r, "retracted"); err != nil {
			return err
		}
	}
	return nil
}

// tellDeleted asks the boxes that got a post to delete one document of it.
func (h *Hub) tellDeleted(tx store.Tx, p *store.Pathway, d docAt) error {
	name := d.doc().Title
	if name == "" {
		name = d.doc().Filename
	}
	return h.askDelete(tx, p, d.m, noticeDeleted, func(*store.Delivery) bool { return true },
		texts.T(h.o.Locale, "versions.delete-one", map[string]any{"document": name, "mail": h.quote(d.m.Received, d.m.Subject), "pathway": string(p.Code)}))
}

// tellNotReplaced tells the author of a mail, and the desk, that a document in
// it stands beside the one it was to replace.
func (h *Hub) tellNotReplaced(tx store.Tx, p *store.Pathway, prog *rules.Programme, m *store.Message) error {
	n := h.aboutPost(p, prog, m, noticeNotReplaced, texts.T(h.o.Locale, "versions.not-replaced-subject", nil),
		texts.T(h.o.Locale, "versions.not-replaced", map[string]any{"mail": h.quote(m.Received, m.Subject), "pathway": string(p.Code)}),
		texts.T(h.o.Locale, "versions.not-replaced-next", nil))
	if err := h.queueNotice(tx, n); err != nil {
		return err
	}
	desk := h.aboutPost(p, prog, m, noticeNotReplaced, texts.T(h.o.Locale, "versions.not-replaced-subject", nil),
		texts.T(h.o.Locale, "versions.not-replaced-desk", map[string]any{"pathway": string(p.Code), "message": string(m.ID)}),
		texts.T(h.o.Locale, "versions.not-replaced-desk-next", map[string]any{"pathway": string(p.Code)}))
	desk.answers = ""
	return h.toDesk(tx, desk)
}

func sortedKeys(m map[store.MessageID]*store.Message) []store.MessageID {
	var ids []store.MessageID
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
