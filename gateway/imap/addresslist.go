package imap

import (
	"strings"
)

// addressReader reads an address list for an ENVELOPE (RFC 9051 §7.5.2): what
// mailbox/letter decodes for people and for rights must stand here as it is
// written, with route and groups.
type addressReader struct {
	in       string
	at       int
	phrase   []byte // words before the address, or the address itself
	comment  string
	angle    string
	hasAngle bool
	group    bool
	utf8     bool
	count    int
}

// maxEnvelopeAddresses bounds one list.
const maxEnvelopeAddresses = 1000

func (c *conn) appendAddresses(b []byte, list string) []byte {
	if list == "" {
		return append(b, "NIL"...)
	}
	r := addressReader{in: list, utf8: c.utf8, phrase: c.phrase[:0]}
	b = append(b, '(')
	start := len(b)
	for r.at < len(r.in) && r.count < maxEnvelopeAddresses {
		b = r.step(b)
	}
	b = r.endAddress(b)
	if r.group {
		b = append(b, "(NIL NIL NIL NIL)"...)
	}
	c.phrase = r.phrase
	if len(b) == start {
		return append(b[:start-1], "NIL"...)
	}
	return append(b, ')')
}

// step takes the next piece of the list.
func (r *addressReader) step(b []byte) []byte {
	switch ch := r.in[r.at]; ch {
	case '"':
		r.quoted()
	case '(':
		r.readComment()
	case '<':
		end := strings.IndexByte(r.in[r.at:], '>')
		if end < 0 {
			end = len(r.in) - r.at
		}
		r.angle, r.hasAngle = r.in[r.at+1:r.at+end], true
		r.at = min(r.at+end+1, len(r.in))
	case ',':
		r.at++
		b = r.endAddress(b)
	case ';':
		r.at++
		b = r.endAddress(b)
		if r.group {
			r.group = false
			b = append(b, "(NIL NIL NIL NIL)"...)
		}
	case ':':
		r.at++
		name := strings.TrimSpace(string(r.phrase))
		r.reset()
		if name != "" {
			r.group = true
			r.count++
			b = append(b, "(NIL NIL "...)
			b = appendString(b, name, r.utf8)
			b = append(b, " NIL)"...)
		}
	case ' ', '\t':
		r.at++
		if n := len(r.phrase); n > 0 && r.phrase[n-1] != ' ' {
			r.phrase = append(r.phrase, ' ')
		}
	default:
		end := r.at + 1
		for end < len(r.in) && !addressSpecial[r.in[end]] {
			end++
		}
		r.phrase = append(r.phrase, r.in[r.at:end]...)
		r.at = end
	}
	return b
}

var addressSpecial = func() (t [256]bool) {
	for _, ch := range []byte("\"(<,;: \t") {
		t[ch] = true
	}
	return t
}()

func (r *addressReader) reset() {
	r.phrase = r.phrase[:0]
	r.comment, r.angle, r.hasAngle = "", "", false
}

// quoted takes the words of a quoted string; one that never ends, to the end.
func (r *addressReader) quoted() {
	i := r.at + 1
	for ; i < len(r.in) && r.in[i] != '"'; i++ {
		if r.in[i] == '\\' && i+1 < len(r.in) {
			i++
		}
		r.phrase = append(r.phrase, r.in[i])
	}
	r.at = min(i+1, len(r.in))
}

// readComment keeps the last comment: old programs put the name there.
func (r *addressReader) readComment() {
	depth, i := 0, r.at
	for ; i < len(r.in); i++ {
		switch r.in[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			depth--
		}
		if depth == 0 {
			break
		}
	}
	i = min(i, len(r.in))
	r.comment = strings.TrimSpace(r.in[min(r.at+1, i):i])
	r.at = min(i+1, len(r.in))
}

// endAddress appends the address that was read, if there is one.
func (r *addressReader) endAddress(b []byte) []byte {
	words := r.phrase
	for len(words) > 0 && words[len(words)-1] == ' ' {
		words = words[:len(words)-1]
	}
	if len(words) == 0 && !r.hasAngle {
		r.reset()
		return b
	}
	r.count++
	b = append(b, '(')
	route, address := "", r.angle
	if r.hasAngle {
		if len(words) > 0 {
			b = appendString(b, string(words), r.utf8)
		} else {
			b = appendNstring(b, r.comment, r.utf8)
		}
		if strings.ContainsAny(address, " \t(") {
			address = withoutComments(address)
		}
		if strings.HasPrefix(address, "@") {
			if i := strings.LastIndexByte(address, ':'); i >= 0 { // RFC 5322 §4.4
				route, address = address[:i], address[i+1:]
			}
		}
	} else {
		b = appendNstring(b, r.comment, r.utf8)
		address = string(words)
		if i := strings.IndexByte(address, '@'); i >= 0 && strings.IndexByte(address, ' ') >= 0 {
			address = strings.ReplaceAll(address, " ", "")
		}
	}
	b = append(b, ' ')
	b = appendNstring(b, route, r.utf8)
	b = append(b, ' ')
	local, domain := address, ""
	if i := strings.LastIndexByte(address, '@'); i >= 0 {
		local, domain = address[:i], address[i+1:]
	}
	if n := len(local); n > 1 && local[0] == '"' && local[n-1] == '"' {
		local = local[1 : n-1]
	}
	// Neither may be NIL: that would be a group.
	b = appendString(b, local, r.utf8)
	b = append(b, ' ')
	b = appendString(b, domain, r.utf8)
	r.reset()
	return append(b, ')')
}

// withoutComments takes comments and white space out of an address.
func withoutComments(s string) string {
	var out strings.Builder
	depth := 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '(':
			depth++
		case s[i] == ')' && depth > 0:
			depth--
		case depth == 0 && s[i] != ' ' && s[i] != '\t':
			out.WriteByte(s[i])
		}
	}
	return out.String()
}
