package mailbox

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// Tables of shared folders: INBOX and the rubrics. One is made when first asked
// for and made anew when what it rests on has changed; where there are only new
// messages, or new marks, the old one is taken over.

// page is a table and, row by row, the messages in it. Its table is the one
// given out, so that who comes with a table comes with its page.
type page struct {
	folder.Table
	of    []*store.Message // shared folders
	kept  []kept           // private ones
	at    uint64           // modseq of a private folder
	basis basis
}

// basis is what a page was made of.
type basis struct {
	marks   uint64
	day     int64 // rights may change with the date (coming of age)
	sources []sourceState
}

type sourceState struct {
	code     store.PathwayCode
	revision uint64
	prog     *rules.Programme // as loaded: replaced as a whole
	changes  uint64
	items    int
	members  int
	highest  uint64 // modseq of the newest change of a message
}

func stateOf(s *source) sourceState {
	return sourceState{s.p.Code, s.p.Revision, s.prog, s.on.changes, len(s.on.items), len(s.members), s.on.highest}
}

// tables are the last two pages of a folder and what is different.
type tables struct {
	page  *page
	prev  *page
	delta folder.Delta
	asOf  glance // when page was last what the folder held
}

// glance is when a folder was looked at.
type glance struct {
	sequence   uint64 // of the store
	programmes *rules.Set
	at         time.Time
}

// together bounds how long one look serves: many sessions are woken by one
// change, and look at once.
const together = 50 * time.Millisecond

func (r *Reader) glance() glance {
	return glance{r.h.store.Sequence(), r.h.o.Programmes(), r.h.o.Now()}
}

// serves reports whether who looks now sees what was seen then: nothing
// whatever was committed since.
func (g *glance) serves(now *glance) bool {
	age := now.at.Sub(g.at)
	return g.sequence == now.sequence && g.programmes == now.programmes && age >= 0 && age < together
}

// since gives what is different from a table got before.
func (t *tables) since(from *folder.Table) folder.Delta {
	switch {
	case from == &t.page.Table:
		return folder.Delta{}
	case t.prev != nil && from == &t.prev.Table:
		return t.delta
	}
	return folder.Diff(from, &t.page.Table)
}

// turn puts a new page in the place of the last one.
func (t *tables) turn(p *page, delta *folder.Delta) {
	if t.page != nil {
		// What was said of the folder stays true: a client counts on it.
		p.UIDNext = max(p.UIDNext, t.page.UIDNext)
		if t.page.UIDValidity == p.UIDValidity {
			p.HighestModSeq = max(p.HighestModSeq, t.page.HighestModSeq)
		}
		if delta == nil {
			d := folder.Diff(&t.page.Table, &p.Table)
			delta = &d
		}
		t.prev, t.delta = t.page, *delta
	}
	t.page = p
}

// viewOf says which messages a folder shows: of one pathway a rubric, or what is
// addressed to the account's box in all of them.
type viewOf struct {
	code   store.PathwayCode // empty: INBOX
	rubric string
}

const inboxView = "inbox"

// view is the word for hides, see [store.ReaderMark].
func (k viewOf) view() string {
	if k.code == "" {
		return inboxView
	}
	return k.rubric
}

func (k viewOf) key() string { return string(k.code) + "/" + k.rubric }

// place gives UID and modseq of a message in the folder, if it is in it.
func (k viewOf) place(m *store.Message, box store.Address) (uid uint32, modseq uint64, ok bool) {
	if k.code == "" {
		for _, b := range m.Boxes {
			if b.Box == box {
				return b.UID, m.ModSeq, true
			}
		}
		return 0, 0, false
	}
	for _, f := range m.Filings {
		if f.Rubric == k.rubric {
			return f.UID, max(f.ModSeq, m.ModSeq), true
		}
	}
	return 0, 0, false
}

// sharedPage gives the folder as it is now. The desk is locked. It is
// folder.ErrNone when nothing of it may be seen.
func (r *Reader) sharedPage(ctx context.Context, k viewOf) (*tables, error) {
	now := r.glance() // before anything is read
	if t := r.desk.tables[k.key()]; t != nil && t.page != nil && t.asOf.serves(&now) {
		return t, nil
	}
	t, err := r.sharedNow(ctx, k)
	if err != nil {
		return nil, err
	}
	t.asOf = now
	return t, nil
}

func (r *Reader) sharedNow(ctx context.Context, k viewOf) (*tables, error) {
	sources, err := r.sources(ctx, k.code)
	if err != nil {
		return nil, err
	}
	if k.code != "" {
		if len(sources) == 0 || len(sources[0].members) == 0 || sources[0].prog.Rubric(k.rubric) == nil || !r.rubricShown(&sources[0], k.rubric) {
			delete(r.desk.tables, k.key())
			return nil, folder.ErrNone
		}
	}
	var state folder.State
	err = r.h.view(ctx, func(v store.View) error {
		if err := r.desk.catchUp(v); err != nil {
			return err
		}
		state, err = r.sharedState(v, k, sources)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading a folder: %w", err)
	}
	b := basis{marks: r.desk.upto, day: today(r.h.o.Now())}
	for i := range sources {
		b.sources = append(b.sources, stateOf(&sources[i]))
	}
	t := r.desk.tables[k.key()]
	if t == nil {
		t = &tables{}
		r.desk.tables[k.key()] = t
	}
	switch {
	case t.page == nil:
	case t.page.basis.same(&b):
		return t, nil
	case t.page.basis.onlyMarked(&b):
		if done, err := r.remark(ctx, t, k, state, b); done || err != nil {
			return t, err
		}
	case t.page.basis.onlyGrew(&b):
		if done, err := r.extend(ctx, t, k, sources, state, b); done || err != nil {
			return t, err
		}
	}
	t.turn(r.sharedAnew(k, sources, state, b), nil)
	return t, nil
}

// sharedState is what is said of the folder apart from its messages.
func (r *Reader) sharedState(v store.View, k viewOf, sources []source) (folder.State, error) {
	st := folder.State{UIDValidity: v.InboxValidity(), UIDNext: 1, HighestModSeq: max(1, r.desk.upto)}
	for i := range sources {
		s := &sources[i]
		st.UIDValidity += s.openings()
		st.HighestModSeq = max(st.HighestModSeq, s.p.ModSeq, s.on.highest)
	}
	if k.code == "" {
		return st, nil
	}
	rubric, err := v.Rubric(k.code, k.rubric)
	st.UIDValidity += rubric.UIDValidity - v.InboxValidity()
	st.UIDNext = rubric.UIDNext
	st.HighestModSeq = max(st.HighestModSeq, rubric.HighestModSeq)
	return st, err
}

func today(now time.Time) int64 {
	y, m, d := now.Date()
	return int64(y)*10_000 + int64(m)*100 + int64(d)
}

func (a *basis) same(b *basis) bool { return a.marks == b.marks && a.onlyMarked(b) }

// onlyMarked reports whether b differs from a in marks at most.
func (a *basis) onlyMarked(b *basis) bool {
	return a.day == b.day && slices.EqualFunc(a.sources, b.sources, func(x, y sourceState) bool {
		x.highest = y.highest // a report came: no row is other for it
		return x == y
	})
}

// onlyGrew reports whether b differs from a in new messages, and marks, alone.
func (a *basis) onlyGrew(b *basis) bool {
	return a.day == b.day && slices.EqualFunc(a.sources, b.sources, func(x, y sourceState) bool {
		grown := x.items <= y.items
		x.items, x.highest = y.items, y.highest
		return x == y && grown
	})
}
