package imap

import (
	"bytes"
	"slices"
	"strings"

	"github.com/relais-sante/relais/mailbox/folder"
)

// notify is what a client asked to be told without asking (RFC 5465).
type notify struct {
	wake    <-chan struct{}
	stop    func()
	groups  []notifyGroup
	own     *notifyGroup // of the selected folder
	delayed bool         // SELECTED-DELAYED: what vanished is told with a command
	before  map[string]folder.State
	names   map[string]bool // all folders; true: subscribed
}

// notifyGroup says for which folders which events are told.
type notifyGroup struct {
	filter   string   // "INBOXES", "PERSONAL", "SUBSCRIBED", "SUBTREE", "MAILBOXES", "SELECTED", …
	names    []string // of SUBTREE and MAILBOXES
	messages bool     // MessageNew, MessageExpunge
	flags    bool
	folders  bool // MailboxName
	subs     bool // SubscriptionChange
}

// badEvent tells which events there are (RFC 5465 §5).
const badEvent = "BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange)"

func (n *notify) selected() bool { return n != nil && n.own != nil && n.own.messages }

// doNotify is RFC 5465 §3.
func (c *conn) doNotify(p *parser) reply {
	p.spaces()
	n := &notify{}
	status, none := false, false
	switch p.key() {
	case "NONE":
		none = true
	case "SET":
		if p.take(' ') && p.word("STATUS") {
			status = true
			p.spaces()
		}
		for !p.failed() {
			n.groups = append(n.groups, p.notifyGroup())
			if !p.take(' ') {
				break
			}
		}
	default:
		p.fail("expected SET or NONE")
	}
	if len(n.groups) > c.server.limits.ListPatterns {
		p.fail("too many groups")
	}
	if !p.end() {
		return p.result()
	}
	if c.watching != nil {
		c.watching.stop()
		c.watching = nil
	}
	if none {
		return ok()
	}
	n.groups = slices.DeleteFunc(n.groups, func(g notifyGroup) bool {
		if g.filter == "SELECTED" || g.filter == "SELECTED-DELAYED" {
			n.own, n.delayed = &g, g.filter == "SELECTED-DELAYED"
			return true
		}
		return false
	})
	n.wake, n.stop = c.user.Wake()
	c.watching = n
	c.notifyStatus(status)
	return ok()
}

// notifyGroup reads "(filter events)".
func (p *parser) notifyGroup() (g notifyGroup) {
	p.need('(')
	switch g.filter = p.key(); g.filter {
	case "SELECTED", "SELECTED-DELAYED", "INBOXES", "PERSONAL", "SUBSCRIBED":
	case "SUBTREE", "MAILBOXES":
		p.spaces()
		if p.peek() == '(' {
			p.list(func() { g.names = append(g.names, p.mailbox()) })
		} else {
			g.names = []string{p.mailbox()}
		}
	default:
		p.fail("unknown filter")
	}
	p.spaces()
	if p.word("NONE") {
		p.need(')')
		return g
	}
	news, gone := false, false
	p.list(func() {
		switch p.key() {
		case "MESSAGENEW":
			news = true
			if bytes.HasPrefix(p.line, []byte(" (")) { // items to fetch of each
				p.refused = badEvent
				p.fail("Sans attributs / without items to fetch")
			}
		case "MESSAGEEXPUNGE":
			gone = true
		case "FLAGCHANGE":
			g.flags = true
		case "MAILBOXNAME":
			g.folders = true
		case "SUBSCRIPTIONCHANGE":
			g.subs = true
		default:
			p.refused = badEvent
			p.fail("Événement inconnu / event is not told of")
		}
	})
	// RFC 5465 §5: neither is of use without the other.
	if g.messages = news && gone; news != gone || g.flags && !news {
		p.fail("MessageNew and MessageExpunge go together")
	}
	p.need(')')
	return g
}

// covers reports whether a folder is in the group.
func (g *notifyGroup) covers(f *folder.Info) bool {
	switch g.filter {
	case "INBOXES":
		return f.Name == folder.Inbox
	case "PERSONAL":
		return true
	case "SUBSCRIBED":
		return f.Subscribed
	case "SUBTREE":
		return slices.ContainsFunc(g.names, func(n string) bool {
			return f.Name == n || strings.HasPrefix(f.Name, n+string(folder.Delimiter))
		})
	}
	return slices.Contains(g.names, f.Name)
}

// notifyStatus tells what is new in folders that are not selected. First says
// that their state is told now, whatever it is.
func (c *conn) notifyStatus(first bool) {
	n := c.watching
	all, err := c.user.List(c.ctx)
	if err != nil {
		c.failed(err)
		return
	}
	begun := n.before != nil
	states, names := map[string]folder.State{}, map[string]bool{}
	for i := range all {
		f := &all[i]
		g := n.groupOf(f)
		if g == nil {
			continue
		}
		if !f.Missing {
			names[f.Name] = f.Subscribed
		}
		was, had := n.names[f.Name]
		if begun && !f.Missing && (g.folders && !had || g.subs && had && was != f.Subscribed) {
			c.notifyFolder(f, false)
		}
		if !g.messages || f.Missing || c.view != nil && c.view.folder.Name() == f.Name {
			continue
		}
		s, err := c.user.Stat(c.ctx, f.Name)
		if err != nil {
			continue // gone meanwhile
		}
		states[f.Name] = s
		old, known := n.before[f.Name]
		changed := known && (old.LastUID != s.LastUID || old.Messages != s.Messages || old.UIDValidity != s.UIDValidity ||
			g.flags && old.LastModSeq != s.LastModSeq)
		if first || begun && changed {
			items := []string{"MESSAGES", "UIDNEXT", "UIDVALIDITY"}
			if g.flags {
				items = append(items, "UNSEEN", "HIGHESTMODSEQ")
			}
			c.statusLine(f.Name, items) // what is gone meanwhile is not told of
		}
	}
	for _, name := range sortedKeys(n.names) {
		if _, there := names[name]; !there && begun {
			f := &folder.Info{Name: name, Missing: true}
			if g := n.groupOf(f); g != nil && g.folders {
				c.notifyFolder(f, true)
			}
		}
	}
	n.before, n.names = states, names
}

// groupOf gives the first group a folder is in (RFC 5465 §3.1).
func (n *notify) groupOf(f *folder.Info) *notifyGroup {
	for i := range n.groups {
		if n.groups[i].covers(f) {
			return &n.groups[i]
		}
	}
	return nil
}

// notifyFolder tells of a folder that came, went or was (un)subscribed.
func (c *conn) notifyFolder(f *folder.Info, gone bool) {
	c.text("* LIST (")
	switch {
	case gone:
		c.text(`\NonExistent`)
	case f.Subscribed:
		c.text(`\Subscribed`)
	}
	c.text(") \"/\" ")
	c.name(f.Name)
	c.text("\r\n")
}
