package imap

import (
	"errors"
	"io"
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

// textPart is a part in which texts are searched.
type textPart struct {
	place
	charset string
}

// textParts are the parts with text, of attached messages too.
func textParts(x *letter.Index) (parts []textPart) {
	x.Root.Walk(func(p *letter.Part) bool {
		if p.Leaf() && (p.Type == "text" || p.Type == "message" || p.Type == "multipart") {
			parts = append(parts, textPart{
				place:   place{off: p.BodyStart, n: p.BodyEnd - p.BodyStart, encoding: p.Encoding},
				charset: p.Params["charset"],
			})
		}
		return true
	})
	return parts
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
		err := c.view.each(c.ctx, batch, func(uid uint32, m *folder.Shown) error {
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

// searchContent reads the texts of a message until its leaves decide.
func (c *conn) searchContent(q *query, o *opened, room *int64) (bool, error) {
	c.view.touched = true
	content, err := c.view.folder.Content(c.ctx, o.uid)
	if errors.Is(err, folder.ErrGone) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer content.Close()
	for _, part := range o.parts {
		if *room -= part.n; *room < 0 {
			return false, errSearchTooDear
		}
		raw := newRangeReader(content, part.off, part.n)
		text := letter.TextReader(letter.Decode(raw, part.encoding), part.charset)
		if err := q.searchText(text, o.leaves); err != nil {
			return false, err
		}
		if t := q.root.value(o.leaves); t != unknown {
			return t == always, nil
		}
	}
	for i := range o.leaves {
		if o.leaves[i] == unknown {
			o.leaves[i] = never
		}
	}
	return q.root.value(o.leaves) == always, nil
}

// searchText looks for all texts at once, a piece at a time; of each piece the
// end is kept, since a text may lie across.
func (q *query) searchText(r io.Reader, leaves []truth) error {
	longest := 0
	for i, k := range q.leaves {
		if leaves[i] == unknown {
			longest = max(longest, len(k.text))
		}
	}
	buffer := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(buffer)
	piece := *buffer
	tail, n := "", 0
	for {
		got, err := r.Read(piece[n:])
		n += got
		whole := n
		if err == nil {
			whole = completeRunes(piece[:n])
		}
		text := tail + fold(string(piece[:whole]))
		for i, k := range q.leaves {
			if leaves[i] == unknown && strings.Contains(text, k.text) {
				leaves[i] = always
			}
		}
		if q.root.value(leaves) != unknown || err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		tail = text[max(0, len(text)-longest):]
		n = copy(piece, piece[whole:n])
	}
}

// completeRunes is how much of UTF-8 ends with a whole character.
func completeRunes(b []byte) int {
	for i := 1; i <= 4 && i <= len(b); i++ {
		if c := b[len(b)-i]; c >= 0xc0 { // begins a character of i bytes or more
			if c >= 0xf0 && i < 4 || c >= 0xe0 && i < 3 || i < 2 {
				return len(b) - i
			}
			break
		} else if c < 0x80 {
			break
		}
	}
	return len(b)
}

func sorted(list []uint32) []uint32 {
	slices.Sort(list)
	return list
}
