package mailbox

import (
	"slices"
	"strconv"

	"github.com/relais-sante/relais/store"
)

// Traces of searches. A search tells its client which messages are found, and of
// the others only that they are not. So its record names those found, and says
// how many of the pathway were looked through, be none of them found: to name
// each of them as read would say of people that they have seen what was never
// shown to them, and hide those who have.

// searched is what searches looked through, pathway by pathway.
type searched struct {
	all  []searchedIn
	last int // place of the pathway of the last message
}

// searchedIn is what searches looked through of one pathway.
type searchedIn struct {
	code    store.PathwayCode
	looked  int
	content bool     // of some, not only of the header
	found   []string // message ids
}

// in gives what was searched of a pathway.
func (s *searched) in(code store.PathwayCode) *searchedIn {
	if s.last >= len(s.all) || s.all[s.last].code != code {
		if s.last = slices.IndexFunc(s.all, func(x searchedIn) bool { return x.code == code }); s.last < 0 {
			s.last = len(s.all)
			s.all = append(s.all, searchedIn{code: code})
		}
	}
	return &s.all[s.last]
}

// add notes that a message was looked at; nil: a private one, or a sheet, which
// notes it by itself.
func (s *searched) add(m *store.Message, found, content bool) {
	if m == nil {
		return
	}
	x := s.in(m.Pathway)
	x.looked++
	x.content = x.content || content
	if found {
		x.found = append(x.found, string(m.ID))
	}
}

// join adds what another goroutine looked at.
func (s *searched) join(o *searched) {
	for i := range o.all {
		x, y := s.in(o.all[i].code), &o.all[i]
		x.looked += y.looked
		x.content = x.content || y.content
		x.found = append(x.found, y.found...)
	}
}

// records are those of the traces: for each pathway in which something was found
// one for each 500 messages of it; for each 200 pathways without, one.
func (s *searched) records() (records []store.Trace) {
	var none searchedIn
	var also []store.PathwayCode
	for i := range s.all {
		x := &s.all[i]
		if len(x.found) == 0 {
			also = append(also, x.code)
			none.looked += x.looked
			none.content = none.content || x.content
			continue
		}
		slices.Sort(x.found)
		for some := range slices.Chunk(slices.Compact(x.found), traceObjects) {
			t := x.record()
			t.Pathway = x.code
			records = append(records, aboutObjects(t, some))
		}
	}
	for some := range slices.Chunk(also, tracePathways) {
		t := none.record()
		if t.Also = some; len(some) == 1 {
			t.Pathway, t.Also = some[0], nil
		}
		records = append(records, t)
	}
	return records
}

func (x *searchedIn) record() store.Trace {
	where := "header"
	if x.content {
		where = "content"
	}
	return store.Trace{
		Action: string(ReadSearched), Outcome: outcomeDone,
		Detail: map[string]string{"among": strconv.Itoa(x.looked), "in": where},
	}
}
