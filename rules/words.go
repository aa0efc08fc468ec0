package rules

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Words are compared as a reader of French compares them: neither case nor
// accents make a difference, so that "CR éval." contains "Eval".

// folding gives the operators on texts their meaning.
var folding = map[string]func(text, part string) bool{
	"contains":   func(text, part string) bool { return strings.Contains(fold(text), fold(part)) },
	"startsWith": func(text, part string) bool { return strings.HasPrefix(fold(text), fold(part)) },
	"endsWith":   func(text, part string) bool { return strings.HasSuffix(fold(text), fold(part)) },
}

// mentions reports whether one of the words (or groups of words) stands in the
// text by itself: "RCP du 12" mentions "rcp", "RCPT" does not.
func mentions(text string, words ...string) bool {
	in := " " + spaced(text) + " "
	for _, word := range words {
		if w := spaced(word); w != "" && strings.Contains(in, " "+w+" ") {
			return true
		}
	}
	return false
}

func mentionsFunc(args ...any) (any, error) {
	words := make([]string, len(args)-1)
	for i, arg := range args[1:] {
		words[i], _ = arg.(string)
	}
	text, _ := args[0].(string)
	return mentions(text, words...), nil
}

var ligatures = strings.NewReplacer("œ", "oe", "Œ", "oe", "æ", "ae", "Æ", "ae", "’", "'")

func fold(s string) string {
	ascii := true
	for i := range len(s) {
		ascii = ascii && s[i] < 0x80
	}
	if ascii {
		return strings.ToLower(s)
	}
	return strings.ToLower(strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, norm.NFD.String(ligatures.Replace(s))))
}

// spaced folds and keeps letters and digits, with one space between words.
func spaced(s string) string {
	return strings.Join(strings.FieldsFunc(fold(s), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}), " ")
}
