package mailbox

import (
	"slices"

	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// compose makes the record of the message from the decision.
func (h *Hub) compose(pl *plan, in *incoming) *store.Message {
	d, env := &pl.decision, &in.idx.Envelope
	m := &store.Message{
		ID: store.MessageID(h.ids.next(in.now)), Pathway: pl.pathway.Code, Kind: store.KindPost,
		Received: in.env.Received, Date: env.Date, RFCID: in.rfcID, KnownAs: []string{in.rfcID},
		Subject: plainSubject(env.Subject), From: in.fromAddr, MailFrom: in.env.MailFrom,
		Author: pl.writer.author, Rules: matched(d.Trail), Filed: d.Filed,
		Urgent: d.Urgent || in.urgent(), AckWithin: d.AckWithin, Size: in.idx.Size,
		BodySum: [32]byte(in.idx.BodySum), Fingerprint: pl.fingerprint, Via: string(in.env.Via),
	}
	if m.Received.IsZero() {
		m.Received = in.now
	}
	for _, r := range d.Rubrics {
		m.Filings = append(m.Filings, store.Filing{Rubric: r, Message: m.ID})
	}
	m.Documents = documentsOf(pl, in)
	m.Keys = contentKeys(in)
	for i := range m.Documents {
		if i < len(d.DocumentRubrics) {
			m.Documents[i].Rubric = d.DocumentRubrics[i]
		}
		m.Keys = addMissing(m.Keys, filedKeys(&m.Documents[i])...)
	}
	m.NotifyTo, _ = h.receiptWanted(in)
	m.Audience = audience(d, in.documents)
	if pl.parent != nil {
		inherit(&m.Audience, pl)
	}
	return m
}

// documentRecord is what is kept of a document.
func documentRecord(d *letter.Document) store.Document {
	r := store.Document{
		Part: d.Part, Entry: d.Entry, Filename: d.Filename, Title: d.Title, Media: d.Media, Code: d.Code, Class: d.Class,
		Size: d.Size, SHA256: d.Sum, Confidentiality: d.Confidentiality, Author: d.Author, AuthorID: d.AuthorID,
		Institution: d.Institution, InstitutionID: d.InstitutionID,
		UniqueID: d.UniqueID, SetID: d.SetID, Version: d.Version, Action: d.Action,
	}
	if d.Replaces != "" {
		r.Replaces = keyOfDocument(d.Replaces)
	}
	return r
}

// addMissing appends what a list does not have yet.
func addMissing(list []string, more ...string) []string {
	for _, s := range more {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

func matched(trail []rules.Outcome) []string {
	var names []string
	for _, o := range trail {
		if o.Matched {
			names = append(names, o.Rule)
		}
	}
	return names
}

// plainSubject is the subject people are shown: the hub's tag and the XDM
// prefix of hospital records taken off.
func plainSubject(s string) string {
	s = letter.CutTag(s)
	if rest, ok := letter.CutXDM(s); ok {
		return rest
	}
	return s
}

func audience(d *rules.Decision, docs []letter.Document) store.Audience {
	a := store.Audience{All: d.All, To: d.To, Limited: d.Limited, Only: d.Only, HasDocs: len(docs) > 0, HiddenFromParents: d.HiddenFromParents}
	for _, g := range d.Grants {
		a.Grants = append(a.Grants, store.Grant{Rule: g.Rule, Roles: g.Roles, Rubrics: g.Rubrics})
	}
	for i := range docs {
		if docs[i].Code == "" {
			a.Untyped = true
		}
	}
	return a
}

// inherit limits an answer to those who may see what it answers: its limits
// hold for the answer as well. The authors of what it answers see it too.
func inherit(a *store.Audience, pl *plan) {
	of := &pl.parent.Audience
	if of.Limited {
		limit(a, of.Only)
	}
	if of.Inherited {
		limit(a, of.InheritedOnly)
	}
	if id := pl.parent.Author.Member; id != "" {
		a.Answered = append(a.Answered, id)
	}
}

func limit(a *store.Audience, only []string) {
	if !a.Inherited {
		a.Inherited, a.InheritedOnly = true, slices.Clone(only)
		return
	}
	a.InheritedOnly = slices.DeleteFunc(a.InheritedOnly, func(role string) bool { return !slices.Contains(only, role) })
}
