package mailbox

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/store"
)

// Versions of a document. The national texts name them in three ways: the set
// and version number of the CDA header, the document that one replaces (CDA
// relatedDocument, RPLC of the metadata), the action C or D that metadata ask
// for. Of all documents of a pathway that belong together the same chains are
// worked out each time one comes, whatever the order they came in.
//
// Only the author of a document, or the same organisation, replaces or deletes
// it (national error 901). Where documents say who wrote them they must agree,
// and whoever sent the mail must be the same too: a header is easily written.

// docAt is a document of a message.
type docAt struct {
	m   *store.Message
	n   int
	key string // its identityKey
}

func documentAt(m *store.Message, n int) docAt { return docAt{m, n, identityKey(&m.Documents[n])} }

func (d docAt) doc() *store.Document { return &d.m.Documents[d.n] }

func (d docAt) ref() *store.DocumentRef { return &store.DocumentRef{Message: d.m.ID, Number: d.n + 1} }

// Bounds of what is looked at for one mail.
const maxLineage = 128

// Actions that metadata ask for (mssante reference, §4.2).
const (
	actionChange = "C"
	actionDelete = "D"
)

// identityKey is what a document is known by: its own identifier, else its
// content.
func identityKey(d *store.Document) string {
	if d.UniqueID != "" {
		return keyOfDocument(d.UniqueID)
	}
	return keyOfContent(d.SHA256)
}

func keyOfDocument(id string) string { return "doc:" + id }

// lineageKeys are the keys under which the other versions of a document are
// found, and itself by them.
func lineageKeys(d *store.Document) []string {
	keys := []string{identityKey(d)}
	if d.SetID != "" {
		keys = append(keys, "set:"+d.SetID)
	}
	if d.Replaces != "" {
		keys = append(keys, d.Replaces)
	}
	return keys
}

// keyVersion stands before a lineage key of a document that says anything of
// versions.
const keyVersion = "version:"

// filedKeys are the keys that a document is filed under.
func filedKeys(d *store.Document) []string {
	keys := lineageKeys(d)
	if !saysVersions(d) {
		return keys
	}
	for _, key := range slices.Clone(keys) {
		keys = append(keys, keyVersion+key)
	}
	return keys
}

// saysVersions reports whether a document says anything of versions.
func saysVersions(d *store.Document) bool { return d.SetID != "" || d.Replaces != "" || d.Action != "" }

// versionsOf is lineage where it can matter: nothing follows for documents of
// which nobody says that they are versions, though the same (the logo of a
// signature) be in every mail of a pathway.
func (h *Hub) versionsOf(v store.View, first *store.Message) ([]docAt, error) {
	for i := range first.Documents {
		d := &first.Documents[i]
		if saysVersions(d) {
			return h.lineage(v, first)
		}
		ids, err := v.MessagesOfKey(first.Pathway, keyVersion+identityKey(d), 1)
		if err != nil {
			return nil, err
		}
		if len(ids) > 0 {
			return h.lineage(v, first)
		}
	}
	return nil, nil
}

// lineage finds the documents that belong together with those of first, which
// may not be filed yet. What was withdrawn by hand is not among them.
func (h *Hub) lineage(v store.View, first *store.Message) ([]docAt, error) {
	messages := map[store.MessageID]*store.Message{first.ID: first}
	asked := map[string]bool{}
	var found []docAt
	for i := range first.Documents {
		found = append(found, documentAt(first, i))
	}
	for next := 0; next < len(found) && len(found) < maxLineage; next++ {
		for _, key := range lineageKeys(found[next].doc()) {
			if asked[key] {
				continue
			}
			asked[key] = true
			ids, err := v.MessagesOfKey(first.Pathway, key, maxLineage)
			if err != nil {
				return nil, err
			}
			for _, id := range ids {
				m := messages[id]
				if m == nil {
					if m, err = v.Message(first.Pathway, id); err != nil {
						return nil, fmt.Errorf("reading message %s: %w", id, err)
					}
					messages[id] = m
				}
				for i := range m.Documents {
					d := documentAt(m, i)
					if m != first && slices.Contains(lineageKeys(d.doc()), key) && !slices.Contains(found, d) {
						found = append(found, d)
					}
				}
			}
		}
	}
	return slices.DeleteFunc(found, func(d docAt) bool {
		return d.m.Kind != store.KindPost || d.m.Retracted != nil && d.doc().Deleted.IsZero()
	}), nil
}

// supersedes reports whether newer says that it is a later version of older.
func supersedes(newer, older docAt) bool {
	b, a := newer.doc(), older.doc()
	if newer.key != older.key {
		switch {
		case b.Replaces == older.key:
			return true
		case a.Replaces == newer.key:
			return false
		}
	}
	if b.SetID == "" || b.SetID != a.SetID {
		return false
	}
	x, ok := versionNumber(b)
	y, both := versionNumber(a)
	// Some generators give every document the same set: of another type, only
	// what says that it replaces something is another version.
	return ok && both && x > y && (b.Code == a.Code || b.Replaces != "" || b.Action == actionChange)
}

func versionNumber(d *store.Document) (int, bool) {
	n, err := strconv.Atoi(strings.TrimSpace(d.Version))
	return n, err == nil
}

// sameVersion reports whether two are the same version of the same document,
// sent twice.
func sameVersion(x, y docAt) bool {
	a, b := x.doc(), y.doc()
	return x.key == y.key && a.SetID == b.SetID && a.Version == b.Version
}

// entitled reports whether whoever wrote and sent b may replace or delete a.
func entitled(p *store.Pathway, b, a docAt) bool {
	x, y := &b.m.Author, &a.m.Author
	samePerson := x.Member != "" && x.Member == y.Member || x.Mailbox != "" && x.Mailbox == y.Mailbox
	sameSender := samePerson || sameWords(x.Establishment, y.Establishment)
	d, old := b.doc(), a.doc()
	if !saysWhoWrote(d) || !saysWhoWrote(old) {
		return samePerson
	}
	if mem := member(p, x.Member); mem != nil && mem.RPPS != "" && "8"+mem.RPPS == old.AuthorID {
		sameSender = true // the author, from another box
	}
	return sameSender && (d.AuthorID != "" && d.AuthorID == old.AuthorID || sameOrganisation(d, old))
}

func saysWhoWrote(d *store.Document) bool {
	return d.AuthorID != "" || d.InstitutionID != "" || d.Institution != ""
}

func sameOrganisation(a, b *store.Document) bool {
	if a.InstitutionID != "" && b.InstitutionID != "" {
		return a.InstitutionID == b.InstitutionID
	}
	return sameWords(a.Institution, b.Institution)
}

func sameWords(a, b string) bool {
	return a != "" && identity.FoldName(a) != "" && identity.FoldName(a) == identity.FoldName(b)
}

// chain is the versions of one document, oldest first; each may have been sent
// several times.
type chain [][]docAt

// chains sorts documents into their chains. refused are those that claim to
// replace one they may not: they stand for themselves.
func chains(p *store.Pathway, docs []docAt) (all []chain, refused []docAt) {
	for _, d := range inOrder(docs) {
		placed, claims := false, false
		for i := range all {
			c := all[i]
			last := c[len(c)-1]
			switch {
			case supersedes(d, last[0]):
				if claims = true; !entitled(p, d, last[0]) {
					continue
				}
				all[i] = append(c, []docAt{d})
			case sameVersion(d, last[0]) && entitled(p, d, last[0]):
				c[len(c)-1] = append(last, d)
			default:
				continue
			}
			placed = true
			break
		}
		if !placed {
			all = append(all, chain{{d}})
			if claims {
				refused = append(refused, d)
			}
		}
	}
	return all, refused
}

// inOrder puts older versions before those that supersede them. What asks for a
// deletion is no version.
func inOrder(docs []docAt) []docAt {
	rest := slices.DeleteFunc(slices.Clone(docs), func(d docAt) bool { return d.doc().Action == actionDelete })
	slices.SortFunc(rest, func(a, b docAt) int {
		return cmp.Or(a.m.Received.Compare(b.m.Received), cmp.Compare(a.m.ID, b.m.ID), cmp.Compare(a.n, b.n))
	})
	var ordered []docAt
	for len(rest) > 0 {
		i := max(0, slices.IndexFunc(rest, func(d docAt) bool { // a ring, which nobody honest makes, begins anywhere
			return !slices.ContainsFunc(rest, func(o docAt) bool { return supersedes(d, o) })
		}))
		ordered = append(ordered, rest[i])
		rest = slices.Delete(rest, i, i+1)
	}
	return ordered
}

// deletions pairs what asks for a deletion with what it asks to delete.
func deletions(docs []docAt) (pairs [][2]docAt) {
	for _, d := range docs {
		if d.doc().Action != actionDelete {
			continue
		}
		for _, a := range docs {
			if a.doc().Action != actionDelete && (a.key == d.key || a.key == d.doc().Replaces) {
				pairs = append(pairs, [2]docAt{d, a})
			}
		}
	}
	return pairs
}

// linked is what follows for a family of documents.
type linked struct {
	changed  map[store.MessageID]*store.Message // whose links or audience changed
	narrowed map[store.MessageID]*store.Message // whose audience did
	deleted  []docAt                            // newly
	refused  []docAt
	// notDeleted ask for the deletion of what they may not delete.
	notDeleted []docAt
}

// link works out what follows for the family of first, and writes it into the
// records, which the caller puts.
func (h *Hub) linkVersions(v store.View, p *store.Pathway, first *store.Message) (*linked, error) {
	l := &linked{changed: map[store.MessageID]*store.Message{}, narrowed: map[store.MessageID]*store.Message{}}
	docs, err := h.versionsOf(v, first)
	if err != nil || len(docs) == 0 {
		return l, err
	}
	prog, err := h.programme(p.Programme)
	if err != nil {
		return nil, err
	}
	all, refused := chains(p, docs)
	l.refused = refused
	for _, c := range all {
		for i, version := range c {
			for _, d := range version {
				var before, after *store.DocumentRef
				if i > 0 {
					before = c[i-1][0].ref()
				}
				if i+1 < len(c) {
					after = c[i+1][0].ref()
				}
				doc := d.doc()
				if !sameRef(doc.Former, before) || !sameRef(doc.ReplacedBy, after) {
					doc.Former, doc.ReplacedBy = before, after
					l.changed[d.m.ID] = d.m
				}
				if i > 0 && narrowTo(prog, &d.m.Audience, d.m, c[i-1]) {
					l.changed[d.m.ID], l.narrowed[d.m.ID] = d.m, d.m
				}
			}
		}
	}
	now := h.o.Now()
	for _, pair := range deletions(docs) {
		d, a := pair[0], pair[1]
		switch {
		case !entitled(p, d, a):
			l.notDeleted = append(l.notDeleted, d)
		case a.doc().Deleted.IsZero():
			a.doc().Deleted = now
			l.changed[a.m.ID] = a.m
			l.deleted = append(l.deleted, a)
		}
	}
	return l, nil
}

func sameRef(a, b *store.DocumentRef) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}

// shownRef names a document as `message show` counts them.
func shownRef(r *store.DocumentRef) string {
	if r == nil {
		return ""
	}
	return string(r.Message) + "/" + strconv.Itoa(r.Number)
}

// timeOf is for views: nil for none.
func timeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
