package imap

// ACL (RFC 4314), to be read only: who may see a folder. The rights follow
// from roles and consent; they are not set here.

func (c *conn) doMyRights(p *parser) reply {
	p.spaces()
	name := p.mailbox()
	if !p.end() {
		return p.result()
	}
	rights, err := c.user.Rights(c.ctx, name)
	if err != nil {
		return c.failed(err)
	}
	c.text("* MYRIGHTS ")
	c.name(name)
	may := ""
	for _, r := range rights {
		if r.Mine {
			may = r.May
			break
		}
	}
	c.text(" ")
	c.string(may)
	c.text("\r\n")
	return ok()
}

func (c *conn) doGetACL(p *parser) reply {
	p.spaces()
	name := p.mailbox()
	if !p.end() {
		return p.result()
	}
	rights, err := c.user.Rights(c.ctx, name)
	if err != nil {
		return c.failed(err)
	}
	c.text("* ACL ")
	c.name(name)
	for _, r := range rights {
		c.text(" ")
		c.string(r.Who)
		c.text(" ")
		c.string(r.May)
	}
	c.text("\r\n")
	return ok()
}

// doListRights says that nothing more can be given (RFC 4314 §3.4).
func (c *conn) doListRights(p *parser) reply {
	p.spaces()
	name := p.mailbox()
	p.spaces()
	who := p.astring()
	if !p.end() {
		return p.result()
	}
	rights, err := c.user.Rights(c.ctx, name)
	if err != nil {
		return c.failed(err)
	}
	may := ""
	for _, r := range rights {
		if r.Who == who {
			may = r.May
			break
		}
	}
	c.text("* LISTRIGHTS ")
	c.name(name)
	c.text(" ")
	c.string(who)
	c.text(" ")
	c.string(may)
	c.text("\r\n")
	return ok()
}

func (c *conn) doSetACL(p *parser) reply    { return c.changeACL(p, true) }
func (c *conn) doDeleteACL(p *parser) reply { return c.changeACL(p, false) }

func (c *conn) changeACL(p *parser, set bool) reply {
	p.spaces()
	name := p.mailbox()
	p.spaces()
	p.astring()
	if set {
		p.spaces()
		p.astring()
	}
	if !p.end() {
		return p.result()
	}
	if _, err := c.user.Stat(c.ctx, name); err != nil {
		return c.failed(err)
	}
	return c.coordinators()
}
