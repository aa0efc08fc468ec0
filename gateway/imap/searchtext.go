package imap

import (
	"bytes"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/rules"
)

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

// searchDoubt decides by indexes and content, with as many goroutines as the
// floor below has for it. What it opens in all is bounded.
func (c *conn) searchDoubt(q *query, rows []folder.Row, doubt []uint32) (found []uint32, err error) {
	if len(doubt) == 0 {
		return nil, nil
	}
	var room atomic.Int64
	room.Store(c.server.limits.SearchBytes)
	var mu sync.Mutex
	err = c.view.look(c.ctx, doubt, q.depth(), func(uid uint32, m *folder.Shown, content folder.Content) (bool, error) {
		s := searches.Get().(*searching)
		defer searches.Put(s)
		place := s.next // its own goroutine goes over rows in order, but for gaps
		if place >= len(rows) || rows[place].UID != uid {
			place, _ = find(rows, uid)
		}
		s.next = place + 1
		s.leaves = slices.Grow(s.leaves[:0], len(q.leaves))[:len(q.leaves)]
		q.byRow(c, &rows[place], s.leaves)
		q.byIndex(c, m, s.leaves, &s.folded)
		is := q.root.value(s.leaves)
		if is == unknown && content != nil {
			var err error
			if is, err = s.content(q, m.Index, content, &room); err != nil {
				return false, err
			}
		}
		if is == always {
			mu.Lock()
			defer mu.Unlock()
			found = append(found, uid)
		}
		return is == always, nil
	})
	return found, err
}

// searching is the memory of one goroutine that searches, used again.
type searching struct {
	next   int // place of the row behind the last one
	leaves []truth
	raw    bytes.Buffer // bytes of a part as they are sent
	piece  []byte       // decoded text
	folded []byte
}

// maxPiece is how much of a part is looked at at a time.
const maxPiece = 32 << 10

var searches = sync.Pool{New: func() any { return new(searching) }}

// content reads the texts of a message until its leaves decide.
func (s *searching) content(q *query, x *letter.Index, content folder.Content, room *atomic.Int64) (truth, error) {
	for _, part := range textParts(x) {
		if room.Add(-part.n) < 0 {
			return unknown, errSearchTooDear
		}
		if err := s.part(q, &part, content); err != nil {
			return unknown, err
		}
		if is := q.root.value(s.leaves); is != unknown {
			return is, nil
		}
	}
	for i := range s.leaves {
		if s.leaves[i] == unknown {
			s.leaves[i] = never
		}
	}
	return q.root.value(s.leaves), nil
}

// part reads the text of one part.
func (s *searching) part(q *query, part *textPart, content folder.Content) error {
	if part.n > maxPiece {
		raw := &rangeReader{content: content, off: part.off, n: part.n}
		return s.text(q, letter.TextReader(letter.Decode(raw, part.encoding), part.charset))
	}
	s.raw.Reset()
	if err := content.Copy(&s.raw, part.off, part.n); err != nil {
		return err
	}
	if raw := s.raw.Bytes(); letter.IsText(raw, part.encoding, part.charset) {
		s.folded = rules.AppendFolded(s.folded[:0], raw)
		q.lookIn(s.folded, s.leaves)
		return nil
	}
	return s.text(q, letter.TextReader(letter.Decode(&s.raw, part.encoding), part.charset))
}

// text looks for all texts at once, a piece at a time; of each piece the end is
// kept, since a text may lie across.
func (s *searching) text(q *query, r io.Reader) error {
	longest := 0
	for i, k := range q.leaves {
		if s.leaves[i] == unknown {
			longest = max(longest, len(k.text))
		}
	}
	if s.piece == nil {
		s.piece = make([]byte, maxPiece)
	}
	s.folded = s.folded[:0]
	n := 0
	for {
		got, err := r.Read(s.piece[n:])
		n += got
		whole := n
		if err == nil {
			whole = completeRunes(s.piece[:n])
		}
		s.folded = rules.AppendFolded(s.folded, s.piece[:whole])
		q.lookIn(s.folded, s.leaves)
		if q.root.value(s.leaves) != unknown || err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		kept := copy(s.folded, s.folded[max(0, len(s.folded)-longest):])
		s.folded = s.folded[:kept]
		n = copy(s.piece, s.piece[whole:n])
	}
}

// lookIn looks for the texts that are still looked for.
func (q *query) lookIn(folded []byte, leaves []truth) {
	for i, k := range q.leaves {
		if leaves[i] == unknown && (k.op == opText || k.op == opBody) && bytes.Contains(folded, k.text) {
			leaves[i] = always
		}
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
