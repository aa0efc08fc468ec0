package imap

import (
	"slices"
	"strings"
	"time"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/rules"
)

// searchKey is a node of what is searched for (RFC 9051 §6.4.4).
type searchKey struct {
	op    searchOp
	below []*searchKey // of and, or, not
	leaf  int          // number of a leaf

	set   numSet // as written, and the UIDs it stands for
	isUID bool
	uids  []span
	flag  folder.SystemFlag
	field string // lower case
	text  []byte // folded
	id    string
	n     int64 // size, day, seconds, modseq
	cmp   int8  // -1 before, 0 on, +1 since
}

type searchOp uint8

const (
	opAnd searchOp = iota
	opOr
	opNot
	opAll
	opSet
	opFlag
	opKeyword
	opRecent
	opNew
	opReceived
	opOlder
	opYounger
	opLarger
	opSmaller
	opModSeq
	opSent // from here on the index is needed
	opSaved
	opHeader
	opEmailID
	opThreadID
	opText // and from here on the content
	opBody
)

// query is a search that was read.
type query struct {
	root   *searchKey
	leaves []*searchKey
	modseq bool // the answer tells the highest modseq (RFC 7162 §3.1.5)
}

// query reads the keys to the end of the command.
func (p *parser) query() *query {
	q := &query{}
	q.root = p.andKeys(q, 0, func() bool { return p.atEnd() })
	return q
}

// andKeys reads keys, at least one, until done.
func (p *parser) andKeys(q *query, depth int, done func() bool) *searchKey {
	all := &searchKey{op: opAnd}
	for {
		all.below = append(all.below, p.searchKey(q, depth))
		if p.failed() || done() {
			break
		}
		p.spaces()
	}
	if len(all.below) == 1 {
		return all.below[0]
	}
	return all
}

func (p *parser) searchKey(q *query, depth int) *searchKey {
	k := &searchKey{}
	if depth > p.c.server.limits.SearchDepth || len(q.leaves) >= p.c.server.limits.SearchKeys {
		p.fail("search too large")
		return k
	}
	switch b := p.peek(); {
	case b == '(':
		p.need('(')
		k = p.andKeys(q, depth+1, func() bool { return p.peek() == ')' })
		p.need(')')
		return k
	case b == '*' || b == '$' || digitChar[b]:
		k.op, k.set = opSet, p.set()
		return q.leaf(k)
	}
	name := p.key()
	switch name {
	case "NOT":
		p.spaces()
		k.op, k.below = opNot, []*searchKey{p.searchKey(q, depth+1)}
		return k
	case "OR":
		p.spaces()
		one := p.searchKey(q, depth+1)
		p.spaces()
		k.op, k.below = opOr, []*searchKey{one, p.searchKey(q, depth+1)}
		return k
	}
	if !p.flagKey(k, name) && !p.dateKey(k, name) && !p.otherKey(k, name, q) {
		p.fail("unknown search key")
	}
	q.leaf(k)
	if k.op == opFlag && k.cmp < 0 || k.op == opKeyword && k.cmp < 0 {
		k.cmp = 0
		return &searchKey{op: opNot, below: []*searchKey{k}}
	}
	return k
}

func (q *query) leaf(k *searchKey) *searchKey {
	k.leaf = len(q.leaves)
	q.leaves = append(q.leaves, k)
	return k
}

// flagKey reads keys of flags; cmp -1 says that it must not be set.
func (p *parser) flagKey(k *searchKey, name string) bool {
	switch name {
	case "ALL", "SAVEDATESUPPORTED": // RFC 8514 §4.4: every folder keeps dates
		k.op = opAll
		return true
	case "RECENT":
		k.op = opRecent
		return true
	case "OLD":
		k.op, k.cmp = opRecent, -1
		return true
	case "NEW":
		k.op = opNew
		return true
	case "KEYWORD", "UNKEYWORD":
		p.spaces()
		k.op, k.id = opKeyword, p.atom()
		if name[0] == 'U' {
			k.cmp = -1
		}
		return true
	}
	positive, un := strings.CutPrefix(name, "UN")
	for _, s := range systemFlags {
		if strings.EqualFold(s.name, positive) {
			k.op, k.flag = opFlag, s.flag
			if un {
				k.cmp = -1
			}
			return true
		}
	}
	return false
}

// dateKey reads keys of dates: of arrival, of the Date field, of coming into
// the folder.
func (p *parser) dateKey(k *searchKey, name string) bool {
	k.op = opReceived
	if rest, ok := strings.CutPrefix(name, "SENT"); ok {
		k.op, name = opSent, rest
	} else if rest, ok := strings.CutPrefix(name, "SAVED"); ok {
		k.op, name = opSaved, rest
	}
	switch name {
	case "BEFORE":
		k.cmp = -1
	case "ON":
		k.cmp = 0
	case "SINCE":
		k.cmp = 1
	default:
		return false
	}
	p.spaces()
	k.n = dayOf(p.date())
	return true
}

// dayOf numbers the day of a time, in its own zone: that is how dates are
// compared, time and zone disregarded (RFC 9051 §6.4.4).
func dayOf(t time.Time) int64 {
	y, m, d := t.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400
}

func (p *parser) otherKey(k *searchKey, name string, q *query) bool {
	if name == "UID" {
		p.spaces()
		k.op, k.set, k.isUID = opSet, p.set(), true
		return true
	}
	if !slices.Contains(otherKeys, name) {
		return false
	}
	p.spaces()
	switch name {
	case "BCC", "CC", "FROM", "SUBJECT", "TO":
		k.op, k.field, k.text = opHeader, strings.ToLower(name), folded(p.astring())
	case "HEADER":
		k.op, k.field = opHeader, strings.ToLower(p.astring())
		p.spaces()
		k.text = folded(p.astring())
	case "TEXT":
		k.op, k.text = opText, folded(p.astring())
	case "BODY":
		k.op, k.text = opBody, folded(p.astring())
	case "LARGER":
		k.op, k.n = opLarger, int64(p.number64())
	case "SMALLER":
		k.op, k.n = opSmaller, int64(p.number64())
	case "OLDER", "YOUNGER": // RFC 5032
		n := int64(p.number())
		if n == 0 {
			p.fail("nothing is that young")
		}
		k.op, k.n = opOlder, p.c.server.now().Unix()-n
		if name == "YOUNGER" {
			k.op = opYounger
		}
	case "MODSEQ": // RFC 7162 §3.1.5: the entry, of one flag, is not told apart
		if p.peek() == '"' {
			p.quoted()
			p.spaces()
			p.key()
			p.spaces()
		}
		k.op, k.n = opModSeq, int64(p.number64())
		q.modseq = true
	case "EMAILID":
		k.op, k.id = opEmailID, p.astring()
	case "THREADID":
		k.op, k.id = opThreadID, p.astring()
	}
	return true
}

var otherKeys = []string{
	"BCC", "CC", "FROM", "SUBJECT", "TO", "HEADER", "TEXT", "BODY", "LARGER", "SMALLER", "OLDER", "YOUNGER", "MODSEQ", "EMAILID", "THREADID",
}

// folded gives a text as it is compared: without regard to case (RFC 5051) nor,
// since names are written with and without them, to accents.
func folded(s string) []byte { return rules.AppendFolded(nil, s) }

// charset reads the name of a charset (RFC 9051 §6.4.4). Texts are UTF-8.
func (p *parser) charset() *reply {
	switch strings.ToUpper(p.astring()) {
	case "UTF-8", "US-ASCII":
		return nil
	}
	if p.failed() {
		return nil
	}
	p.line = nil
	r := no("BADCHARSET (US-ASCII UTF-8)", "Jeu de caractères inconnu / unknown charset")
	return &r
}
