package mailbox

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// Receipts that the hub answers (RFC 8098 and the national volet of 2026): one
// for each post that asks for it, in the commit that decides about the post.
// "processed" says that it was filed, "processed/error" with a national code
// that it was held or refused. A message that is held and let through later has
// had its receipt: software takes one answer, and people are told by notices.

// receiptWanted tells whom to send a receipt: the envelope sender, if that is
// whom the post asks to notify (RFC 8098 §2.1) and it is in the trusted space.
// Nothing that answers by itself gets one.
func (h *Hub) receiptWanted(in *incoming) (store.Address, bool) {
	asked := letter.ParseAddressList(in.field("Disposition-Notification-To"))
	if len(asked) != 1 || in.auto.Answer() || in.unproven || in.outside || in.env.MailFrom == "" {
		return "", false
	}
	to := store.NewAddress(asked[0].Address)
	if to != in.env.MailFrom || !h.listed(to.Domain()) {
		return "", false
	}
	return to, true
}

// mdn is a receipt about a mail.
type mdn struct {
	id      store.DeliveryID // empty: a new one
	to      store.Address
	prog    *rules.Programme
	pathway store.PathwayCode
	message store.MessageID
	held    store.HeldID
	rfcID   string
	subject string // as its sender wrote it
	address string // of the hub that it was sent to
	err     letter.ApplicationError
	text    string
}

// answerReceipt answers a post that asked for a receipt, once: it was filed (the
// hub processes, people display). subject is the original's.
func (h *Hub) answerReceipt(tx store.Tx, p *store.Pathway, m *store.Message, subject string) error {
	if m.NotifyTo == "" || m.Kind != store.KindPost || !h.listed(m.NotifyTo.Domain()) {
		return nil
	}
	ds, err := tx.Deliveries(p.Code, m.ID)
	if err != nil {
		return fmt.Errorf("reading the deliveries of %s: %w", m.ID, err)
	}
	if slices.ContainsFunc(ds, func(d *store.Delivery) bool { return d.NoticeKind == noticeReceipt }) {
		return nil
	}
	prog, err := h.programme(p.Programme)
	if err != nil {
		return err
	}
	address, _ := h.publicAddress(p)
	return h.queueReceipt(tx, mdn{
		to: m.NotifyTo, prog: prog, pathway: p.Code, message: m.ID, rfcID: m.RFCID, subject: subject, address: address,
		text: texts.T(h.o.Locale, "receipts.filed", map[string]any{"mail": h.quote(m.Received, m.Subject), "address": address}),
	})
}

// answerHeld answers a post that tx has just held.
func (h *Hub) answerHeld(tx store.Tx, held *store.Held, pl *plan, in *incoming) error {
	if held.NotifyTo == "" || len(held.Rcpts) == 0 {
		return nil
	}
	if toNotice, err := h.answersNotice(tx, held); err != nil || toNotice {
		return err
	}
	a := mdn{
		to: held.NotifyTo, prog: h.programmeOf(held), pathway: held.Addressed, held: held.ID, rfcID: held.RFCID,
		subject: in.idx.Envelope.Subject, address: string(held.Rcpts[0]), err: heldError(pl, in),
	}
	a.text = texts.T(h.o.Locale, "receipts.held", map[string]any{
		"mail": h.quote(held.Received, ""), "address": a.address, "error": h.errorWords(a.err.Code()),
	})
	return h.queueReceipt(tx, a)
}

// answerRefused answers a mail that was accepted before it could be refused.
func (h *Hub) answerRefused(tx store.Tx, in *incoming, prog *rules.Programme, address string) error {
	to, ok := h.receiptWanted(in)
	if !ok {
		return nil
	}
	return h.queueReceipt(tx, mdn{
		id: in.deliveryID("receipt"), to: to, prog: prog, rfcID: in.rfcID, subject: in.idx.Envelope.Subject, address: address, err: letter.OtherError,
		text: texts.T(h.o.Locale, "receipts.refused", map[string]any{"mail": h.quote(in.env.Received, ""), "address": address}),
	})
}

func (h *Hub) queueReceipt(tx store.Tx, a mdn) error {
	receipt := &letter.Receipt{
		Notice: letter.Notice{
			Subject: letter.ReceiptSubject(letter.CutTag(a.subject), a.err), InReplyTo: a.rfcID, References: []string{a.rfcID}, Text: a.text,
		},
		OriginalID: a.rfcID, OriginalRecipient: a.address, FinalRecipient: a.address,
		ReportingUA: h.o.Domain + "; Relais", Error: a.err,
	}
	n := notice{id: a.id, kind: noticeReceipt, to: a.to, prog: a.prog, pathway: a.pathway, message: a.message, held: a.held}
	return h.queueMail(tx, n, &receipt.Notice, receipt.Render)
}

// heldError is the national error nearest to why a message is held.
func heldError(pl *plan, in *incoming) letter.ApplicationError {
	number, structured := false, false
	for i := range in.documents {
		d := &in.documents[i]
		structured = structured || d.Structured
		for j := range d.Patients {
			number = number || !d.Patients[j].INS.IsZero()
		}
	}
	switch pl.held {
	case reasonUnknownSender:
		return letter.AuthorNotEntitled
	case reasonTwoPatients:
		return letter.DifferentINS
	case reasonWrongPatient:
		switch {
		case pl.detail != detailNoIdentity:
			return letter.DifferentINS
		case number:
			return letter.IncompleteINS
		}
		return letter.NoINS
	case reasonNoPathway:
		if structured && !number {
			return letter.NoINS
		}
		return letter.UnknownPatient
	}
	return letter.OtherError
}

// errorWords says a national error in words for people; a code that the table
// does not have stands for itself.
func (h *Hub) errorWords(code string) string {
	id := texts.ID("receipts.error-" + code)
	if text := texts.T(h.o.Locale, id, nil); text != string(id) {
		return text
	}
	return texts.T(h.o.Locale, "receipts.error", map[string]any{"code": code})
}

// nationalCode keeps a code that is one: three digits at most are shown, and
// what a receipt calls an error may be anything.
func nationalCode(s string) string {
	if n, err := strconv.ParseUint(s, 10, 16); err != nil || n == 0 || n > 999 {
		return ""
	}
	return s
}
