package letter

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
)

// charsetOf gives the encoding of a charset name: nil for UTF-8, its subset
// ASCII and for no name. ISO-8859-1 is windows-1252, as everybody reads it
// (WHATWG Encoding §4.2).
func charsetOf(name string) (enc encoding.Encoding, known bool) {
	name = strings.ToLower(strings.Trim(name, " \t\"'"))
	switch name {
	case "", "utf-8", "utf8", "us-ascii", "ascii", "ansi_x3.4-1968", "unicode-1-1-utf-8":
		return nil, true
	case "iso-8859-1", "windows-1252", "latin1", "cp1252":
		return charmap.Windows1252, true
	}
	if len(name) > 64 {
		return nil, false
	}
	if enc, err := htmlindex.Get(name); err == nil && enc != encoding.Replacement {
		return enc, true
	}
	if enc, err := ianaindex.MIME.Encoding(name); err == nil && enc != nil {
		return enc, true
	}
	return nil, false
}

func knownCharset(name string) bool {
	_, known := charsetOf(name)
	return known
}

// decodeCharset gives text in UTF-8. Bytes that are no UTF-8 where they should
// be, and unknown charsets, are read as windows-1252: in French mail that is
// what they nearly always are. Cut says that the end of b was cut off.
func decodeCharset(b []byte, charset string, cut bool) string {
	enc, _ := charsetOf(charset)
	if enc != nil {
		if text, err := enc.NewDecoder().Bytes(b); err == nil {
			return strings.ToValidUTF8(string(text), "\uFFFD")
		}
	}
	if cut {
		b = withoutCutRune(b)
	}
	text, _ := rawText(b)
	return text
}

// rawText gives bytes without a charset as UTF-8; clean is false when they
// were taken for windows-1252.
func rawText(b []byte) (text string, clean bool) {
	if utf8.Valid(b) {
		return string(b), true
	}
	text, err := charmap.Windows1252.NewDecoder().String(string(b))
	if err != nil {
		text = string(b)
	}
	return strings.ToValidUTF8(text, "\uFFFD"), false
}

// withoutCutRune takes off a last rune that is not complete.
func withoutCutRune(b []byte) []byte {
	for i := 1; i <= utf8.UTFMax && i <= len(b); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-i:]) {
				return b[:len(b)-i]
			}
			break
		}
	}
	return b
}
