package directory

import (
	"encoding/binary"

	"github.com/relais-sante/relais/store"
)

// Entry is one line of the extract: a box and who answers for it.
type Entry struct {
	Mailbox string        `json:"mailbox"`
	Type    store.BoxType `json:"type"`

	RPPS           string `json:"rpps,omitempty"`
	OtherID        string `json:"other_id,omitempty"` // of who has no RPPS: 0 and the ADELI number, …
	Title          string `json:"title,omitempty"`
	FamilyName     string `json:"family_name,omitempty"`
	GivenName      string `json:"given_name,omitempty"`
	Category       string `json:"category,omitempty"`
	ProfessionCode string `json:"profession_code,omitempty"`
	Profession     string `json:"profession,omitempty"`
	SkillCode      string `json:"skill_code,omitempty"`
	Skill          string `json:"skill,omitempty"`

	FINESS      string `json:"finess,omitempty"`
	StructureID string `json:"structure_id,omitempty"` // of a structure without FINESS
	Structure   string `json:"structure,omitempty"`
	TradeName   string `json:"trade_name,omitempty"`
	Service     string `json:"service,omitempty"`
	Street      string `json:"street,omitempty"`
	PostalCode  string `json:"postal_code,omitempty"`
	Town        string `json:"town,omitempty"`
	Department  string `json:"department,omitempty"`
	Country     string `json:"country,omitempty"`

	// Paperless: the holder wants no paper beside the mail.
	Paperless bool `json:"paperless"`
}

// Name is how the holder is called: the person, or the department or structure
// that a shared box belongs to.
func (e *Entry) Name() string {
	for _, name := range []string{join(" ", e.Title, e.GivenName, e.FamilyName), e.Service, e.TradeName, e.Structure} {
		if name != "" {
			return name
		}
	}
	return ""
}

// join puts a separator between what is not empty.
func join(separator string, parts ...string) string {
	all := ""
	for _, p := range parts {
		switch {
		case p == "":
		case all == "":
			all = p
		default:
			all += separator + p
		}
	}
	return all
}

// texts lists the fields that are kept as texts, in the order of the file.
func (e *Entry) texts() [22]*string {
	return [...]*string{
		&e.Mailbox, (*string)(&e.Type), &e.RPPS, &e.OtherID, &e.Title, &e.FamilyName, &e.GivenName, &e.Category,
		&e.ProfessionCode, &e.Profession, &e.SkillCode, &e.Skill, &e.FINESS, &e.StructureID, &e.Structure,
		&e.TradeName, &e.Service, &e.Street, &e.PostalCode, &e.Town, &e.Department, &e.Country,
	}
}

// appendEntry writes an entry as the file keeps it: for each text its length
// and bytes.
func appendEntry(b []byte, e *Entry) []byte {
	b = append(b, 0)
	if e.Paperless {
		b[len(b)-1] = 1
	}
	for _, f := range e.texts() {
		b = appendText(b, *f)
	}
	return b
}

// parse reads back what appendEntry wrote.
func (e *Entry) parse(b []byte) error {
	if len(b) == 0 || b[0] > 1 {
		return ErrCorrupt
	}
	e.Paperless = b[0] == 1
	rest := string(b[1:]) // one allocation for all of them
	for _, f := range e.texts() {
		var ok bool
		if *f, rest, ok = cutText(rest); !ok {
			return ErrCorrupt
		}
	}
	if rest != "" {
		return ErrCorrupt
	}
	return nil
}

// appendText writes a text's length and bytes; cutText reads them off.
func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func cutText(s string) (text, rest string, ok bool) {
	n, s, ok := cutNumber(s)
	if !ok || n > uint64(len(s)) {
		return "", "", false
	}
	return s[:n], s[n:], true
}

// cutNumber is binary.Uvarint on a string.
func cutNumber(s string) (n uint64, rest string, ok bool) {
	for i := 0; i < len(s) && i < binary.MaxVarintLen64; i++ {
		n |= uint64(s[i]&0x7f) << (7 * i)
		if s[i] < 0x80 {
			return n, s[i+1:], true
		}
	}
	return 0, "", false
}
