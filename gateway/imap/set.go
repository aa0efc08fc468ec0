package imap

import (
	"slices"
	"strconv"

	"github.com/relais-sante/relais/mailbox/folder"
)

// span is a range of numbers; 0 stands for "*".
type span struct{ from, to uint32 }

// numSet is a set of sequence numbers or UIDs as a client wrote it
// (RFC 9051 §9: sequence-set).
type numSet struct {
	spans []span
	saved bool // "$": what the last search found (RFC 5182)
}

// set reads a set.
func (p *parser) set() numSet {
	if p.take('$') {
		return numSet{saved: true}
	}
	var s numSet
	for {
		from := p.setNumber()
		to := from
		if p.take(':') {
			to = p.setNumber()
		}
		if p.failed() {
			return numSet{}
		}
		s.spans = append(s.spans, span{from, to})
		if len(s.spans) > p.c.server.limits.SetRanges {
			p.fail("too many ranges")
			return numSet{}
		}
		if !p.take(',') {
			return s
		}
	}
}

func (p *parser) setNumber() uint32 {
	if p.take('*') {
		return 0
	}
	n := p.number()
	if n == 0 {
		p.fail("numbers begin with 1")
	}
	return n
}

// known reads a set of UIDs without "*" (RFC 7162 §7: known-uids).
func (p *parser) known() []span {
	s := p.set()
	for _, r := range s.spans {
		if r.from == 0 || r.to == 0 {
			p.fail("* has no place here")
			return nil
		}
	}
	if s.saved {
		p.fail("$ has no place here")
	}
	return normal(s.spans, 0)
}

// normal puts spans in order, each from low to high, and joins those that
// touch. Last is what "*" stands for.
func normal(spans []span, last uint32) []span {
	out := make([]span, 0, len(spans))
	for _, s := range spans {
		if s.from == 0 {
			s.from = last
		}
		if s.to == 0 {
			s.to = last
		}
		if s.from > s.to {
			s.from, s.to = s.to, s.from
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b span) int {
		if a.from < b.from {
			return -1
		}
		if a.from > b.from {
			return 1
		}
		return 0
	})
	n := 0
	for _, s := range out {
		if n > 0 && uint64(s.from) <= uint64(out[n-1].to)+1 {
			out[n-1].to = max(out[n-1].to, s.to)
			continue
		}
		out[n] = s
		n++
	}
	return out[:n]
}

// contains reports whether spans in normal order hold n.
func contains(spans []span, n uint32) bool {
	_, found := slices.BinarySearchFunc(spans, n, func(s span, n uint32) int {
		switch {
		case s.to < n:
			return -1
		case s.from > n:
			return 1
		}
		return 0
	})
	return found
}

// places gives the places in rows, as spans of indices from 0 with to left
// out, of the messages that the set names. Wrong is true if a sequence number
// stands for no message (RFC 9051 §9: seq-number).
func (s numSet) places(rows []folder.Row, uid bool, saved []uint32) (at []span, wrong bool) {
	if s.saved {
		for _, u := range saved {
			if i, ok := find(rows, u); ok {
				at = join(at, span{uint32(i), uint32(i) + 1})
			}
		}
		return at, false
	}
	n := uint32(len(rows))
	if !uid {
		for _, r := range s.spans {
			wrong = wrong || r.from > n && r.to > n // "n:*" stands for the last, or nothing
		}
		if n == 0 {
			return nil, wrong
		}
		for _, r := range normal(s.spans, n) {
			if r.from <= n {
				at = append(at, span{r.from - 1, min(r.to, n)})
			}
		}
		return at, wrong
	}
	if n == 0 {
		return nil, false
	}
	for _, r := range normal(s.spans, rows[n-1].UID) {
		from, to := from(rows, r.from), from(rows, r.to)
		if to < len(rows) && rows[to].UID == r.to {
			to++
		}
		if from < to {
			at = join(at, span{uint32(from), uint32(to)})
		}
	}
	return at, false
}

// join appends a span that lies behind the others.
func join(at []span, s span) []span {
	if n := len(at); n > 0 && at[n-1].to == s.from {
		at[n-1].to = s.to
		return at
	}
	return append(at, s)
}

// find gives the place of a UID.
func find(rows []folder.Row, uid uint32) (int, bool) {
	i := from(rows, uid)
	return i, i < len(rows) && rows[i].UID == uid
}

// from gives the place of the first row with a UID not below uid.
func from(rows []folder.Row, uid uint32) int {
	i, _ := slices.BinarySearchFunc(rows, uid, func(r folder.Row, u uint32) int {
		switch {
		case r.UID < u:
			return -1
		case r.UID > u:
			return 1
		}
		return 0
	})
	return i
}

// count is how many places the spans hold.
func count(at []span) int {
	n := 0
	for _, s := range at {
		n += int(s.to - s.from)
	}
	return n
}

// uids gives the UIDs at places.
func uids(rows []folder.Row, at []span) []uint32 {
	all := make([]uint32, 0, count(at))
	for _, s := range at {
		for i := s.from; i < s.to; i++ {
			all = append(all, rows[i].UID)
		}
	}
	return all
}

// appendSet appends numbers as a set, in their order: neighbours that follow
// each other upwards become a range.
func appendSet(b []byte, nums []uint32) []byte {
	for i := 0; i < len(nums); {
		j := i
		for j+1 < len(nums) && nums[j+1] == nums[j]+1 {
			j++
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, uint64(nums[i]), 10)
		if j > i {
			b = append(b, ':')
			b = strconv.AppendUint(b, uint64(nums[j]), 10)
		}
		i = j + 1
	}
	return b
}
