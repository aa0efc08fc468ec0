package inbound

import (
	"errors"
	"fmt"

	"github.com/emersion/go-smtp"

	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store"
)

// reason names why something was answered as it was: for the journal, the
// metrics and, as "inbound.<reason>", the text. The set is closed.
type reason string

// Journal implements journal.Safe.
func (r reason) Journal() string { return string(r) }

// answer is a reply to a peer.
type answer struct {
	code     int
	enhanced smtp.EnhancedCode
	reason   reason
	text     texts.ID // default "inbound." + reason
}

// Answers of this package. Codes: RFC 5321 §4.2, RFC 3463; STARTTLS RFC 3207,
// BDAT RFC 3030.
var (
	readyForTLS = answer{code: 220, enhanced: smtp.EnhancedCode{2, 0, 0}, reason: "ready-for-tls"}
	chunkTaken  = answer{code: 250, enhanced: smtp.EnhancedCode{2, 0, 0}, reason: "chunk-taken"}
	nothingDone = answer{code: 250, enhanced: smtp.EnhancedCode{2, 0, 0}, reason: "nothing-done"}

	badCommand      = answer{code: 500, enhanced: smtp.EnhancedCode{5, 5, 2}, reason: "bad-command"}
	commandTooLong  = answer{code: 500, enhanced: smtp.EnhancedCode{5, 5, 2}, reason: "command-too-long"}
	badParameter    = answer{code: 501, enhanced: smtp.EnhancedCode{5, 5, 4}, reason: "bad-parameter"}
	badSequence     = answer{code: 503, enhanced: smtp.EnhancedCode{5, 5, 1}, reason: "bad-sequence"}
	tlsAlready      = answer{code: 503, enhanced: smtp.EnhancedCode{5, 5, 1}, reason: "tls-already"}
	tooManyErrors   = answer{code: 421, enhanced: smtp.EnhancedCode{4, 7, 0}, reason: "too-many-errors"}
	tooManyCommands = answer{code: 421, enhanced: smtp.EnhancedCode{4, 7, 0}, reason: "too-many-commands"}

	connectionsFull = answer{code: 421, enhanced: smtp.EnhancedCode{4, 3, 2}, reason: "connections-full"}
	peerFull        = answer{code: 421, enhanced: smtp.EnhancedCode{4, 7, 0}, reason: "peer-full"}
	peerTooFast     = answer{code: 421, enhanced: smtp.EnhancedCode{4, 7, 0}, reason: "peer-too-fast"}
	senderTooFast   = answer{code: 451, enhanced: smtp.EnhancedCode{4, 7, 1}, reason: "sender-too-fast"}
	stopping        = answer{code: 421, enhanced: smtp.EnhancedCode{4, 3, 2}, reason: "stopping"}
	idle            = answer{code: 421, enhanced: smtp.EnhancedCode{4, 4, 2}, reason: "idle"}
	tooSlow         = answer{code: 421, enhanced: smtp.EnhancedCode{4, 4, 2}, reason: "too-slow"}
	connectionLost  = answer{code: 421, enhanced: smtp.EnhancedCode{4, 4, 2}, reason: "connection-lost"}
	takenBack       = answer{code: 451, enhanced: smtp.EnhancedCode{4, 4, 0}, reason: "taken-back"}
	fault           = answer{code: 451, enhanced: smtp.EnhancedCode{4, 3, 0}, reason: "fault"}
	crashed         = answer{code: 421, enhanced: smtp.EnhancedCode{4, 3, 0}, reason: "crashed"}

	tlsRequired   = answer{code: 530, enhanced: smtp.EnhancedCode{5, 7, 0}, reason: "tls-required"}
	loginRequired = answer{code: 530, enhanced: smtp.EnhancedCode{5, 7, 0}, reason: "login-required"}
	notOwn        = answer{code: 550, enhanced: smtp.EnhancedCode{5, 7, 1}, reason: "not-own-address"}

	// RFC 4954 §6.
	loginFailed      = answer{code: 535, enhanced: smtp.EnhancedCode{5, 7, 8}, reason: "login-failed"}
	loginSlow        = answer{code: 454, enhanced: smtp.EnhancedCode{4, 7, 0}, reason: "login-slow"}
	loginUnavailable = answer{code: 454, enhanced: smtp.EnhancedCode{4, 7, 0}, reason: "login-unavailable"}
	loginMechanism   = answer{code: 504, enhanced: smtp.EnhancedCode{5, 5, 4}, reason: "login-mechanism"}
	loginMalformed   = answer{code: 501, enhanced: smtp.EnhancedCode{5, 5, 2}, reason: "login-malformed"}

	domainNotListed = answer{code: 550, enhanced: smtp.EnhancedCode{5, 7, 1}, reason: "domain-not-listed"}
	badSender       = answer{code: 553, enhanced: smtp.EnhancedCode{5, 1, 7}, reason: "bad-sender"}
	badRecipient    = answer{code: 553, enhanced: smtp.EnhancedCode{5, 1, 3}, reason: "bad-recipient"}
)

// refusals are the codes of the hub's own refusals; their texts are under
// "refusal.<reason>".
var refusals = map[mailbox.RefusalReason]answer{
	mailbox.RefuseUnknown:       {code: 550, enhanced: smtp.EnhancedCode{5, 1, 1}},
	mailbox.RefuseClosed:        {code: 550, enhanced: smtp.EnhancedCode{5, 2, 1}},
	mailbox.RefuseWithdrawn:     {code: 550, enhanced: smtp.EnhancedCode{5, 7, 1}},
	mailbox.RefuseSender:        {code: 550, enhanced: smtp.EnhancedCode{5, 7, 1}},
	mailbox.RefuseNullSender:    {code: 550, enhanced: smtp.EnhancedCode{5, 7, 1}},
	mailbox.RefuseForeign:       {code: 550, enhanced: smtp.EnhancedCode{5, 7, 1}},
	mailbox.RefuseSecondPathway: {code: 452, enhanced: smtp.EnhancedCode{4, 5, 3}},
	mailbox.RefuseTooBig:        {code: 552, enhanced: smtp.EnhancedCode{5, 3, 4}},
	mailbox.RefuseBareNewline:   {code: 554, enhanced: smtp.EnhancedCode{5, 6, 0}},
	mailbox.RefuseNULLine:       {code: 554, enhanced: smtp.EnhancedCode{5, 6, 0}},
	mailbox.RefuseUnended:       {code: 554, enhanced: smtp.EnhancedCode{5, 6, 0}},
	mailbox.RefuseLongLine:      {code: 554, enhanced: smtp.EnhancedCode{5, 6, 0}},
	mailbox.RefuseLoop:          {code: 554, enhanced: smtp.EnhancedCode{5, 4, 6}},
	mailbox.RefuseFull:          {code: 452, enhanced: smtp.EnhancedCode{4, 3, 1}},
	mailbox.RefuseUnavailable:   {code: 452, enhanced: smtp.EnhancedCode{4, 3, 1}},
	mailbox.RefuseInfected:      {code: 554, enhanced: smtp.EnhancedCode{5, 7, 1}},
	mailbox.RefuseUnscanned:     {code: 451, enhanced: smtp.EnhancedCode{4, 3, 0}},
}

// answerTo maps an error to the reply that tells it: the one place where this
// is done. What is neither a refusal nor a judgement on the peer is our fault,
// hence temporary.
func answerTo(err error) answer {
	var refusal *mailbox.Refusal
	var distrust *trust.Distrust
	switch {
	case errors.As(err, &refusal):
		a, known := refusals[refusal.Reason]
		if !known {
			return fault
		}
		a.reason, a.text = reason(refusal.Reason), texts.ID("refusal."+string(refusal.Reason))
		return a
	case errors.As(err, &distrust):
		return answer{
			code: 550, enhanced: smtp.EnhancedCode{5, 7, 1}, reason: reason(distrust.Reason),
			text: texts.ID("inbound.certificate-" + string(distrust.Reason)),
		}
	case errors.Is(err, store.ErrFull):
		return answerTo(&mailbox.Refusal{Reason: mailbox.RefuseFull})
	case errors.Is(err, store.ErrUnavailable):
		return answerTo(&mailbox.Refusal{Reason: mailbox.RefuseUnavailable})
	case errors.Is(err, errNotOwn):
		return notOwn
	case errors.Is(err, errSlow):
		return tooSlow
	case errors.Is(err, errLost):
		return connectionLost
	case errors.Is(err, errAborted):
		return takenBack
	case errors.Is(err, errCommandLine):
		return commandTooLong
	}
	return fault
}

// message is the text in both languages, in ASCII.
func (a answer) message() string {
	id := a.text
	if id == "" {
		id = texts.ID("inbound." + string(a.reason))
	}
	return texts.ASCII(id, nil)
}

// line is the whole reply, for the wire's own answers.
func (a answer) line() string {
	return fmt.Sprintf("%d %d.%d.%d %s\r\n", a.code, a.enhanced[0], a.enhanced[1], a.enhanced[2], a.message())
}

// smtp is the reply for go-smtp, which looks at nothing but this very type and
// would tell the text of any other error to the peer.
func (a answer) smtp() *smtp.SMTPError {
	return &smtp.SMTPError{Code: a.code, EnhancedCode: a.enhanced, Message: a.message()}
}

// taken is the reply to a message that is kept. go-smtp calls it an error, and
// sends it as it is.
func taken(id string) *smtp.SMTPError {
	if id == "" { // not filed as a message: a report, mail for the postmaster
		id = "taken"
	}
	return &smtp.SMTPError{Code: 250, EnhancedCode: smtp.EnhancedCode{2, 0, 0}, Message: "OK " + id}
}
