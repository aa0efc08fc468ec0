package imap

import (
	"slices"
	"strings"

	"github.com/relais-sante/relais/mailbox/folder"
)

// doLsub is RFC 3501 §6.3.9: subscribed names; with "%" also those above one
// that are not.
func (c *conn) doLsub(p *parser) reply {
	p.spaces()
	reference := p.folderName(p.astring())
	p.spaces()
	pattern := p.pattern(reference)
	if !p.end() {
		return p.result()
	}
	all, err := c.user.List(c.ctx)
	if err != nil {
		return c.failed(err)
	}
	names := map[string]bool{} // true: subscribed
	for _, f := range all {
		if !f.Subscribed {
			continue
		}
		if matches(pattern, f.Name) {
			names[f.Name] = true
			continue
		}
		for i := len(f.Name) - 1; i > 0 && strings.HasSuffix(pattern, "%"); i-- {
			if f.Name[i] == folder.Delimiter && matches(pattern, f.Name[:i]) && !names[f.Name[:i]] {
				names[f.Name[:i]] = false
			}
		}
	}
	for _, name := range sortedKeys(names) {
		c.text("* LSUB (")
		if !names[name] {
			c.text(`\Noselect`)
		}
		c.text(") \"/\" ")
		c.name(name)
		c.text("\r\n")
		c.spill()
	}
	return ok()
}

func sortedKeys(m map[string]bool) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
