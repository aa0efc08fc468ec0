package imap

// resync is what a client remembers of a folder (RFC 7162 §3.2.5).
type resync struct {
	validity uint32
	modseq   uint64
	known    []span // UIDs; nil: all up to the highest
	seqs     []span // and pairs of numbers and UIDs that stood together
	uids     []span
}

// resync reads the argument of QRESYNC.
func (p *parser) resync() *resync {
	r := &resync{}
	p.need('(')
	r.validity = p.number()
	p.space()
	r.modseq = p.number64()
	if p.take(' ') {
		if p.peek() != '(' {
			r.known = p.known()
			if !p.take(' ') {
				p.need(')')
				return r
			}
		}
		p.need('(')
		r.seqs = p.known()
		p.space()
		r.uids = p.known()
		p.need(')')
	}
	p.need(')')
	return r
}

// resync tells what changed since the client was here (RFC 7162 §3.2.5.2).
func (c *conn) resync(r *resync) {
	v := c.view
	known := r.known
	if known == nil {
		known = []span{{1, max(v.base.UIDNext, 2) - 1}}
	}
	c.vanishedEarlier(known, v.certain(r))
	for i := range v.rows {
		row := &v.rows[i]
		if row.ModSeq > r.modseq && contains(known, row.UID) {
			c.tellRow(i, row, true)
			c.spill()
		}
	}
}

// certain gives the highest UID of the client's pairs up to which nothing is
// missing: where the number still stands for the same UID, nothing below it
// has vanished since.
func (v *view) certain(r *resync) (uid uint32) {
	uids := &walker{spans: r.uids}
	for seqs := (&walker{spans: r.seqs}); seqs.next() && uids.next(); {
		if i := int(seqs.at) - 1; i >= len(v.rows) || v.rows[i].UID != uids.at {
			break
		}
		uid = uids.at
	}
	return uid
}

// walker goes over the numbers of spans; at most a few thousand are ever asked
// for, since it stops at the first number beyond a folder.
type walker struct {
	spans []span
	at    uint32
	begun bool
}

func (w *walker) next() bool {
	if len(w.spans) == 0 {
		return false
	}
	switch {
	case !w.begun:
		w.begun, w.at = true, w.spans[0].from
	case w.at < w.spans[0].to:
		w.at++
	default:
		if w.spans = w.spans[1:]; len(w.spans) == 0 {
			return false
		}
		w.at = w.spans[0].from
	}
	return true
}

// vanishedEarlier tells which of the UIDs in known, above a UID, are not
// there. What was never there is told too: the client does not have it, and a
// gap says nothing that the UIDs do not (RFC 7162 §3.2.10.1).
func (c *conn) vanishedEarlier(known []span, above uint32) {
	v := c.view
	var gaps []span
	for _, k := range known {
		k.to = min(k.to, max(v.base.UIDNext, 1)-1)
		next := max(k.from, above+1)
		for i := from(v.rows, next); next <= k.to; i++ {
			if i == len(v.rows) || v.rows[i].UID > k.to {
				gaps = append(gaps, span{next, k.to})
				break
			}
			if v.rows[i].UID > next {
				gaps = append(gaps, span{next, v.rows[i].UID - 1})
			}
			next = v.rows[i].UID + 1
		}
	}
	if len(gaps) == 0 {
		return
	}
	c.text("* VANISHED (EARLIER) ")
	for i, g := range gaps {
		if i > 0 {
			c.text(",")
		}
		c.number(uint64(g.from))
		if g.to > g.from {
			c.text(":")
			c.number(uint64(g.to))
		}
	}
	c.text("\r\n")
}
