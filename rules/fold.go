package rules

import (
	"unicode"
	"unicode/utf8"
)

// AppendFolded appends a text in UTF-8 without case and accents, as the
// operators of rules compare texts ("Éval. du CŒUR" is "eval. du coeur"), for
// others who look for words in French. A byte that is no UTF-8 stays as it is.
// Outside of the Latin letters only case is folded. Folding takes no notice of
// what stands beside a character, so a long text may be folded piece by piece.
func AppendFolded[T ~string | ~[]byte](dst []byte, s T) []byte {
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			dst = append(dst, asciiLower[c])
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(string(s[i:min(len(s), i+utf8.UTFMax)]))
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(dst, s[i])
		case int(r) < len(foldedRunes), r >= 0x1e00 && r < 0x1f00, r == '’': // Latin letters
			dst = append(dst, foldRune(r)...)
		case !unicode.Is(unicode.Mn, r):
			dst = utf8.AppendRune(dst, unicode.ToLower(r))
		}
		i += size
	}
	return dst
}

var asciiLower = func() (t [utf8.RuneSelf]byte) {
	for c := range t {
		t[c] = byte(unicode.ToLower(rune(c)))
	}
	return t
}()
