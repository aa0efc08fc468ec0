package rules

import (
	"encoding/binary"
	"math/bits"
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
			var n int
			if dst, n = appendLower(dst, s[i:]); n == 0 {
				dst, n = append(dst, asciiLower[c]), 1
			}
			i += n
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

// appendLower appends the ASCII that s begins with, eight letters at a time, and
// tells how much that was, but for the last few: most of a mail is nothing else.
func appendLower[T ~string | ~[]byte](dst []byte, s T) ([]byte, int) {
	n := 0
	for ; len(s)-n >= 8; n += 8 {
		dst = append(dst, s[n:n+8]...)
		last := dst[len(dst)-8:]
		word := binary.LittleEndian.Uint64(last)
		// A byte from 'A' to 'Z' gets a high bit by the first sum and none by the
		// second; moved to the place of 0x20 it is the lower case.
		upper := (word + (0x80-'A')*eachByte) &^ (word + (0x7f-'Z')*eachByte) & highBits
		binary.LittleEndian.PutUint64(last, word|upper>>2)
		if high := word & highBits; high != 0 { // what stands before it is right
			ascii := bits.TrailingZeros64(high) / 8
			return dst[:len(dst)-8+ascii], n + ascii
		}
	}
	return dst, n
}

const (
	eachByte = 0x0101010101010101
	highBits = 0x80 * eachByte
)

var asciiLower = func() (t [utf8.RuneSelf]byte) {
	for c := range t {
		t[c] = byte(unicode.ToLower(rune(c)))
	}
	return t
}()
