package imap

import (
	"slices"
	"strings"
	"time"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/store/journal"
)

// truth is what is known of a key and a message.
type truth int8

const (
	never   truth = -1
	unknown truth = 0
	always  truth = 1
)

func truthOf(b bool) truth {
	if b {
		return always
	}
	return never
}

// value gives the truth of a key from that of its leaves.
func (k *searchKey) value(leaves []truth) truth {
	switch k.op {
	case opAnd:
		all := always
		for _, b := range k.below {
			all = min(all, b.value(leaves))
			if all == never {
				return never
			}
		}
		return all
	case opOr:
		one := never
		for _, b := range k.below {
			if one = max(one, b.value(leaves)); one == always {
				break
			}
		}
		return one
	case opNot:
		return -k.below[0].value(leaves)
	}
	return leaves[k.leaf]
}

// resolve notes which messages the sets stand for, as the client counts them
// now.
func (q *query) resolve(v *view) {
	for _, k := range q.leaves {
		if k.op != opSet {
			continue
		}
		if k.isUID && !k.set.saved {
			last := uint32(0)
			if n := len(v.rows); n > 0 {
				last = v.rows[n-1].UID
			}
			k.uids = normal(k.set.spans, last)
			continue
		}
		at, _ := k.set.places(v.rows, k.isUID, v.saved)
		k.uids = nil
		for _, u := range uids(v.rows, at) {
			k.uids = append(k.uids, span{u, u})
		}
		k.uids = normal(k.uids, 0)
	}
}

// byRow fills in what the row tells.
func (q *query) byRow(c *conn, row *folder.Row, leaves []truth) {
	for i, k := range q.leaves {
		leaves[i] = unknown
		switch k.op {
		case opAll:
			leaves[i] = always
		case opSet:
			leaves[i] = truthOf(contains(k.uids, row.UID))
		case opFlag:
			leaves[i] = truthOf(row.Flags.Has(k.flag))
		case opKeyword:
			leaves[i] = truthOf(hasKeyword(row.Flags, k.id))
		case opRecent:
			leaves[i] = truthOf(contains(c.view.recent, row.UID) == (k.cmp == 0))
		case opNew:
			leaves[i] = truthOf(contains(c.view.recent, row.UID) && !row.Flags.Has(folder.Seen))
		case opReceived:
			leaves[i] = k.onDay(dayOf(time.Unix(row.Received, 0).In(c.server.options.Zone)))
		case opOlder:
			leaves[i] = truthOf(row.Received <= k.n)
		case opYounger:
			leaves[i] = truthOf(row.Received >= k.n)
		case opLarger:
			leaves[i] = truthOf(row.Size > k.n)
		case opSmaller:
			leaves[i] = truthOf(row.Size < k.n)
		case opModSeq:
			leaves[i] = truthOf(row.ModSeq >= uint64(k.n))
		case opText, opBody:
			if k.text == "" {
				leaves[i] = always
			}
		}
	}
}

func (k *searchKey) onDay(day int64) truth {
	switch {
	case k.cmp < 0:
		return truthOf(day < k.n)
	case k.cmp > 0:
		return truthOf(day >= k.n)
	}
	return truthOf(day == k.n)
}

// depth is how much of an index the leaves ask for.
func (q *query) depth() folder.Depth {
	for _, k := range q.leaves {
		switch k.op {
		case opSent, opText, opBody:
			return folder.Whole
		case opHeader:
			switch k.field {
			case "from", "to", "cc", "bcc": // the addresses too
				return folder.Whole
			}
		}
	}
	return folder.Fields
}

// byIndex fills in what the index tells.
func (q *query) byIndex(c *conn, m *folder.Shown, leaves []truth) {
	for i, k := range q.leaves {
		if leaves[i] != unknown {
			continue
		}
		switch k.op {
		case opSent:
			leaves[i] = never
			if d := m.Index.Envelope.Date; !d.IsZero() {
				leaves[i] = k.onDay(dayOf(d))
			}
		case opSaved:
			leaves[i] = k.onDay(dayOf(m.Saved.In(c.server.options.Zone)))
		case opHeader:
			leaves[i] = truthOf(k.inHeader(m.Index))
		case opEmailID:
			leaves[i] = truthOf(m.EmailID == k.id)
		case opThreadID:
			leaves[i] = truthOf(m.ThreadID != "" && m.ThreadID == k.id)
		case opText:
			if k.inAnyHeader(m.Index) {
				leaves[i] = always
			}
		}
	}
}

// inHeader looks for the text in the fields of that name, decoded; in those
// with addresses also in each address without comments and white space.
func (k *searchKey) inHeader(x *letter.Index) bool {
	for i := range x.Fields {
		if strings.EqualFold(x.Fields[i].Name, k.field) && (k.text == "" || has(x.Fields[i].Value, k.text)) {
			return true
		}
	}
	var list []letter.Mailbox
	switch k.field {
	case "from":
		list = x.Envelope.From
	case "to":
		list = x.Envelope.To
	case "cc":
		list = x.Envelope.Cc
	case "bcc":
		list = x.Envelope.Bcc
	}
	for _, m := range list {
		if k.text != "" && strings.Contains(fold(m.Name+" <"+withoutComments(m.Address)+">"), k.text) {
			return true
		}
	}
	return false
}

func has(value, folded string) bool {
	return strings.Contains(fold(letter.DecodeWords(value)), folded)
}

// inAnyHeader looks for the text in all fields, those of attached messages
// that are kept included.
func (k *searchKey) inAnyHeader(x *letter.Index) bool {
	in := func(fields []letter.Field) bool {
		for i := range fields {
			if has(fields[i].Name+": "+fields[i].Value, k.text) {
				return true
			}
		}
		return false
	}
	found := in(x.Fields)
	x.Root.Walk(func(p *letter.Part) bool {
		found = found || in(p.Header)
		return !found
	})
	return found
}

const errSearchTooDear = journal.Fault("search opens too much content")

// searchBatch is how many messages are looked at in the index before those
// that need it are opened.
const searchBatch = 200

// opened is a message whose content decides.
type opened struct {
	uid    uint32
	leaves []truth
	parts  []textPart
}

// search gives the UIDs of the rows that match, in their order. Rows come
// first, then the index of those in doubt, then the content of those still in
// doubt: at most SearchBytes of it.
func (c *conn) search(q *query, rows []folder.Row) ([]uint32, error) {
	leaves := make([]truth, len(q.leaves))
	matched := make([]uint32, 0, 64)
	var doubt []uint32
	for i := range rows {
		q.byRow(c, &rows[i], leaves)
		switch q.root.value(leaves) {
		case always:
			matched = append(matched, rows[i].UID)
		case unknown:
			doubt = append(doubt, rows[i].UID)
		}
	}
	room := c.server.limits.SearchBytes
	var more []uint32
	for len(doubt) > 0 {
		batch := doubt[:min(len(doubt), searchBatch)]
		doubt = doubt[len(batch):]
		var open []opened
		err := c.view.each(c.ctx, batch, q.depth(), func(uid uint32, m *folder.Shown) error {
			at, _ := find(rows, uid)
			q.byRow(c, &rows[at], leaves)
			q.byIndex(c, m, leaves)
			switch q.root.value(leaves) {
			case always:
				more = append(more, uid)
			case unknown:
				open = append(open, opened{uid, append([]truth(nil), leaves...), textParts(m.Index)})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		for i := range open {
			found, err := c.searchContent(q, &open[i], &room)
			if err != nil {
				return nil, err
			}
			if found {
				more = append(more, open[i].uid)
			}
		}
	}
	return merge(matched, sorted(more)), nil
}

func sorted(list []uint32) []uint32 {
	slices.Sort(list)
	return list
}
