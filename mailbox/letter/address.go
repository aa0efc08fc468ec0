package letter

import "strings"

const (
	maxAddressesInField = 1000
	maxAddresses        = 10_000 // in all the envelopes of one mail
	maxAddressBytes     = 1000
)

// ParseAddressList reads an address list (RFC 5322 §3.4) as people and
// programs write them: groups, comments, quoted or encoded names, missing
// brackets, missing commas, semicolons between addresses, several @. What
// cannot be an address is passed over; it gives at most 1000.
func ParseAddressList(value string) []Mailbox {
	return parseAddresses(value, maxAddressesInField)
}

func parseAddresses(value string, limit int) []Mailbox {
	p := addressParser{in: value, limit: limit}
	p.parse()
	return p.list
}

// addressParser goes over a list once. Each step uses up what it looked at,
// so that hostile lists cost no more than others.
type addressParser struct {
	in    string
	at    int
	limit int
	list  []Mailbox

	group      string
	inGroup    bool
	groupUsed  bool
	noQuote    bool // no quote closes any more
	noComment  bool
	raw        strings.Builder // of the element being read, without comments
	phrase     strings.Builder // and without quotes
	after      strings.Builder // what stands behind the address: junk, or the next name
	comment    string
	angle      string
	hasBracket bool
}

func (p *addressParser) parse() {
	for p.at < len(p.in) && len(p.list) < p.limit {
		c := p.in[p.at]
		switch c {
		case '"':
			p.quoted()
		case '(':
			p.readComment()
		case '<':
			p.bracket()
		case ',':
			p.at++
			p.endElement()
		case ';':
			p.at++
			p.endElement()
			p.endGroup()
		case ':':
			p.at++
			p.colon()
		case '>':
			p.at++
		default:
			n := strings.IndexAny(p.in[p.at:], `"(<>,;:`)
			if n < 0 {
				n = len(p.in) - p.at
			}
			p.plain(p.in[p.at : p.at+n])
			p.at += n
		}
	}
	if len(p.list) < p.limit {
		p.endElement()
		p.endGroup()
	}
}

func (p *addressParser) plain(s string) {
	if p.hasBracket {
		p.after.WriteString(s)
		return
	}
	p.raw.WriteString(s)
	p.phrase.WriteString(s)
}

// quoted reads a quoted string; a quote that never closes counts for nothing.
func (p *addressParser) quoted() {
	rest := p.in[p.at+1:]
	end := -1
	for i := 0; i < len(rest) && !p.noQuote; i++ {
		if rest[i] == '\\' {
			i++
		} else if rest[i] == '"' {
			end = i
			break
		}
	}
	if end < 0 {
		p.noQuote = true
		p.at++
		return
	}
	words := &p.after
	if !p.hasBracket {
		p.raw.WriteString(p.in[p.at : p.at+end+2])
		words = &p.phrase
	}
	for i := 0; i < end; i++ {
		if rest[i] == '\\' && i+1 < end {
			i++
		}
		words.WriteByte(rest[i])
	}
	p.at += end + 2
}

func (p *addressParser) readComment() {
	n := 0
	if !p.noComment {
		n = commentEnd(p.in[p.at:])
	}
	if n == 0 {
		p.noComment = true
		p.at++
		return
	}
	if p.comment == "" {
		p.comment = p.in[p.at+1 : p.at+n-1]
	}
	p.plain(" ")
	p.at += n
}

// bracket reads <address>. Without the closing bracket it ends at a comma.
func (p *addressParser) bracket() {
	if p.hasBracket { // the comma between two addresses is missing
		next := p.after.String()
		p.endElement()
		p.plain(next)
	}
	rest := p.in[p.at+1:]
	end := strings.IndexAny(rest, "<>")
	if end >= 0 && rest[end] == '>' {
		p.angle, p.hasBracket = rest[:end], true
		p.at += end + 2
		return
	}
	if end < 0 {
		end = len(rest)
	}
	if comma := strings.IndexAny(rest[:end], ",;"); comma >= 0 {
		end = comma
	} else if end < len(rest) {
		p.at++ // "<<": the second one counts
		return
	}
	p.angle, p.hasBracket = rest[:end], true
	p.at += end + 1
}

// colon ends the name of a group, unless it stands in an address.
func (p *addressParser) colon() {
	word := strings.TrimSpace(p.raw.String())
	switch {
	case p.hasBracket || strings.Contains(word, "@"):
		p.plain(":")
	case strings.EqualFold(word, "mailto") || strings.EqualFold(word, "smtp"):
		p.reset()
	default:
		name := displayName(p.phrase.String())
		p.endGroup()
		p.reset()
		p.group, p.inGroup, p.groupUsed = name, true, false
	}
}

func (p *addressParser) endGroup() {
	if p.inGroup && !p.groupUsed && len(p.list) < p.limit {
		p.list = append(p.list, Mailbox{Group: p.group})
	}
	p.group, p.inGroup = "", false
}

func (p *addressParser) reset() {
	p.raw.Reset()
	p.phrase.Reset()
	p.after.Reset()
	p.comment, p.angle, p.hasBracket = "", "", false
}

// endElement makes a Mailbox of what stands between two commas.
func (p *addressParser) endElement() {
	raw := strings.TrimSpace(p.raw.String())
	m := Mailbox{Group: p.group}
	var more []string
	if p.hasBracket {
		angle := strings.TrimSpace(p.angle)
		if i := strings.LastIndexByte(angle, ':'); strings.HasPrefix(angle, "@") && i >= 0 {
			angle = angle[i+1:] // obsolete route, RFC 5322 §4.4
		}
		angle, rest, several := strings.Cut(angle, ",")
		if several {
			more = strings.Split(rest, ",")
		}
		m.Address = cleanAddress(angle)
		m.Name = displayName(p.phrase.String())
		if m.Address == "" && strings.Contains(raw, "@") && !strings.ContainsAny(raw, " \t") {
			m.Address, m.Name = cleanAddress(raw), ""
		}
	} else {
		m.Address, m.Name = bareAddress(raw, p.phrase.String())
	}
	if m.Name == "" {
		m.Name = displayName(p.comment)
	}
	p.reset()
	if m.Address == "" && (m.Name == "" || raw == "") {
		return
	}
	p.groupUsed = true
	p.list = append(p.list, m)
	for _, a := range more {
		if a = cleanAddress(a); a != "" && len(p.list) < p.limit {
			p.list = append(p.list, Mailbox{Address: a, Group: m.Group})
		}
	}
}

// bareAddress reads an element without brackets: an address alone, or behind
// or before a name.
func bareAddress(raw, phrase string) (address, name string) {
	if !strings.Contains(raw, "@") {
		if strings.ContainsAny(raw, " \t") || strings.HasPrefix(raw, `"`) || strings.Contains(raw, "=?") {
			return "", displayName(phrase)
		}
		return cleanAddress(raw), ""
	}
	if strings.HasPrefix(raw, `"`) && strings.Contains(raw, `"@`) {
		return cleanAddress(raw), ""
	}
	raw = strings.ReplaceAll(strings.ReplaceAll(raw, " @", "@"), "@ ", "@")
	words := strings.Fields(raw)
	for i := len(words) - 1; i >= 0; i-- {
		if strings.Contains(words[i], "@") {
			address = cleanAddress(words[i])
			words = append(words[:i], words[i+1:]...)
			break
		}
	}
	return address, displayName(strings.ReplaceAll(strings.Join(words, " "), `"`, ""))
}

// cleanAddress takes off what stands around an address and all white space.
func cleanAddress(a string) string {
	if strings.HasPrefix(a, `"`) && strings.Contains(a, `"@`) {
		a = visible(a) // quoted local part
	} else {
		a = strings.Trim(withoutSpace(a), `"'<>`)
		if len(a) > 7 && strings.EqualFold(a[:7], "mailto:") {
			a = a[7:]
		}
	}
	if len(a) > maxAddressBytes {
		return ""
	}
	return a
}

// displayName decodes a name and puts single spaces between its words.
func displayName(s string) string {
	s = strings.Join(strings.Fields(decodeWords(s)), " ")
	if len(s) > 1 && s[0] == '\'' && s[len(s)-1] == '\'' {
		s = strings.TrimSpace(s[1 : len(s)-1]) // Outlook's way to quote
	}
	return s
}
