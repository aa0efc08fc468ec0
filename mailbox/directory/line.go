package directory

import (
	"strings"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/store"
)

// Reason says why a line could not be used.
type Reason string

// Reasons.
const (
	BadCells    Reason = "cells"    // not as many as there are columns
	BadEncoding Reason = "encoding" // not UTF-8
	BadLength   Reason = "length"   // longer than any line needs to be
	BadAddress  Reason = "address"  // no mail address
	BadCitizen  Reason = "citizen"  // a citizen's, hence an INS: never kept here
	BadType     Reason = "type"     // none of PER, ORG, APP, CAB
)

// Types of the numbers of persons and structures, and the digit that the
// national form puts before them.
const (
	typeRPPS   = "8"
	typeFINESS = "1"
)

// fill makes e the entry of a line, or says why there is none.
func (e *Entry) fill(c *[columnCount]string) Reason {
	*e = Entry{
		Type: store.BoxType(strings.ToUpper(c[colType])), Title: c[colTitle], FamilyName: c[colFamilyName], GivenName: c[colGivenName],
		Category: c[colCategory], ProfessionCode: c[colProfessionCode], Profession: c[colProfession],
		SkillCode: c[colSkillCode], Skill: c[colSkill],
		Structure: c[colStructure], TradeName: c[colTradeName], Service: c[colService],
		Street: join(" ", c[colPlaceInSite], c[colPlaceInPost], c[colNumber], c[colNumberSuffix], c[colStreetType], c[colStreet], c[colLocality]),
		Town:   town(c[colPostalLine], c[colPostalCode]), PostalCode: c[colPostalCode], Department: c[colDepartment], Country: c[colCountry],
		Paperless: truth(c[colPaperless]),
	}
	switch e.Type {
	case store.BoxPER, store.BoxORG, store.BoxAPP, store.BoxCAB:
	default:
		return BadType
	}
	a := store.NewAddress(c[colAddress])
	if !mailAddress(string(a)) {
		return BadAddress
	}
	if a.Citizen() {
		return BadCitizen
	}
	e.Mailbox = string(a)
	e.RPPS, e.OtherID = person(c[colPersonIDType], c[colPersonID], c[colNationalID])
	e.FINESS, e.StructureID = structure(c[colStructureIDType], c[colStructureID])
	return ""
}

// mailAddress reports whether s can be one: the part before the @ and a domain
// of several names, in printable ASCII. The hub looks closer before it sends.
func mailAddress(s string) bool {
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" || len(s) > 254 || strings.Contains(domain, "@") {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	dot := strings.IndexByte(domain, '.')
	return dot > 0 && dot < len(domain)-1
}

// person reads the number of a professional: the RPPS, or what stands for it,
// in its national form (type and number). National is that form where the
// number itself is missing.
func person(kind, number, national string) (rpps, other string) {
	if number == "" {
		number, kind = national, ""
	}
	if kind == "" || kind == typeRPPS {
		if n, err := identity.ParseRPPS(number); err == nil {
			return string(n), ""
		}
	}
	switch {
	case number == "":
		return "", ""
	case national != "":
		return "", national
	}
	return "", kind + number
}

// structure reads the number of a structure: FINESS, or SIREN and others.
func structure(kind, number string) (finess, other string) {
	if kind == "" || kind == typeFINESS || strings.EqualFold(kind, "FINESS") {
		if n, err := identity.ParseFINESS(number); err == nil {
			return string(n), ""
		}
	}
	return "", number
}

// town takes the postal code off the line that ends a French address.
func town(line, code string) string {
	if code == "" {
		return line
	}
	return strings.TrimSpace(strings.TrimPrefix(line, code))
}

func truth(s string) bool {
	switch strings.ToLower(s) {
	case "true", "1", "o", "oui", "vrai":
		return true
	}
	return false
}
