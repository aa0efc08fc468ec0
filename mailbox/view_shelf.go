package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/store"
)

// Shelves. Reading as somebody asks the rights function about every message of
// a pathway, over and over; what it needs to know of them is kept at hand, one
// shelf for a pathway, shared by all who read. A shelf is never trusted: before
// use it is brought up to what the store holds, which costs a few look-ups where
// nothing has changed.

// maxShelved bounds the messages on all shelves, at about 700 bytes each.
const maxShelved = 300_000

// shelved is what the rights function and a table need to know of a message.
// It never changes; another one takes its place.
type shelved struct {
	m *store.Message // without what is only read with the message itself
}

// shelf holds the messages of a pathway that are filed somewhere, by seq.
type shelf struct {
	code store.PathwayCode

	mu      sync.Mutex
	last    uint64 // thread place of the newest message looked at
	upto    uint64 // modseq up to which changes are known
	highest uint64 // modseq of the newest change seen
	changes uint64 // grows when a message that was there changes
	items   []shelved
	at      map[store.MessageID]int // place in items
	used    uint64                  // for shelves.trim
}

// onShelf is what a shelf held at a moment.
type onShelf struct {
	items   []shelved
	changes uint64
	highest uint64
}

// shelves are those in memory.
type shelves struct {
	mu    sync.Mutex
	m     map[store.PathwayCode]*shelf
	clock uint64
	held  int
}

func (s *shelves) get(code store.PathwayCode) *shelf {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = map[store.PathwayCode]*shelf{}
	}
	sh := s.m[code]
	if sh == nil {
		// A shelf filled anew must not be taken for one that did not change.
		sh = &shelf{code: code, at: map[store.MessageID]int{}, changes: s.clock << 32}
		s.m[code] = sh
	}
	s.clock++
	sh.used = s.clock
	return sh
}

// find gives a message that is on a shelf, or nil.
func (s *shelves) find(code store.PathwayCode, id store.MessageID) *store.Message {
	s.mu.Lock()
	sh := s.m[code]
	s.mu.Unlock()
	if sh == nil {
		return nil
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if i, ok := sh.at[id]; ok {
		return sh.items[i].m
	}
	return nil
}

// grew counts messages put on a shelf and drops the shelves used longest ago
// when there are too many. Whoever reads from one keeps what they have.
func (s *shelves) grew(by int, keep *shelf) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held += by
	for s.held > maxShelved && len(s.m) > 1 {
		var oldest *shelf
		for _, sh := range s.m {
			if sh != keep && (oldest == nil || sh.used < oldest.used) {
				oldest = sh
			}
		}
		delete(s.m, oldest.code)
		s.held -= oldest.size()
	}
}

func (s *shelf) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.items)
}

// shelfPage bounds how long one snapshot is held open while a shelf is filled.
const shelfPage = 500

// shelf brings the shelf of a pathway up to date and gives what is on it.
func (h *Hub) shelf(ctx context.Context, code store.PathwayCode) (onShelf, error) {
	s := h.shelves.get(code)
	s.mu.Lock()
	before := len(s.items)
	err := h.restock(ctx, s)
	now := onShelf{items: s.items, changes: s.changes, highest: s.highest}
	s.mu.Unlock()
	if grown := len(now.items) - before; grown > 0 {
		h.shelves.grew(grown, s)
	}
	if err != nil {
		return onShelf{}, fmt.Errorf("reading the messages of %s: %w", code, err)
	}
	return now, nil
}

func (h *Hub) restock(ctx context.Context, s *shelf) error {
	for {
		more := false
		err := h.view(ctx, func(v store.View) error {
			now, err := v.ModSeq()
			if err != nil || now == s.upto {
				return err
			}
			page, err := v.Thread(s.code, s.last, shelfPage)
			if err != nil {
				return err
			}
			for _, m := range page {
				s.last = m.Seq
				s.put(m)
			}
			if more = len(page) == shelfPage; more {
				return nil // changes of what is not here yet come with it
			}
			if err := s.catchUp(v); err != nil {
				return err
			}
			s.upto = now
			return nil
		})
		if err != nil || !more {
			return err
		}
	}
}

// catchUp takes up the messages rewritten since.
func (s *shelf) catchUp(v store.View) error {
	ids, err := v.Updated(s.code, s.upto)
	if err != nil {
		return err
	}
	for _, id := range ids {
		m, err := v.Message(s.code, id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		s.put(m)
	}
	return nil
}

// put places a message, or its newer state.
func (s *shelf) put(m *store.Message) {
	s.highest = max(s.highest, m.ModSeq)
	i, there := s.at[m.ID]
	if !there && len(m.Filings) == 0 {
		return // a report, or one withdrawn before anybody looked
	}
	if there && s.items[i].m.ModSeq == m.ModSeq {
		return
	}
	item := shelved{m: lean(m)}
	if there {
		s.items = slices.Clone(s.items) // others read the old one
		s.items[i] = item
		s.changes++
		return
	}
	s.at[m.ID] = len(s.items)
	s.items = append(s.items, item)
}

// lean is a message without its longer texts. It names what is left out, not
// what is kept: nothing the rights function may come to ask can be missing.
func lean(m *store.Message) *store.Message {
	l := *m
	l.KnownAs, l.Subject, l.Topic, l.ThreadIndex, l.Rules = nil, "", "", nil, nil
	l.Documents = slices.Clone(m.Documents)
	for i := range l.Documents {
		d := &l.Documents[i]
		d.Filename, d.Title, d.SHA256 = "", "", nil
	}
	return &l
}

// shownAs places a mail of a pathway as readers see it: answers go to the
// pathway.
func (h *Hub) shownAs(p *store.Pathway, idx *letter.Index) letter.Shown {
	address, _ := h.publicAddress(p)
	return letter.Show(idx, address)
}
