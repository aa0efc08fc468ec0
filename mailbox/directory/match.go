package directory

import (
	"context"
	"encoding/binary"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
)

// Finding the entries that have every word of a query. Each entry has a state,
// four bytes; the postings of one word after the other are read in one piece
// and noted there. So a search costs what its words are frequent, and nothing
// of an entry is read but of those that are shown.

// span is what is to be read for one word of a query.
type span struct {
	word     string
	rows     uint64 // where the postings begin
	words    []hit
	size     uint64 // of all postings
	numbered []uint32
}

// hit is a word of the directory that a word of a query stands for.
type hit struct {
	size  uint64
	whole bool
}

// A state says how far an entry matches: in the high byte how many words of
// the query it has, then the worth of the last of them, then that of those
// before.
const (
	stateWords = 24
	stateLast  = 16
	stateRest  = 1<<stateLast - 1
	worthWhole = 16 // a whole word is worth more than the beginning of any other
)

// states is room for the states of a search: four bytes an entry.
var states = sync.Pool{New: func() any { return new([]uint32) }}

// search finds the entries that have every word.
func (in *index) search(ctx context.Context, words []string, q Query) (Page, error) {
	spans := make([]span, len(words))
	for i, w := range words {
		var err error
		if spans[i], err = in.span(w); err != nil {
			return Page{}, err
		}
		if spans[i].size == 0 && len(spans[i].numbered) == 0 {
			return Page{}, nil
		}
	}
	// The rarest first: what it leaves out need not be counted later.
	slices.SortFunc(spans, func(a, b span) int {
		return int(min(a.size, math.MaxInt32)) + len(a.numbered) - int(min(b.size, math.MaxInt32)) - len(b.numbered)
	})
	room := states.Get().(*[]uint32)
	defer states.Put(room)
	if n := int(in.foot.Entries); cap(*room) < n {
		*room = make([]uint32, n)
	} else {
		*room = (*room)[:n]
		clear(*room)
	}
	for i := range spans {
		if err := ctx.Err(); err != nil {
			return Page{}, err
		}
		if err := in.mark(*room, &spans[i], uint32(i)); err != nil {
			return Page{}, err
		}
	}
	return in.best(*room, uint32(len(words)), q)
}

// span finds the words of the directory that are w or begin with it.
func (in *index) span(w string) (s span, err error) {
	s.word = w
	if len(w) >= leastNumber && len(w) <= 11 {
		if n, err := strconv.ParseUint(w, 10, 64); err == nil {
			step := uint64(math.Pow10(11 - len(w)))
			if s.numbered, err = in.numbered(n*step, (n+1)*step); err != nil {
				return s, err
			}
		}
	}
	// The last block that begins before w may hold it.
	at := sort.Search(len(in.blocks), func(i int) bool { return in.blocks[i].first >= w })
	at = max(at-1, 0)
	for ; at < len(in.blocks); at++ {
		if in.blocks[at].first > w && !strings.HasPrefix(in.blocks[at].first, w) {
			break
		}
		if done, err := in.scan(at, &s); done || err != nil {
			return s, err
		}
	}
	return s, nil
}

// scan reads the words of a block into s, and reports whether those behind are
// beyond.
func (in *index) scan(at int, s *span) (bool, error) {
	b, end := in.blocks[at], in.foot.At.Blocks-in.foot.At.Words
	if at+1 < len(in.blocks) {
		end = in.blocks[at+1].words
	}
	raw, err := in.section(in.foot.At.Words+b.words, end-b.words)
	if err != nil {
		return true, err
	}
	rows := b.rows
	for rest := string(raw); rest != ""; {
		var word string
		var size uint64
		var ok bool
		if word, rest, ok = cutText(rest); !ok {
			return true, ErrCorrupt
		}
		if size, rest, ok = cutNumber(rest); !ok || size > in.foot.At.Words-in.foot.At.Postings-rows {
			return true, ErrCorrupt
		}
		switch whole := word == s.word; {
		case whole, len(s.word) > 1 && strings.HasPrefix(word, s.word):
			if len(s.words) == 0 {
				s.rows = rows
			}
			if s.rows+s.size != rows {
				return true, ErrCorrupt
			}
			s.words = append(s.words, hit{size, whole})
			s.size += size
		case word > s.word:
			return true, nil
		}
		rows += size
	}
	return false, nil
}

// mark notes in the states the entries that have the words of s, the i-th of
// the query, among those that have all before.
func (in *index) mark(states []uint32, s *span, i uint32) error {
	note := func(entry uint64, worth uint32) {
		switch st := states[entry]; st >> stateWords {
		case i:
			states[entry] = (i+1)<<stateWords | worth<<stateLast | (st&stateRest + st>>stateLast&0xff)
		case i + 1:
			if worth > st>>stateLast&0xff {
				states[entry] = st&^(0xff<<stateLast) | worth<<stateLast
			}
		}
	}
	for _, entry := range s.numbered {
		if int(entry) >= len(states) {
			return ErrCorrupt
		}
		note(uint64(entry), worthWhole|uint32(inNumber))
	}
	raw, err := in.section(in.foot.At.Postings+s.rows, s.size)
	if err != nil {
		return err
	}
	for _, h := range s.words {
		rows := raw[:h.size]
		raw = raw[h.size:]
		worth := uint32(0)
		if h.whole {
			worth = worthWhole
		}
		for next := uint64(0); len(rows) > 0; {
			v, n := uint64(rows[0]), 1
			if v >= 0x80 {
				v, n = binary.Uvarint(rows)
			}
			// The numbers in the file are one higher than the entry's.
			if n <= 0 || v>>3 == 0 || v>>3 > uint64(len(states))-next {
				return ErrCorrupt
			}
			next += v >> 3
			note(next-1, worth|uint32(v&7))
			rows = rows[n:]
		}
	}
	return nil
}

// best reads the entries of the page: those that have all words, by worth, and
// then as they are numbered.
func (in *index) best(states []uint32, words uint32, q Query) (Page, error) {
	worth := func(st uint32) uint32 { return st&stateRest + st>>stateLast&0xff }
	var counts [(MaxWords + 1) * 2 * worthWhole]int
	var page Page
	for _, st := range states {
		if st>>stateWords == words {
			counts[worth(st)]++
			page.Total++
		}
	}
	type place struct{ worth, entry uint32 }
	var wanted []place
	room := q.Offset + q.Limit
	var take [len(counts)]int // of each worth, from the best down
	for w := len(counts) - 1; w >= 0 && room > 0; w-- {
		take[w] = min(counts[w], room)
		room -= take[w]
	}
	for n, st := range states {
		if st>>stateWords == words && take[worth(st)] > 0 {
			take[worth(st)]--
			wanted = append(wanted, place{worth(st), uint32(n)})
		}
	}
	slices.SortStableFunc(wanted, func(a, b place) int { return int(b.worth) - int(a.worth) })
	for _, p := range wanted[min(q.Offset, len(wanted)):] {
		e, err := in.entry(p.entry)
		if err != nil {
			return Page{}, err
		}
		page.Entries = append(page.Entries, e)
	}
	return page, nil
}
