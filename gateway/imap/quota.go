package imap

// QUOTA (RFC 9208), to be read only: one root with no name stands for the
// private folders of the account.

func (c *conn) doGetQuota(p *parser) reply {
	p.spaces()
	root := p.astring()
	if !p.end() {
		return p.result()
	}
	if root != "" {
		return no("NONEXISTENT", "Quota inexistant / no such quota root")
	}
	return c.quota()
}

func (c *conn) doGetQuotaRoot(p *parser) reply {
	p.spaces()
	name := p.mailbox()
	if !p.end() {
		return p.result()
	}
	if _, err := c.user.Stat(c.ctx, name); err != nil {
		return c.failed(err)
	}
	c.text("* QUOTAROOT ")
	c.name(name)
	c.text(" \"\"\r\n")
	return c.quota()
}

// quota tells what is used; without a limit there is nothing to tell.
func (c *conn) quota() reply {
	q, err := c.user.Quota(c.ctx)
	if err != nil {
		return c.failed(err)
	}
	c.text("* QUOTA \"\" (")
	if q.SizeLimit > 0 { // in units of 1024 bytes (RFC 9208 §5.1)
		c.text("STORAGE ")
		c.number(uint64((q.Size + 1023) / 1024))
		c.text(" ")
		c.number(uint64(q.SizeLimit / 1024))
	}
	if q.MessagesLimit > 0 {
		if q.SizeLimit > 0 {
			c.text(" ")
		}
		c.text("MESSAGE ")
		c.number(uint64(q.Messages))
		c.text(" ")
		c.number(uint64(q.MessagesLimit))
	}
	c.text(")\r\n")
	return ok()
}

func (c *conn) doSetQuota(p *parser) reply {
	p.spaces()
	p.astring()
	p.spaces()
	p.list(func() {
		p.key()
		p.spaces()
		p.number64()
	})
	if !p.end() {
		return p.result()
	}
	return c.coordinators()
}

// coordinators refuses what is decided elsewhere.
func (c *conn) coordinators() reply {
	return no("NOPERM", "Se règle auprès de la coordination / is set by the coordinators")
}
