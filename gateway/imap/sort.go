package imap

import (
	"cmp"
	"slices"
	"strings"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/mailbox/letter"
)

func (c *conn) doSort(p *parser) reply    { return c.sortCommand(p, false) }
func (c *conn) doUIDSort(p *parser) reply { return c.sortCommand(p, true) }

// sortKey is one of the criteria of a SORT.
type sortKey struct {
	name    string
	reverse bool
}

var sortNames = []string{"ARRIVAL", "CC", "DATE", "DISPLAYFROM", "DISPLAYTO", "FROM", "SIZE", "SUBJECT", "TO"}

// maxSortText is how much of a text counts for its place.
const maxSortText = 128

// sortCommand is RFC 5256 §3 (BASE.6.4.SORT), with RFC 5957 (DISPLAY) and the
// returns of RFC 5267.
func (c *conn) sortCommand(p *parser, uid bool) reply {
	p.spaces()
	w := wanted{sorted: true}
	p.returns(&w)
	keys := p.sortKeys()
	p.spaces()
	if r := p.charset(); r != nil {
		return *r
	}
	p.spaces()
	q := p.query()
	if !p.end() {
		return p.result()
	}
	c.tell(false)
	q.resolve(c.view)
	found, err := c.search(q, c.view.rows)
	if err == nil {
		found, err = c.sortFound(keys, found)
	}
	if err != nil {
		return c.searchFailed(err)
	}
	c.found(&w, q, found, uid)
	return c.view.completed(uid)
}

func (p *parser) sortKeys() (keys []sortKey) {
	reverse := false
	p.list(func() {
		name := p.key()
		switch {
		case name == "REVERSE" && !reverse:
			reverse = true
			return
		case !slices.Contains(sortNames, name):
			p.fail("unknown sort key")
		}
		keys = append(keys, sortKey{name, reverse})
		reverse = false
	})
	if len(keys) == 0 || len(keys) > 2*len(sortNames) || reverse {
		p.fail("bad sort keys")
	}
	return keys
}

// sortable is what is compared of a message.
type sortable struct {
	at    int // place in the rows: what decides at last
	uid   uint32
	nums  []int64
	texts []string
}

// sortFound puts messages in order.
func (c *conn) sortFound(keys []sortKey, found []uint32) ([]uint32, error) {
	rows := c.view.rows
	all := make([]sortable, len(found))
	indexed := slices.ContainsFunc(keys, func(k sortKey) bool { return k.name != "ARRIVAL" && k.name != "SIZE" })
	for i, u := range found {
		at, _ := find(rows, u)
		all[i] = sortable{at: at, uid: u}
		if !indexed {
			all[i].fill(keys, &rows[at], nil)
		}
	}
	if indexed {
		next := 0
		err := c.view.eachOf(c.ctx, found, folder.Whole, func(uid uint32, m *folder.Shown) error {
			for ; next < len(all) && all[next].uid < uid; next++ { // gone meanwhile
				all[next].fill(keys, &rows[all[next].at], &letter.Index{})
			}
			all[next].fill(keys, &rows[all[next].at], m.Index)
			next++
			return nil
		})
		if err != nil {
			return nil, err
		}
		for ; next < len(all); next++ {
			all[next].fill(keys, &rows[all[next].at], &letter.Index{})
		}
	}
	slices.SortStableFunc(all, func(a, b sortable) int {
		for i, k := range keys {
			r := cmp.Or(cmp.Compare(a.nums[i], b.nums[i]), strings.Compare(a.texts[i], b.texts[i]))
			if k.reverse {
				r = -r
			}
			if r != 0 {
				return r
			}
		}
		return cmp.Compare(a.at, b.at)
	})
	for i := range all {
		found[i] = all[i].uid
	}
	return found, nil
}

// fill notes what is compared.
func (s *sortable) fill(keys []sortKey, row *folder.Row, x *letter.Index) {
	s.nums, s.texts = make([]int64, len(keys)), make([]string, len(keys))
	for i, k := range keys {
		switch k.name {
		case "ARRIVAL":
			s.nums[i] = row.Received
		case "SIZE":
			s.nums[i] = row.Size
		case "DATE":
			s.nums[i] = sentDate(row, x)
		case "SUBJECT":
			s.texts[i] = collated(letter.BaseSubject(x.Envelope.Subject))
		case "FROM":
			s.texts[i] = localPart(x.Envelope.From)
		case "TO":
			s.texts[i] = localPart(x.Envelope.To)
		case "CC":
			s.texts[i] = localPart(x.Envelope.Cc)
		case "DISPLAYFROM":
			s.texts[i] = displayed(x.Envelope.From)
		case "DISPLAYTO":
			s.texts[i] = displayed(x.Envelope.To)
		}
	}
}

// sentDate is the date of a message, that of its arrival if it says none
// (RFC 5256 §2.2).
func sentDate(row *folder.Row, x *letter.Index) int64 {
	if x.Envelope.Date.IsZero() {
		return row.Received
	}
	return x.Envelope.Date.Unix()
}

// localPart is what FROM, TO and CC are sorted by: of the first address, or
// the name of a group.
func localPart(list []letter.Mailbox) string {
	if len(list) == 0 {
		return ""
	}
	if list[0].Group != "" {
		return collated(list[0].Group)
	}
	local, _, _ := strings.Cut(list[0].Address, "@")
	return collated(local)
}

// displayed is the name people see of the first address (RFC 5957 §3).
func displayed(list []letter.Mailbox) string {
	switch {
	case len(list) == 0:
		return ""
	case list[0].Group != "":
		return collated(list[0].Group)
	case list[0].Name != "":
		return collated(list[0].Name)
	}
	return collated(list[0].Address)
}

// collated gives a text as it is put in order: without regard to case.
func collated(s string) string {
	if len(s) > maxSortText {
		s = strings.ToValidUTF8(s[:maxSortText], "")
	}
	return strings.ToUpper(s)
}
