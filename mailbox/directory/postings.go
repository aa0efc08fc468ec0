package directory

import (
	"encoding/binary"
	"slices"
	"strings"
)

// postings are the entries of every word, as the file has them.
type postings struct {
	ids  map[string]uint32 // by the word
	all  []posting
	here []occurrence // of the entry at hand
	// texts remembers the words of texts met lately: most are those of many
	// entries, and folding is what costs most.
	texts map[text][]uint32
}

// text is one of an entry; of a name the words are not all, see eachWordIn.
type text struct {
	s  string
	in field
}

// manyTexts bounds what is remembered, to some 10 MB.
const manyTexts = 1 << 16

type posting struct {
	last uint32 // entry + 1
	rows []byte
}

type occurrence struct {
	word uint32
	in   field
}

func newPostings() *postings {
	return &postings{ids: map[string]uint32{}, texts: map[text][]uint32{}}
}

func (p *postings) of(word string) *posting { return &p.all[p.ids[word]] }

// add takes the words of an entry, whose number is above those before. A word
// that is there several times counts where it is worth most.
func (p *postings) add(entry uint32, e *Entry) {
	p.here = p.here[:0]
	eachText(e, func(s string, in field) {
		if s == "" {
			return
		}
		for _, id := range p.words(text{s, in}) {
			p.meet(id, in)
		}
	})
	for _, o := range p.here {
		row := &p.all[o.word]
		row.rows = binary.AppendUvarint(row.rows, uint64(entry+1-row.last)<<3|uint64(o.in))
		row.last = entry + 1
	}
}

// meet notes a word of the entry at hand.
func (p *postings) meet(id uint32, in field) {
	for i := range p.here {
		if o := &p.here[i]; o.word == id {
			o.in = max(o.in, in)
			return
		}
	}
	p.here = append(p.here, occurrence{id, in})
}

// words gives the words of a text.
func (p *postings) words(t text) []uint32 {
	if ids, known := p.texts[t]; known {
		return ids
	}
	var ids []uint32
	eachWordIn(t.s, t.in, func(w []byte) {
		id, known := p.ids[string(w)]
		if !known {
			id = uint32(len(p.all))
			p.ids[string(w)] = id
			p.all = append(p.all, posting{})
		}
		ids = append(ids, id)
	})
	if t.in == inAddress {
		return ids // nobody else's
	}
	if len(p.texts) == manyTexts {
		clear(p.texts)
	}
	t.s = strings.Clone(t.s) // it is part of a whole entry
	p.texts[t] = ids
	return ids
}

func (p *postings) sorted() []string {
	words := make([]string, 0, len(p.ids))
	for w := range p.ids {
		words = append(words, w)
	}
	slices.Sort(words)
	return words
}
