package mailbox

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// What SMTP refuses at the door, its sender's operator tells the sender. A mail
// read from an operator's box was accepted before the hub saw it: the hub tells
// the sender itself, once.

// tellRefused gives err back. If it refuses for good a mail read from an
// operator's box, a notice to its sender is queued first; where that fails the
// mail is not refused yet.
func (h *Hub) tellRefused(ctx context.Context, in *incoming, err error) error {
	var no *Refusal
	if !in.fromOperator() || !errors.As(err, &no) || passing(no.Reason) {
		return err
	}
	failed := h.commit(ctx, func(tx store.Tx) error {
		if err := h.trace(tx, Actor{Name: "box", Where: in.env.Peer.Where}, "message.refused", no.Pathway, "", outcomeRefused, map[string]string{"reason": string(no.Reason)}); err != nil {
			return err
		}
		var to []string
		var prog *rules.Programme
		for _, r := range in.env.Rcpts {
			to, prog = append(to, string(r.Address)), h.o.Programmes().ByID(r.Programme)
		}
		if in.env.MailFrom == "" || in.outside {
			return nil
		}
		n := notice{
			id: in.deliveryID("notice"), kind: noticeNotTransmitted, to: in.env.MailFrom, prog: prog, answers: in.rfcID,
			subject: texts.T(h.o.Locale, "notices.not-transmitted-subject", nil),
			paragraphs: []string{
				texts.T(h.o.Locale, "notices.not-transmitted", map[string]any{"mail": h.quote(in.env.Received, ""), "to": strings.Join(to, ", ")}),
				texts.T(h.o.Locale, texts.ID("refusal."+string(no.Reason)), nil),
				h.phone(nil),
			},
		}
		if err := h.answerRefused(tx, in, prog, to[0]); err != nil || in.automatic() {
			return err
		}
		return h.queueNotice(tx, n)
	})
	if failed != nil {
		return fmt.Errorf("telling a sender of a refusal: %w", failed)
	}
	return err
}

// passing refusals go away by themselves: the mail is read again later.
func passing(r RefusalReason) bool {
	return r == RefuseFull || r == RefuseUnavailable || r == RefuseUnscanned
}

// deliveryID is made of the mail: read a second time, since the hub was stopped
// before it could mark it, the mail makes no second notice.
func (in *incoming) deliveryID(use string) store.DeliveryID {
	sum := in.fingerprint(store.PathwayCode(use))
	if sum == ([32]byte{}) { // neither id nor date: told by the body alone
		sum = sha256.Sum256(append([]byte(use), in.idx.BodySum...))
	}
	return store.DeliveryID(strings.ToLower(ulid.ULID(sum[:16]).String()))
}
