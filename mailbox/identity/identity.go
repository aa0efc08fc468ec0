// Package identity knows the identifiers, numbers and traits by which French health
// care tells people and structures apart, and the hub's own pathway codes.
//
// Rules that hold here:
//
//   - An identity never prints itself. [INS] shows its last three characters
//     whatever the verb or the encoder, so that a careless log line, error or
//     JSON answer gives nothing away; who needs the whole asks for it by name.
//   - What is wrong in itself is an error; what is only surprising is a
//     [Warning]. Published national examples break the check digits of RPPS,
//     FINESS and of test INS, and the sex digit contradicts the recorded sex
//     in real life (mssante reference, §5.1 and §5.2).
//   - Comparing is in favour of doubt: [Agree] says same or different only
//     where the traits prove it.
//
// Everything here is pure: no clock, no I/O but the randomness given to
// [NewCode].
package identity

import "github.com/relais-sante/relais/store/journal"

// Faults of identifiers.
const (
	ErrINSForm    journal.Fault = "not an INS: 15 characters are expected, digits but for 2A and 2B"
	ErrINSKey     journal.Fault = "the INS's key is wrong"
	ErrINSOID     journal.Fault = "the OID is not one of an INS"
	ErrRPPSForm   journal.Fault = "not an RPPS number: 11 digits are expected"
	ErrFINESSForm journal.Fault = "not a FINESS number: 9 characters are expected"
	ErrPhoneForm  journal.Fault = "not a telephone number: digits, spaces and a + before them are expected, 32 characters at most"
)

// Warning is something surprising about an identifier that is taken anyway.
type Warning string

// Warnings of [CheckINS].
const (
	WarnKey       Warning = "key"        // wrong key under a test OID
	WarnBirthDate Warning = "birth-date" // year or month of birth disagree
	WarnSex       Warning = "sex"        // sex digit disagrees
)

// Journal implements journal.Safe.
func (w Warning) Journal() string { return string(w) }

// luhn reports whether the digits of s end in their Luhn check digit.
func luhn(s string) bool {
	sum := 0
	for i := range len(s) {
		d := int(s[len(s)-1-i] - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
