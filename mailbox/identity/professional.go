package identity

import "strings"

// RPPS is the national number of a professional, 11 digits.
type RPPS string

// ParseRPPS reads an RPPS number, with or without the national prefix 8 that
// documents and directories put before it.
func ParseRPPS(s string) (RPPS, error) {
	s = strings.Join(strings.Fields(s), "")
	if len(s) == 12 && s[0] == '8' {
		s = s[1:]
	}
	if len(s) != 11 || !digits(s) {
		return "", ErrRPPSForm
	}
	return RPPS(s), nil
}

// KeyOK reports whether the Luhn digit is right. It is worth a warning only:
// national examples break it.
func (r RPPS) KeyOK() bool { return luhn(string(r)) }

// FINESS is the national number of a structure: nine digits, where a Corsican
// département reads 2A or 2B.
type FINESS string

// ParseFINESS reads a FINESS number, with or without the national prefix 1.
func ParseFINESS(s string) (FINESS, error) {
	s = strings.ToUpper(strings.Join(strings.Fields(s), ""))
	if len(s) == 10 && s[0] == '1' {
		s = s[1:]
	}
	if len(s) != 9 || !digits(s[2:]) {
		return "", ErrFINESSForm
	}
	if d := s[:2]; !digits(d) && d != "2A" && d != "2B" {
		return "", ErrFINESSForm
	}
	return FINESS(s), nil
}

// KeyOK reports whether the Luhn digit is right; worth a warning only. How a
// Corsican letter counts is published nowhere, so such a number passes.
func (f FINESS) KeyOK() bool { return !digits(string(f)) || luhn(string(f)) }

// Journal implements journal.Safe: a structure is no person.
func (f FINESS) Journal() string { return string(f) }
