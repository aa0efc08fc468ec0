package imap

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/rules"
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
			if len(k.text) == 0 {
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
	depth := folder.Envelope
	for _, k := range q.leaves {
		switch k.op {
		case opSent, opText, opBody:
			return folder.Whole
		case opHeader:
			switch k.field {
			case "from", "to", "cc", "bcc": // the addresses too
				return folder.Whole
			}
			if !folder.InEnvelope(k.field) {
				depth = folder.Fields
			}
		}
	}
	return depth
}

// byIndex fills in what the index tells. scratch holds what is folded.
func (q *query) byIndex(c *conn, m *folder.Shown, leaves []truth, scratch *[]byte) {
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
			leaves[i] = truthOf(k.inHeader(m.Index, scratch))
		case opEmailID:
			leaves[i] = truthOf(m.EmailID == k.id)
		case opThreadID:
			leaves[i] = truthOf(m.ThreadID != "" && m.ThreadID == k.id)
		case opText:
			if k.inAnyHeader(m.Index, scratch) {
				leaves[i] = always
			}
		}
	}
}

// inHeader looks for the text in the fields of that name, decoded; in those
// with addresses also in each address without comments and white space.
func (k *searchKey) inHeader(x *letter.Index, scratch *[]byte) bool {
	for i := range x.Fields {
		f := &x.Fields[i]
		if strings.EqualFold(f.Name, k.field) && (len(k.text) == 0 || k.in(scratch, letter.DecodeWords(f.Value))) {
			return true
		}
	}
	if len(k.text) == 0 {
		return false
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
		if k.in(scratch, m.Name, " <", withoutComments(m.Address), ">") {
			return true
		}
	}
	return false
}

// in looks for the text in what the parts make together.
func (k *searchKey) in(scratch *[]byte, parts ...string) bool {
	b := (*scratch)[:0]
	for _, p := range parts {
		b = rules.AppendFolded(b, p)
	}
	*scratch = b
	return bytes.Contains(b, k.text)
}

// inAnyHeader looks for the text in all fields, those of attached messages
// that are kept included.
func (k *searchKey) inAnyHeader(x *letter.Index, scratch *[]byte) bool {
	in := func(fields []letter.Field) bool {
		for i := range fields {
			if k.in(scratch, fields[i].Name, ": ", letter.DecodeWords(fields[i].Value)) {
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

// search gives the UIDs of the rows that match, in their order. Rows come
// first, then the index of those in doubt, and where a text is looked for the
// content of those still in doubt: at most SearchBytes of it.
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
	more, err := c.searchDoubt(q, rows, doubt)
	if err != nil {
		return nil, err
	}
	return merge(matched, sorted(more)), nil
}

func sorted(list []uint32) []uint32 {
	slices.Sort(list)
	return list
}
