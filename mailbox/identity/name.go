package identity

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// foldedLetters are the letters that Unicode does not decompose.
var foldedLetters = strings.NewReplacer("œ", "oe", "æ", "ae", "ß", "ss", "ø", "o", "ł", "l", "đ", "d", "ð", "d", "þ", "th", "ı", "i")

// maxFoldBytes bounds what is folded of one text: no name is longer, and a
// subject is not looked into further.
const maxFoldBytes = 4096

// FoldName reduces a name to what all its spellings share: lower case, no
// accents, words parted by single spaces. "LE GOFF-PÉRÈS" gives
// "le goff peres".
func FoldName(s string) string {
	return strings.Join(foldWords(s), " ")
}

// NameKey is the name without its spaces either, so that "de la Tour" and
// "DELATOUR" meet. Look-ups by family name use it.
func NameKey(s string) string { return strings.Join(foldWords(s), "") }

// foldWords cuts a text into folded words. Letters and digits do not share a
// word, since file names set dates against names ("ROUX20150302").
func foldWords(s string) []string {
	if len(s) > maxFoldBytes {
		s = s[:maxFoldBytes]
	}
	var (
		words []string
		word  strings.Builder
		digit bool
	)
	end := func() {
		if word.Len() > 0 {
			words = append(words, word.String())
			word.Reset()
		}
	}
	s = foldedLetters.Replace(strings.ToLower(norm.NFKD.String(s)))
	for _, r := range s {
		switch {
		case unicode.Is(unicode.Mn, r) || r == '\u00ad' || r == unicode.ReplacementChar:
			// An accent, a soft hyphen, or a byte that was lost.
		case unicode.IsLetter(r), unicode.IsDigit(r):
			if d := unicode.IsDigit(r); d != digit {
				end()
				digit = d
			}
			word.WriteRune(r)
		default:
			end()
		}
	}
	end()
	return words
}

// Bounds of NameTokens.
const (
	maxNameWords  = 4
	maxNameTokens = 512
)

// NameTokens gives the [NameKey] of every run of one to four words of text
// that could be a family name, for keyed look-ups, in order and without
// repeats. It gives at most 512.
func NameTokens(text string) []string {
	words := foldWords(text)
	var keys []string
	seen := make(map[string]bool)
	for i := range words {
		key := ""
		for j := i; j < len(words) && j < i+maxNameWords && !digits(words[j]); j++ {
			key += words[j]
			if len(key) < 2 || seen[key] {
				continue
			}
			if len(keys) == maxNameTokens {
				return keys
			}
			seen[key] = true
			keys = append(keys, key)
		}
	}
	return keys
}
