package imap

import (
	"errors"
	"io"
	"strings"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/mailbox/letter"
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

// searchContent reads the texts of a message until its leaves decide.
func (c *conn) searchContent(q *query, o *opened, room *int64) (bool, error) {
	content, err := c.view.content(c.ctx, o.uid)
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
