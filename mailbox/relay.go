package mailbox

import (
	"io"

	"github.com/relais-sante/relais/store"
)

// Job is one delivery under lease, its attempt already recorded.
type Job struct {
	Delivery store.Delivery
	Item     store.Item
	// Attempt is the number of this attempt, from 1.
	Attempt int

	opening *opening // of its message; nil for a notice
}

// Outgoing is a mail ready to be sent: a copy rendered while it is read, or a
// notice. The same delivery always gives the same bytes.
type Outgoing struct {
	MailFrom store.Address // empty: null reverse-path
	RcptTo   store.Address
	EnvID    string // RFC 3461 envelope id: the delivery
	Size     int64
	EightBit bool // the body has 8-bit bytes
	LongLine int
	io.ReadCloser
}

// OutcomeKind is how an attempt ended.
type OutcomeKind string

// Ends of an attempt.
const (
	// OutcomeSent: the peer answered 250 after the final dot.
	OutcomeSent OutcomeKind = "sent"
	// OutcomeTemporary: try again later.
	OutcomeTemporary OutcomeKind = "temporary"
	// OutcomePermanent: the peer will not take it.
	OutcomePermanent OutcomeKind = "permanent"
	// OutcomeTooLarge: larger than the peer's SIZE; a partial copy is sent
	// in its place, at once.
	OutcomeTooLarge OutcomeKind = "too-large"
	// OutcomeNoAttempt: nothing was tried (no connection could be used, the
	// hub stops); the attempt does not count.
	OutcomeNoAttempt OutcomeKind = "no-attempt"
)

// Journal implements journal.Safe.
func (k OutcomeKind) Journal() string { return string(k) }

// Outcome is how an attempt ended and what the peer said.
type Outcome struct {
	Kind     OutcomeKind
	Code     int    // SMTP reply code, 0 without a reply
	Enhanced string // x.y.z, if given
	// Text is what the peer or the network said. It may name people: it is
	// kept sealed and never logged.
	Text string
	// Reason is our own word for it: refused, dial, tls, untrusted, timeout,
	// dropped, unlisted, rights…
	Reason string
	// Limit is the peer's SIZE for OutcomeTooLarge.
	Limit int64
}
