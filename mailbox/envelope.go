package mailbox

import (
	"time"

	"github.com/relais-sante/relais/store"
)

// Peer is what a connection proved about who is at the other end.
type Peer struct {
	// Where is the network address, for traces.
	Where string
	// Name is the distinguished name of its certificate; empty without one.
	Name string
	// SpeaksFor reports whether the peer may send mail of the domain: the
	// domain is listed for its certificate (or no certificate is demanded).
	SpeaksFor func(domain string) bool
	// Account is who logged in (submission, IMAP); nil for another operator.
	Account *Account
}

// Via is the way a message came in.
type Via string

// Ways in.
const (
	ViaSMTP     Via = "smtp"
	ViaOperator Via = "operator"
	ViaIMAP     Via = "imap"
	ViaSubmit   Via = "submission"
	ViaCLI      Via = "cli"
)

// Journal implements journal.Safe.
func (v Via) Journal() string { return string(v) }

// Envelope is an SMTP transaction (RFC 5321 §2.3.1) as far as the hub cares.
//
// A mail read from an operator's box (ViaOperator) has none: its one recipient
// is the box's address, as Hub.Recipient resolves it; MailFrom may be left
// empty, since Return-Path says it; and without Peer.SpeaksFor the white list
// does.
type Envelope struct {
	MailFrom store.Address // empty: the null reverse-path
	Rcpts    []Recipient   // as returned by Hub.Recipient
	Peer     Peer
	Via      Via
	Size     int64 // announced, 0 if not
	EnvID    string
	Received time.Time
	// Fetched is of a mail read from an operator's box: how far the box is then
	// read, noted in the same commit. nil: otherwise.
	Fetched *Fetched
}

// RecipientKind is what an address of the hub stands for.
type RecipientKind string

// Kinds of recipients.
const (
	ToPathway    RecipientKind = "pathway"    // CODE@
	ToRubric     RecipientKind = "rubric"     // CODE.RUBRIC@
	ToMember     RecipientKind = "member"     // CODE.mN@: posts as CODE@ does
	ToReply      RecipientKind = "reply"      // CODE.r-TOKEN@: Reply-To of one box
	ToBounce     RecipientKind = "bounce"     // CODE.b-TOKEN@: envelope sender of one box
	ToProgramme  RecipientKind = "programme"  // PROGRAMME@
	ToPostmaster RecipientKind = "postmaster" // postmaster@, abuse@
	ToBox        RecipientKind = "box"        // the address of an operator's box ([[operator]])
)

// Recipient is a recipient of the hub, resolved.
type Recipient struct {
	Kind      RecipientKind
	Address   store.Address
	Pathway   store.PathwayCode
	Rubric    string
	Member    store.MemberID
	Box       store.Address // of a reply or bounce address
	Programme string
}

// Receipt says what became of a message that was taken.
type Receipt struct {
	Pathway   store.PathwayCode `json:"pathway,omitempty"`
	Message   store.MessageID   `json:"message,omitempty"` // as filed; of the first one for a duplicate
	Held      store.HeldID      `json:"held,omitempty"`    // held for a human instead
	Reason    string            `json:"reason,omitempty"`  // why it is held
	Duplicate bool              `json:"duplicate,omitempty"`
	// Deliveries is how many copies were queued.
	Deliveries int `json:"deliveries"`
}

// RefusalReason is why a message is not taken. Gateways map it to replies.
type RefusalReason string

// Reasons for refusal.
const (
	RefuseUnknown       RefusalReason = "unknown-address"   // 550 5.1.1
	RefuseClosed        RefusalReason = "closed"            // 550 5.2.1
	RefuseWithdrawn     RefusalReason = "consent-withdrawn" // 550 5.7.1
	RefuseSender        RefusalReason = "sender"            // 550 5.7.1: not the peer's domain
	RefuseNullSender    RefusalReason = "null-sender"       // 550 5.7.1: only to reply and bounce addresses
	RefuseSecondPathway RefusalReason = "second-pathway"    // 452 4.5.3
	RefuseTooBig        RefusalReason = "too-big"           // 552 5.3.4
	RefuseBareNewline   RefusalReason = "bare-newline"      // 554 5.6.0
	RefuseUnended       RefusalReason = "unended-line"      // 554 5.6.0
	RefuseNULLine       RefusalReason = "nul-line"          // 554 5.6.0
	RefuseLongLine      RefusalReason = "long-line"         // 554 5.6.0
	RefuseLoop          RefusalReason = "loop"              // 554 5.4.6
	RefuseFull          RefusalReason = "full"              // 452 4.3.1
	RefuseUnavailable   RefusalReason = "unavailable"       // 452 4.3.1
	RefuseForeign       RefusalReason = "foreign"           // 550 5.7.1: not an address of the hub
	RefuseInfected      RefusalReason = "infected"          // 554 5.7.1
	RefuseUnscanned     RefusalReason = "antivirus-away"    // 451 4.3.0
)

// Journal implements journal.Safe.
func (r RefusalReason) Journal() string { return string(r) }

// Refusal is an answer to the sender: not taken, and why. Its text is in the
// catalogue under "refusal.<reason>".
type Refusal struct {
	Reason RefusalReason
	Err    error // cause, for the journal
	// Pathway, where the refusal tells of its state.
	Pathway store.PathwayCode
}

func (r *Refusal) Error() string {
	if r.Err != nil {
		return "refused (" + string(r.Reason) + "): " + r.Err.Error()
	}
	return "refused (" + string(r.Reason) + ")"
}

// Unwrap gives the cause.
func (r *Refusal) Unwrap() error { return r.Err }

// Journal implements journal.Safe.
func (r *Refusal) Journal() string { return "refused: " + string(r.Reason) }

func refuse(reason RefusalReason, cause error) error { return &Refusal{Reason: reason, Err: cause} }
