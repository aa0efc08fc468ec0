package store

import "time"

// PathwayStatus is where a pathway is in its life.
type PathwayStatus string

// Statuses of a pathway.
const (
	PathwayOpen      PathwayStatus = "open"
	PathwaySuspended PathwayStatus = "suspended"
	PathwayClosed    PathwayStatus = "closed"
	PathwayErasing   PathwayStatus = "erasing"
)

// Journal implements journal.Safe.
func (s PathwayStatus) Journal() string { return string(s) }

// Pathway is one patient pathway (parcours de soins) with its team and the
// consents given for it.
type Pathway struct {
	Code          PathwayCode   `cbor:"1,keyasint"`
	Programme     string        `cbor:"2,keyasint"`
	Status        PathwayStatus `cbor:"3,keyasint"`
	Patient       Patient       `cbor:"4,keyasint"`
	Establishment string        `cbor:"5,keyasint"`
	Created       time.Time     `cbor:"6,keyasint"`
	Changed       time.Time     `cbor:"7,keyasint"`
	// Revision grows with each write; Tx.PutPathway refuses a stale one.
	Revision   uint64      `cbor:"8,keyasint"`
	Consents   []Consent   `cbor:"9,keyasint"`
	Members    []Member    `cbor:"10,keyasint"` // everyone who ever was, in order
	NextMember int         `cbor:"11,keyasint"`
	MergedInto PathwayCode `cbor:"12,keyasint,omitempty"`
	Events     []Event     `cbor:"13,keyasint,omitempty"` // status changes
	// Urgent contact for notices; free text such as a telephone number.
	Phone string `cbor:"14,keyasint,omitempty"`
	// Merged are the pathways that were merged into this one, however often.
	Merged []PathwayCode `cbor:"15,keyasint,omitempty"`
	// ModSeq is that of the last write, the engine's: what readers see of the
	// pathway may have changed with it.
	ModSeq uint64 `cbor:"30,keyasint"`
	// OfAge is what was done about the patient's coming of age.
	OfAge OfAge `cbor:"20,keyasint,omitzero"`
	// Deceased is when it was closed because the patient had died: the hub
	// writes nothing by itself from then on.
	Deceased time.Time `cbor:"21,keyasint,omitzero"`
}

// OfAge is what was done about a patient's 18th birthday, and when.
type OfAge struct {
	Day    string    `cbor:"1,keyasint"` // the birthday it is about, 2006-01-02
	Next   time.Time `cbor:"2,keyasint,omitzero"`
	Asked  time.Time `cbor:"3,keyasint,omitzero"` // there was nobody to warn
	Warned time.Time `cbor:"4,keyasint,omitzero"`
	Done   time.Time `cbor:"5,keyasint,omitzero"`
}

// Event is a change of status and why.
type Event struct {
	At     time.Time     `cbor:"1,keyasint"`
	By     string        `cbor:"2,keyasint"`
	Status PathwayStatus `cbor:"3,keyasint"`
	Reason string        `cbor:"4,keyasint,omitempty"`
}

// Patient is the identity of the child. It is health data by itself here.
type Patient struct {
	INS        string `cbor:"1,keyasint"` // matricule, 15 characters; may be empty
	INSOID     string `cbor:"2,keyasint"`
	FamilyName string `cbor:"3,keyasint"` // birth name
	GivenName  string `cbor:"4,keyasint"` // first given name
	BirthDate  string `cbor:"5,keyasint"` // 2006-01-02
	Sex        string `cbor:"6,keyasint"` // M, F or U
	// NameKey is the birth name folded as mailbox/identity.NameKey does; engines
	// index it as it is and fold nothing themselves.
	NameKey string `cbor:"7,keyasint"`
}

// Consent is one consent recorded or withdrawn (CSP L.1110-4, L.1110-12).
type Consent struct {
	At          time.Time `cbor:"1,keyasint"`
	Kind        string    `cbor:"2,keyasint"`           // oral, written
	From        string    `cbor:"3,keyasint"`           // who gave it
	By          string    `cbor:"4,keyasint"`           // who gathered it
	For         MemberID  `cbor:"5,keyasint,omitempty"` // empty: the whole pathway
	Notice      string    `cbor:"6,keyasint,omitempty"` // information notice
	Withdrawn   time.Time `cbor:"7,keyasint,omitzero"`
	WithdrawnBy string    `cbor:"8,keyasint,omitempty"`
	Reason      string    `cbor:"9,keyasint,omitempty"`
	// FromPatient: it was the patient who gave it, and nobody else.
	FromPatient bool `cbor:"10,keyasint,omitempty"`
}

// BoxType is the national type of a mailbox (TRE_R257).
type BoxType string

// Types of boxes. BoxCitizen is ours, for Mon espace santé.
const (
	BoxPER     BoxType = "PER"
	BoxORG     BoxType = "ORG"
	BoxAPP     BoxType = "APP"
	BoxCAB     BoxType = "CAB"
	BoxCitizen BoxType = "MES"
)

// Journal implements journal.Safe.
func (t BoxType) Journal() string { return string(t) }

// Member is a professional, a relative or the patient in the care team.
type Member struct {
	ID            MemberID  `cbor:"1,keyasint"`
	Name          string    `cbor:"2,keyasint"`
	Role          string    `cbor:"3,keyasint"` // role id of the programme
	Mailbox       Address   `cbor:"4,keyasint"`
	AlsoFrom      []Address `cbor:"5,keyasint,omitempty"` // declared sending addresses
	Type          BoxType   `cbor:"6,keyasint"`
	Establishment string    `cbor:"7,keyasint,omitempty"`
	Service       string    `cbor:"8,keyasint,omitempty"`
	RPPS          string    `cbor:"9,keyasint,omitempty"`
	Periods       []Period  `cbor:"10,keyasint"` // a member who comes back has two
	// Former are the boxes this member had before: the addresses the hub made
	// for them stay good for ever.
	Former []Address `cbor:"11,keyasint,omitempty"`
	// MergedAs is the member's id in the pathway this one was merged into.
	MergedAs MemberID `cbor:"12,keyasint,omitempty"`
	// Widened counts changes of role: what can be seen may have grown.
	Widened uint32 `cbor:"30,keyasint,omitempty"`
	Phone   string `cbor:"31,keyasint,omitempty"` // of the member, as tidied by identity.ParsePhone
}

// Period is a stretch of membership; To is zero while it lasts.
type Period struct {
	From   time.Time `cbor:"1,keyasint"`
	To     time.Time `cbor:"2,keyasint,omitzero"`
	Reason string    `cbor:"3,keyasint,omitempty"` // why it ended
}

// ActiveAt reports whether the member belongs to the team at t.
func (m *Member) ActiveAt(t time.Time) bool {
	for _, p := range m.Periods {
		if !t.Before(p.From) && (p.To.IsZero() || t.Before(p.To)) {
			return true
		}
	}
	return false
}

// Box is a mailbox (BAL) known to the hub; several members may share it.
type Box struct {
	Address       Address   `cbor:"1,keyasint"`
	Type          BoxType   `cbor:"2,keyasint"`
	Name          string    `cbor:"3,keyasint,omitempty"` // of the service, for display
	Establishment string    `cbor:"4,keyasint,omitempty"`
	Software      bool      `cbor:"5,keyasint,omitempty"` // read by a program: XDM subjects pass unchanged
	NoCopyBack    bool      `cbor:"6,keyasint,omitempty"` // copy_back = false
	Created       time.Time `cbor:"7,keyasint"`
	Mark          *Mark     `cbor:"8,keyasint,omitempty"`
}

// Mark warns that a box refused mail with an address error. It never stops
// later copies.
type Mark struct {
	At   time.Time `cbor:"1,keyasint"`
	Code string    `cbor:"2,keyasint"` // enhanced status code
}

// RubricState is the mailbox side of a rubric in one pathway.
type RubricState struct {
	UIDValidity   uint32 `cbor:"1,keyasint"`
	UIDNext       uint32 `cbor:"2,keyasint"`
	HighestModSeq uint64 `cbor:"3,keyasint"`
	Count         uint32 `cbor:"4,keyasint"`
	// Gone is a digest over the tombstones, for [Verification]; the engine's.
	Gone uint64 `cbor:"5,keyasint,omitempty"`
}

// Filing is a message in a rubric.
type Filing struct {
	Rubric  string    `cbor:"1,keyasint"`
	UID     uint32    `cbor:"2,keyasint"`
	ModSeq  uint64    `cbor:"3,keyasint"`
	Message MessageID `cbor:"4,keyasint"`
}

// Tombstone remembers a UID that left a rubric.
type Tombstone struct {
	UID    uint32 `cbor:"1,keyasint"`
	ModSeq uint64 `cbor:"2,keyasint"`
}
