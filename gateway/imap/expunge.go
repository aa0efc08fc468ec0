package imap

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
