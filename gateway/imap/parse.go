package imap

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/relais-sante/relais/mailbox/folder"
)

// parser reads the arguments of one command. The first thing that is wrong is
// kept in failure, and everything after it reads as empty: a command reads all
// its arguments and looks once, at the end.
type parser struct {
	c       *conn
	line    []byte // what is left of this line
	budget  int    // bytes the rest of the command may still take
	failure string // why it is BAD
	refused string // not BAD but NO, with this code
	open    *literal
	pending *announcement // was not accepted
}

func (p *parser) fail(why string) {
	if p.failure == "" {
		p.failure = why
	}
	p.line = nil
}

func (p *parser) failed() bool { return p.failure != "" }

// result is the answer to a command that could not be read.
func (p *parser) result() reply {
	if p.refused != "" {
		return no(p.refused, p.failure)
	}
	return bad(p.failure)
}

func (p *parser) peek() byte {
	if len(p.line) == 0 {
		return 0
	}
	return p.line[0]
}

// take takes the byte if it is next.
func (p *parser) take(b byte) bool {
	if p.peek() != b || len(p.line) == 0 {
		return false
	}
	p.line = p.line[1:]
	return true
}

func (p *parser) need(b byte) {
	if !p.take(b) {
		p.fail("expected " + strconv.QuoteRune(rune(b)))
	}
}

func (p *parser) space() { p.need(' ') }

// spaces takes one blank and, since some clients send more, those after it.
func (p *parser) spaces() {
	p.space()
	for p.take(' ') {
	}
}

// end wants the end of the command.
func (p *parser) end() bool {
	for p.take(' ') { // some clients send one
	}
	if len(p.line) > 0 {
		p.fail("unexpected argument")
	}
	return !p.failed()
}

func (p *parser) atEnd() bool { return len(bytes.TrimLeft(p.line, " ")) == 0 }

// word takes the word (case ignored) if it is next and ends there.
func (p *parser) word(w string) bool {
	if len(p.line) < len(w) || !strings.EqualFold(string(p.line[:len(w)]), w) {
		return false
	}
	if len(p.line) > len(w) && atomChar[p.line[len(w)]] && p.line[len(w)] != '[' {
		return false
	}
	p.line = p.line[len(w):]
	return true
}

// Characters of atoms (RFC 9051 §9: ATOM-CHAR; "]" may stand in an astring).
var (
	atomChar  [256]bool
	tagChar   [256]bool
	listChar  [256]bool
	keyChar   [256]bool // of names of commands, items and keys
	digitChar [256]bool
)

func init() {
	for c := 0x21; c < 0x7f; c++ {
		special := strings.IndexByte(`(){%*"\`, byte(c)) >= 0
		atomChar[c] = !special
		tagChar[c] = !special && c != '+'
		listChar[c] = !special || c == '%' || c == '*'
		keyChar[c] = 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-.=_/", byte(c)) >= 0
		digitChar[c] = '0' <= c && c <= '9'
	}
}

func (p *parser) while(allowed *[256]bool) string {
	n := 0
	for n < len(p.line) && allowed[p.line[n]] {
		n++
	}
	s := string(p.line[:n])
	p.line = p.line[n:]
	return s
}

// key reads a name of the protocol, in capitals.
func (p *parser) key() string {
	s := p.while(&keyChar)
	if s == "" {
		p.fail("expected a name")
	}
	return strings.ToUpper(s)
}

func (p *parser) atom() string {
	s := p.while(&atomChar)
	if s == "" {
		p.fail("expected an atom")
	}
	return s
}

// quoted reads a quoted string (RFC 9051 §4.3).
func (p *parser) quoted() string {
	p.need('"')
	var s []byte
	for i := 0; i < len(p.line); i++ {
		switch b := p.line[i]; b {
		case '"':
			p.line = p.line[i+1:]
			return string(s)
		case '\\':
			if i++; i == len(p.line) || p.line[i] != '"' && p.line[i] != '\\' {
				p.fail("bad quoted string")
				return ""
			}
			s = append(s, p.line[i])
		case 0, '\r':
			p.fail("bad quoted string")
			return ""
		default:
			s = append(s, b)
		}
	}
	p.fail("quoted string without end")
	return ""
}

// astring reads an atom, a quoted string or a literal.
func (p *parser) astring() string {
	switch p.peek() {
	case '"', '{':
		return p.string()
	}
	return p.atom()
}

// string reads a quoted string or a literal.
func (p *parser) string() string {
	switch p.peek() {
	case '"':
		return p.quoted()
	case '{':
		return p.shortLiteral()
	case '~': // literal8, RFC 6855 §4
		if len(p.line) > 1 && p.line[1] == '{' {
			return p.shortLiteral()
		}
	}
	p.fail("expected a string")
	return ""
}

// nstring reads a string or NIL.
func (p *parser) nstring() (s string, isNil bool) {
	if p.word("NIL") {
		return "", true
	}
	return p.string(), false
}

// number reads a number of 32 bits.
func (p *parser) number() uint32 {
	n := p.number64()
	if n > math.MaxUint32 {
		p.fail("number too large")
		return 0
	}
	return uint32(n)
}

// number64 reads a number of 63 bits (RFC 9051 §9: number64).
func (p *parser) number64() uint64 {
	digits := p.while(&digitChar)
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil {
		p.fail("expected a number")
		return 0
	}
	return n
}

// mailbox reads the name of a folder, in UTF-8. INBOX is one name however it
// is written (RFC 9051 §5.1).
func (p *parser) mailbox() string {
	return p.folderName(p.astring())
}

func (p *parser) folderName(s string) string {
	if p.failed() {
		return ""
	}
	name := s
	if !p.c.utf8 {
		decoded, err := decodeUTF7(s)
		if err != nil {
			p.refused = codeCannot
			p.fail("not a folder name: modified UTF-7 expected")
			return ""
		}
		name = decoded
	}
	if !utf8.ValidString(name) {
		p.refused = codeCannot
		p.fail("not a folder name: UTF-8 expected")
		return ""
	}
	if len(name) >= 5 && strings.EqualFold(name[:5], folder.Inbox) && (len(name) == 5 || name[5] == folder.Delimiter) {
		name = folder.Inbox + name[5:]
	}
	return name
}

// list reads "(" items ")" with blanks between, calling item for each.
func (p *parser) list(item func()) {
	p.need('(')
	if p.take(')') {
		return
	}
	for !p.failed() {
		item()
		if p.take(')') {
			return
		}
		p.spaces()
		if p.take(')') { // some clients send a blank before it
			return
		}
	}
}

// date reads a date (RFC 9051 §9), with or without quotes.
func (p *parser) date() time.Time {
	var s string
	if p.peek() == '"' {
		s = p.quoted()
	} else {
		s = p.atom()
	}
	t, err := time.Parse("2-Jan-2006", s)
	if err != nil && !p.failed() {
		p.fail("bad date")
	}
	return t
}

// dateTime reads a date-time, in quotes (RFC 9051 §9).
func (p *parser) dateTime() time.Time {
	s := p.quoted()
	t, err := time.Parse("_2-Jan-2006 15:04:05 -0700", s)
	if err != nil {
		t, err = time.Parse("2-Jan-2006 15:04:05 -0700", s)
	}
	if err != nil && !p.failed() {
		p.fail("bad date-time")
	}
	return t
}

// flags reads a list of flags, with or without brackets as in STORE.
func (p *parser) flags(bare bool) folder.Flags {
	var f folder.Flags
	one := func() {
		if p.take('\\') {
			name := p.atom()
			if !addSystem(&f, name) {
				p.fail("no such flag")
			}
			return
		}
		word := p.atom()
		if len(word) > maxKeyword || len(f.Keywords) >= maxKeywords {
			p.fail("too many or too long keywords")
			return
		}
		f.Keywords = append(f.Keywords, word)
	}
	if bare && p.peek() != '(' {
		for one(); p.take(' '); one() {
		}
	} else {
		p.list(one)
	}
	f.Keywords = sortKeywords(f.Keywords)
	return f
}
