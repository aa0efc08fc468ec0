package letter

import "strings"

// decodeWords decodes the encoded words (RFC 2047) of a text for display.
// Adjacent words of one charset are put together before their charset is
// decoded, since many programs cut characters in two. What is not quite an
// encoded word stands as it is written.
func decodeWords(s string) string {
	if !strings.Contains(s, "=?") {
		return visible(s)
	}
	var (
		out     strings.Builder
		bytes   []byte // of the words not yet decoded
		charset string
		after   bool // the last thing was an encoded word
	)
	flush := func() {
		out.WriteString(decodeCharset(bytes, charset, false))
		bytes = bytes[:0]
	}
	for {
		i := strings.Index(s, "=?")
		if i < 0 {
			break
		}
		w, rest, ok := cutWord(s[i:])
		if !ok {
			flush()
			out.WriteString(s[:i+2])
			s, after = s[i+2:], false
			continue
		}
		if between := s[:i]; !after || strings.Trim(between, " \t\r\n") != "" {
			flush()
			out.WriteString(between)
		}
		if !strings.EqualFold(w.charset, charset) {
			flush()
			charset = w.charset
		}
		bytes = w.decode(bytes)
		s, after = rest, true
	}
	flush()
	out.WriteString(s)
	return visible(out.String())
}

// word is an encoded word.
type word struct {
	charset string
	base64  bool
	text    string
}

// cutWord cuts the encoded word that s begins with. It looks no further than
// the beginning of the next one.
func cutWord(s string) (w word, rest string, ok bool) {
	charset, text, ok := strings.Cut(s[2:min(len(s), 80)], "?")
	if !ok || charset == "" || strings.ContainsAny(charset, " \t=") || len(text) < 2 || text[1] != '?' {
		return word{}, "", false
	}
	switch text[0] {
	case 'B', 'b':
		w.base64 = true
	case 'Q', 'q':
	default:
		return word{}, "", false
	}
	w.charset, _, _ = strings.Cut(charset, "*") // language, RFC 2231 §5
	body := s[2+len(charset)+3:]
	for at := 0; ; {
		i := strings.IndexByte(body[at:], '?')
		if i < 0 || at+i+1 == len(body) {
			return word{}, "", false
		}
		i += at
		if body[i+1] == '=' {
			w.text = body[:i]
			return w, body[i+2:], true
		}
		if i > 0 && body[i-1] == '=' {
			return word{}, "", false
		}
		at = i + 1
	}
}

// decode appends the bytes of the word.
func (w word) decode(out []byte) []byte {
	if w.base64 {
		d := decoder{encoding: inBase64, buffer: make([]byte, 0, 64)}
		d.give = func(p []byte) { out = append(out, p...) }
		d.decode([]byte(w.text))
		d.end()
		return out
	}
	for i := 0; i < len(w.text); i++ {
		switch c := w.text[i]; {
		case c == '_':
			out = append(out, ' ')
		case c == '=' && i+2 < len(w.text) && isHex(w.text[i+1]) && isHex(w.text[i+2]):
			out = append(out, unhex(w.text[i+1])<<4|unhex(w.text[i+2]))
			i += 2
		default:
			out = append(out, c)
		}
	}
	return out
}

// visible puts spaces in place of control characters, so that no decoded text
// brings a line end into a header, a protocol answer or a terminal.
func visible(s string) string {
	clean := true
	for i := 0; i < len(s) && clean; i++ {
		clean = s[i] >= ' ' && s[i] != 0x7f && s[i] != 0xc2 // C1 begins with C2
	}
	if !clean {
		s = strings.Map(func(r rune) rune {
			if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' {
				return ' '
			}
			return r
		}, s)
	}
	return strings.TrimSpace(s)
}
