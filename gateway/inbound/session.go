package inbound

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

// session answers the commands of one connection that are about mail. go-smtp
// calls it from the connection's goroutine only. All errors it returns are
// *smtp.SMTPError: go-smtp tells the text of others to the peer.
type session struct {
	server *Server
	wire   *wire
	tx     *transaction
	// account is who logged in, on a submission server.
	account *mailbox.Account
}

// transaction is what MAIL began.
type transaction struct {
	envelope mailbox.Envelope
	peer     trust.Identity
}

// outcome is what became of a message: the label of a metric.
type outcome string

// Journal implements journal.Safe.
func (o outcome) Journal() string { return string(o) }

const (
	filed     outcome = "filed"
	held      outcome = "held"
	duplicate outcome = "duplicate"
	refused   outcome = "refused"  // for good
	deferred  outcome = "deferred" // the peer may try again
	aborted   outcome = "aborted"  // it never came whole
)

// maxAddress is RFC 5321 §4.5.3.1.3: a path of 256 bytes with its brackets.
const maxAddress = 254

// Mail implements smtp.Session: it judges the peer.
func (s *session) Mail(from string, opts *smtp.MailOptions) (err error) {
	defer s.rescue(&err)
	peer, a := s.judge(from)
	if a != nil {
		return s.refuse(stageMail, *a, peer)
	}
	s.tx = &transaction{peer: peer, envelope: mailbox.Envelope{
		MailFrom: store.NewAddress(from), Via: s.server.via(), Size: opts.Size, EnvID: opts.EnvelopeID,
		Peer: mailbox.Peer{Where: s.wire.RemoteAddr().String(), Name: peer.Name.String(), SpeaksFor: s.speaksFor(peer), Account: s.account},
	}}
	s.wire.setBusy(true)
	return nil
}

// judge decides whether the peer may begin a transaction for the sender. The
// identity is of use for the journal even then.
func (s *session) judge(from string) (trust.Identity, *answer) {
	switch {
	case s.tx != nil: // go-smtp lets a second MAIL through
		return s.tx.peer, &badSequence
	case s.wire.isStopping():
		s.wire.hangup = true
		return trust.Identity{}, &stopping
	case s.server.members != nil:
		return trust.Identity{}, s.judgeAccount(from)
	case s.wire.tls == nil && !s.server.anyPeer:
		return trust.Identity{}, &tlsRequired
	}
	peer, err := s.identify()
	if err != nil {
		a := answerTo(err)
		return peer, &a
	}
	sender := store.NewAddress(from)
	if from != "" {
		switch {
		case !addressable(from):
			return peer, &badSender
		case !s.speaksFor(peer)(sender.Domain()):
			a := answerTo(&mailbox.Refusal{Reason: mailbox.RefuseSender})
			if !s.server.guard.Listed(sender.Domain()) {
				a = domainNotListed
			}
			return peer, &a
		}
	}
	now, key := s.server.now(), peer.Name.String()
	if !peer.Proved() {
		key = s.wire.slot.peer
	}
	if !s.server.perPeer.allow(key, now) {
		s.wire.hangup = true
		return peer, &peerTooFast
	}
	if from != "" && !s.server.perSender.allow(string(sender), now) {
		return peer, &senderTooFast
	}
	return peer, nil
}

// identify asks the guard who the peer is. It is asked at every MAIL: see
// [trust.Guard.Inbound].
func (s *session) identify() (trust.Identity, error) {
	var cs tls.ConnectionState
	if s.wire.tls != nil {
		cs = s.wire.tls.ConnectionState()
	}
	if s.server.anyPeer && len(cs.PeerCertificates) == 0 {
		return trust.Identity{}, nil
	}
	return s.server.guard.Inbound(cs)
}

// speaksFor tells which senders' domains the peer may use. One without a
// certificate got here only where none is demanded.
func (s *session) speaksFor(peer trust.Identity) func(domain string) bool {
	if !peer.Proved() {
		return s.server.guard.Listed
	}
	return s.server.guard.Speaker(peer)
}

// addressable reports whether an address can be compared and sent on: one "@",
// visible ASCII, not longer than a path may be.
func addressable(address string) bool {
	if len(address) > maxAddress || strings.Count(address, "@") != 1 || strings.HasSuffix(address, "@") {
		return false
	}
	for _, c := range []byte(address) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

// Rcpt implements smtp.Session.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) (err error) {
	defer s.rescue(&err)
	if s.tx == nil {
		return badSequence.smtp()
	}
	if !addressable(to) {
		return s.refuse(stageRecipient, badRecipient, s.tx.peer)
	}
	recipient, err := s.server.hub.Recipient(s.server.ctx, &s.tx.envelope, to)
	if err != nil {
		a := answerTo(err)
		if a == fault {
			s.server.log.Error("recipient not looked up", "session", s.wire.id, "error", err)
		}
		return s.refuse(stageRecipient, a, s.tx.peer)
	}
	s.tx.envelope.Rcpts = append(s.tx.envelope.Rcpts, recipient)
	return nil
}

// Data implements smtp.Session. The reader of go-smtp is not used; see message.
func (s *session) Data(io.Reader) (err error) {
	defer s.rescue(&err)
	if s.tx == nil {
		return badSequence.smtp()
	}
	begun := time.Now()
	s.tx.envelope.Received = s.server.now()
	m := s.wire.message()
	receipt, err := s.server.hub.Intake(s.server.ctx, s.tx.envelope, m)
	switch {
	case m.failed != nil: // nothing that Intake says can make this message whole
		err = m.failed
	case s.account != nil && refusedFor(err, mailbox.RefuseSender):
		err = errNotOwn
	case err == nil && !m.ended:
		err = errUnread
	}
	m.finish()
	return s.conclude(receipt, err, m.size, time.Since(begun))
}

// errUnread: Hub.Intake said yes without having read to the end.
const errUnread = journal.Fault("message taken without being read")

// conclude writes down what became of a message, and answers.
func (s *session) conclude(receipt mailbox.Receipt, err error, size int64, took time.Duration) error {
	reply, became, level := s.verdict(receipt, err)
	metrics := s.server.metrics
	metrics.messages.WithLabelValues(string(became)).Inc()
	metrics.bytes.Add(float64(size))
	metrics.seconds.Observe(took.Seconds())
	line := append(s.about(s.tx.peer), "outcome", became, "size", size, "duration", took)
	if err == nil {
		if receipt.Held != "" {
			line = append(line, "held", receipt.Held)
		} else {
			line = append(line, "pathway", receipt.Pathway, "message", receipt.Message, "copies", receipt.Deliveries)
		}
		s.wire.errors = 0
	} else {
		a := answerTo(err)
		metrics.refused(stageMessage, string(a.reason))
		line = append(line, "reason", a.reason, "error", err)
	}
	s.server.log.Log(s.server.ctx, level, "message", line...)
	return reply
}

func (s *session) verdict(receipt mailbox.Receipt, err error) (*smtp.SMTPError, outcome, slog.Level) {
	switch {
	case err == nil && receipt.Held != "":
		return taken(string(receipt.Held)), held, slog.LevelInfo
	case err == nil && receipt.Duplicate:
		return taken(string(receipt.Message)), duplicate, slog.LevelInfo
	case err == nil:
		return taken(string(receipt.Message)), filed, slog.LevelInfo
	case errors.Is(err, errAborted):
		s.wire.hush = "451" // the peer asked for something else meanwhile
		return takenBack.smtp(), aborted, slog.LevelInfo
	}
	a := answerTo(err)
	switch {
	case a == tooSlow || a == connectionLost:
		return a.smtp(), aborted, slog.LevelInfo
	case a == fault:
		return a.smtp(), deferred, slog.LevelError
	case a.code < 500:
		return a.smtp(), deferred, slog.LevelWarn
	}
	return a.smtp(), refused, slog.LevelInfo
}

// Reset implements smtp.Session: the transaction is over, one way or another.
func (s *session) Reset() {
	s.tx = nil
	s.wire.setBusy(false)
}

// Logout implements smtp.Session. go-smtp holds a lock while calling it.
func (s *session) Logout() error {
	s.Reset()
	return nil
}

// refuse writes down a refusal and makes the reply.
func (s *session) refuse(at string, a answer, peer trust.Identity) error {
	s.server.metrics.refused(at, string(a.reason))
	s.server.log.Info("refused", append(s.about(peer), "at", journal.Word(at), "reason", a.reason)...)
	return a.smtp()
}

// about is what the journal says of a connection: nothing that names a person.
func (s *session) about(peer trust.Identity) []any {
	line := []any{"session", s.wire.id, "peer", s.wire.RemoteAddr()}
	if s.wire.tls != nil {
		line = append(line, "tls", journal.Word(tls.VersionName(s.wire.tls.ConnectionState().Version)))
	}
	if peer.Proved() {
		line = append(line, "operator", peer.Operator())
	}
	if s.account != nil {
		line = append(line, "account", s.account.ID)
	}
	return line
}

// rescue turns a panic into 421 and the end of the connection. What go-smtp
// does by itself would write the panic's value down.
func (s *session) rescue(err *error) {
	if value := recover(); value != nil {
		s.server.crash(value)
		s.wire.hangup = true
		*err = crashed.smtp()
	}
}
