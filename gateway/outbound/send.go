package outbound

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/relais-sante/relais/gateway/operator"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

const errAddress = journal.Fault("address cannot be said in SMTP")

// verdict is how a transaction ended.
type verdict struct {
	mailbox.Outcome
	// broken: the connection cannot be used any more.
	broken bool
	// stale: the connection had been closed before the peer answered MAIL;
	// nothing was tried.
	stale bool
	// strike: the peer cut the conversation or stalled.
	strike bool
	// took is how long the transaction lasted.
	took time.Duration
	// cause is for the journal.
	cause error
}

// send carries one mail over. Ending ctx cuts the connection; what had been
// handed over until then decides what is recorded.
func (c *conn) send(ctx context.Context, mail *mailbox.Outgoing, body *stuffed, t Timeouts) verdict {
	if !sayable(mail.MailFrom) || mail.RcptTo == "" || !sayable(mail.RcptTo) {
		return verdict{
			Outcome: mailbox.Outcome{Kind: mailbox.OutcomePermanent, Reason: reasonAddress, Enhanced: "5.1.3", Text: errAddress.Error()},
			cause:   errAddress,
		}
	}
	if c.limit > 0 && mail.Size > c.limit {
		return verdict{Outcome: mailbox.Outcome{
			Kind: mailbox.OutcomeTooLarge, Reason: reasonTooLarge, Limit: c.limit,
			Text: fmt.Sprintf("the peer takes at most %d bytes", c.limit),
		}}
	}
	if body.n == 0 { // not ready since a try on another connection
		if err := body.fill(); err != nil {
			f := &failure{stageBody, err}
			return verdict{Outcome: f.outcome(), cause: err}
		}
	}
	reused := c.sent > 0 || !c.idle.IsZero() // or pooled before it carried anything
	c.sent++
	stop := context.AfterFunc(ctx, func() { c.wire.Conn.Close() })
	defer stop()

	failed := c.transaction(mail, body, t)
	if failed == nil {
		return verdict{Outcome: mailbox.Outcome{Kind: mailbox.OutcomeSent, Code: 250}}
	}
	if c.client && ownTrouble(failed, c.silent) {
		failed.err = notLoggedIn{fmt.Errorf("sending as the operator's box: %w: %w", operator.ErrRefused, failed.err)}
	}
	cut := broken(failed.err)
	v := verdict{Outcome: failed.outcome(), broken: cut || c.lost, cause: failed.err}
	if v.Kind == mailbox.OutcomeTooLarge {
		v.Limit = c.limit
	}
	switch {
	case reused && cut && failed.at == stageMail:
		v.stale = true
	case ctx.Err() != nil && cut && failed.at < stageEnd:
		// Without its final dot the peer must forget it (RFC 5321 §4.1.1.4).
		v.Outcome = stopped()
	case cut && v.Kind == mailbox.OutcomeTemporary && v.Reason != reasonStore:
		v.strike = ctx.Err() == nil
	}
	if !v.broken && failed.at != stageEnd {
		c.reset(t, &v)
	}
	return v
}

// broken tells a conversation that cannot go on from a peer that has refused:
// after a plain 4xx or 5xx it can, after 421 or anything out of order not.
func broken(err error) bool {
	var (
		reply *smtp.SMTPError
		hung  hungUp
	)
	return !errors.As(err, &reply) || errors.As(err, &hung) || reply.Code == 421 || reply.Code < 400 || reply.Code > 599
}

func stopped() mailbox.Outcome {
	return mailbox.Outcome{Kind: mailbox.OutcomeNoAttempt, Reason: reasonStopped}
}

// reset ends a transaction that the peer refused half-way.
func (c *conn) reset(t Timeouts, v *verdict) {
	c.wire.allow(t.Command, t.Command)
	if _, err := c.fence.command("RSET", 250); err != nil {
		v.broken = true
	}
}

// transaction says MAIL, RCPT, DATA and the mail.
func (c *conn) transaction(mail *mailbox.Outgoing, body *stuffed, t Timeouts) *failure {
	c.wire.cap = time.Now().Add(t.Attempt)
	defer func() { c.wire.cap = time.Time{} }()

	if failed := c.envelope(mail, t); failed != nil {
		return failed
	}
	c.wire.allow(t.body(mail.Size), t.Block)
	if err := c.body(body, t); err != nil {
		return &failure{stageBody, err}
	}
	c.wire.allow(t.End, t.End)
	if err := c.fence.await("250"); err != nil {
		return &failure{stageEnd, err}
	}
	return nil
}

// body writes the bytes and the final dot. An error leaves the mail without it;
// the connection is of no more use.
func (c *conn) body(s *stuffed, t Timeouts) error {
	for {
		if _, err := c.fence.Write(s.ready()); err != nil {
			return c.lastWords(err, t)
		}
		if s.ended {
			return nil
		}
		if err := s.fill(); err != nil {
			return err
		}
	}
}

// lastWords reads what a peer said before it closed in the middle of a mail:
// some answer 552 and hang up rather than take all of it.
func (c *conn) lastWords(err error, t Timeouts) error {
	if errors.Is(err, os.ErrDeadlineExceeded) { // it stalls
		return err
	}
	var reply *smtp.SMTPError
	c.wire.allow(min(time.Second, t.Command), time.Second)
	if _, said := c.fence.expect(0); errors.As(said, &reply) && reply.Code >= 400 {
		return hungUp{reply}
	}
	return err
}

// hungUp is a reply after which the connection is gone.
type hungUp struct{ *smtp.SMTPError }

func (e hungUp) Unwrap() error { return e.SMTPError }

// sayable reports whether an address can be written between angle brackets
// without becoming something else. SMTPUTF8 is never needed: MSSanté addresses
// are ASCII.
func sayable(a store.Address) bool {
	for i := range len(a) {
		if c := a[i]; c <= ' ' || c >= 0x7f || c == '<' || c == '>' {
			return false
		}
	}
	return len(a) <= 254
}
