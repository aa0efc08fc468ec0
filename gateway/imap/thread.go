package imap

import (
	"cmp"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/mailbox/letter"
)

func (c *conn) doThread(p *parser) reply    { return c.threadCommand(p, false) }
func (c *conn) doUIDThread(p *parser) reply { return c.threadCommand(p, true) }

// Algorithms of THREAD. REFS is REFERENCES without the gathering by subject,
// threads ordered by their newest message: in a pathway, where many start with
// the same subject, it is the better one.
const (
	threadReferences = imap.ThreadReferences
	threadSubject    = imap.ThreadOrderedSubject
	threadRefs       = imap.ThreadAlgorithm("REFS")
)

// threadCommand is RFC 5256 §3 (BASE.6.4.THREAD).
func (c *conn) threadCommand(p *parser, uid bool) reply {
	p.spaces()
	algorithm := imap.ThreadAlgorithm(p.key())
	p.spaces()
	if r := p.charset(); r != nil {
		return *r
	}
	p.spaces()
	q := p.query()
	if algorithm != threadReferences && algorithm != threadSubject && algorithm != threadRefs {
		p.fail("unknown algorithm")
	}
	if !p.end() {
		return p.result()
	}
	c.tell(false)
	q.resolve(c.view)
	found, err := c.search(q, c.view.rows)
	if err != nil {
		return c.searchFailed(err)
	}
	nodes, err := c.threadNodes(found, uid)
	if err != nil {
		return c.failed(err)
	}
	var roots []*threadNode
	if algorithm == threadSubject {
		roots = bySubject(nodes)
	} else {
		roots = byReferences(nodes, algorithm == threadReferences)
	}
	c.begin()
	c.text("* THREAD")
	if len(roots) > 0 {
		c.text(" ")
	}
	for _, r := range roots {
		c.out = append(c.out, '(')
		c.out = r.append(c.out)
		c.out = append(c.out, ')')
	}
	c.text("\r\n")
	return c.view.completed(uid)
}

// threadNode is a message in the tree, or a place for one that is not there.
type threadNode struct {
	number  uint32 // 0: not there
	at      int
	id      string
	refs    []string
	subject string // base subject, as it is compared
	reply   bool
	date    int64
	parent  *threadNode
	below   []*threadNode
}

// threadNodes reads what threading needs. Ids and references are those of the
// hub's conversation, as this reader's box knows it.
func (c *conn) threadNodes(found []uint32, uid bool) (nodes []*threadNode, err error) {
	rows := c.view.rows
	err = c.view.eachOf(c.ctx, found, folder.Whole, func(u uint32, m *folder.Shown) error {
		at, _ := find(rows, u)
		n := &threadNode{number: u, at: at, id: m.ID, refs: slices.Clone(m.References), date: sentDate(&rows[at], m.Index)}
		if !uid {
			n.number = uint32(at) + 1
		}
		subject := m.Index.Envelope.Subject
		base := letter.BaseSubject(subject)
		n.subject, n.reply = collated(base), isReply(subject, base)
		nodes = append(nodes, n)
		return nil
	})
	return nodes, err
}

// isReply reports whether more than white space and blobs was taken off a
// subject (RFC 5256 §2.1).
func isReply(subject, base string) bool {
	s := strings.Join(strings.Fields(subject), " ")
	for strings.HasPrefix(s, "[") && !strings.EqualFold(s, base) {
		_, rest, ok := strings.Cut(s, "]")
		if !ok {
			break
		}
		s = strings.TrimSpace(rest)
	}
	return !strings.EqualFold(s, base)
}

func byDate(a, b *threadNode) int {
	return cmp.Or(cmp.Compare(a.when(), b.when()), cmp.Compare(a.order(), b.order()))
}

// when is the date of a message, or of the first below a place without one.
func (n *threadNode) when() int64 {
	for n.number == 0 && len(n.below) > 0 {
		n = n.below[0]
	}
	return n.date
}

func (n *threadNode) order() int {
	for n.number == 0 && len(n.below) > 0 {
		n = n.below[0]
	}
	return n.at
}

// bySubject is ORDEREDSUBJECT.
func bySubject(nodes []*threadNode) (roots []*threadNode) {
	slices.SortStableFunc(nodes, byDate)
	first := map[string]*threadNode{}
	for _, n := range nodes {
		if root := first[n.subject]; root != nil {
			root.below = append(root.below, n)
			continue
		}
		first[n.subject] = n
		roots = append(roots, n)
	}
	return roots
}

// append appends a thread without its outer parentheses (RFC 5256 §4).
func (n *threadNode) append(b []byte) []byte {
	for {
		if n.number != 0 {
			b = appendUint(b, uint64(n.number))
		}
		if len(n.below) != 1 || n.number == 0 {
			break
		}
		b = append(b, ' ')
		n = n.below[0]
	}
	if len(n.below) == 0 {
		return b
	}
	if n.number != 0 {
		b = append(b, ' ')
	}
	for _, k := range n.below {
		b = append(b, '(')
		b = k.append(b)
		b = append(b, ')')
	}
	return b
}
