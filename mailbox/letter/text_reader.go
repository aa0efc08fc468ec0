package letter

import (
	"io"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/transform"
)

// DecodeWords gives the text of a field's value as people read it: encoded
// words (RFC 2047) decoded, control characters made blanks.
func DecodeWords(value string) string { return decodeWords(value) }

// TextReader gives the text of a part in UTF-8 as it is read; r gives it
// without its transfer encoding (see [Decode]). What is no valid text of that
// charset, and what is of no known one, is read as windows-1252. It reports no
// errors but those of r.
func TextReader(r io.Reader, charset string) io.Reader {
	if enc, _ := charsetOf(charset); enc != nil {
		return transform.NewReader(r, enc.NewDecoder())
	}
	return transform.NewReader(r, lenientText{})
}

// IsText reports whether the bytes of a part, in that transfer encoding and
// charset, are its text in UTF-8 as they stand: TextReader would give the same.
func IsText(b []byte, encodingName, charset string) bool {
	if enc, _ := encodingOf(encodingName); enc != asItIs {
		return false
	}
	switch enc, _ := charsetOf(charset); enc {
	case nil:
		return utf8.Valid(b)
	case charmap.Windows1252:
		return isASCII(b)
	}
	return false
}

func isASCII(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// lenientText passes UTF-8 and takes each other byte for one of windows-1252.
type lenientText struct{ transform.NopResetter }

// Transform implements transform.Transformer.
func (lenientText) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		r, size := rune(src[nSrc]), 1
		if r >= utf8.RuneSelf {
			if !atEOF && !utf8.FullRune(src[nSrc:]) {
				return nDst, nSrc, transform.ErrShortSrc
			}
			if r, size = utf8.DecodeRune(src[nSrc:]); r == utf8.RuneError && size == 1 {
				r = charmap.Windows1252.DecodeByte(src[nSrc])
			}
		}
		if nDst+utf8.RuneLen(r) > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += utf8.EncodeRune(dst[nDst:], r)
		nSrc += size
	}
	return nDst, nSrc, nil
}
