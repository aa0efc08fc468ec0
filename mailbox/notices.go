package mailbox

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// Notices: what the hub writes by itself. They leave with an empty envelope
// sender (in client mode with the operator's box, as operators take nothing
// else from their clients) and are marked automatic (RFC 3834), so that no
// machine answers them; nothing that comes of a notice makes another. People who
// answer one write to the programme's desk. Addresses outside the trusted space are told only that
// something waits.

// Kinds of notices, as X-Relais-Kind says them.
const (
	noticeHeld           = "held"
	noticeNotTransmitted = "not-transmitted"
	noticeNarrowed       = "narrowed"
	noticeNotDelivered   = "not-delivered"
	noticePartial        = "partial"
	noticeRetracted      = "retracted"
	noticeActivity       = "activity"
	noticeReceipt        = "receipt"
	noticeSetAside       = "set-aside"
	noticeOfAgeSoon      = "of-age-soon"
	noticeOfAge          = "of-age"
	noticeFIN            = "fin"
	noticeNotReplaced    = "not-replaced"
	noticeDeleted        = "document-deleted"
	noticeKept           = "retention-over"
)

// notice is a mail to one box. What it is about is given by ids.
type notice struct {
	id         store.DeliveryID // of the delivery; empty: a new one
	kind       string
	to         store.Address
	members    []store.MemberID // whom at that box
	prog       *rules.Programme // whose desk gets the answers; nil: nobody's
	pathway    store.PathwayCode
	message    store.MessageID
	held       store.HeldID
	asCopy     bool   // from the pathway's addresses, like the copies that the box gets
	answers    string // Message-ID of the mail it is about, as the box knows it
	subject    string
	paragraphs []string
}

// noticeForm is what the Message-IDs of notices begin with: an answer to one is
// known by it.
const noticeForm = "notice."

// ofNotice reports whether a Message-ID is that of a notice of this hub.
func (h *Hub) ofNotice(id string) bool {
	return strings.HasPrefix(id, noticeForm) && strings.HasSuffix(id, "@"+h.o.Domain)
}

// queueNotice writes a notice and queues it.
func (h *Hub) queueNotice(tx store.Tx, n notice) error {
	mail := letter.Notice{Kind: n.kind, Subject: n.subject, InReplyTo: n.answers, Pathway: string(n.pathway)}
	if n.answers != "" {
		mail.References = []string{n.answers}
	}
	paragraphs := n.paragraphs
	if !h.listed(n.to.Domain()) {
		// An ordinary mailbox: no code, no name, no date, nothing to connect.
		mail = letter.Notice{Kind: n.kind, Subject: texts.T(h.o.Locale, "notices.outside-subject", nil)}
		paragraphs = []string{texts.T(h.o.Locale, "notices.outside", map[string]any{"programme": programmeName(n.prog)})}
	}
	paragraphs = append(slices.Clone(paragraphs), h.sign(n.prog))
	mail.Text = texts.T(h.o.Locale, "notices.hello", nil) + "\n\n" + strings.Join(slices.DeleteFunc(paragraphs, func(p string) bool { return p == "" }), "\n\n") + "\n"
	return h.queueMail(tx, n, &mail, mail.Render)
}

// sign ends a notice: where an answer to it goes, or a question. In client mode
// answers come back to the operator's box, where nobody reads them one by one.
func (h *Hub) sign(prog *rules.Programme) string {
	switch {
	case prog == nil || len(prog.Desk) == 0:
		return texts.T(h.o.Locale, "notices.no-answer", nil)
	case h.boxOf(prog) != nil:
		return texts.T(h.o.Locale, "notices.write-desk", map[string]any{"desk": prog.Desk[0]})
	}
	return texts.T(h.o.Locale, "notices.answer-desk", nil)
}

// queueMail fills in what all mails of the hub's own have in common, writes the
// mail and queues it.
func (h *Hub) queueMail(tx store.Tx, n notice, mail *letter.Notice, render func() ([]byte, error)) error {
	if strings.EqualFold(n.to.Domain(), h.o.Domain) || n.to == "" || h.ownBox(n.to) != nil {
		return nil // would come straight back
	}
	now := h.o.Now()
	if muted, err := h.muted(tx, n.pathway, n.to, now); err != nil || muted {
		return err
	}
	d := &store.Delivery{
		ID: store.DeliveryID(h.ids.next(now)), Pathway: n.pathway, Message: n.message, Held: n.held, Mailbox: n.to,
		Members: n.members, NoticeKind: n.kind, State: store.Queued, Next: now, Created: now,
		Item: store.ItemID(h.ids.next(now)), RFCID: noticeForm + h.newRFCID(now),
	}
	if n.id != "" {
		if _, err := tx.Delivery(n.id); !errors.Is(err, store.ErrNotFound) {
			return err // said already
		}
		d.ID = n.id
	}
	mail.From = letter.Mailbox{Name: texts.T(h.o.Locale, "notices.from", map[string]any{"programme": programmeName(n.prog)}), Address: "postmaster@" + h.o.Domain}
	if n.prog != nil && len(n.prog.Desk) > 0 {
		mail.ReplyTo = n.prog.Desk[0]
	}
	if n.asCopy {
		mail.From = letter.Mailbox{Name: programmeName(n.prog), Address: h.pathwayAddress(n.pathway)}
		mail.ReplyTo, d.Sender = h.replyAddress(n.pathway, n.to), h.bounceAddress(n.pathway, n.to)
	}
	if b := h.boxOf(n.prog); b != nil {
		mail.From.Address, mail.ReplyTo, d.Operator = string(b.Address), string(b.Address), b.Name
		if n.kind != noticeReceipt { // RFC 8098 §3: a receipt never has one
			d.Sender = b.Address
		}
	}
	mail.To = letter.Mailbox{Address: string(n.to)}
	mail.Date, mail.MessageID, mail.NIL, mail.Delivery = now, d.RFCID, h.o.NIL, string(d.ID)
	var err error
	if d.Notice, err = render(); err != nil {
		return fmt.Errorf("writing a notice (%s): %w", n.kind, err)
	}
	d.Subject = mail.Subject
	return h.put(tx, []*store.Delivery{d})
}

func programmeName(prog *rules.Programme) string {
	switch {
	case prog == nil:
		return "Relais"
	case prog.Name == "":
		return strings.ToUpper(prog.ID)
	}
	return prog.Name
}

// phone tells people to phone if it is urgent, and where, if that is known.
func (h *Hub) phone(p *store.Pathway) string {
	if p == nil || p.Phone == "" {
		return texts.T(h.o.Locale, "notices.phone", nil)
	}
	return texts.T(h.o.Locale, "notices.phone-number", map[string]any{"phone": p.Phone})
}

// quote names a mail to its own author: when it was written, and its subject.
func (h *Hub) quote(at time.Time, subject string) string {
	when := texts.DateTime(h.o.Locale, at.Local())
	if subject = cutText(strings.Join(strings.Fields(subject), " "), 200); subject == "" {
		return texts.T(h.o.Locale, "notices.mail-of", map[string]any{"date": when})
	}
	return texts.T(h.o.Locale, "notices.mail-quoted", map[string]any{"date": when, "subject": subject})
}

// names lists members, one a line: name, role, and the box where that helps.
func (h *Hub) names(p *store.Pathway, prog *rules.Programme, ids []store.MemberID) string {
	var rows []string
	for _, id := range ids {
		m := member(p, id)
		if m == nil {
			continue
		}
		role := m.Role
		if r := prog.Role(m.Role); r != nil && r.Name != "" {
			role = r.Name
		}
		rows = append(rows, "- "+m.Name+" ("+role+"), "+h.shownBox(m.Mailbox))
	}
	return strings.Join(rows, "\n")
}

// toDesk sends a notice to every box of the desk. A programme without one
// (development) has nobody to tell but whoever reads the journal.
func (h *Hub) toDesk(tx store.Tx, n notice) error {
	if n.prog == nil || len(n.prog.Desk) == 0 {
		h.log.Warn("a programme has no desk to tell")
		return nil
	}
	for _, box := range n.prog.Desk {
		n.to = store.NewAddress(box)
		if err := h.queueNotice(tx, n); err != nil {
			return err
		}
	}
	return nil
}

// toCoordinators sends a notice to the boxes of a pathway's coordinators, and
// reports whether there is any.
func (h *Hub) toCoordinators(tx store.Tx, p *store.Pathway, n notice) (bool, error) {
	now := h.o.Now()
	boxes, of := recipients(p, func(m *store.Member) bool {
		role := n.prog.Role(m.Role)
		return m.ActiveAt(now) && role != nil && role.Coordinator
	})
	for _, box := range boxes {
		n.to, n.members = box, nil
		for _, m := range of[box] {
			n.members = append(n.members, m.ID)
		}
		if err := h.queueNotice(tx, n); err != nil {
			return true, err
		}
	}
	return len(boxes) > 0, nil
}
