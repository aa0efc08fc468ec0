package identity

import (
	"slices"
	"strings"
)

// Traits are what identifies a person besides the matricule. Any may be empty.
type Traits struct {
	Family string // birth name
	Used   string // family name in use, where it is another
	Given  string // first given name, or all of them with the first one first
	Birth  string // in any form that ParseBirthDate reads
	Sex    string // M, F, or anything else for not known
}

// Journal implements journal.Safe: traits are never written.
func (t Traits) Journal() string { return "[traits]" }

// String keeps traits out of printed text.
func (t Traits) String() string { return "[traits]" }

// GoString keeps traits out of printed text.
func (t Traits) GoString() string { return "[traits]" }

// Verdict is the outcome of comparing traits.
type Verdict int

// Verdicts.
const (
	CannotTell Verdict = iota
	Same
	Different
)

// Journal implements journal.Safe.
func (v Verdict) Journal() string {
	return [...]string{CannotTell: "cannot-tell", Same: "same", Different: "different"}[v]
}

// Agree compares the traits of two people. They are the same when family name,
// given name and birth date all agree, and different when one of these is known
// of both and disagrees; otherwise nobody can tell. A family name alone with
// its birth date proves nothing: twins share both. A sex that disagrees takes
// "same" away but does not make a stranger of somebody whose names and birth
// date are right.
//
// Names agree whatever their accents, case, hyphens and spaces, when a
// compound family name lost one of its parts, and when a list of given names
// begins with the other.
func Agree(a, b Traits) Verdict {
	family := CannotTell
	for _, x := range []string{a.Family, a.Used} {
		for _, y := range []string{b.Family, b.Used} {
			if v := agreeFamily(foldWords(x), foldWords(y)); v == Same || family == CannotTell {
				family = v
			}
		}
	}
	given := agreeGiven(foldWords(a.Given), foldWords(b.Given))
	birth := agreeBirth(a.Birth, b.Birth)
	switch {
	case family == Different, given == Different, birth == Different:
		return Different
	case family == CannotTell, given == CannotTell, birth == CannotTell:
		return CannotTell
	}
	if x, y := foldSex(a.Sex), foldSex(b.Sex); x != "" && y != "" && x != y {
		return CannotTell
	}
	return Same
}

// particles are words that many family names share and that identify nobody.
var particles = []string{"al", "ben", "bin", "da", "de", "del", "della", "des", "di", "do", "dos", "du", "el", "la", "le", "les", "van", "von", "den", "der", "saint", "st", "ste"}

func agreeFamily(a, b []string) Verdict {
	if len(a) == 0 || len(b) == 0 {
		return CannotTell
	}
	if strings.Join(a, "") == strings.Join(b, "") {
		return Same
	}
	if len(a) > len(b) {
		a, b = b, a
	}
	telling := false
	for _, word := range a {
		if !slices.Contains(b, word) {
			return Different
		}
		telling = telling || len(word) > 2 && !slices.Contains(particles, word)
	}
	if !telling {
		return Different
	}
	return Same
}

// maxGivenWords is how much of a list of given names is looked at.
const maxGivenWords = 12

func agreeGiven(a, b []string) Verdict {
	a, b = a[:min(len(a), maxGivenWords)], b[:min(len(b), maxGivenWords)]
	if len(a) == 0 || len(b) == 0 {
		return CannotTell
	}
	// One begins the other, hyphens and spaces aside.
	for i := range a {
		for j := range b {
			if (i == len(a)-1 || j == len(b)-1) && strings.Join(a[:i+1], "") == strings.Join(b[:j+1], "") {
				return Same
			}
		}
	}
	// The name in use may be a later one of the list; an initial proves
	// nothing either way.
	for _, word := range a {
		if slices.Contains(b, word) {
			return CannotTell
		}
	}
	if (len(a[0]) == 1 || len(b[0]) == 1) && a[0][0] == b[0][0] {
		return CannotTell
	}
	return Different
}

func agreeBirth(a, b string) Verdict {
	x, okX := ParseBirthDate(a)
	y, okY := ParseBirthDate(b)
	if !okX || !okY {
		return CannotTell
	}
	n := min(len(x), len(y))
	switch {
	case x[:n] != y[:n]:
		return Different
	case len(x) < len("2006-01-02") || len(y) < len("2006-01-02"):
		return CannotTell
	}
	return Same
}

// foldSex gives M, F or nothing. National lists also write U, UN and I.
func foldSex(s string) string {
	switch strings.ToUpper(strings.TrimSpace(s)) {
	case "M", "H", "MASCULIN", "MALE":
		return "M"
	case "F", "FEMININ", "FÉMININ", "FEMALE":
		return "F"
	}
	return ""
}
