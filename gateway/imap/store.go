package imap

import (
	"github.com/relais-sante/relais/mailbox/folder"
)

func (c *conn) doStore(p *parser) reply    { return c.store(p, false) }
func (c *conn) doUIDStore(p *parser) reply { return c.store(p, true) }

// store is RFC 9051 §6.4.6, with UNCHANGEDSINCE of RFC 7162 §3.1.3.
func (c *conn) store(p *parser, uid bool) reply {
	p.spaces()
	set := p.set()
	p.spaces()
	var unchanged *uint64
	if p.peek() == '(' {
		p.list(func() {
			if p.key() != "UNCHANGEDSINCE" {
				p.fail("unknown modifier")
			}
			p.spaces()
			n := p.number64()
			unchanged = &n
		})
		p.spaces()
	}
	how := folder.SetFlags
	switch {
	case p.take('+'):
		how = folder.AddFlags
	case p.take('-'):
		how = folder.RemoveFlags
	}
	silent := false
	switch p.key() {
	case "FLAGS":
	case "FLAGS.SILENT":
		silent = true
	default:
		p.fail("unknown item")
	}
	p.spaces()
	flags := p.flags(true)
	if !p.end() {
		return p.result()
	}
	if r := c.writable(); r != nil {
		return *r
	}
	if unchanged != nil && !c.cond {
		c.cond = true
		c.highest()
	}
	v := c.view
	at, r := v.places(set, uid)
	if r != nil {
		return *r
	}
	all := uids(v.rows, at)
	if len(all) == 0 {
		return ok()
	}
	rows, modified, err := v.folder.SetFlags(c.ctx, all, how, flags, unchanged)
	if err != nil {
		return c.failed(err)
	}
	if silent {
		c.tell(false, v.expected(rows, how, flags)...)
	} else {
		c.tell(false, rows...)
	}
	c.tellStored(rows, uid, silent)
	if len(modified) > 0 {
		return okCode("MODIFIED " + string(c.modified(modified, uid)))
	}
	if !uid && !silent && len(rows) < len(all) { // RFC 2180 §4.2: no FETCH answers for these
		return no(codeGone, "Des messages ont été supprimés / some messages have been deleted")
	}
	return ok()
}

// expected keeps the rows that are what the client, having changed what it
// knew, takes them to be. With SILENT it is told nothing of these; what another
// changed besides it must be told (RFC 9051 §6.4.6).
func (v *view) expected(rows []folder.Row, how folder.FlagChange, by folder.Flags) (as []folder.Row) {
	for i := range rows {
		at, found := find(v.rows, rows[i].UID)
		if found && v.rows[at].Flags.With(how, by).Equal(rows[i].Flags) {
			as = append(as, rows[i])
		}
	}
	return as
}

// tellStored tells the flags as they are now: what another has changed since is
// newer than rows, and stands. Without SILENT all flags; with it only the
// modseq, for a client that asked for those (RFC 7162 §3.1.3).
func (c *conn) tellStored(rows []folder.Row, uid, silent bool) {
	v := c.view
	if silent && !c.cond {
		return
	}
	c.begin()
	for i := range rows {
		at, found := find(v.rows, rows[i].UID)
		if !found {
			continue
		}
		row := &rows[i]
		overtaken := v.rows[at].ModSeq > row.ModSeq
		if overtaken {
			row = &v.rows[at]
		}
		switch {
		case !silent:
			c.tellRow(at, row, uid)
		case !overtaken:
			b := append(c.out, "* "...)
			b = appendUint(b, uint64(at)+1)
			b = append(b, " FETCH (UID "...)
			b = appendUint(b, uint64(row.UID))
			b = append(b, " MODSEQ ("...)
			b = appendUint(b, row.ModSeq)
			c.out = append(b, "))\r\n"...)
		}
		if len(c.out) >= fullBuffer {
			c.drain()
		}
	}
}

// modified writes the set of messages that were left, as UIDs or numbers.
func (c *conn) modified(list []uint32, uid bool) []byte {
	if uid {
		return appendSet(nil, list)
	}
	var numbers []uint32
	for _, u := range list {
		if at, found := find(c.view.rows, u); found {
			numbers = append(numbers, uint32(at)+1)
		}
	}
	return appendSet(nil, numbers)
}
