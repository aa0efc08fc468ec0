package imap

import (
	"errors"
	"slices"
	"strings"

	"github.com/relais-sante/relais/mailbox/folder"
)

// listing is a LIST command (RFC 9051 §6.3.9, RFC 5258, RFC 5819, RFC 6154).
type listing struct {
	patterns   []string
	extended   bool // options were given: \NonExistent is understood
	subscribed bool // select
	special    bool
	recursive  bool
	returnSubs bool
	status     []string
}

// maxPattern bounds what matching costs: the bytes of all patterns of a LIST.
const maxPattern = 2000

func (c *conn) doList(p *parser) reply {
	p.spaces()
	var l listing
	if p.peek() == '(' {
		l.extended = true
		p.list(func() { p.listSelection(&l) })
		if l.recursive && !l.subscribed && !l.special {
			p.fail("RECURSIVEMATCH needs another option")
		}
		p.spaces()
	}
	reference := p.folderName(p.astring())
	p.spaces()
	if p.peek() == '(' {
		l.extended = true
		p.list(func() { l.patterns = append(l.patterns, p.pattern(reference)) })
	} else {
		l.patterns = []string{p.pattern(reference)}
	}
	if p.take(' ') {
		l.extended = true
		if p.key() != "RETURN" {
			p.fail("expected RETURN")
		}
		p.spaces()
		p.list(func() { p.listReturn(&l) })
	}
	if len(l.patterns) > c.server.limits.ListPatterns || len(strings.Join(l.patterns, "")) > maxPattern {
		p.fail("too many patterns")
	}
	if !p.end() {
		return p.result()
	}
	if len(l.patterns) == 1 && l.patterns[0] == "" && !l.extended {
		c.text("* LIST (\\Noselect) \"/\" \"\"\r\n") // RFC 9051 §6.3.9: the root
		return ok()
	}
	all, err := c.user.List(c.ctx)
	if err != nil {
		return c.failed(err)
	}
	for i := range all {
		if err := c.listOne(&l, all, i); err != nil {
			return c.failed(err)
		}
		c.spill()
	}
	return ok()
}

// listSelection reads a selection option.
func (p *parser) listSelection(l *listing) {
	switch p.key() {
	case "SUBSCRIBED":
		l.subscribed, l.returnSubs = true, true
	case "SPECIAL-USE":
		l.special = true
	case "RECURSIVEMATCH":
		l.recursive = true
	case "REMOTE":
	default:
		p.fail("unknown option")
	}
}

// listReturn reads a return option. Children and special uses are always told.
func (p *parser) listReturn(l *listing) {
	switch p.key() {
	case "SUBSCRIBED":
		l.returnSubs = true
	case "CHILDREN", "SPECIAL-USE":
	case "STATUS":
		p.spaces()
		l.status = p.statusItems()
	default:
		p.fail("unknown option")
	}
}

// pattern reads a pattern and puts the reference before it.
func (p *parser) pattern(reference string) string {
	var s string
	switch p.peek() {
	case '"', '{':
		s = p.string()
	default:
		if s = p.while(&listChar); s == "" {
			p.fail("expected a pattern")
		}
	}
	if !p.c.utf8 {
		if decoded, err := decodeUTF7(s); err == nil {
			s = decoded // a pattern that is no name matches none
		}
	}
	s = reference + s
	if len(s) > maxPattern {
		p.fail("pattern too long")
	}
	return s
}

// listOne tells of a folder if the client asked for it.
func (c *conn) listOne(l *listing, all []folder.Info, i int) error {
	f := &all[i]
	if !matchesAny(l.patterns, f.Name) {
		return nil
	}
	below := belowOf(all, i)
	chosen := (!l.subscribed || f.Subscribed) && (!l.special || f.Use != folder.NoUse)
	if f.Missing && len(below) == 0 && !l.subscribed {
		chosen = false
	}
	// RFC 5258 §3.5: what is below counts only where it is not listed itself.
	inner := l.recursive && slices.ContainsFunc(below, func(b folder.Info) bool {
		return (!l.subscribed || b.Subscribed) && (!l.special || b.Use != folder.NoUse) && !matchesAny(l.patterns, b.Name)
	})
	if !chosen && !inner {
		return nil
	}
	c.text("* LIST (")
	c.attributes(l, f, len(below) > 0)
	c.text(") \"/\" ")
	c.name(f.Name)
	if inner {
		c.text(" (\"CHILDINFO\" (")
		switch {
		case l.subscribed && l.special:
			c.text(`"SUBSCRIBED" "SPECIAL-USE"`)
		case l.subscribed:
			c.text(`"SUBSCRIBED"`)
		default:
			c.text(`"SPECIAL-USE"`)
		}
		c.text("))")
	}
	c.text("\r\n")
	if l.status == nil || f.Missing {
		return nil
	}
	err := c.statusLine(f.Name, l.status)
	if errors.Is(err, folder.ErrNone) { // gone meanwhile
		err = nil
	}
	return err
}

// attributes writes what is told of a folder in a list.
func (c *conn) attributes(l *listing, f *folder.Info, children bool) {
	var attrs []string
	switch {
	case f.Missing && l.extended:
		attrs = append(attrs, `\NonExistent`)
	case f.Missing:
		attrs = append(attrs, `\Noselect`)
	}
	switch {
	case children:
		attrs = append(attrs, `\HasChildren`)
	case f.Fixed && f.Name != folder.Inbox:
		attrs = append(attrs, `\Noinferiors`)
	default:
		attrs = append(attrs, `\HasNoChildren`)
	}
	if l.returnSubs && f.Subscribed {
		attrs = append(attrs, `\Subscribed`)
	}
	for _, u := range uses {
		if u.use == f.Use {
			attrs = append(attrs, u.attr)
		}
	}
	c.text(strings.Join(attrs, " "))
}

// belowOf gives the folders below that at i. In order of names they need not
// follow at once: "a", "a b", "a/c".
func belowOf(all []folder.Info, i int) []folder.Info {
	prefix := all[i].Name + string(folder.Delimiter)
	from, _ := slices.BinarySearchFunc(all, prefix, func(f folder.Info, p string) int { return strings.Compare(f.Name, p) })
	to := from
	for to < len(all) && strings.HasPrefix(all[to].Name, prefix) {
		to++
	}
	return all[from:to]
}

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, name) })
}

// matches reports whether a name matches a pattern: "*" stands for anything,
// "%" for anything within a level. The cost is that of both lengths multiplied.
func matches(pattern, name string) bool {
	if inbox := len(folder.Inbox); len(pattern) >= inbox && strings.EqualFold(pattern[:inbox], folder.Inbox) {
		pattern = folder.Inbox + pattern[inbox:]
	}
	// at[i]: the pattern so far matches the first i bytes of name.
	at := make([]bool, len(name)+1)
	at[0] = true
	for k := 0; k < len(pattern); k++ {
		switch p := pattern[k]; p {
		case '*', '%':
			reach := false
			for i := range at {
				if i > 0 && p == '%' && name[i-1] == folder.Delimiter {
					reach = false
				}
				reach = reach || at[i]
				at[i] = reach
			}
		default:
			for i := len(name); i > 0; i-- {
				at[i] = at[i-1] && name[i-1] == p
			}
			at[0] = false
		}
	}
	return at[len(name)]
}
