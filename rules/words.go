package rules

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

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
func mentions(text string, words ...string) bool { return mentionsAny(text, alone(words)) }

func mentionsFunc(args ...any) (any, error) {
	words := make([]string, len(args)-1)
	for i, arg := range args[1:] {
		words[i], _ = arg.(string)
	}
	text, _ := args[0].(string)
	return mentions(text, words...), nil
}

// wordList are words as mentionsAny looks for them.
type wordList struct {
	words  []string // each with a space around
	begins [256]bool
	second [256]bool // whatever the first
}

func alone(words []string) *wordList {
	all := new(wordList)
	for _, word := range words {
		if w := string(appendSpaced(nil, word)); w != " " {
			all.words = append(all.words, w)
			all.begins[w[1]], all.second[w[2]] = true, true
		}
	}
	return all
}

// in reports whether a text made by appendSpaced has one of the words.
func (l *wordList) in(text []byte) bool {
	for at := 0; at+1 < len(text); {
		if l.begins[text[at+1]] && l.second[text[at+2]] {
			for _, w := range l.words {
				if len(text)-at >= len(w) && string(text[at:at+len(w)]) == w {
					return true
				}
			}
		}
		at += 1 + bytes.IndexByte(text[at+1:], ' ') // the text ends with one
	}
	return false
}

// mentionsAny reports whether a text mentions one of the words.
func mentionsAny(text string, words *wordList) bool {
	if text == "" || words == nil || len(words.words) == 0 {
		return false
	}
	buf := spacedTexts.Get().(*[]byte)
	in := appendSpaced((*buf)[:0], text)
	found := words.in(in)
	if cap(in) <= maxSpacedText {
		*buf = in
	}
	spacedTexts.Put(buf)
	return found
}

// spacedTexts are the buffers of mentionsAny: every text of every mail passes.
var spacedTexts = sync.Pool{New: func() any { return new([]byte) }}

const maxSpacedText = 64 << 10

// appendSpaced appends a text folded, of which it keeps letters and digits:
// words with one space between and around them, one space if there is none.
func appendSpaced(dst []byte, s string) []byte {
	dst = append(dst, ' ')
	for i := 0; i < len(s); {
		if s[i] < utf8.RuneSelf {
			dst, i = appendASCII(slices.Grow(dst, len(s)-i), s, i)
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		i += size
		if r >= 0x2000 && r < 0x2070 { // quotes, dashes, spaces
			if dst[len(dst)-1] != ' ' {
				dst = append(dst, ' ')
			}
			continue
		}
		for _, f := range foldRune(r) {
			if unicode.IsLetter(f) || unicode.IsDigit(f) {
				dst = utf8.AppendRune(dst, f)
			} else if dst[len(dst)-1] != ' ' {
				dst = append(dst, ' ')
			}
		}
	}
	if dst[len(dst)-1] != ' ' {
		dst = append(dst, ' ')
	}
	return dst
}

// appendASCII is appendSpaced from the i-th byte of s to the next that is not
// ASCII. There is room in dst.
func appendASCII(dst []byte, s string, i int) ([]byte, int) {
	n := len(dst)
	last, room := dst[n-1], dst[:n+len(s)-i]
	for i < len(s) && s[i] < utf8.RuneSelf {
		w := asciiWords[s[i]]
		i++
		if w == ' ' && last == ' ' {
			continue
		}
		room[n], last = w, w
		n++
	}
	return room[:n], i
}

// asciiWords folds letters and digits of ASCII, and makes a space of the rest.
var asciiWords = func() (t [utf8.RuneSelf]byte) {
	for c := range t {
		switch {
		case 'A' <= c && c <= 'Z':
			t[c] = byte(c) + 'a' - 'A'
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			t[c] = byte(c)
		default:
			t[c] = ' '
		}
	}
	return t
}()

var ligatures = strings.NewReplacer("œ", "oe", "Œ", "oe", "æ", "ae", "Æ", "ae", "’", "'")

// fold gives a text without case and accents.
func fold(s string) string {
	ascii := true
	for i := range len(s) {
		ascii = ascii && s[i] < utf8.RuneSelf
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

// foldRune is fold for one rune. Folding takes no notice of what stands beside.
func foldRune(r rune) string {
	if int(r) < len(foldedRunes) {
		return foldedRunes[r]
	}
	return fold(string(r))
}

// foldedRunes are those of the languages of Western and Central Europe.
var foldedRunes = func() (t [0x250]string) {
	for r := range t {
		t[r] = fold(string(rune(r)))
	}
	return t
}()
