package inbound

import (
	"context"
	"errors"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/relais-sante/relais/gateway/login"
	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

// Submission by accounts of the hub (RFC 6409): the same server, where a login
// stands in the place of an operator's certificate. Posts go to the hub only,
// under the account's own addresses, and who logged in is the author.

// Submission is what a server for accounts needs besides.
type Submission struct {
	Login    login.Options
	Accounts Accounts
}

// Accounts is what the server asks of the floor below; [mailbox.Hub] is it.
type Accounts interface {
	MaySend(ctx context.Context, a *mailbox.Account, addr store.Address) (bool, error)
	AccountGone(ctx context.Context, a *mailbox.Account) (gone <-chan struct{}, stop func(), err error)
}

// errNotOwn: the address is not the account's.
const errNotOwn = journal.Fault("not an address of the account")

func (s *Server) via() mailbox.Via {
	if s.members != nil {
		return mailbox.ViaSubmit
	}
	return mailbox.ViaSMTP
}

// submitter is a session that can log in. Sessions with other operators are
// not, so that AUTH is never offered to them.
type submitter struct {
	*session
	door *login.Door
	left chan struct{} // closed when the session ends; nil before the login
}

var _ smtp.AuthSession = (*submitter)(nil)

// way is the login of the connection; under TLS it is asked for only once the
// handshake is done.
func (s *submitter) way() *login.Door {
	if s.door == nil {
		o, w := s.server.members.Login, s.wire
		if w.tls == nil {
			s.door = login.NewDoor(o, nil, w.RemoteAddr())
		} else {
			cs := w.tls.ConnectionState()
			s.door = login.NewDoor(o, &cs, w.RemoteAddr())
		}
	}
	return s.door
}

// AuthMechanisms implements smtp.AuthSession.
func (s *submitter) AuthMechanisms() []string { return s.way().Mechanisms() }

// Auth implements smtp.AuthSession.
func (s *submitter) Auth(mechanism string) (_ sasl.Server, err error) {
	defer s.rescue(&err)
	exchange, err := s.way().Begin(s.server.ctx, mechanism, func(a *mailbox.Account) { s.account = a })
	if err != nil {
		return nil, loginAnswer(err).smtp()
	}
	return &exchanged{exchange, s}, nil
}

// exchanged is an exchange whose end the session hears of.
type exchanged struct {
	sasl.Server
	s *submitter
}

func (e *exchanged) Next(response []byte) (challenge []byte, done bool, err error) {
	defer e.s.rescue(&err)
	challenge, done, err = e.Server.Next(response)
	if done && err == nil {
		err = e.s.entered()
	}
	if err != nil {
		a := loginAnswer(err)
		if a == loginUnavailable {
			e.s.server.log.Error("login not checked", "session", e.s.wire.id, "error", err)
		}
		return nil, true, e.s.refuse(stageLogin, a, trust.Identity{})
	}
	return challenge, done, nil
}

// entered watches over the account from now on: when it is revoked the
// connection ends, after the transaction under way if there is one. (Intake
// asks once more whether the account may still send.)
func (s *submitter) entered() error {
	gone, stop, err := s.server.members.Accounts.AccountGone(s.server.ctx, s.account)
	if err != nil {
		s.account = nil
		return err
	}
	left := make(chan struct{})
	s.left = left
	s.server.wg.Go(func() {
		defer stop()
		select {
		case <-gone:
			s.wire.interrupt()
		case <-left:
		}
	})
	return nil
}

// Logout implements smtp.Session.
func (s *submitter) Logout() error {
	if s.left != nil {
		close(s.left)
		s.left = nil
	}
	return s.session.Logout()
}

// loginAnswer is the reply to an error of a login.
func loginAnswer(err error) answer {
	switch login.FaultOf(err) {
	case login.Malformed:
		return loginMalformed
	case login.Mechanism:
		return loginMechanism
	case login.Failed:
		return loginFailed
	case login.Slow:
		return loginSlow
	}
	return loginUnavailable
}

// judgeAccount decides whether the account may begin a transaction for the
// sender.
func (s *session) judgeAccount(from string) *answer {
	sender := store.NewAddress(from)
	switch {
	case s.account == nil:
		return &loginRequired
	case from == "": // only machines have nobody to tell (RFC 5321 §4.5.5)
		return &notOwn
	case !addressable(from):
		return &badSender
	}
	may, err := s.server.members.Accounts.MaySend(s.server.ctx, s.account, sender)
	if err != nil {
		a := answerTo(err)
		return &a
	}
	if !may {
		return &notOwn
	}
	now := s.server.now()
	if !s.server.perPeer.allow(string(s.account.ID), now) {
		s.wire.hangup = true
		return &peerTooFast
	}
	return nil
}

func refusedFor(err error, why mailbox.RefusalReason) bool {
	var refusal *mailbox.Refusal
	return errors.As(err, &refusal) && refusal.Reason == why
}

// longest is how long a line may be: one of AUTH carries a token.
func (w *wire) longest(line []byte) int {
	if w.server.members != nil && w.tls != nil && (w.answers || len(line) >= 5 && verbOf(line[:5]) == "AUTH") {
		return maxAuthLine
	}
	return maxCommandLine
}

// challengeAnswer is what go-smtp reads of a line that answers a challenge:
// base64, or an asterisk.
func (w *wire) challengeAnswer(line []byte) []byte {
	for _, c := range line {
		if (c <= ' ' || c > '~') && c != '\r' && c != '\n' {
			return []byte("*\r\n") // cancels the exchange
		}
	}
	return line
}

// busyNow reports whether a transaction is open.
func (w *wire) busyNow() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.busy
}
