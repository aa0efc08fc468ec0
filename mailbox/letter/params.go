package letter

import (
	"slices"
	"strings"
)

// maxParams bounds the parameters read of one field.
const maxParams = 100

// media is what a Content-Type field says.
type media struct {
	read    bool // there was such a field
	ok      bool // and it was readable
	typ     string
	subtype string
	params  map[string]string
}

// readMedia reads a Content-Type value (RFC 2045 §5.1), tolerantly. A type
// without subtype is read for "text" and "message" only.
func readMedia(v string) media {
	m := media{read: true}
	v = skipSpace(v)
	n := tokenEnd(v)
	m.typ, v = strings.ToLower(v[:n]), skipSpace(v[n:])
	if sub, ok := strings.CutPrefix(v, "/"); ok {
		sub = skipSpace(sub)
		n = tokenEnd(sub)
		m.subtype, v = strings.ToLower(sub[:n]), sub[n:]
	} else if m.typ == "text" {
		m.subtype = "plain"
	}
	m.ok = m.typ != "" && m.subtype != ""
	m.params = readParams(v)
	return m
}

// readDisposition reads a Content-Disposition value (RFC 2183).
func readDisposition(v string) (string, map[string]string) {
	v = skipSpace(v)
	n := tokenEnd(v)
	kind := strings.ToLower(v[:n])
	if rest := skipSpace(v[n:]); strings.HasPrefix(rest, "=") {
		return "attachment", readParams(v) // "filename=x" without a kind
	}
	if kind == "" {
		kind = "attachment" // RFC 2183 §2.8: what is not known is an attachment
	}
	return kind, readParams(v[n:])
}

// tokenEnd is the length of the token (RFC 2045 §5.1) that v begins with.
func tokenEnd(v string) int {
	for i := 0; i < len(v); i++ {
		if c := v[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?=`, c) >= 0 {
			return i
		}
	}
	return len(v)
}

// skipSpace skips white space and comments (RFC 822).
func skipSpace(v string) string {
	for {
		v = strings.TrimLeft(v, " \t\r\n")
		if !strings.HasPrefix(v, "(") {
			return v
		}
		n := commentEnd(v)
		if n == 0 {
			return v
		}
		v = v[n:]
	}
}

// commentEnd is the length of the comment that v begins with; 0 if it never
// ends.
func commentEnd(v string) int {
	depth := 0
	for i := 0; i < len(v); i++ {
		switch v[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return 0
}

// segment is a piece of a parameter (RFC 2231 §3).
type segment struct {
	name     string
	place    int
	extended bool // has %XX, and the first piece charset'language'
	value    string
}

// readParams reads what follows a type: ";name=value" any number of times. An
// extended parameter wins over a plain one of the same name, the first over
// what repeats it.
func readParams(v string) map[string]string {
	var segments []segment
	for count := 0; count < maxParams; count++ {
		v = skipSpace(v)
		for strings.HasPrefix(v, ";") {
			v = skipSpace(v[1:])
		}
		if v == "" {
			break
		}
		n := strings.IndexAny(v, "=;")
		if n < 0 {
			break
		}
		name := strings.ToLower(strings.TrimSpace(v[:n]))
		if v[n] == ';' || name == "" {
			v = v[n+1:]
			continue
		}
		var val string
		val, v = cutValue(v[n+1:])
		segments = append(segments, newSegment(name, val))
	}
	if len(segments) == 0 {
		return nil
	}
	params := make(map[string]string, len(segments))
	for _, extended := range []bool{true, false} {
		for _, s := range segments {
			if _, have := params[s.name]; have || (s.place < 0) == extended {
				continue
			}
			params[s.name] = assemble(s, segments)
		}
	}
	return params
}

// newSegment takes the asterisks of RFC 2231 off a name: place is -1 without.
func newSegment(name, val string) segment {
	s := segment{name: name, place: -1, value: val}
	base, rest, starred := strings.Cut(name, "*")
	if !starred || base == "" {
		return s
	}
	rest, s.extended = strings.CutSuffix(rest, "*")
	switch {
	case rest == "" && !s.extended: // name*=
		s.extended = true
		s.name, s.place = base, 0
	case rest != "" && len(rest) <= 3 && strings.Trim(rest, "0123456789") == "": // name*12=, name*12*=
		s.name, s.place = base, 0
		for _, c := range rest {
			s.place = s.place*10 + int(c-'0')
		}
	}
	return s
}

// cutValue cuts a value off: quoted, or up to the next semicolon, whatever
// else stands in it.
func cutValue(v string) (val, rest string) {
	v = strings.TrimLeft(v, " \t\r\n")
	if !strings.HasPrefix(v, `"`) {
		val, rest, _ = strings.Cut(v, ";")
		if i := strings.Index(val, " ("); i >= 0 && commentEnd(val[i+1:]) > 0 {
			val = val[:i]
		}
		return strings.Trim(val, " \t\r\n\""), rest
	}
	var b strings.Builder
	i := 1
	for ; i < len(v) && v[i] != '"'; i++ {
		// A backslash before anything else is a Windows path, not a quote.
		if v[i] == '\\' && i+1 < len(v) && (v[i+1] == '"' || v[i+1] == '\\') {
			i++
		}
		b.WriteByte(v[i])
	}
	_, rest, _ = strings.Cut(v[min(i+1, len(v)):], ";")
	return b.String(), rest
}

// assemble gives the decoded value of a parameter.
func assemble(s segment, all []segment) string {
	if s.place < 0 {
		if s.name == "boundary" {
			return strings.TrimRight(s.value, " \t")
		}
		return decodeWords(s.value)
	}
	var pieces []segment
	for _, p := range all {
		if p.name == s.name && p.place >= 0 {
			pieces = append(pieces, p)
		}
	}
	slices.SortStableFunc(pieces, func(a, b segment) int { return a.place - b.place })
	var value []byte
	charset := ""
	for i, p := range pieces {
		v := p.value
		if p.extended {
			if i == 0 {
				if parts := strings.SplitN(v, "'", 3); len(parts) == 3 {
					charset, v = parts[0], parts[2]
				}
			}
			value = percentDecode(value, v)
			continue
		}
		value = append(value, v...)
	}
	text := decodeCharset(value, charset, false)
	if s.name == "boundary" {
		return strings.TrimRight(text, " \t")
	}
	return decodeWords(text)
}

func percentDecode(out []byte, v string) []byte {
	for i := 0; i < len(v); i++ {
		if v[i] == '%' && i+2 < len(v) && isHex(v[i+1]) && isHex(v[i+2]) {
			out = append(out, unhex(v[i+1])<<4|unhex(v[i+2]))
			i += 2
			continue
		}
		out = append(out, v[i])
	}
	return out
}
