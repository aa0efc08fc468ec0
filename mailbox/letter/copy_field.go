package letter

import (
	"encoding/base64"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Lengths of written lines, CRLF apart.
const (
	foldAt      = 76  // RFC 2047 §2 for lines with encoded words; within the 78 of RFC 5322 §2.1.1
	encodedWord = 75  // RFC 2047 §2
	atomMax     = 200 // a longer word is encoded, so that it can be folded
)

// Bounds of what people or senders choose, in characters. Beyond them a text
// is cut and ends in "…": no real one is longer.
const (
	maxName    = 300
	maxSubject = 2000
)

// fieldWriter writes header fields, folded, in ASCII, each ended by CRLF. Its
// methods take care that no value can end its field: text goes through
// [cleanText], tokens are checked by who passes them.
type fieldWriter struct {
	b     []byte
	col   int  // of the current line
	first bool // nothing of the field's value is written yet
}

// begin starts a field.
func (w *fieldWriter) begin(name string) {
	w.b = append(append(w.b, name...), ':')
	w.col, w.first = len(name)+1, true
}

// token writes a word that is not to be broken, on a new line if it does not
// fit. The first of a field stays beside the name: programs mistake a first
// line without value for an empty field.
func (w *fieldWriter) token(s string) {
	if w.col+1+len(s) > foldAt && !w.first {
		w.b = append(w.b, "\r\n"...)
		w.col = 0
	}
	w.b = append(append(w.b, ' '), s...)
	w.col, w.first = w.col+1+len(s), false
}

func (w *fieldWriter) end() { w.b = append(w.b, "\r\n"...) }

// plain writes a field whose tokens are known to be safe.
func (w *fieldWriter) plain(name string, tokens ...string) {
	w.begin(name)
	for _, t := range tokens {
		w.token(t)
	}
	w.end()
}

// text writes an unstructured field (RFC 5322 §3.6.5), as encoded words where
// ASCII will not do. An empty value writes nothing.
func (w *fieldWriter) text(name, value string, limit int) {
	if value = cleanText(value, limit); value == "" {
		return
	}
	w.begin(name)
	if needsEncoding(value) {
		w.encoded(value)
	} else {
		for word := range strings.FieldsSeq(value) {
			w.token(word)
		}
	}
	w.end()
}

// quoting escapes what ends or escapes in a quoted-string (RFC 5322 §3.2.4).
var quoting = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// mailbox writes a field with one address. The name stands in quotes or in
// encoded words, never bare, so that nothing in it is syntax.
func (w *fieldWriter) mailbox(field string, m Mailbox) error {
	address, err := addrSpec(m.Address)
	if err != nil {
		return err
	}
	w.begin(field)
	switch name := cleanText(m.Name, maxName); {
	case name == "":
		w.token(address)
		w.end()
		return nil
	case needsEncoding(name):
		w.encoded(name)
	default:
		quoted := `"` + quoting.Replace(name) + `"`
		for word := range strings.FieldsSeq(quoted) {
			w.token(word)
		}
	}
	w.token("<" + address + ">")
	w.end()
	return nil
}

// ids writes a field of message ids, given without brackets and already valid.
func (w *fieldWriter) ids(field string, ids ...string) {
	w.begin(field)
	for _, id := range ids {
		w.token("<" + id + ">")
	}
	w.end()
}

// wordCoding is one of the two codings of encoded words (RFC 2047 §4).
type wordCoding struct {
	start  string
	width  func(string) int
	encode func(string) string
}

var (
	codingB = wordCoding{"=?UTF-8?B?", func(s string) int { return base64.StdEncoding.EncodedLen(len(s)) }, base64Encode}
	codingQ = wordCoding{"=?UTF-8?Q?", qWidth, qEncode}
)

func base64Encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// encoded writes s as encoded words in UTF-8: in Q, which stays legible in
// French, unless B is much shorter. A character is never split between two
// words (RFC 2047 §5).
func (w *fieldWriter) encoded(s string) {
	coding := codingQ
	if 3*codingB.width(s) < 2*codingQ.width(s) {
		coding = codingB
	}
	for s != "" {
		// The rest of the line, if a useful piece fits; else a whole one.
		room := min(encodedWord, foldAt-w.col-1)
		if room < 30 && !w.first {
			room = encodedWord
		}
		room -= len(coding.start) + len("?=")
		n := 0
		for n < len(s) {
			_, size := utf8.DecodeRuneInString(s[n:])
			if n > 0 && coding.width(s[:n+size]) > room {
				break
			}
			n += size
		}
		w.token(coding.start + coding.encode(s[:n]) + "?=")
		s = s[n:]
	}
}

// qLiteral reports whether c stands for itself in a Q word. The narrow set of
// phrases (RFC 2047 §5 rule 3) is used everywhere.
func qLiteral(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!*+-/", c) >= 0
}

func qWidth(s string) int {
	n := len(s)
	for i := range len(s) {
		if s[i] != ' ' && !qLiteral(s[i]) {
			n += 2
		}
	}
	return n
}

func qEncode(s string) string {
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, 3*len(s))
	for i := range len(s) {
		switch c := s[i]; {
		case c == ' ':
			b = append(b, '_')
		case qLiteral(c):
			b = append(b, c)
		default:
			b = append(b, '=', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

// needsEncoding reports whether a clean text cannot stand as it is: not ASCII,
// mistaken for encoded words, or with a word too long to fold.
func needsEncoding(s string) bool {
	if strings.Contains(s, "=?") {
		return true
	}
	word := 0
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return true
		}
		if word++; s[i] == ' ' {
			word = 0
		}
		if word > atomMax {
			return true
		}
	}
	return false
}

// cleanText makes a text fit for one line that people read: valid UTF-8, white
// space of any kind and control characters (CR, LF and NUL among them) as
// single spaces, nothing that changes the direction of what follows or cannot
// be seen, at most limit characters.
func cleanText(s string, limit int) string {
	if most := 16 * utf8.UTFMax * limit; len(s) > most {
		s = s[:most]
	}
	if len(s) <= limit && cleanASCII(s) {
		return s
	}
	clean := make([]rune, 0, min(len(s), limit))
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			if n := len(clean); n == 0 || clean[n-1] == ' ' {
				continue
			}
			r = ' '
		case hidden(r):
			continue
		}
		if len(clean) > limit {
			break
		}
		clean = append(clean, r)
	}
	if len(clean) > limit {
		clean = append(clean[:limit-1], '…')
	}
	return strings.TrimRight(string(clean), " ")
}

// cleanASCII reports whether s is clean as it is, the usual case: printable ASCII
// with single spaces between words.
func cleanASCII(s string) bool {
	space := true // the byte before
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == ' ' && space {
			return false
		}
		space = s[i] == ' '
	}
	return !space
}

// hidden reports whether r is a format character that can make a text read as
// another: bidirectional controls, tags, fillers. Joiners, which emoji and
// some scripts need, are kept.
func hidden(r rune) bool {
	return unicode.Is(unicode.Cf, r) && r != '\u200c' && r != '\u200d' || r == '\u3164' || r == '\uFFA0'
}

// safeTokens keeps of words those that can stand in a field as they are.
func safeTokens(words []string) []string {
	return slices.DeleteFunc(slices.Clone(words), func(s string) bool {
		return s == "" || len(s) > atomMax || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
	})
}
