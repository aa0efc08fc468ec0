package imap

import (
	"github.com/emersion/go-imap/v2"

	"github.com/relais-sante/relais/mailbox/folder"
)

func (c *conn) doSelect(p *parser) reply  { return c.selectFolder(p, false) }
func (c *conn) doExamine(p *parser) reply { return c.selectFolder(p, true) }

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
		for i := 0; i < len(v.rows) && v.base.Unseen > 0; i++ {
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

// writable refuses what would change a folder that was opened to be read.
func (c *conn) writable() *reply {
	if !c.view.folder.ReadOnly() {
		return nil
	}
	r := no(string(imap.ResponseCodeNoPerm), "Ouvert en lecture seule / opened read-only")
	return &r
}
