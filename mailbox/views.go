package mailbox

import (
	"time"

	"github.com/relais-sante/relais/mailbox/directory"
)

// What admin commands show. JSON names are those of the contract: scripts rely
// on them.

// PathwayView is a pathway as a coordinator sees it.
type PathwayView struct {
	ID            string    `json:"id"`
	Address       string    `json:"address"`
	Tag           string    `json:"tag,omitempty"` // client mode: what the subject must hold
	Status        string    `json:"status"`
	Programme     string    `json:"programme"`
	FamilyName    string    `json:"family_name"`
	GivenName     string    `json:"given_name"`
	BirthDate     string    `json:"birth_date"`
	Sex           string    `json:"sex"`
	INS           string    `json:"ins,omitempty"` // masked
	Establishment string    `json:"establishment,omitempty"`
	Created       time.Time `json:"created,omitzero"`
	Consent       string    `json:"consent"` // recorded, none, withdrawn
	MergedInto    string    `json:"merged_into,omitempty"`
	Deceased      bool      `json:"deceased,omitempty"` // closed because the patient has died
	Phone         string    `json:"phone,omitempty"`
	Members       int       `json:"members"`
	Warnings      []string  `json:"warnings,omitempty"`
	// Erasure is set where nothing else is left.
	Erasure *ErasureView `json:"erasure,omitempty"`
}

// ConsentView is one consent.
type ConsentView struct {
	At          time.Time  `json:"at"`
	Kind        string     `json:"kind"`
	From        string     `json:"from"`
	By          string     `json:"by"`
	For         string     `json:"for,omitempty"`
	Notice      string     `json:"notice,omitempty"`
	FromPatient bool       `json:"from_patient,omitempty"`
	Withdrawn   *time.Time `json:"withdrawn,omitempty"`
	WithdrawnBy string     `json:"withdrawn_by,omitempty"`
}

// MemberView is a member of a team.
type MemberView struct {
	Member        string       `json:"member"`
	Name          string       `json:"name"`
	Role          string       `json:"role"`
	Mailbox       string       `json:"mailbox"`
	Type          string       `json:"type"`
	AlsoFrom      []string     `json:"also_from,omitempty"`
	Establishment string       `json:"establishment,omitempty"`
	Service       string       `json:"service,omitempty"`
	RPPS          string       `json:"rpps,omitempty"`
	Phone         string       `json:"phone,omitempty"`
	State         string       `json:"state"` // active, pending, suspended, left
	Periods       []PeriodView `json:"periods,omitempty"`
	Warnings      []string     `json:"warnings,omitempty"`
}

// PeriodView is a stretch of membership.
type PeriodView struct {
	From time.Time  `json:"from"`
	To   *time.Time `json:"to,omitempty"`
}

// BoxView is a mailbox behind members.
type BoxView struct {
	Mailbox       string     `json:"mailbox"`
	Type          string     `json:"type"`
	Name          string     `json:"name,omitempty"`
	Establishment string     `json:"establishment,omitempty"`
	Software      bool       `json:"software"`
	CopyBack      bool       `json:"copy_back"`
	Pathways      []string   `json:"pathways,omitempty"`
	Members       []string   `json:"members,omitempty"`
	MarkedAt      *time.Time `json:"marked_at,omitempty"`
	MarkedCode    string     `json:"marked_code,omitempty"`
}

// ThreadView is the one thread of a pathway.
type ThreadView struct {
	Pathway  string        `json:"pathway"`
	Messages []MessageView `json:"messages"`
}

// MessageView is one entry of it.
type MessageView struct {
	ID         string         `json:"id"`
	MessageID  string         `json:"message_id"`
	Kind       string         `json:"kind"`
	Date       time.Time      `json:"date"`
	Received   time.Time      `json:"received"`
	Author     AuthorView     `json:"author"`
	Subject    string         `json:"subject"`
	Rubrics    []string       `json:"rubrics"`
	Documents  []DocumentView `json:"documents"`
	Deliveries []DeliveryView `json:"deliveries"`
	Summary    *SummaryView   `json:"summary,omitempty"` // of its copies, if there are any
	Parent     string         `json:"parent,omitempty"`
	Root       string         `json:"root,omitempty"`
	Urgent     bool           `json:"urgent,omitempty"`
	Hidden     bool           `json:"hidden_from_parents,omitempty"`
	Retracted  *time.Time     `json:"retracted,omitempty"`
	Reason     string         `json:"reason,omitempty"`   // why it was withdrawn
	MovedTo    string         `json:"moved_to,omitempty"` // the message it became
	HeldAs     string         `json:"held_as,omitempty"`  // moved, and waiting in triage
	About      string         `json:"about,omitempty"`
	AboutBox   string         `json:"about_mailbox,omitempty"`
	Outcome    string         `json:"outcome,omitempty"`
	Rules      []string       `json:"rules,omitempty"`
	Size       int64          `json:"size"`
	Pathway    string         `json:"pathway,omitempty"`
}

// AuthorView is who wrote, and how sure the hub is.
type AuthorView struct {
	Name        string `json:"name"`
	Role        string `json:"role"`
	Mailbox     string `json:"mailbox"`
	Certainty   string `json:"certainty"`
	Member      string `json:"member,omitempty"`
	Clue        string `json:"clue,omitempty"`
	CorrectedBy string `json:"corrected_by,omitempty"`
}

// DocumentView is a document of a message.
type DocumentView struct {
	Filename string `json:"filename"`
	Type     string `json:"type"` // media type
	Code     string `json:"code"`
	Size     int64  `json:"size"`
	SHA256   string `json:"sha256"`
	Title    string `json:"title,omitempty"`
	Rubric   string `json:"rubric,omitempty"`
	// Versions name each other as MESSAGE/NUMBER.
	Version    string     `json:"version,omitempty"`
	Replaces   string     `json:"replaces,omitempty"`
	ReplacedBy string     `json:"replaced_by,omitempty"`
	Deleted    *time.Time `json:"deleted,omitempty"` // by its author
}

// DeliveryView is the state of one copy.
type DeliveryView struct {
	ID          string     `json:"id"`
	Mailbox     string     `json:"mailbox"`
	Members     []string   `json:"members"`
	State       string     `json:"state"`
	Attempts    int        `json:"attempts"`
	NextAttempt *time.Time `json:"next_attempt,omitempty"`
	LastError   string     `json:"last_error"`
	Kind        string     `json:"kind,omitempty"` // copy, or the kind of notice
	MessageID   string     `json:"message_id,omitempty"`
	Withheld    []string   `json:"withheld,omitempty"`
	Seen        []SeenView `json:"seen"`
	// Receipt is what came back about the copy, if anything did.
	Receipt *ReceiptView `json:"receipt,omitempty"`
}

// ReceiptView is what a receipt said of a copy.
type ReceiptView struct {
	Disposition string    `json:"disposition"` // displayed, processed, deleted…; with /error when the receiver could not take it
	Code        string    `json:"code,omitempty"`
	Text        string    `json:"text,omitempty"` // the error in words
	At          time.Time `json:"at"`
}

// SummaryView is the story of a post's copies in numbers of boxes, whatever the
// number of receipts and notifications behind it. Cancelled copies are left out.
type SummaryView struct {
	Boxes     int `json:"boxes"`
	Delivered int `json:"delivered"`         // taken by the operator, and not sent back
	Partial   int `json:"partial,omitempty"` // of these, in part only
	Read      int `json:"read"`              // somebody of the box saw it
	Refused   int `json:"refused"`           // by the operator, the box or its software
	Waiting   int `json:"waiting"`           // queued, being sent, or held
}

// SeenView is what is known of one member's reading.
type SeenView struct {
	Member string     `json:"member"`
	State  string     `json:"state"`
	By     string     `json:"by,omitempty"`
	At     *time.Time `json:"at,omitempty"`
}

// HeldView is a message that waits for a human.
type HeldView struct {
	ID         string         `json:"id"`
	Reason     string         `json:"reason"`
	From       string         `json:"from"`
	Received   time.Time      `json:"received"`
	Size       int64          `json:"size"`
	Subject    string         `json:"subject,omitempty"`
	FromName   string         `json:"from_name,omitempty"`
	Detail     string         `json:"detail,omitempty"`
	Addressed  string         `json:"addressed,omitempty"`
	Candidates []string       `json:"candidates,omitempty"`
	Programme  string         `json:"programme,omitempty"`
	Text       string         `json:"text,omitempty"`      // triage show: the beginning of its text
	Documents  []DocumentView `json:"documents,omitempty"` // triage show
}

// QueueView is a delivery in the queue.
type QueueView struct {
	ID          string     `json:"id"`
	Mailbox     string     `json:"mailbox"`
	Pathway     string     `json:"pathway"`
	State       string     `json:"state"`
	Attempts    int        `json:"attempts"`
	NextAttempt *time.Time `json:"next_attempt"`
	LastError   string     `json:"last_error"`
	Message     string     `json:"message,omitempty"`
	Kind        string     `json:"kind,omitempty"`
	Created     time.Time  `json:"created"`
}

// ExplainView tells the whole story of a message that was not sent.
type ExplainView struct {
	Pathway   string          `json:"pathway"`
	Verdict   string          `json:"verdict"` // filed, held, refused
	Reason    string          `json:"reason,omitempty"`
	Author    AuthorView      `json:"author"`
	Answers   string          `json:"answers,omitempty"`
	Clues     []ClueView      `json:"clues,omitempty"`
	Rules     []RuleView      `json:"rules"`
	Rubrics   []string        `json:"rubrics"`
	Filed     string          `json:"filed"` // by what
	Documents []DocumentView  `json:"documents"`
	Members   []RecipientView `json:"members"` // everyone in the team, and why or why not
	Copies    []CopyView      `json:"copies"`  // one per box
	Urgent    bool            `json:"urgent,omitempty"`
}

// ClueView is a clue to the pathway.
type ClueView struct {
	Kind    string `json:"kind"` // address, reply, thread, tag, ins, name
	Pathway string `json:"pathway"`
}

// RuleView is what one rule did.
type RuleView struct {
	Rule    string `json:"rule"`
	File    string `json:"file"`
	Line    int    `json:"line"`
	Matched bool   `json:"matched"`
	Error   string `json:"error,omitempty"`
}

// RecipientView says whether a member gets it, and why.
type RecipientView struct {
	Member  string `json:"member"`
	Name    string `json:"name"`
	Role    string `json:"role"`
	Mailbox string `json:"mailbox"`
	Gets    bool   `json:"gets"`
	Why     string `json:"why"`  // a word: see rights.go
	Text    string `json:"text"` // the same for people
	Rule    string `json:"rule,omitempty"`
}

// CopyView is a copy that would be sent.
type CopyView struct {
	Mailbox string   `json:"mailbox"`
	Members []string `json:"members"`
	Subject string   `json:"subject"`
	To      string   `json:"to"`
}

// DirectoryReport says what an import of the national directory found.
type DirectoryReport struct {
	Imported    time.Time         `json:"imported"`
	Issued      *time.Time        `json:"issued,omitempty"` // by the extract's name
	Before      *time.Time        `json:"before,omitempty"` // the import before
	Lines       int64             `json:"lines"`
	Entries     int64             `json:"entries"` // distinct lines
	Boxes       int64             `json:"boxes"`   // distinct addresses
	BoxesBefore int64             `json:"boxes_before"`
	Duplicates  int64             `json:"duplicates"`
	Types       map[string]int64  `json:"types"`
	Faulty      []directory.Fault `json:"faulty"`
	Changes     directory.Changes `json:"changes"`
	// Gone are boxes of members that the directory had and no longer has.
	Gone    []BoxView `json:"gone"`
	Seconds float64   `json:"seconds"`
}

// DirectoryPage is a part of what a search of the directory found.
type DirectoryPage struct {
	Total    int               `json:"total"`
	Entries  []directory.Entry `json:"entries"`
	Imported time.Time         `json:"imported"`
	Issued   *time.Time        `json:"issued,omitempty"`
}
