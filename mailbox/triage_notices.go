package mailbox

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// Held mail is announced in the commit that holds it: to its sender, and to the
// coordinators of the pathway it was addressed to, else to the programme's
// desk; again after a while, with the desk; then to the desk every hour; and is
// given up in the end. All of it in general words: a notice names no pathway
// but the one its reader wrote to, and says nothing of the content.

// Default times of triage, as in the sample configuration.
const (
	defaultAlert       = 30 * time.Minute
	defaultUrgentAlert = 10 * time.Minute
	defaultHeldGiveUp  = 48 * time.Hour
	remindEvery        = time.Hour
)

// alertAfter is how long a held message waits for its second announcement.
func (h *Hub) alertAfter(held *store.Held) time.Duration {
	if held.Urgent {
		return orDefault(h.o.Triage.UrgentAlert, defaultUrgentAlert)
	}
	return orDefault(h.o.Triage.Alert, defaultAlert)
}

// heldUntil is when a held message is given up.
func (h *Hub) heldUntil(held *store.Held) time.Time {
	return held.Since.Add(orDefault(h.o.Triage.GiveUp, defaultHeldGiveUp))
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}

// announceHeld announces a message that tx has just held, and sets its timer.
// An answer to a notice makes no other: it waits, without an end, until
// somebody looks at the triage.
func (h *Hub) announceHeld(tx store.Tx, held *store.Held) error {
	held.Since, held.Alerts = h.o.Now(), 1
	toNotice, err := h.answersNotice(tx, held)
	if err != nil {
		return err
	}
	if !toNotice {
		held.Item = store.ItemID(h.ids.next(held.Since))
		if err := h.announce(tx, held, false); err != nil {
			return err
		}
		item := store.Item{ID: held.Item, Lane: laneTriage, Due: h.nextAlert(held, held.Since), Held: held.ID}
		if err := tx.PutItem(item); err != nil {
			return fmt.Errorf("setting the timer of held message %s: %w", held.ID, err)
		}
	}
	if err := tx.UpdateHeld(held); err != nil {
		return fmt.Errorf("writing held message %s: %w", held.ID, err)
	}
	return nil
}

// nextAlert is when something is to be said again, or the message given up.
func (h *Hub) nextAlert(held *store.Held, now time.Time) time.Time {
	next := now.Add(remindEvery)
	if held.Alerts < 2 {
		next = held.Since.Add(h.alertAfter(held))
	}
	if end := h.heldUntil(held); end.Before(next) {
		return end
	}
	return next
}

// answersNotice reports whether a held message answers one of the hub's own.
func (h *Hub) answersNotice(v store.View, held *store.Held) (bool, error) {
	indexed, err := v.HeldIndex(held.ID)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the index of held message %s: %w", held.ID, err)
	}
	idx, err := decodeIndex(indexed)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(threadIDs(&idx.Envelope), h.ofNotice), nil
}

// announce writes the notices that a message waits; again: it still does.
func (h *Hub) announce(tx store.Tx, held *store.Held, again bool) error {
	p, err := h.addressed(tx, held)
	if err != nil {
		return err
	}
	if err := h.announceToSender(tx, held, p, again); err != nil {
		return err
	}
	return h.announceToStaff(tx, held, p, again)
}

// addressed is the pathway a held message was written to, or nil.
func (h *Hub) addressed(v store.View, held *store.Held) (*store.Pathway, error) {
	if held.Addressed == "" {
		return nil, nil
	}
	p, err := h.follow(v, held.Addressed)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return p, err
}

// tellable reports whether the sender of a held message is told anything: a
// person in the trusted space.
func tellable(held *store.Held) bool { return held.Trusted && !held.Auto && held.MailFrom != "" }

// toSender is a notice to the sender of a held message. It belongs to the
// pathway written to, so that its row goes with it. The sender's subject is not
// quoted, as it may name another pathway or child: the date, and In-Reply-To,
// tell which mail it is about.
func (h *Hub) toSender(held *store.Held, p *store.Pathway, kind, subject string, paragraphs ...string) notice {
	n := notice{
		kind: kind, to: held.MailFrom, prog: h.programmeOf(held), held: held.ID, answers: held.RFCID,
		subject: subject, paragraphs: paragraphs,
	}
	if p != nil {
		n.pathway = p.Code
	}
	return n
}

func (h *Hub) announceToSender(tx store.Tx, held *store.Held, p *store.Pathway, again bool) error {
	if !tellable(held) {
		return nil
	}
	subject, first := texts.ID("notices.held-subject"), texts.ID("notices.held")
	if again {
		subject, first = texts.ID("notices.held-again-subject"), texts.ID("notices.held-again")
	}
	return h.queueNotice(tx, h.toSender(held, p, noticeHeld, texts.T(h.o.Locale, subject, nil),
		texts.T(h.o.Locale, first, map[string]any{"mail": h.quote(held.Received, ""), "to": writtenTo(held)}),
		texts.T(h.o.Locale, texts.ID("notices.why-"+held.Reason), nil),
		texts.T(h.o.Locale, "notices.held-next", nil), h.phone(p)))
}

// writtenTo lists the hub's addresses a message was sent to.
func writtenTo(held *store.Held) string {
	to := make([]string, len(held.Rcpts))
	for i, a := range held.Rcpts {
		to[i] = string(a)
	}
	return strings.Join(to, ", ")
}

// announceToStaff asks coordinators to decide. The desk is asked where there
// are none; for automatic mail, whose sender hears nothing; and the second time.
func (h *Hub) announceToStaff(tx store.Tx, held *store.Held, p *store.Pathway, again bool) error {
	n := h.toStaff(held, p, again)
	told := false
	if p != nil && n.prog != nil {
		var err error
		if told, err = h.toCoordinators(tx, p, n); err != nil {
			return err
		}
	}
	if told && !again && !held.Auto {
		return nil
	}
	return h.toAnyDesk(tx, n)
}

// toStaff is a notice that a message waits for a decision.
func (h *Hub) toStaff(held *store.Held, p *store.Pathway, again bool) notice {
	subject := texts.ID("notices.decide-subject")
	switch {
	case held.Urgent:
		subject = texts.ID("notices.decide-urgent-subject")
	case again:
		subject = texts.ID("notices.decide-again-subject")
	}
	where := texts.T(h.o.Locale, "notices.decide-programme", map[string]any{"programme": programmeName(h.programmeOf(held))})
	n := notice{kind: noticeHeld, prog: h.programmeOf(held), held: held.ID, subject: texts.T(h.o.Locale, subject, nil)}
	if p != nil {
		n.pathway = p.Code
		where = texts.T(h.o.Locale, "notices.decide-pathway", map[string]any{"pathway": string(p.Code)})
	}
	n.paragraphs = []string{
		texts.T(h.o.Locale, "notices.decide", map[string]any{"date": texts.DateTime(h.o.Locale, held.Received.Local()), "where": where}),
		texts.T(h.o.Locale, texts.ID("notices.why-"+held.Reason), nil),
		texts.T(h.o.Locale, decideNext(held), map[string]any{"id": string(held.ID), "pathway": string(held.Addressed)}),
		texts.T(h.o.Locale, "notices.decide-until", map[string]any{"until": texts.DateTime(h.o.Locale, h.heldUntil(held).Local())}),
	}
	return n
}

// decideNext says how to decide: what waits for its pathway goes by itself, and
// cannot be let go before.
func decideNext(held *store.Held) texts.ID {
	switch {
	case held.Reason == reasonUnknownSender && held.Addressed != "":
		return "notices.decide-next-unknown-sender"
	case waitsForPathway(held):
		return texts.ID("notices.decide-next-" + held.Reason)
	}
	return "notices.decide-next"
}

// toAnyDesk sends a notice to the programme's desk; where the programme is not
// known, to all.
func (h *Hub) toAnyDesk(tx store.Tx, n notice) error {
	if n.prog != nil {
		return h.toDesk(tx, n)
	}
	var told []string
	for _, prog := range h.o.Programmes().Programmes {
		desk := slices.DeleteFunc(slices.Clone(prog.Desk), func(box string) bool { return slices.Contains(told, box) })
		told = append(told, desk...)
		if len(desk) == 0 {
			continue
		}
		n.prog = &rules.Programme{ID: prog.ID, Name: prog.Name, Desk: desk}
		if err := h.toDesk(tx, n); err != nil {
			return err
		}
	}
	return nil
}

// ending is how a held message ended without being passed on.
type ending struct {
	rejected bool     // somebody decided so
	reason   string   // and said why
	refused  *Refusal // its pathway takes no more mail
	// Neither: nobody decided in time.
}

// tellNotTransmitted tells the sender that a held message was not passed on.
// The desk hears of what nobody decided.
func (h *Hub) tellNotTransmitted(tx store.Tx, held *store.Held, end ending) error {
	p, err := h.addressed(tx, held)
	if err != nil {
		return err
	}
	toNotice, err := h.answersNotice(tx, held)
	if err != nil || toNotice {
		return err
	}
	why, desk := texts.T(h.o.Locale, texts.ID("notices.why-"+held.Reason), nil), texts.ID("notices.expired")
	if end.refused != nil {
		why, desk = texts.T(h.o.Locale, texts.ID("refusal."+string(end.refused.Reason)), nil), "notices.ended"
	}
	if tellable(held) {
		n := h.toSender(held, p, noticeNotTransmitted, texts.T(h.o.Locale, "notices.not-transmitted-subject", nil),
			texts.T(h.o.Locale, "notices.not-transmitted", map[string]any{"mail": h.quote(held.Received, ""), "to": writtenTo(held)}), why)
		if end.refused == nil { // which says what to do
			n.paragraphs = append(n.paragraphs, h.outcome(end), texts.T(h.o.Locale, "notices.not-transmitted-next", nil))
		}
		n.paragraphs = append(n.paragraphs, h.phone(p))
		if err := h.queueNotice(tx, n); err != nil {
			return err
		}
	}
	if end.rejected {
		return nil
	}
	n := notice{
		kind: noticeNotTransmitted, prog: h.programmeOf(held), held: held.ID, subject: texts.T(h.o.Locale, "notices.expired-subject", nil),
		paragraphs: []string{
			texts.T(h.o.Locale, desk, map[string]any{"date": texts.DateTime(h.o.Locale, held.Received.Local()), "id": string(held.ID)}), why,
		},
	}
	if tellable(held) {
		n.paragraphs = append(n.paragraphs, texts.T(h.o.Locale, "notices.expired-sender-told", nil))
	} else {
		n.paragraphs = append(n.paragraphs, texts.T(h.o.Locale, "notices.expired-sender-not-told", nil))
	}
	if p != nil {
		n.pathway = p.Code
	}
	return h.toAnyDesk(tx, n)
}

// outcome says that somebody decided, and why, or that nobody did.
func (h *Hub) outcome(end ending) string {
	if !end.rejected {
		return texts.T(h.o.Locale, "notices.not-transmitted-expired", nil)
	}
	said := texts.T(h.o.Locale, "notices.not-transmitted-rejected", nil)
	if end.reason != "" {
		said += " " + texts.T(h.o.Locale, "notices.not-transmitted-reason", map[string]any{"reason": end.reason})
	}
	return said
}
