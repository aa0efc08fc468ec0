package imap

import (
	"strings"

	"github.com/relais-sante/relais/mailbox/letter"
)

// appendStructure appends a BODY or, with extension data, a BODYSTRUCTURE
// (RFC 9051 §7.5.2) from the index. Fields are those of the part's header, as
// written. The depth of an index is bounded where it is made.
func (c *conn) appendStructure(b []byte, p *letter.Part, fields []letter.Field, extended bool) []byte {
	b = append(b, '(')
	if p.Type == "multipart" && len(p.Parts) > 0 {
		for i := range p.Parts {
			b = c.appendStructure(b, &p.Parts[i], p.Parts[i].Header, extended)
		}
		b = append(b, ' ')
		b = appendString(b, p.Subtype, c.utf8)
		if extended {
			b = append(b, ' ')
			b = c.appendParams(b, fieldValue(fields, "Content-Type"), false)
			b = c.appendExtension(b, fields)
		}
		return append(b, ')')
	}
	typ, subtype := p.Type, p.Subtype
	contentType := fieldValue(fields, "Content-Type")
	message := typ == "message" && (subtype == "rfc822" || subtype == "global")
	inner := message && len(p.Parts) == 1
	switch {
	case typ == "multipart": // malformed: without parts, it can only be text
		typ, subtype, contentType = "text", "plain", ""
	case message && !inner: // encoded, against RFC 2046 §5.2.1: the grammar wants an envelope
		typ, subtype, contentType = "application", "octet-stream", ""
	}
	b = appendString(b, typ, c.utf8)
	b = append(b, ' ')
	b = appendString(b, subtype, c.utf8)
	b = append(b, ' ')
	b = c.appendParams(b, contentType, typ == "text")
	b = append(b, ' ')
	b = appendNstring(b, fieldValue(fields, "Content-ID"), c.utf8)
	b = append(b, ' ')
	b = appendNstring(b, fieldValue(fields, "Content-Description"), c.utf8)
	b = append(b, ' ')
	encoding := p.Encoding
	if encoding == "" {
		encoding = "7bit"
	}
	b = appendString(b, encoding, c.utf8)
	b = append(b, ' ')
	b = appendUint(b, uint64(p.BodyEnd-p.BodyStart))
	if inner {
		b = append(b, ' ')
		b = c.appendEnvelope(b, p.Parts[0].Header)
		b = append(b, ' ')
		b = c.appendStructure(b, &p.Parts[0], p.Parts[0].Header, extended)
	}
	if inner || typ == "text" {
		b = append(b, ' ')
		b = appendUint(b, uint64(p.Lines))
	}
	if extended {
		b = append(b, ' ')
		b = appendNstring(b, fieldValue(fields, "Content-MD5"), c.utf8)
		b = c.appendExtension(b, fields)
	}
	return append(b, ')')
}

// appendExtension appends disposition, language and location.
func (c *conn) appendExtension(b []byte, fields []letter.Field) []byte {
	b = append(b, ' ')
	disposition := fieldValue(fields, "Content-Disposition")
	kind, _, _ := strings.Cut(disposition, ";")
	if kind = strings.TrimSpace(kind); kind == "" {
		b = append(b, "NIL"...)
	} else {
		b = append(b, '(')
		b = appendString(b, kind, c.utf8)
		b = append(b, ' ')
		b = c.appendParams(b, disposition, false)
		b = append(b, ')')
	}
	b = append(b, ' ')
	languages := strings.FieldsFunc(fieldValue(fields, "Content-Language"), func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
	if languages = languages[:min(len(languages), 16)]; len(languages) == 0 {
		b = append(b, "NIL"...)
	} else {
		b = append(b, '(')
		for i, l := range languages {
			if i > 0 {
				b = append(b, ' ')
			}
			b = appendString(b, l, c.utf8)
		}
		b = append(b, ')')
	}
	b = append(b, ' ')
	return appendNstring(b, fieldValue(fields, "Content-Location"), c.utf8)
}

func fieldValue(fields []letter.Field, name string) string {
	for i := range fields {
		if strings.EqualFold(fields[i].Name, name) {
			return fields[i].Value
		}
	}
	return ""
}

// appendParams appends the parameters of a field, as they are written: the
// client decodes them. The pieces of a long one (RFC 2231 §3) are put together.
func (c *conn) appendParams(b []byte, value string, text bool) []byte {
	params := cutParams(value)
	if text && !hasParam(params, "charset") {
		params = append(params, param{"charset", "us-ascii"}) // RFC 2045 §5.2
	}
	if len(params) == 0 {
		return append(b, "NIL"...)
	}
	b = append(b, '(')
	for i, p := range params {
		if i > 0 {
			b = append(b, ' ')
		}
		b = appendString(b, p.name, c.utf8)
		b = append(b, ' ')
		b = appendString(b, p.value, c.utf8)
	}
	return append(b, ')')
}

type param struct{ name, value string }

func hasParam(params []param, name string) bool {
	for _, p := range params {
		if strings.EqualFold(p.name, name) {
			return true
		}
	}
	return false
}

// maxParams bounds the parameters of one field.
const maxParams = 100

// cutParams reads ";name=value" any number of times.
func cutParams(v string) (params []param) {
	_, v, _ = cutOutside(v, ';')
	for v != "" && len(params) < maxParams {
		var one string
		one, v, _ = cutOutside(v, ';')
		name, value, ok := strings.Cut(one, "=")
		if name = strings.TrimSpace(name); !ok || name == "" {
			continue
		}
		value = unquote(strings.TrimSpace(value))
		base, piece, segmented := strings.Cut(name, "*")
		number := strings.TrimSuffix(piece, "*")
		if !segmented || number == "" || strings.Trim(number, "0123456789") != "" {
			params = append(params, param{name, value})
			continue
		}
		if strings.HasSuffix(piece, "*") {
			base += "*"
		}
		if n := len(params); number != "0" && n > 0 && strings.EqualFold(strings.TrimSuffix(params[n-1].name, "*"), strings.TrimSuffix(base, "*")) {
			params[n-1].value += value
			continue
		}
		params = append(params, param{base, value})
	}
	return params
}

// cutOutside cuts at a byte that stands neither in a quoted string nor in a
// comment.
func cutOutside(v string, at byte) (before, after string, found bool) {
	quoted, depth := false, 0
	for i := 0; i < len(v); i++ {
		switch ch := v[i]; {
		case ch == '\\' && (quoted || depth > 0):
			i++
		case ch == '"' && depth == 0:
			quoted = !quoted
		case quoted:
		case ch == '(':
			depth++
		case ch == ')' && depth > 0:
			depth--
		case ch == at && depth == 0:
			return v[:i], v[i+1:], true
		}
	}
	return v, "", false
}

// unquote takes the quotes off a value, or a comment behind it.
func unquote(v string) string {
	if !strings.HasPrefix(v, `"`) {
		if i := strings.IndexAny(v, " \t("); i >= 0 {
			v = v[:i]
		}
		return v
	}
	if inner := strings.TrimSuffix(v[1:], `"`); strings.IndexByte(inner, '\\') < 0 && strings.IndexByte(inner, '"') < 0 {
		return inner
	}
	var out strings.Builder
	for i := 1; i < len(v) && v[i] != '"'; i++ {
		// A backslash before anything else is a Windows path, not a quote.
		if v[i] == '\\' && i+1 < len(v) && (v[i+1] == '"' || v[i+1] == '\\') {
			i++
		}
		out.WriteByte(v[i])
	}
	return out.String()
}
