package imap

import (
	"github.com/emersion/go-imap/v2"

	"github.com/relais-sante/relais/mailbox/folder"
)

// doStatus is RFC 9051 §6.3.11.
func (c *conn) doStatus(p *parser) reply {
	p.spaces()
	name := p.mailbox()
	p.spaces()
	items := p.statusItems()
	if !p.end() {
		return p.result()
	}
	if err := c.statusLine(name, items); err != nil {
		return c.failed(err)
	}
	return ok()
}

func (p *parser) statusItems() (items []string) {
	p.list(func() {
		item := p.key()
		switch item {
		case "MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "DELETED", "SIZE", "RECENT", "APPENDLIMIT", "MAILBOXID":
		case "HIGHESTMODSEQ":
			p.c.cond = true // RFC 7162 §3.1
		case "DELETED-STORAGE": // RFC 9208 §4.1.4: not counted, so not known
			p.fail("unknown item")
		default:
			p.fail("unknown item")
		}
		items = append(items, item)
	})
	return items
}

// statusLine tells the state of a folder.
func (c *conn) statusLine(name string, items []string) error {
	s, err := c.user.Stat(c.ctx, name)
	if err != nil {
		return err
	}
	c.text("* STATUS ")
	c.name(name)
	c.text(" (")
	for i, item := range items {
		if i > 0 {
			c.text(" ")
		}
		c.text(item + " ")
		switch item {
		case "MESSAGES":
			c.number(uint64(s.Messages))
		case "UIDNEXT":
			c.number(uint64(s.UIDNext))
		case "UIDVALIDITY":
			c.number(uint64(s.UIDValidity))
		case "UNSEEN":
			c.number(uint64(s.Unseen))
		case "DELETED":
			c.number(uint64(s.Deleted))
		case "SIZE":
			c.number(uint64(s.Size))
		case "HIGHESTMODSEQ":
			c.number(max(s.HighestModSeq, 1))
		case "RECENT":
			c.number(uint64(c.recentIn(s)))
		case string(imap.CapAppendLimit):
			c.number(uint64(c.server.limits.MessageBytes))
		case "MAILBOXID":
			c.text("(" + s.ID + ")")
		}
	}
	c.text(")\r\n")
	return nil
}

// recentIn counts what is recent in a folder that is not selected. Messages
// that went in between are counted too: it is a hint.
func (c *conn) recentIn(s folder.State) int {
	r := c.server.recents.claim(recentKey{c.user.Name(), s.ID, s.UIDValidity}, s.UIDNext, false)
	return min(int(r.to-r.from), s.Messages)
}
