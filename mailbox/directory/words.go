package directory

import (
	"strings"
	"unicode/utf8"

	"github.com/relais-sante/relais/mailbox/identity"
)

// Names, places and titles are found by their words, written as
// [identity.FoldName] writes them: no case, no accents, hyphens part words.

// field says where a word stands in an entry; a higher one makes a better
// match. It is kept with every word in three bits.
type field uint8

const (
	inAddress field = 1 + iota
	inProfession
	inPlace
	inStructure
	inGivenName
	inNumber
	inFamilyName
)

// maxWord bounds the bytes of a word that are looked at.
const maxWord = 48

// eachWord calls fn with the folded words of s. The bytes are fn's until it
// returns.
func eachWord(s string, fn func([]byte)) {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			for _, w := range strings.Fields(identity.FoldName(s)) {
				fn([]byte(w[:min(len(w), maxWord)]))
			}
			return
		}
	}
	// What identity.FoldName does, for the plain letters of most lines: the
	// import folds some six million texts.
	var room [maxWord]byte
	word, digit := room[:0], false
	for i := range len(s) {
		c := s[i]
		switch {
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		default:
			if len(word) > 0 {
				fn(word)
				word = room[:0]
			}
			continue
		}
		if d := c <= '9'; d != digit {
			if len(word) > 0 {
				fn(word)
				word = room[:0]
			}
			digit = d
		}
		if len(word) < maxWord {
			word = append(word, c)
		}
	}
	if len(word) > 0 {
		fn(word)
	}
}

// eachText calls fn with every text an entry is found by, and where it stands.
// RPPS numbers are not among them; they have a table of their own.
func eachText(e *Entry, fn func(string, field)) {
	fn(e.FamilyName, inFamilyName)
	fn(e.GivenName, inGivenName)
	fn(e.OtherID, inNumber)
	fn(e.FINESS, inNumber)
	fn(e.StructureID, inNumber)
	fn(e.Structure, inStructure)
	fn(e.TradeName, inStructure)
	fn(e.Service, inStructure)
	fn(e.Town, inPlace)
	fn(e.PostalCode, inPlace)
	fn(e.Department, inPlace)
	fn(e.Profession, inProfession)
	fn(e.Skill, inProfession)
	fn(e.Mailbox, inAddress)
}

// eachWordIn is eachWord for a text of an entry. Names are found written in one
// as well: LE GOFF, LEGOFF.
func eachWordIn(s string, in field, fn func([]byte)) {
	if in != inFamilyName && in != inGivenName {
		eachWord(s, fn)
		return
	}
	var room [maxWord]byte
	whole, words := room[:0], 0
	eachWord(s, func(w []byte) {
		fn(w)
		whole = append(whole, w[:min(len(w), maxWord-len(whole))]...)
		words++
	})
	if words > 1 {
		fn(whole)
	}
}

// sortKey is what entries are numbered by, so that a list of equal matches is
// in the order of a phone book without looking at them.
func sortKey(e *Entry) (key [24]byte) {
	b := key[:0]
	for _, s := range []string{e.FamilyName, e.GivenName, e.Structure, e.Service, e.Town} {
		before := len(b)
		eachWord(s, func(w []byte) {
			if len(b) > before && len(b) < len(key) {
				b = append(b, ' ')
			}
			b = append(b, w[:min(len(w), len(key)-len(b))]...)
		})
		if len(b) > before && len(b) < len(key) {
			b = append(b, 0)
		}
	}
	return key
}
