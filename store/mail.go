package store

import "time"

// MessageKind is what an entry of a thread is.
type MessageKind string

// Kinds of messages.
const (
	KindPost   MessageKind = "post"
	KindAuto   MessageKind = "auto"   // automatic answer (RFC 3834)
	KindDSN    MessageKind = "dsn"    // delivery status (RFC 3464)
	KindMDN    MessageKind = "mdn"    // receipt (RFC 8098)
	KindNotice MessageKind = "notice" // written by the hub
)

// Journal implements journal.Safe.
func (k MessageKind) Journal() string { return string(k) }

// Certainty is how sure the hub is of who wrote.
type Certainty string

// Certainties, best first.
const (
	Sure    Certainty = "sure"
	Likely  Certainty = "likely"
	ByBox   Certainty = "box" // the box is sure, the person in it is not known
	Unknown Certainty = "unknown"
)

// Author is who wrote a message, as far as the hub could work out.
type Author struct {
	Member        MemberID  `cbor:"1,keyasint,omitempty"` // empty: not known
	Name          string    `cbor:"2,keyasint"`           // for display
	Role          string    `cbor:"3,keyasint,omitempty"`
	Mailbox       Address   `cbor:"4,keyasint"`
	Establishment string    `cbor:"5,keyasint,omitempty"`
	Certainty     Certainty `cbor:"6,keyasint"`
	Clue          string    `cbor:"7,keyasint,omitempty"` // what told: line, display-name, signature, only-member, source, corrected
	CorrectedBy   string    `cbor:"8,keyasint,omitempty"`
}

// Document is a document carried by a message.
type Document struct {
	Part            string   `cbor:"1,keyasint"`           // IMAP section number
	Entry           string   `cbor:"2,keyasint,omitempty"` // name inside an archive
	Filename        string   `cbor:"3,keyasint,omitempty"`
	Title           string   `cbor:"4,keyasint,omitempty"`
	Media           string   `cbor:"5,keyasint"`           // type/subtype
	Code            string   `cbor:"6,keyasint,omitempty"` // national type code; empty: untyped
	Class           string   `cbor:"7,keyasint,omitempty"`
	Rubric          string   `cbor:"8,keyasint,omitempty"` // where its type alone would file it
	Size            int64    `cbor:"9,keyasint"`
	SHA256          []byte   `cbor:"10,keyasint"`
	Confidentiality []string `cbor:"11,keyasint,omitempty"`
	Author          string   `cbor:"12,keyasint,omitempty"`
	SetID           string   `cbor:"13,keyasint,omitempty"`
	Version         string   `cbor:"14,keyasint,omitempty"`
	UniqueID        string   `cbor:"15,keyasint,omitempty"`
	Replaces        string   `cbor:"16,keyasint,omitempty"` // key (Message.Keys) of what it says it replaces
	AuthorID        string   `cbor:"17,keyasint,omitempty"` // national number, prefixed by its kind
	Institution     string   `cbor:"18,keyasint,omitempty"`
	InstitutionID   string   `cbor:"19,keyasint,omitempty"`
	Action          string   `cbor:"20,keyasint,omitempty"` // C (change) or D (delete), as its metadata ask
	// Former is the version before it, ReplacedBy the one after, as accepted.
	Former     *DocumentRef `cbor:"21,keyasint,omitempty"`
	ReplacedBy *DocumentRef `cbor:"22,keyasint,omitempty"`
	// Deleted is when its author had it deleted.
	Deleted time.Time `cbor:"23,keyasint,omitzero"`
}

// DocumentRef points at a document of the same pathway.
type DocumentRef struct {
	Message MessageID `cbor:"1,keyasint"`
	Number  int       `cbor:"2,keyasint"` // in its message, from 1
}

// Audience is the part of a decision that says who may see a message. The
// rights function reads it together with rubrics, team and consent.
type Audience struct {
	All     bool     `cbor:"1,keyasint,omitempty"` // mailed to every care-team role
	To      []string `cbor:"2,keyasint,omitempty"` // roles mailed besides
	Limited bool     `cbor:"3,keyasint,omitempty"` // Only holds
	Only    []string `cbor:"4,keyasint,omitempty"` // roles that may see it at all
	Grants  []Grant  `cbor:"5,keyasint,omitempty"` // rules that name roles
	// Answered are the authors of what it answers: they see it too.
	Answered []MemberID `cbor:"6,keyasint,omitempty"`
	Untyped  bool       `cbor:"7,keyasint,omitempty"` // carries an untyped document
	HasDocs  bool       `cbor:"8,keyasint,omitempty"`
	// Inherited limits an answer to who may see what it answers; it does not
	// stop the authors named in Answered.
	Inherited     bool     `cbor:"9,keyasint,omitempty"`
	InheritedOnly []string `cbor:"10,keyasint,omitempty"`
	// HiddenFromParents keeps it from parents and from the child's own box,
	// whoever answers, refiles or sends it again. It is never taken off.
	HiddenFromParents bool `cbor:"11,keyasint,omitempty"`
}

// Grant is a matched rule that names roles and rubrics; members outside the
// legal care team see nothing without one.
type Grant struct {
	Rule    string   `cbor:"1,keyasint"`
	Roles   []string `cbor:"2,keyasint"`
	Rubrics []string `cbor:"3,keyasint,omitempty"`
}

// Message is an entry of a pathway's thread.
type Message struct {
	ID       MessageID   `cbor:"1,keyasint"`
	Pathway  PathwayCode `cbor:"2,keyasint"`
	Seq      uint64      `cbor:"3,keyasint"` // order in the thread, from 1; set by the engine
	Kind     MessageKind `cbor:"4,keyasint"`
	Received time.Time   `cbor:"5,keyasint"`
	Date     time.Time   `cbor:"6,keyasint,omitzero"` // Date field, if readable

	RFCID       string        `cbor:"7,keyasint"` // Message-ID without brackets; made by the hub when there was none
	KnownAs     []string      `cbor:"8,keyasint"` // every id it is known by, RFCID first
	Parent      MessageID     `cbor:"9,keyasint,omitempty"`
	Root        string        `cbor:"10,keyasint"`           // conversation root id
	References  []string      `cbor:"11,keyasint,omitempty"` // repaired chain, oldest first
	Topic       string        `cbor:"12,keyasint,omitempty"` // base subject
	Subject     string        `cbor:"13,keyasint"`           // decoded, tag taken off
	From        Address       `cbor:"14,keyasint"`           // From field
	MailFrom    Address       `cbor:"15,keyasint"`           // envelope sender
	Author      Author        `cbor:"16,keyasint"`
	Documents   []Document    `cbor:"17,keyasint,omitempty"`
	Audience    Audience      `cbor:"18,keyasint"`
	Filings     []Filing      `cbor:"19,keyasint,omitempty"`
	Rules       []string      `cbor:"20,keyasint,omitempty"` // names of the rules that matched
	Urgent      bool          `cbor:"21,keyasint,omitempty"`
	AckWithin   time.Duration `cbor:"22,keyasint,omitempty"`
	Size        int64         `cbor:"23,keyasint"`
	Blob        *Blob         `cbor:"24,keyasint,omitempty"`
	Fingerprint [32]byte      `cbor:"25,keyasint"` // duplicate detection; zero: none
	Retracted   *Retraction   `cbor:"26,keyasint,omitempty"`
	ThreadIndex []byte        `cbor:"27,keyasint,omitempty"`
	NotifyTo    Address       `cbor:"28,keyasint,omitempty"` // receipt asked for, already checked
	About       *MessageRef   `cbor:"29,keyasint,omitempty"` // DSN, MDN, automatic answer: of what
	AboutBox    Address       `cbor:"30,keyasint,omitempty"` // and from which box
	Outcome     string        `cbor:"31,keyasint,omitempty"` // DSN action, MDN disposition
	Via         string        `cbor:"32,keyasint,omitempty"` // smtp, operator, imap, cli
	Notice      string        `cbor:"33,keyasint,omitempty"` // X-Relais-Kind of a notice
	// BodySum is the SHA-256 of the bytes after the header, as received.
	BodySum [32]byte `cbor:"34,keyasint"`
	// Filed says by what the rubrics were chosen (rules.Decision.Filed).
	Filed string `cbor:"35,keyasint,omitempty"`
	// Boxes are those whose INBOX it is in: it was addressed to them.
	Boxes []BoxUID `cbor:"36,keyasint,omitempty"`
	// Shown is its size in bytes as readers see it, with their Reply-To line.
	Shown int64 `cbor:"38,keyasint,omitempty"`
	// ModSeq is that of the last write, the engine's.
	ModSeq uint64 `cbor:"37,keyasint"`
	// Rewritten: it was updated since it was filed; the engine's.
	Rewritten bool `cbor:"42,keyasint,omitempty"`
	// Keys are words of the hub's own to find it by in its pathway
	// (View.MessagesOfKey): digests of its documents, their sets of versions.
	Keys []string `cbor:"40,keyasint,omitempty"`
	// Held is what it was held as before, if it was; the engine's.
	Held HeldID `cbor:"41,keyasint,omitempty"`
}

// Rubrics lists the ids of the rubrics the message is filed in; of one that was
// withdrawn, those it was filed in.
func (m *Message) Rubrics() []string {
	if m.Retracted != nil && len(m.Filings) == 0 {
		return m.Retracted.Rubrics
	}
	ids := make([]string, len(m.Filings))
	for i, f := range m.Filings {
		ids[i] = f.Rubric
	}
	return ids
}

// Retraction says that a message was withdrawn.
type Retraction struct {
	At     time.Time `cbor:"1,keyasint"`
	By     string    `cbor:"2,keyasint"`
	Reason string    `cbor:"3,keyasint,omitempty"`
	// Rubrics it was filed in: an answer to it may not go further than it did.
	Rubrics []string `cbor:"4,keyasint,omitempty"`
	// To is where it went, when it was moved or its pathway merged.
	To *MessageRef `cbor:"5,keyasint,omitempty"`
}

// MessageRef points at a message; Box is set when the id looked up is the one
// a box got its copy under.
type MessageRef struct {
	Pathway PathwayCode `cbor:"1,keyasint"`
	Message MessageID   `cbor:"2,keyasint"`
	Box     Address     `cbor:"3,keyasint,omitempty"`
}

// DeliveryState is where one copy is.
type DeliveryState string

// States of a delivery.
const (
	Queued    DeliveryState = "queued"
	Sending   DeliveryState = "sending"
	Sent      DeliveryState = "sent"
	Failed    DeliveryState = "failed"
	Partial   DeliveryState = "partial" // sent as a text in place of a copy too large
	OnHold    DeliveryState = "held"
	Cancelled DeliveryState = "cancelled"
)

// Journal implements journal.Safe.
func (s DeliveryState) Journal() string { return string(s) }

// Over reports whether nothing more will happen to the delivery by itself.
func (s DeliveryState) Over() bool {
	return s == Sent || s == Failed || s == Partial || s == Cancelled
}

// Delivery is one copy of one message for one box.
type Delivery struct {
	ID      DeliveryID  `cbor:"1,keyasint"`
	Pathway PathwayCode `cbor:"2,keyasint"` // empty: a notice about no pathway
	Message MessageID   `cbor:"3,keyasint,omitempty"`
	Held    HeldID      `cbor:"4,keyasint,omitempty"` // notice about a held message
	Mailbox Address     `cbor:"5,keyasint"`
	Members []MemberID  `cbor:"6,keyasint,omitempty"`
	// Notice is the whole text of a mail written by the hub itself; nil for a
	// copy, which is rendered from the message while it is sent.
	Notice     []byte        `cbor:"7,keyasint,omitempty"`
	NoticeKind string        `cbor:"8,keyasint,omitempty"`
	State      DeliveryState `cbor:"9,keyasint"`
	Attempts   int           `cbor:"10,keyasint"`
	Next       time.Time     `cbor:"11,keyasint,omitzero"`
	Created    time.Time     `cbor:"12,keyasint"`
	Ended      time.Time     `cbor:"13,keyasint,omitzero"`
	LastError  string        `cbor:"14,keyasint,omitempty"` // reply codes and our own words
	Item       ItemID        `cbor:"15,keyasint,omitempty"` // its place in the queue
	RFCID      string        `cbor:"16,keyasint,omitempty"` // Message-ID this box gets it under
	InReplyTo  string        `cbor:"17,keyasint,omitempty"` // the parent's id as that box got it
	References []string      `cbor:"18,keyasint,omitempty"`
	Subject    string        `cbor:"19,keyasint,omitempty"` // decoded, with its tag
	Seen       []Seen        `cbor:"20,keyasint,omitempty"`
	Withheld   []string      `cbor:"21,keyasint,omitempty"` // file names left out of a partial copy
	From       string        `cbor:"22,keyasint,omitempty"` // display name of the From field, fixed when queued
	To         string        `cbor:"23,keyasint,omitempty"` // display name of the To field, fixed at filing
	// PeerReply is what the peer's last answer said, for the desk.
	PeerReply string `cbor:"25,keyasint,omitempty"`
	// The rest of the header that is the hub's, fixed when queued too: every
	// attempt has the same bytes.
	FromAddress string   `cbor:"26,keyasint,omitempty"`
	Rubrics     []string `cbor:"27,keyasint,omitempty"`
	For         []string `cbor:"28,keyasint,omitempty"`
	NotifyTo    string   `cbor:"29,keyasint,omitempty"` // receipt the hub asks for
	// Told: the author was told that it failed or went only in part.
	Told bool `cbor:"30,keyasint,omitempty"`
	// Since is when a copy tried again by hand began its new life: giving up
	// counts from here, if set, and not from Created.
	Since time.Time `cbor:"31,keyasint,omitzero"`
	// Sender is the envelope sender, empty for MAIL FROM:<>; ReplyTo takes the
	// answers to a copy. Operator names the operator's box it leaves from;
	// empty: the hub sends by itself.
	Sender   Address `cbor:"32,keyasint,omitempty"`
	ReplyTo  string  `cbor:"33,keyasint,omitempty"`
	Operator string  `cbor:"34,keyasint,omitempty"`
	// Answer is what the box's software or people said of the copy in a receipt.
	Answer *Answer `cbor:"35,keyasint,omitempty"`
	// Order is its place among the copies of its message; the engine's.
	Order uint64 `cbor:"36,keyasint,omitempty"`
}

// Answer is what a receipt (RFC 8098) said of a copy.
type Answer struct {
	// Type is the disposition: displayed, processed, deleted, dispatched…
	Type string `cbor:"1,keyasint"`
	// Failed: the receiver could not take it; Code is its national error, if it
	// gave one.
	Failed bool      `cbor:"2,keyasint,omitempty"`
	Code   string    `cbor:"3,keyasint,omitempty"`
	At     time.Time `cbor:"4,keyasint"`
}

// Seen is what is known of one member's reading.
type Seen struct {
	Member MemberID  `cbor:"1,keyasint"`
	State  string    `cbor:"2,keyasint"` // no, box, read, acknowledged
	By     string    `cbor:"3,keyasint,omitempty"`
	At     time.Time `cbor:"4,keyasint,omitzero"`
}

// Held is a message that waits for a human (triage).
type Held struct {
	ID          HeldID        `cbor:"1,keyasint"`
	Reason      string        `cbor:"2,keyasint"`           // see the contract's list
	Detail      string        `cbor:"3,keyasint,omitempty"` // rule name, colliding codes; shown to coordinators
	Received    time.Time     `cbor:"4,keyasint"`
	From        Address       `cbor:"5,keyasint"`
	MailFrom    Address       `cbor:"6,keyasint"`
	FromName    string        `cbor:"7,keyasint,omitempty"`
	Subject     string        `cbor:"8,keyasint,omitempty"`
	Rcpts       []Address     `cbor:"9,keyasint"`
	Addressed   PathwayCode   `cbor:"10,keyasint,omitempty"` // pathway of the address, if any
	Candidates  []PathwayCode `cbor:"11,keyasint,omitempty"` // what the clues named
	Programme   string        `cbor:"12,keyasint,omitempty"`
	Size        int64         `cbor:"13,keyasint"`
	Blob        *Blob         `cbor:"14,keyasint,omitempty"`
	Trusted     bool          `cbor:"15,keyasint,omitempty"` // sender is in the trusted space
	Auto        bool          `cbor:"16,keyasint,omitempty"` // automatic: its sender is told nothing
	Urgent      bool          `cbor:"17,keyasint,omitempty"`
	Alerts      int           `cbor:"18,keyasint,omitempty"` // announcements made
	Item        ItemID        `cbor:"19,keyasint,omitempty"` // its timer in the queue
	Peer        string        `cbor:"20,keyasint,omitempty"` // network address it came from
	Via         string        `cbor:"21,keyasint,omitempty"`
	RFCID       string        `cbor:"22,keyasint,omitempty"`
	NotifyTo    Address       `cbor:"23,keyasint,omitempty"`
	Fingerprint [32]byte      `cbor:"24,keyasint"`
	Listed      []string      `cbor:"25,keyasint,omitempty"` // domains the peer may speak for, among sender's and From's
	Since       time.Time     `cbor:"26,keyasint,omitzero"`  // when it began to wait; giving up counts from here
	// HiddenFromParents: it was so where it was moved from (Audience).
	HiddenFromParents bool      `cbor:"27,keyasint,omitempty"`
	Account           AccountID `cbor:"28,keyasint,omitempty"` // who logged in to bring it
}

// Item is something to do at a time. Lanes order the work: "out:<domain>" for
// copies to a peer, "triage" for held mail, "timer:<what>" for the rest.
type Item struct {
	ID       ItemID      `cbor:"1,keyasint"`
	Lane     string      `cbor:"2,keyasint"` // its kind, up to the colon, is in clear on disk
	Due      time.Time   `cbor:"3,keyasint"`
	Delivery DeliveryID  `cbor:"4,keyasint,omitempty"`
	Held     HeldID      `cbor:"5,keyasint,omitempty"`
	Pathway  PathwayCode `cbor:"6,keyasint,omitempty"`
	Message  MessageID   `cbor:"7,keyasint,omitempty"`
	What     string      `cbor:"8,keyasint,omitempty"`  // a word, for timers
	Token    uint64      `cbor:"9,keyasint,omitempty"`  // fencing token of the lease
	Owner    string      `cbor:"10,keyasint,omitempty"` // who holds the lease
}
