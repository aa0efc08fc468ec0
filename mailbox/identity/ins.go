package identity

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// OIDs of the national patient identifier (INS).
const (
	OIDNIR     = "1.2.250.1.213.1.4.8"
	OIDNIA     = "1.2.250.1.213.1.4.9" // waiting for a NIR
	OIDTestNIR = "1.2.250.1.213.1.4.10"
	OIDDemoNIR = "1.2.250.1.213.1.4.11"
	// OIDINSC is the computed INS of before 2021. It names nobody today, and
	// is no INS for this package.
	OIDINSC = "1.2.250.1.213.1.4.2"
)

const insLength = 15

// INS is a national patient identifier: a matricule and the OID of the
// authority that gives it. The zero INS is none. Values compare with ==, but
// see [SameINS].
//
// Its fields are not exported, so that no encoder writes them.
type INS struct{ matricule, oid string }

// ParseINS reads a matricule, spaces and case aside. An empty oid stands for
// the national NIR. The key is judged by [CheckINS], not here.
func ParseINS(matricule, oid string) (INS, error) {
	oid = strings.TrimPrefix(strings.ToLower(strings.TrimSpace(oid)), "urn:oid:")
	if oid == "" {
		oid = OIDNIR
	}
	if !IsINSOID(oid) {
		return INS{}, ErrINSOID
	}
	if len(matricule) > 8*insLength {
		return INS{}, ErrINSForm
	}
	m := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return unicode.ToUpper(r)
	}, matricule)
	if len(m) != insLength || !digits(m[:5]) || !digits(m[7:]) {
		return INS{}, ErrINSForm
	}
	if d := m[5:7]; !digits(d) && d != "2A" && d != "2B" {
		return INS{}, ErrINSForm
	}
	return INS{m, oid}, nil
}

// IsINSOID reports whether oid is that of an INS, test ones included.
func IsINSOID(oid string) bool {
	return slices.Contains([]string{OIDNIR, OIDNIA, OIDTestNIR, OIDDemoNIR}, oid)
}

// Matricule gives all 15 characters: for storing sealed, for keyed look-ups
// and for documents, never for showing.
func (i INS) Matricule() string { return i.matricule }

// OID gives the OID of the identifier.
func (i INS) OID() string { return i.oid }

// IsZero reports whether there is no identifier.
func (i INS) IsZero() bool { return i == INS{} }

// Test reports whether the OID is one for tests or demonstrations.
func (i INS) Test() bool { return i.oid == OIDTestNIR || i.oid == OIDDemoNIR }

// Mask gives the form for people and logs.
func (i INS) Mask() string { return Mask(i.matricule) }

// String gives the masked form.
func (i INS) String() string { return i.Mask() }

// Journal implements journal.Safe with the masked form.
func (i INS) Journal() string { return i.Mask() }

// Format writes the masked form whatever the verb.
func (i INS) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(i.Mask())) }

// Mask hides all but the last three characters of a matricule: "••••989".
// Three digits, key included, are shared by a thousandth of the population.
func Mask(matricule string) string {
	if matricule == "" {
		return ""
	}
	if len(matricule) != insLength {
		return "••••"
	}
	return "••••" + matricule[insLength-3:]
}

// KeyOK reports whether the key, the last two digits, is right: 97 less the
// first thirteen modulo 97, where Corsica's 2A counts as 19 and 2B as 18.
func (i INS) KeyOK() bool {
	if i.IsZero() {
		return false
	}
	number := strings.NewReplacer("2A", "19", "2B", "18").Replace(i.matricule[5:7])
	n, err := strconv.ParseUint(i.matricule[:5]+number+i.matricule[7:13], 10, 64)
	if err != nil {
		return false
	}
	key, err := strconv.ParseUint(i.matricule[13:], 10, 64)
	return err == nil && key == 97-n%97
}

// CheckINS judges i. A wrong key is [ErrINSKey], but a warning under a test
// OID. Digits that disagree with the birth date or sex of t only warn: the
// matricule is not always right about either (births declared abroad, sex
// changed, month unknown). Traits that are not known are not compared.
func CheckINS(i INS, t Traits) ([]Warning, error) {
	if i.IsZero() {
		return nil, ErrINSForm
	}
	var warnings []Warning
	if !i.KeyOK() {
		if !i.Test() {
			return nil, ErrINSKey
		}
		warnings = append(warnings, WarnKey)
	}
	if birth, ok := ParseBirthDate(t.Birth); ok {
		month := i.matricule[3:5]
		known := "01" <= month && month <= "12"
		if birth[2:4] != i.matricule[1:3] || len(birth) >= 7 && known && birth[5:7] != month {
			warnings = append(warnings, WarnBirthDate)
		}
	}
	if sex := foldSex(t.Sex); sex == "M" && i.matricule[0] == '2' || sex == "F" && i.matricule[0] == '1' {
		warnings = append(warnings, WarnSex)
	}
	return warnings, nil
}

// SameINS reports whether a and b name the same person: matricule and OID.
// With testIsReal, for a development hub, the OIDs for tests and
// demonstrations stand for the national NIR. No identifier is the same as
// none.
func SameINS(a, b INS, testIsReal bool) bool {
	if a.IsZero() || b.IsZero() {
		return false
	}
	if testIsReal {
		a, b = a.asReal(), b.asReal()
	}
	return a == b
}

// asReal gives a test identifier the OID that it stands for.
func (i INS) asReal() INS {
	if i.Test() {
		i.oid = OIDNIR
	}
	return i
}

// CitizenINS reads the INS out of the local part of a citizen's address (Mon
// espace santé), which is the matricule. The address does not tell the OID;
// the national NIR is assumed.
func CitizenINS(local string) (INS, error) { return ParseINS(local, OIDNIR) }
