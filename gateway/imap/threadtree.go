package imap

import (
	"cmp"
	"slices"
)

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
