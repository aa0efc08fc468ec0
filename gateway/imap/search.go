package imap

import (
	"errors"
	"slices"
	"strconv"
)

func (c *conn) doSearch(p *parser) reply    { return c.searchCommand(p, false) }
func (c *conn) doUIDSearch(p *parser) reply { return c.searchCommand(p, true) }

// wanted is what a search returns (RFC 4731, RFC 5182, RFC 5267, RFC 9394).
type wanted struct {
	extended                   bool // ESEARCH, not SEARCH
	min, max, all, count, save bool
	update, context            bool
	partial                    *partialRange
	sorted                     bool // of a SORT
}

// searchCommand is RFC 9051 §6.4.4.
func (c *conn) searchCommand(p *parser, uid bool) reply {
	p.spaces()
	var w wanted
	p.returns(&w)
	if p.word("CHARSET") {
		p.spaces()
		if r := p.charset(); r != nil {
			return *r
		}
		p.spaces()
	}
	q := p.query()
	if !p.end() {
		return p.result()
	}
	if q.modseq && !c.cond {
		c.cond = true
		c.highest()
	}
	c.tell(false)
	q.resolve(c.view)
	found, err := c.search(q, c.view.rows)
	if err != nil {
		if w.save {
			c.view.saved = nil // RFC 5182 §2.1
		}
		return c.searchFailed(err)
	}
	c.found(&w, q, found, uid)
	return c.view.completed(uid)
}

func (c *conn) searchFailed(err error) reply {
	if errors.Is(err, errSearchTooDear) {
		return no(codeLimit, "Recherche trop étendue, précisez-la / search too large, narrow it down")
	}
	return c.failed(err)
}

// returns reads RETURN (…), if it is next.
func (p *parser) returns(w *wanted) {
	if p.word("RETURN") {
		w.extended = true
		p.spaces()
		p.list(func() {
			switch p.key() {
			case "MIN":
				w.min = true
			case "MAX":
				w.max = true
			case "ALL":
				w.all = true
			case "COUNT":
				w.count = true
			case "SAVE":
				w.save = true
			case "UPDATE":
				w.update = true
			case "CONTEXT": // a hint
				w.context = true
			case "PARTIAL":
				p.spaces()
				w.partial = p.partialRange()
			default:
				p.fail("unknown option")
			}
		})
		p.spaces()
	}
	if p.c.rev2 && !w.sorted {
		w.extended = true // RFC 9051 §6.4.4
	}
	if !w.min && !w.max && !w.count && !w.save && w.partial == nil {
		w.all = true
	}
}

// found answers with UIDs in the order of the result.
func (c *conn) found(w *wanted, q *query, found []uint32, uid bool) {
	v := c.view
	if w.save {
		v.saved = w.toSave(found)
	}
	if w.update {
		c.keepUpdated(w, q, found, uid)
	}
	numbers := found
	if !uid {
		numbers = make([]uint32, len(found))
		for i, u := range found {
			at, _ := find(v.rows, u)
			numbers[i] = uint32(at) + 1
		}
	}
	c.begin()
	if !w.extended {
		name := "* SEARCH"
		if w.sorted {
			name = "* SORT"
		}
		c.text(name)
		for _, n := range numbers {
			c.out = append(c.out, ' ')
			c.out = appendUint(c.out, uint64(n))
		}
		if q.modseq && len(found) > 0 {
			c.text(" (MODSEQ ")
			c.number(v.highestOf(found))
			c.text(")")
		}
		c.text("\r\n")
		return
	}
	if w.save && !w.min && !w.max && !w.all && !w.count && w.partial == nil {
		return // RFC 5182 §2.1
	}
	c.text("* ESEARCH (TAG ")
	c.string(c.tag)
	c.text(")")
	if uid {
		c.text(" UID")
	}
	told := found // those the modseq speaks of
	if n := len(numbers); n > 0 {
		lowest, highest := slices.Index(numbers, slices.Min(numbers)), slices.Index(numbers, slices.Max(numbers))
		if w.sorted { // RFC 5267 §3.1: the first and the last of the order
			lowest, highest = 0, n-1
		}
		if w.min {
			c.text(" MIN ")
			c.number(uint64(numbers[lowest]))
		}
		if w.max {
			c.text(" MAX ")
			c.number(uint64(numbers[highest]))
		}
		if w.all {
			c.text(" ALL ")
			c.out = appendSet(c.out, numbers)
		} else if !w.count {
			told = nil
			if w.min {
				told = append(told, found[lowest])
			}
			if w.max {
				told = append(told, found[highest])
			}
		}
	}
	if w.count {
		c.text(" COUNT ")
		c.number(uint64(len(numbers)))
	}
	if w.partial != nil {
		part := w.partial.slice(numbers)
		c.text(" PARTIAL (" + w.partial.String() + " ")
		if len(part) == 0 {
			c.text("NIL")
		} else {
			c.out = appendSet(c.out, part)
		}
		c.text(")")
		if !w.all && !w.count {
			told = append(told, w.partial.slice(found)...)
		}
	}
	if q.modseq && len(told) > 0 {
		c.text(" MODSEQ ")
		c.number(v.highestOf(told))
	}
	c.text("\r\n")
}

// toSave is what "$" stands for after a search (RFC 5182 §2.1).
func (w *wanted) toSave(found []uint32) []uint32 {
	if len(found) == 0 || !w.min && !w.max || w.all || w.count {
		if w.partial != nil && !w.all && !w.count {
			found = w.partial.slice(found) // RFC 9394 §3.1
		}
		found = slices.Clone(found)
		slices.Sort(found)
		return found
	}
	var kept []uint32
	if w.min {
		kept = append(kept, slices.Min(found))
	}
	if w.max {
		kept = append(kept, slices.Max(found))
	}
	return slices.Compact(kept)
}

// highestOf is the highest modseq of messages.
func (v *view) highestOf(list []uint32) (modseq uint64) {
	for _, u := range list {
		if at, found := find(v.rows, u); found {
			modseq = max(modseq, v.rows[at].ModSeq)
		}
	}
	return modseq
}

// partialRange is a window on a result: from 1 upwards, or from -1 counted
// from the end (RFC 9394 §3.1).
type partialRange struct {
	from, to int64
	end      bool
}

func (p *parser) partialRange() *partialRange {
	one := func() (int64, bool) {
		end := p.take('-')
		n := int64(p.number())
		if n == 0 {
			p.fail("numbers begin with 1")
		}
		return n, end
	}
	r := &partialRange{}
	var end bool
	r.from, r.end = one()
	p.need(':')
	r.to, end = one()
	if end != r.end {
		p.fail("both ends must count from the same side")
	}
	if r.from > r.to {
		r.from, r.to = r.to, r.from
	}
	return r
}

func (r *partialRange) String() string {
	sign := ""
	if r.end {
		sign = "-"
	}
	return sign + strconv.FormatInt(r.from, 10) + ":" + sign + strconv.FormatInt(r.to, 10)
}

// window gives the places, from 0 and with the last left out, of n results.
func (r *partialRange) window(n int) (from, to int) {
	from, to = int(min(r.from-1, int64(n))), int(min(r.to, int64(n)))
	if r.end {
		from, to = n-to, n-from
	}
	return from, to
}

func (r *partialRange) slice(all []uint32) []uint32 {
	from, to := r.window(len(all))
	return all[from:to]
}

// of gives the window on the places of spans.
func (r *partialRange) of(at []span) (kept []span) {
	from, to := r.window(count(at))
	seen := 0
	for _, s := range at {
		n := int(s.to - s.from)
		lo, hi := max(from-seen, 0), min(to-seen, n)
		if lo < hi {
			kept = append(kept, span{s.from + uint32(lo), s.from + uint32(hi)})
		}
		seen += n
	}
	return kept
}
