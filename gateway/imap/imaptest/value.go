package imaptest

import (
	"fmt"
	"strconv"
	"strings"
)

// value is an argument of a command or a reply: text, NIL or a list.
type value struct {
	text   string
	isNil  bool
	isList bool
	list   []value
}

func (v value) String() string {
	switch {
	case v.isNil:
		return "NIL"
	case v.isList:
		return "(" + show(v.list) + ")"
	}
	return strconv.Quote(v.text)
}

func show(list []value) string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = v.String()
	}
	return strings.Join(words, " ")
}

// maxNesting bounds lists in lists.
const maxNesting = 100

// parse reads arguments; literals stand in the text with their announcement.
func parse(text string) ([]value, error) {
	p := &reader{text: text}
	list, err := p.values(0, false)
	if err != nil {
		return nil, fmt.Errorf("%w in %.200q", err, text)
	}
	return list, nil
}

type reader struct {
	text string
	at   int
}

func (p *reader) values(depth int, inList bool) (list []value, err error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("lists too deep")
	}
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case c == ' ' || c == '\r' || c == '\n':
			p.at++
		case c == ')':
			if !inList {
				p.at++ // part of a text for people
				continue
			}
			p.at++
			return list, nil
		case c == '(':
			p.at++
			inner, err := p.values(depth+1, true)
			if err != nil {
				return nil, err
			}
			list = append(list, value{isList: true, list: inner})
		case c == '"':
			s, err := p.quoted()
			if err != nil {
				return nil, err
			}
			list = append(list, value{text: s})
		default:
			if s, ok := p.literal(); ok {
				list = append(list, value{text: s})
				continue
			}
			s := p.atom()
			list = append(list, value{text: s, isNil: strings.EqualFold(s, "NIL")})
		}
	}
	if inList {
		return nil, fmt.Errorf("list without end")
	}
	return list, nil
}

func (p *reader) atom() string {
	end := p.at
	for end < len(p.text) && strings.IndexByte(" ()\r\n", p.text[end]) < 0 {
		end++
	}
	s := p.text[p.at:end]
	p.at = end
	return s
}

func (p *reader) quoted() (string, error) {
	var b strings.Builder
	for i := p.at + 1; i < len(p.text); i++ {
		switch c := p.text[i]; c {
		case '"':
			p.at = i + 1
			return b.String(), nil
		case '\\':
			if i++; i < len(p.text) {
				b.WriteByte(p.text[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", fmt.Errorf("string without end")
}

// literal reads "{n}" CRLF and n bytes.
func (p *reader) literal() (string, bool) {
	rest := strings.TrimPrefix(p.text[p.at:], "~")
	if !strings.HasPrefix(rest, "{") {
		return "", false
	}
	digits, after, ok := strings.Cut(rest[1:], "}\r\n")
	n, err := strconv.Atoi(strings.TrimSuffix(digits, "+"))
	if !ok || err != nil || n > len(after) {
		return "", false
	}
	p.at = len(p.text) - len(after) + n
	return after[:n], true
}
