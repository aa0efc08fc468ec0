package imap

import (
	"github.com/emersion/go-imap/v2"

	"github.com/relais-sante/relais/mailbox/folder"
)

func (c *conn) doSelect(p *parser) reply  { return c.selectFolder(p, false) }
func (c *conn) doExamine(p *parser) reply { return c.selectFolder(p, true) }

// resync is what a client remembers of a folder (RFC 7162 §3.2.5).
type resync struct {
	validity uint32
	modseq   uint64
	known    []span // UIDs; nil: all up to the highest
	seqs     []span // and pairs of numbers and UIDs that stood together
	uids     []span
}

// selectFolder is RFC 9051 §6.3.2 and §6.3.3.
func (c *conn) selectFolder(p *parser, readOnly bool) reply {
	p.spaces()
	name := p.mailbox()
	var cond bool
	var known *resync
	if p.take(' ') && p.peek() == '(' {
		p.list(func() {
			switch p.key() {
			case "CONDSTORE":
				cond = true
			case "QRESYNC":
				p.space()
				known = p.resync()
			default:
				p.fail("unknown parameter")
			}
		})
	}
	if known != nil && !c.qresync {
		p.fail("QRESYNC is not enabled")
	}
	if !p.end() {
		return p.result()
	}
	if c.view != nil {
		c.leave()
		if c.qresync || c.rev2 {
			c.text("* OK [CLOSED] Closed\r\n") // RFC 9051 §7.1
		}
	}
	c.cond = c.cond || cond
	f, err := c.user.Open(c.ctx, name, readOnly)
	if err != nil {
		return c.failed(err)
	}
	table, _, err := f.Sync(c.ctx, nil)
	if err != nil {
		f.Close()
		return c.failed(err)
	}
	c.view = &view{folder: f, base: table, rows: table.Rows, keywords: table.Keywords}
	c.selectedLines()
	if known != nil && known.validity == table.UIDValidity {
		c.resync(known)
	}
	if f.ReadOnly() {
		return okCode("READ-ONLY")
	}
	return okCode("READ-WRITE")
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

// selectedLines tells what there is to know of a folder that was opened.
func (c *conn) selectedLines() {
	v := c.view
	c.flagLines()
	c.text("* ")
	c.number(uint64(len(v.rows)))
	c.text(" EXISTS\r\n")
	if !c.rev2 {
		v.key = recentKey{c.user.Name(), v.folder.ID(), v.base.UIDValidity}
		if s := c.server.recents.claim(v.key, v.base.UIDNext, !v.folder.ReadOnly()); s.from < s.to {
			v.recent = []span{{s.from, s.to - 1}}
		}
		c.tellRecentCount()
		for i := range v.rows {
			if !v.rows[i].Flags.Has(folder.Seen) {
				c.text("* OK [UNSEEN ")
				c.number(uint64(i) + 1)
				c.text("] First unseen\r\n")
				break
			}
		}
	} else { // RFC 9051 §6.3.2
		c.text("* LIST () \"/\" ")
		c.name(v.folder.Name())
		c.text("\r\n")
	}
	c.text("* OK [UIDVALIDITY ")
	c.number(uint64(v.base.UIDValidity))
	c.text("] UIDs\r\n* OK [UIDNEXT ")
	c.number(uint64(v.base.UIDNext))
	c.text("] Next UID\r\n* OK [HIGHESTMODSEQ ")
	c.number(max(v.base.HighestModSeq, 1))
	c.text("] Highest\r\n* OK [MAILBOXID (") // RFC 8474 §4.2
	c.text(v.folder.ID())
	c.text(")] Ok\r\n")
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

// doClose is RFC 9051 §6.4.1: it expunges without a word.
func (c *conn) doClose(p *parser) reply {
	if !p.end() {
		return p.result()
	}
	var err error
	if !c.view.folder.ReadOnly() && !c.view.lost {
		err = c.expunge(nil)
	}
	c.leave()
	if err != nil {
		return c.failed(err)
	}
	return ok()
}

// doUnselect is RFC 9051 §6.4.2.
func (c *conn) doUnselect(p *parser) reply {
	if !p.end() {
		return p.result()
	}
	c.leave()
	return ok()
}

// doExpunge is RFC 9051 §6.4.3. What went is told by tell.
func (c *conn) doExpunge(p *parser) reply {
	if !p.end() {
		return p.result()
	}
	return c.expungeReply(nil)
}

// doUIDExpunge is RFC 9051 §6.4.9.
func (c *conn) doUIDExpunge(p *parser) reply {
	p.spaces()
	set := p.set()
	if !p.end() {
		return p.result()
	}
	return c.expungeReply(&set)
}

func (c *conn) expungeReply(set *numSet) reply {
	if r := c.writable(); r != nil {
		return *r
	}
	if err := c.expunge(set); err != nil {
		return c.failed(err)
	}
	c.tell(true)
	if c.qresync { // RFC 7162 §3.2.7
		return okCode("HIGHESTMODSEQ " + string(appendUint(nil, max(c.view.base.HighestModSeq, 1))))
	}
	return ok()
}

// expunge takes away the deleted messages, all or those of a set.
func (c *conn) expunge(set *numSet) error {
	v := c.view
	at := []span{{0, uint32(len(v.rows))}}
	if set != nil {
		at, _ = set.places(v.rows, true, v.saved)
	}
	// Messages that others flagged and this client was not told of go too
	// (RFC 9051 §6.4.3), so the floor below looks at the flags; but never one
	// that this client does not know of.
	all := uids(v.rows, at)
	if len(all) == 0 {
		return nil
	}
	return v.folder.Expunge(c.ctx, all)
}

// writable refuses what would change a folder that was opened to be read.
func (c *conn) writable() *reply {
	if !c.view.folder.ReadOnly() {
		return nil
	}
	r := no(string(imap.ResponseCodeNoPerm), "Ouvert en lecture seule / opened read-only")
	return &r
}
