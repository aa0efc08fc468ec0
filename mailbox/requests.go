package mailbox

// What admin commands ask for. Fields are named as in the JSON of the admin
// API and, with hyphens, as the flags of the command line. Every request is
// made by an Actor, who goes into the trace.

// IncludeRequest includes a patient: makes a pathway.
type IncludeRequest struct {
	Programme     string `json:"programme"`
	INS           string `json:"ins"`
	INSOID        string `json:"ins_oid"`
	FamilyName    string `json:"family_name"`
	GivenName     string `json:"given_name"`
	BirthDate     string `json:"birth_date"`
	Sex           string `json:"sex"`
	Establishment string `json:"establishment"`
	Phone         string `json:"phone"`
	Consent       string `json:"consent"` // oral, written, or empty: none yet
	ConsentFrom   string `json:"consent_from"`
	ConsentBy     string `json:"consent_by"`
	ConsentNotice string `json:"consent_notice"`
}

// PathwayUpdate corrects a pathway; nil fields stay.
type PathwayUpdate struct {
	Pathway       string  `json:"pathway"`
	INS           *string `json:"ins,omitempty"`
	INSOID        *string `json:"ins_oid,omitempty"`
	FamilyName    *string `json:"family_name,omitempty"`
	GivenName     *string `json:"given_name,omitempty"`
	BirthDate     *string `json:"birth_date,omitempty"`
	Sex           *string `json:"sex,omitempty"`
	Establishment *string `json:"establishment,omitempty"`
	Phone         *string `json:"phone,omitempty"`
}

// PathwayFilter lists pathways.
type PathwayFilter struct {
	Programme string `json:"programme"`
	Status    string `json:"status"`
	INS       string `json:"ins"`
	Mailbox   string `json:"mailbox"`
	After     string `json:"after"`
	Limit     int    `json:"limit"` // 0: all
}

// StatusChange suspends, closes or reopens.
type StatusChange struct {
	Pathway string `json:"pathway"`
	Reason  string `json:"reason"`
	// Deceased: closed because the patient has died. A reason that says so
	// does the same.
	Deceased bool `json:"deceased,omitempty"`
	// FIN ends the exchange with the citizens of the team (close).
	FIN bool `json:"fin,omitempty"`
}

// MemberRemoval ends a membership.
type MemberRemoval struct {
	Pathway string `json:"pathway"`
	Member  string `json:"member"`
	Reason  string `json:"reason,omitempty"`
	// FIN ends the exchange with a citizen's box.
	FIN bool `json:"fin,omitempty"`
}

// ConsentRequest records a consent.
type ConsentRequest struct {
	Pathway string `json:"pathway"`
	Kind    string `json:"kind"` // oral, written
	From    string `json:"from"`
	By      string `json:"by"`
	For     string `json:"for"` // member; empty: the pathway
	Notice  string `json:"notice"`
}

// WithdrawRequest withdraws it.
type WithdrawRequest struct {
	Pathway string `json:"pathway"`
	For     string `json:"for"`
	By      string `json:"by"`
	Reason  string `json:"reason"`
}

// MemberRequest adds a member.
type MemberRequest struct {
	Pathway       string   `json:"pathway"`
	Name          string   `json:"name"`
	Role          string   `json:"role"`
	Mailbox       string   `json:"mailbox"`
	Type          string   `json:"type"`
	AlsoFrom      []string `json:"also_from"`
	Establishment string   `json:"establishment"`
	Service       string   `json:"service"`
	RPPS          string   `json:"rpps"`
	Phone         string   `json:"phone"`
	BoxName       string   `json:"box_name"` // display name of a shared box
}

// MemberUpdate changes a member; nil fields stay.
type MemberUpdate struct {
	Pathway       string    `json:"pathway"`
	Member        string    `json:"member"`
	Name          *string   `json:"name,omitempty"`
	Role          *string   `json:"role,omitempty"`
	Mailbox       *string   `json:"mailbox,omitempty"`
	AlsoFrom      *[]string `json:"also_from,omitempty"`
	Establishment *string   `json:"establishment,omitempty"`
	Service       *string   `json:"service,omitempty"`
	RPPS          *string   `json:"rpps,omitempty"`
	Phone         *string   `json:"phone,omitempty"`
}

// BoxUpdate changes a mailbox; nil fields stay.
type BoxUpdate struct {
	Mailbox       string  `json:"mailbox"`
	Name          *string `json:"name,omitempty"`
	Establishment *string `json:"establishment,omitempty"`
	Software      *bool   `json:"software,omitempty"`
	CopyBack      *bool   `json:"copy_back,omitempty"`
	ClearMark     bool    `json:"clear_mark,omitempty"`
}

// MessageRequest names a message and what to do with it.
type MessageRequest struct {
	Message string   `json:"message"`
	Reason  string   `json:"reason,omitempty"`  // retract
	Pathway string   `json:"pathway,omitempty"` // move: where to
	Rubrics []string `json:"rubrics,omitempty"` // refile
	Members []string `json:"members,omitempty"` // resend: to whom; empty: all who should have it
	Member  string   `json:"member,omitempty"`  // author
}

// TriageRequest decides about a held message.
type TriageRequest struct {
	ID      string   `json:"id"`
	Pathway string   `json:"pathway,omitempty"` // assign
	Member  string   `json:"member,omitempty"`  // assign an unknown sender to a member
	Rubrics []string `json:"rubrics,omitempty"`
	Reason  string   `json:"reason,omitempty"` // reject: the sender is told
}

// QueueRequest acts on a delivery.
type QueueRequest struct {
	ID string `json:"id"`
}

// QueueFilter lists deliveries.
type QueueFilter struct {
	Pathway string `json:"pathway"`
	Mailbox string `json:"mailbox"`
	State   string `json:"state"`
	After   string `json:"after"`
	Limit   int    `json:"limit"`
}

// DirectoryImport comes with an extract of the national directory.
type DirectoryImport struct {
	File  string `json:"file"`  // its name, which may tell its date
	Force bool   `json:"force"` // even if it has far fewer boxes
}

// DirectoryQuery searches the national directory.
type DirectoryQuery struct {
	Words  string `json:"words"`
	RPPS   string `json:"rpps"`
	Limit  int    `json:"limit"`
	Offset int    `json:"offset"`
}
