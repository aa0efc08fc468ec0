// Package strict reads the files people write for the hub: TOML, where every
// mistake is worth a line of explanation and none is passed over.
//
// A value that is not understood is a [Problem] with file, line and column, and
// what would be allowed; an unknown key is one too (a misspelt `visible_to`
// would open what should be narrow). All problems of a file are found in one
// reading, so that a person mends it once.
//
// The package knows neither programmes nor settings: only structs with `toml`
// and `default` tags. It does no I/O.
package strict

import (
	"cmp"
	"slices"
)

// TextID names a text of the catalogue (mailbox/texts), which lies above.
type TextID string

// Problem is something wrong in a file, said so that a person can mend it.
type Problem struct {
	File    string
	Line    int            // from 1; 0: the whole file
	Column  int            // in characters, from 1; 0: the whole line
	ID      TextID         // text id in the catalogue
	Args    map[string]any // its arguments
	Warning bool           // the file is accepted all the same
}

// Fatal reports whether any of the problems is more than a warning.
func Fatal(problems []Problem) bool {
	return slices.ContainsFunc(problems, func(p Problem) bool { return !p.Warning })
}

// Sort orders problems as a reader meets them.
func Sort(problems []Problem) {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// Fault is the error of a value that does not understand its text: what is
// wrong and what would be allowed. Types that implement
// [encoding.TextUnmarshaler] or [Unmarshaler] return it.
type Fault struct {
	ID   TextID
	Args map[string]any
}

func (f *Fault) Error() string { return string(f.ID) }

// Texts of the problems this package finds.
const (
	tooLarge    TextID = "check.too-large"
	syntax      TextID = "check.syntax"
	unknownKey  TextID = "check.unknown-key"
	notText     TextID = "check.not-text"
	notBool     TextID = "check.not-bool"
	notNumber   TextID = "check.not-number"
	notList     TextID = "check.not-list"
	notTable    TextID = "check.not-table"
	badValue    TextID = "check.bad-value"
	badDuration TextID = "check.bad-duration"
	tooSmall    TextID = "check.too-small"
	tooBig      TextID = "check.too-big"

	// NotAllowed is of a value that is none of those allowed.
	NotAllowed TextID = "check.not-allowed"
)
