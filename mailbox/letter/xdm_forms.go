package letter

import (
	"math/big"
	"strings"
	"time"
	"unicode/utf8"
)

// Values of metadata are written as HL7 v2 fields: components parted by ^,
// subcomponents by & (ITI TF-3 §4.2.3.1.7).

// Bounds of metadata, in characters: a slot's value has 256 (ebRIM 3.0,
// LongName), a title 128 bytes (ITI TF-3 §4.2.3.2.25).
const (
	maxTitleBytes = 128
	maxPersonPart = 60
	maxPlacePart  = 160
)

var (
	hl7Escapes = strings.NewReplacer(`\`, `\E\`, `|`, `\F\`, `^`, `\S\`, `&`, `\T\`, `~`, `\R\`)
	hl7Plain   = strings.NewReplacer(`\E\`, `\`, `\F\`, `|`, `\S\`, `^`, `\T\`, `&`, `\R\`, `~`)
)

// hl7 writes a text as a component of at most limit characters; what an escape
// would take beyond is cut off (HL7 v2.5 §2.7).
func hl7(s string, limit int) string {
	s = cleanText(s, limit)
	for {
		escaped := hl7Escapes.Replace(s)
		if utf8.RuneCountInString(escaped) <= limit {
			return escaped
		}
		_, last := utf8.DecodeLastRuneInString(s)
		s = strings.TrimRight(s[:len(s)-last], " ")
	}
}

// fitTitle cuts a title to the bytes that metadata have for it.
func fitTitle(s string) string {
	s = cleanText(s, maxTitleBytes)
	for len(s) > maxTitleBytes {
		_, last := utf8.DecodeLastRuneInString(s)
		s = strings.TrimRight(s[:len(s)-last], " ")
	}
	return s
}

// Writer is a person who wrote something, and where.
type Writer struct {
	ID            string // national number, prefixed by its kind; or structure/local number
	Title         string // "Dr"
	Given, Family string
	Institution   string
	InstitutionID string // national number, prefixed by its kind
	Speciality    Coded
}

// NewWriter parts a name as people write it: "Dr Anne Le Goff". Words in
// capitals are the family name, else the last word and its particles.
func NewWriter(name string) Writer {
	title, given, family := partName(cleanText(name, maxPersonPart))
	return Writer{Title: strings.Join(title, " "), Given: strings.Join(given, " "), Family: strings.Join(family, " ")}
}

// clean leaves nothing in it that XML could not hold.
func (w Writer) clean() Writer {
	for _, part := range []*string{&w.Title, &w.Given, &w.Family} {
		*part = cleanText(*part, maxPersonPart)
	}
	w.ID, w.InstitutionID = cleanText(w.ID, maxCode), cleanText(w.InstitutionID, maxCode)
	w.Institution = cleanText(w.Institution, maxPlacePart)
	return w
}

// person writes who it is, as XCN; "" if nobody is named.
func (w Writer) person() string {
	if w.Family == "" && w.ID == "" {
		return ""
	}
	kind := "IDNPS"
	if strings.Contains(w.ID, "/") {
		kind = "EI" // a number given by the structure itself
	}
	id, family, given := hl7(w.ID, maxCode), hl7(w.Family, maxPersonPart), hl7(w.Given, maxPersonPart)
	if id == "" {
		return "^" + family + "^" + given
	}
	return id + "^" + family + "^" + given + "^^^^^^&" + oidProfessional + "&ISO^D^^^" + kind
}

// institution writes where, as XON; "" if no place is named.
func (w Writer) institution() string {
	name, id := hl7(w.Institution, maxPlacePart), hl7(w.InstitutionID, maxCode)
	switch {
	case name == "":
		return ""
	case id == "":
		return name
	}
	return name + "^^^^^&" + oidStructure + "&ISO^IDNST^^^" + id
}

func (w Writer) speciality() string {
	if w.Speciality.Code == "" {
		return ""
	}
	return hl7(w.Speciality.Code, maxCode) + "^" + hl7(w.Speciality.Label, maxPersonPart) + "^" + hl7(w.Speciality.System, maxCode)
}

// patientCX identifies the patient for the receiver: by the INS, else by the
// number that the source has.
func (e *Export) patientCX() string {
	if ins := e.Patient.INS; !ins.IsZero() {
		return ins.Matricule() + "^^^&" + ins.OID() + "&ISO^NH"
	}
	return e.sourceCX()
}

// sourceCX identifies the patient as the source does; one that has no number
// of its own uses the INS.
func (e *Export) sourceCX() string {
	if e.LocalID == "" {
		return e.patientCX()
	}
	return hl7(e.LocalID, maxCode) + "^^^&" + e.SourceID + "&ISO^PI"
}

// patientInfo writes who the patient is as lines of a PID segment.
func (e *Export) patientInfo() []string {
	t := e.Patient.Traits
	name := hl7(t.Family, maxPersonPart) + "^" + hl7(t.Given, maxPersonPart) + "^^^^^L"
	if t.Used != "" {
		name += "~" + hl7(t.Used, maxPersonPart) + "^^^^^^D"
	}
	info := []string{"PID-5|" + name}
	if birth := birthHL7(t.Birth); birth != "" {
		info = append(info, "PID-7|"+birth)
	}
	if sex := hl7(t.Sex, 1); sex != "" {
		info = append(info, "PID-8|"+sex)
	}
	return info
}

// birthHL7 writes a birth date as far as it is known: 2015-03-02 as 20150302.
func birthHL7(s string) string { return hl7(strings.ReplaceAll(s, "-", ""), 8) }

// dtm writes a time as metadata do: in UTC, without zone.
func dtm(t time.Time) string { return t.UTC().Format("20060102150405") }

// tsHL7 writes a time as a CDA header does, with its zone.
func tsHL7(t time.Time) string { return t.Format("20060102150405-0700") }

// dtmOf reads a time of a CDA header and writes it as metadata do; "" if it
// cannot be read. A date without time stays one.
func dtmOf(value string) string {
	for _, layout := range []string{"20060102150405-0700", "200601021504-0700", "20060102150405.000-0700"} {
		if t, err := time.Parse(layout, value); err == nil {
			return dtm(t)
		}
	}
	for _, layout := range []string{"20060102150405", "200601021504", "20060102", "200601", "2006"} {
		if _, err := time.Parse(layout, value); err == nil {
			return value
		}
	}
	return ""
}

// OIDOf makes an OID that nobody else has of 16 bytes that nobody else has:
// 2.25 and a UUID as a number (ITU-T X.667).
func OIDOf(uuid [16]byte) string {
	uuid[6], uuid[8] = uuid[6]&0x0f|0x80, uuid[8]&0x3f|0x80 // version 8 (RFC 9562): bits of our own
	return "2.25." + new(big.Int).SetBytes(uuid[:]).String()
}
