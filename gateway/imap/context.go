package imap

import (
	"slices"

	"github.com/relais-sante/relais/mailbox/folder"
)

// searchContext is a search whose result is kept up to date (RFC 5267 §4.3).
type searchContext struct {
	tag   string
	uid   bool
	query *query
	found []uint32 // UIDs, in order
}

// keepUpdated keeps a search up to date from now on, if there is room.
func (c *conn) keepUpdated(w *wanted, q *query, found []uint32, uid bool) {
	v := c.view
	if w.sorted || len(v.contexts) >= c.server.limits.Contexts {
		c.text("* OK [" + codeNoUpdate + " ")
		c.string(c.tag)
		c.text("] Not kept up to date\r\n")
		return
	}
	v.contexts = append(v.contexts, &searchContext{tag: c.tag, uid: uid, query: q, found: slices.Clone(found)})
}

// doCancelUpdate is RFC 5267 §4.3.2.
func (c *conn) doCancelUpdate(p *parser) reply {
	var tags []string
	for !p.failed() && !p.atEnd() {
		p.spaces()
		tags = append(tags, p.string())
	}
	if len(tags) == 0 {
		p.fail("no tag")
	}
	if !p.end() {
		return p.result()
	}
	c.view.contexts = slices.DeleteFunc(c.view.contexts, func(k *searchContext) bool { return slices.Contains(tags, k.tag) })
	return ok()
}

// contextsLose takes messages that vanish out of the results. It comes before
// the EXPUNGE, while their numbers still stand.
func (c *conn) contextsLose(gone []uint32) {
	for _, k := range c.view.contexts {
		lost := slices.DeleteFunc(slices.Clone(gone), func(u uint32) bool {
			_, in := slices.BinarySearch(k.found, u)
			return !in
		})
		c.contextChange(k, "REMOVEFROM", lost)
	}
}

// contextsUpdate looks at messages that changed or came.
func (c *conn) contextsUpdate(changed, added []uint32) {
	v := c.view
	if len(v.contexts) == 0 || len(changed)+len(added) == 0 {
		return
	}
	var rows []folder.Row
	for _, u := range merge(changed, added) {
		if at, found := find(v.rows, u); found {
			rows = append(rows, v.rows[at])
		}
	}
	for _, k := range slices.Clone(v.contexts) {
		now, err := c.search(k.query, rows)
		if err != nil {
			c.failed(err)
			v.contexts = slices.DeleteFunc(v.contexts, func(o *searchContext) bool { return o == k })
			c.text("* OK [" + codeNoUpdate + " ")
			c.string(k.tag)
			c.text("] No longer kept up to date\r\n")
			continue
		}
		var lost, won []uint32
		for i := range rows {
			u := rows[i].UID
			_, had := slices.BinarySearch(k.found, u)
			_, has := slices.BinarySearch(now, u)
			switch {
			case had && !has:
				lost = append(lost, u)
			case has && !had:
				won = append(won, u)
			}
		}
		c.contextChange(k, "REMOVEFROM", lost)
		c.contextChange(k, "ADDTO", won)
	}
}

// contextChange tells of messages that leave or enter a result. The result is
// not sorted, so the position is 0.
func (c *conn) contextChange(k *searchContext, what string, list []uint32) {
	if len(list) == 0 {
		return
	}
	if what == "ADDTO" {
		k.found = merge(k.found, list)
	} else {
		k.found = slices.DeleteFunc(k.found, func(u uint32) bool {
			_, in := slices.BinarySearch(list, u)
			return in
		})
	}
	c.text("* ESEARCH (TAG ")
	c.string(k.tag)
	c.text(")")
	if k.uid {
		c.text(" UID")
	}
	c.text(" " + what + " (0 ")
	if k.uid {
		c.out = appendSet(c.out, list)
	} else {
		c.out = append(c.out, c.modified(list, false)...)
	}
	c.text(")\r\n")
}
