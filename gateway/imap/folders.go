package imap

import (
	"strings"

	"github.com/relais-sante/relais/mailbox/folder"
)

// uses are the special uses of folders (RFC 6154 §2).
var uses = []struct {
	use  folder.Use
	attr string
}{
	{folder.Drafts, `\Drafts`},
	{folder.Sent, `\Sent`},
	{folder.Trash, `\Trash`},
	{folder.Junk, `\Junk`},
	{folder.Archive, `\Archive`},
}

// doCreate is RFC 9051 §6.3.4, with RFC 6154 §3.
func (c *conn) doCreate(p *parser) reply {
	p.spaces()
	name := p.mailbox()
	use := folder.NoUse
	if p.take(' ') {
		p.list(func() {
			if p.key() != "USE" {
				p.fail("unknown parameter")
			}
			p.spaces()
			p.list(func() {
				p.need('\\')
				attr := `\` + p.atom()
				found := folder.NoUse
				for _, u := range uses {
					if strings.EqualFold(u.attr, attr) {
						found = u.use
					}
				}
				if use != folder.NoUse || found == folder.NoUse {
					use = "?"
					return
				}
				use = found
			})
		})
	}
	if !p.end() {
		return p.result()
	}
	if use == "?" {
		return no("USEATTR", "Usage impossible / special use not possible")
	}
	name = strings.TrimSuffix(name, string(folder.Delimiter)) // says that folders will be made in it
	if err := c.user.Create(c.ctx, name, use); err != nil {
		return c.failed(err)
	}
	s, err := c.user.Stat(c.ctx, name)
	if err != nil {
		return c.failed(err)
	}
	c.server.recents.begin(recentKey{c.user.Name(), s.ID, s.UIDValidity}, s.UIDNext)
	return okCode("MAILBOXID (" + s.ID + ")") // RFC 8474 §4.1
}

// doDelete is RFC 9051 §6.3.5.
func (c *conn) doDelete(p *parser) reply {
	p.spaces()
	name := p.mailbox()
	if !p.end() {
		return p.result()
	}
	if err := c.user.Delete(c.ctx, name); err != nil {
		return c.failed(err)
	}
	return ok()
}

// doRename is RFC 9051 §6.3.6.
func (c *conn) doRename(p *parser) reply {
	p.spaces()
	from := p.mailbox()
	p.spaces()
	to := p.mailbox()
	if !p.end() {
		return p.result()
	}
	if err := c.user.Rename(c.ctx, from, strings.TrimSuffix(to, string(folder.Delimiter))); err != nil {
		return c.failed(err)
	}
	return ok()
}

func (c *conn) doSubscribe(p *parser) reply   { return c.subscribe(p, true) }
func (c *conn) doUnsubscribe(p *parser) reply { return c.subscribe(p, false) }

// subscribe is RFC 9051 §6.3.7 and §6.3.8.
func (c *conn) subscribe(p *parser, on bool) reply {
	p.spaces()
	name := p.mailbox()
	if !p.end() {
		return p.result()
	}
	if err := c.user.Subscribe(c.ctx, strings.TrimSuffix(name, string(folder.Delimiter)), on); err != nil {
		return c.failed(err)
	}
	return ok()
}
