package mailbox

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// Notices about a post: to its author, to those who got it, to those who did not.

// authorBox is where the author of a message is told of what became of it: the
// envelope sender, as RFC 3834 §4 has it.
func authorBox(m *store.Message) store.Address {
	for _, a := range []store.Address{m.MailFrom, m.From} {
		if a != "" {
			return a
		}
	}
	return m.Author.Mailbox
}

// aboutPost is a notice to the author of a post.
func (h *Hub) aboutPost(p *store.Pathway, prog *rules.Programme, m *store.Message, kind, subject string, paragraphs ...string) notice {
	return notice{
		kind: kind, to: authorBox(m), prog: prog, pathway: p.Code, message: m.ID, answers: m.RFCID,
		subject: subject, paragraphs: paragraphs,
	}
}

// tellNarrowed tells the author at once who did not receive what because one
// document of the post is for fewer people, and how to send it apart.
func (h *Hub) tellNarrowed(tx store.Tx, p *store.Pathway, m *store.Message, missed []missedDocument) error {
	prog, err := h.programme(p.Programme)
	if err != nil {
		return err
	}
	var rows []string
	for _, miss := range missed {
		mem := member(p, miss.member)
		if mem == nil {
			continue
		}
		var files []string
		for _, i := range miss.documents {
			if i < len(m.Documents) {
				files = append(files, m.Documents[i].Filename)
			}
		}
		rows = append(rows, texts.T(h.o.Locale, "notices.narrowed-row", map[string]any{
			"name": mem.Name, "files": texts.List(h.o.Locale, slices.DeleteFunc(files, func(f string) bool { return f == "" })),
		}))
	}
	if len(rows) == 0 {
		return nil
	}
	address, tag := h.publicAddress(p)
	next := texts.T(h.o.Locale, "notices.narrowed-next", map[string]any{"address": address})
	if tag != "" {
		next += " " + texts.T(h.o.Locale, "notices.keep-tag", map[string]any{"tag": tag})
	}
	n := h.aboutPost(p, prog, m, noticeNarrowed, texts.T(h.o.Locale, "notices.narrowed-subject", nil),
		texts.T(h.o.Locale, "notices.narrowed", map[string]any{"mail": h.quote(m.Received, m.Subject)}),
		strings.Join(rows, "\n"), next)
	return h.queueNotice(tx, n)
}

// tellActivity tells members by role, without content, that something was
// posted: what a rule's notify asks for.
func (h *Hub) tellActivity(tx store.Tx, p *store.Pathway, prog *rules.Programme, m *store.Message, roles []string) error {
	now := h.o.Now()
	boxes, _ := recipients(p, func(mem *store.Member) bool {
		return slices.Contains(roles, mem.Role) && mem.ID != m.Author.Member && mayAct(p, prog, mem, now).ok && !hiddenFrom(p, prog, mem, m, now)
	})
	copies, err := tx.Deliveries(p.Code, m.ID)
	if err != nil {
		return fmt.Errorf("reading the deliveries of %s: %w", m.ID, err)
	}
	for _, box := range boxes {
		text := texts.ID("notices.activity")
		if slices.ContainsFunc(copies, func(d *store.Delivery) bool { return d.Notice == nil && d.Mailbox == box }) {
			text = "notices.activity-copy"
		}
		n := notice{
			kind: noticeActivity, to: box, prog: prog, pathway: p.Code, message: m.ID,
			subject:    texts.T(h.o.Locale, "notices.activity-subject", nil),
			paragraphs: []string{texts.T(h.o.Locale, text, map[string]any{"pathway": string(p.Code), "urgent": m.Urgent})},
		}
		if err := h.queueNotice(tx, n); err != nil {
			return err
		}
	}
	return nil
}

// tellRetracted asks the boxes that got a copy to delete it, unless they were
// asked since.
func (h *Hub) tellRetracted(tx store.Tx, p *store.Pathway, m *store.Message, concerned func(*store.Delivery) bool) error {
	return h.askDelete(tx, p, m, noticeRetracted, concerned,
		texts.T(h.o.Locale, "notices.retracted", map[string]any{"mail": h.quote(m.Received, m.Subject), "pathway": string(p.Code)}))
}

// askDelete asks the boxes that got a copy to delete what text names. One that
// is being sent this moment counts: it cannot be called back.
func (h *Hub) askDelete(tx store.Tx, p *store.Pathway, m *store.Message, kind string, concerned func(*store.Delivery) bool, text string) error {
	prog, err := h.programme(p.Programme)
	if err != nil && !errors.Is(err, ErrNoProgramme) {
		return err
	}
	ds, err := tx.Deliveries(p.Code, m.ID)
	if err != nil {
		return fmt.Errorf("reading the deliveries of %s: %w", m.ID, err)
	}
	told := map[store.Address]bool{}
	for _, d := range slices.Backward(ds) {
		if kind == noticeRetracted && d.NoticeKind == kind {
			told[d.Mailbox] = true // and no copy since
		}
		got := d.State == store.Sent || d.State == store.Partial || d.State == store.Sending
		if d.Notice != nil || !got || told[d.Mailbox] || !concerned(d) {
			continue
		}
		told[d.Mailbox] = true
		n := notice{
			kind: kind, to: d.Mailbox, members: d.Members, prog: prog, pathway: p.Code, message: m.ID,
			answers: d.RFCID, subject: texts.T(h.o.Locale, "notices.retracted-subject", nil),
			paragraphs: []string{text, texts.T(h.o.Locale, "notices.retracted-next", nil)},
		}
		if err := h.queueNotice(tx, n); err != nil {
			return err
		}
	}
	return nil
}
