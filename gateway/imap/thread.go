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
	return ok()
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
	err = c.view.eachOf(c.ctx, found, func(u uint32, m *folder.Shown) error {
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

// byReferences is REFERENCES; its steps are numbered as there.
func byReferences(nodes []*threadNode, gather bool) []*threadNode {
	all := make(map[string]*threadNode, len(nodes))
	order := make([]*threadNode, 0, len(nodes)) // of first mention
	place := func(id string) *threadNode {
		n := all[id]
		if n == nil {
			n = &threadNode{id: id}
			all[id] = n
			order = append(order, n)
		}
		return n
	}
	for _, n := range nodes { // (1)
		if have := all[n.id]; n.id == "" || have != nil && have.number != 0 {
			order = append(order, n) // without an id, or with one that is taken: one of its own
		} else if have != nil {
			n.parent, n.below = have.parent, have.below
			n.takePlace(have)
			all[n.id] = n
			order = append(order, n)
		} else {
			all[n.id] = n
			order = append(order, n)
		}
		var before *threadNode
		for _, id := range n.refs { // (1)(A)
			if id == n.id {
				continue
			}
			ref := place(id)
			if before != nil && ref.parent == nil && !ref.above(before) {
				ref.hang(before)
			}
			before = ref
		}
		n.unhang() // (1)(B): what others said of its parent counts no more
		if before != nil && !n.above(before) {
			n.hang(before)
		}
	}
	top := &threadNode{}
	for _, n := range order { // (2)
		if n.parent == nil && all[n.id] == n || n.parent == nil && n.number != 0 {
			top.below = append(top.below, n)
		}
	}
	top.below = prune(top.below, true) // (3)
	for _, n := range top.below {
		slices.SortStableFunc(n.below, byDate)
	}
	slices.SortStableFunc(top.below, byDate) // (4)
	if gather {
		top.below = gathered(top.below) // (5)
	}
	sortTree(top) // (6)
	if !gather {
		newest := make(map[*threadNode]int64, len(top.below))
		for _, n := range top.below {
			newest[n] = n.newest()
		}
		slices.SortStableFunc(top.below, func(a, b *threadNode) int { return cmp.Compare(newest[a], newest[b]) })
	}
	return top.below
}

// takePlace puts a message where a place was kept for it.
func (n *threadNode) takePlace(kept *threadNode) {
	for _, b := range n.below {
		b.parent = n
	}
	if p := n.parent; p != nil {
		p.below[slices.Index(p.below, kept)] = n
	}
	kept.parent, kept.below, kept.id = n, nil, "" // no root, and nothing
}

// maxClimb bounds the search for loops; a longer chain is cut.
const maxClimb = 10_000

// above reports whether n is other, or stands above it.
func (n *threadNode) above(other *threadNode) bool {
	for steps := 0; other != nil; steps++ {
		if other == n || steps > maxClimb {
			return true
		}
		other = other.parent
	}
	return false
}

func (n *threadNode) hang(below *threadNode) {
	n.parent = below
	below.below = append(below.below, n)
}

func (n *threadNode) unhang() {
	if p := n.parent; p != nil {
		i := slices.Index(p.below, n)
		p.below = slices.Delete(p.below, i, i+1)
		n.parent = nil
	}
}

// prune takes out places without a message: what is below them moves up, but
// at the top only where it is one.
func prune(list []*threadNode, top bool) (kept []*threadNode) {
	for _, n := range list {
		n.below = prune(n.below, false)
		switch {
		case n.number != 0, top && len(n.below) > 1:
			kept = append(kept, n)
		default:
			kept = append(kept, n.below...)
		}
	}
	return kept
}

// gathered puts threads of one subject together.
func gathered(list []*threadNode) []*threadNode {
	subject := func(n *threadNode) *threadNode {
		if n.number == 0 && len(n.below) > 0 {
			return n.below[0]
		}
		return n
	}
	table := map[string]*threadNode{}
	for _, n := range list { // (5)(B)
		s := subject(n)
		if s.subject == "" {
			continue
		}
		have := table[s.subject]
		if have == nil || have.number != 0 && n.number == 0 || subject(have).reply && !s.reply && (have.number != 0 || n.number == 0) {
			table[s.subject] = n
		}
	}
	merged := map[*threadNode]bool{}
	replaced := map[*threadNode]*threadNode{}
	for _, n := range list { // (5)(C)
		s := subject(n)
		have := table[s.subject]
		if s.subject == "" || have == nil || have == n {
			continue
		}
		merged[n] = true
		switch {
		case have.number == 0 && n.number == 0:
			have.below = append(have.below, n.below...)
		case have.number == 0:
			have.below = append(have.below, n)
		case s.reply && !subject(have).reply:
			have.below = append(have.below, n)
		default:
			both := &threadNode{below: []*threadNode{have, n}}
			replaced[have] = both
			table[s.subject] = both
		}
	}
	var kept []*threadNode
	for _, n := range list {
		if merged[n] {
			continue
		}
		if both := replaced[n]; both != nil {
			n = both
		}
		kept = append(kept, n)
	}
	return kept
}

// sortTree orders all siblings by date.
func sortTree(n *threadNode) {
	for _, b := range n.below {
		sortTree(b)
	}
	slices.SortStableFunc(n.below, byDate)
}

func (n *threadNode) newest() int64 {
	d := n.date
	for _, b := range n.below {
		d = max(d, b.newest())
	}
	return d
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
