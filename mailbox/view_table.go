package mailbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
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
	case t.page.basis.onlyGrew(&b) && r.extend(t, k, sources, state, b):
		return t, nil
	case t.page.basis.onlyMarked(&b):
		if done, err := r.remark(ctx, t, k, state, b); done || err != nil {
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

// onlyGrew reports whether b differs from a in new messages alone.
func (a *basis) onlyGrew(b *basis) bool {
	return a.marks == b.marks && a.day == b.day && slices.EqualFunc(a.sources, b.sources, func(x, y sourceState) bool {
		grown := x.items <= y.items
		x.items, x.highest = y.items, y.highest
		return x == y && grown
	})
}

// extend makes a page of the last one and new messages. It gives up if one of
// them does not belong at the end.
func (r *Reader) extend(t *tables, k viewOf, sources []source, state folder.State, b basis) bool {
	old := t.page
	p := &page{basis: b, of: old.of}
	p.Table = folder.Table{State: old.State, Rows: old.Rows, Keywords: old.Keywords}
	p.UIDNext, p.HighestModSeq = max(old.UIDNext, state.UIDNext), max(old.HighestModSeq, state.HighestModSeq)
	var delta folder.Delta
	for i := range sources {
		s := &sources[i]
		for _, it := range s.on.items[old.basis.sources[i].items:] {
			row, ok := r.sharedRow(k, s, it.m)
			if !ok {
				continue
			}
			if n := len(p.Rows); n > 0 && p.Rows[n-1].UID >= row.UID {
				return false
			}
			p.add(row, it.m)
			delta.Added = append(delta.Added, row.UID)
		}
	}
	t.turn(p, &delta)
	return true
}

// remark makes a page of the last one where only flags have changed. It gives up
// when something was hidden or comes back.
func (r *Reader) remark(ctx context.Context, t *tables, k viewOf, state folder.State, b basis) (done bool, err error) {
	old := t.page
	var changed []store.ReaderMark
	err = r.h.view(ctx, func(v store.View) error {
		changed, err = v.MarkChanges(r.a.ID, old.basis.marks)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("reading marks: %w", err)
	}
	p := &page{basis: b, of: old.of}
	p.Table = folder.Table{State: old.State, Rows: slices.Clone(old.Rows), Keywords: old.Keywords}
	p.HighestModSeq = max(old.HighestModSeq, state.HighestModSeq)
	var delta folder.Delta
	for i := range changed {
		mark := &changed[i]
		m := r.h.shelves.find(mark.Pathway, mark.Message)
		if m == nil {
			return false, nil
		}
		uid, modseq, in := k.place(m, r.a.Mailbox)
		if !in {
			continue
		}
		at, shown := p.Find(uid)
		if shown == mark.HiddenIn(k.view()) {
			return false, nil
		}
		if !shown {
			continue
		}
		row := &p.Rows[at]
		p.uncount(row)
		row.ModSeq = max(modseq, mark.ModSeq)
		row.Flags = folder.Flags{System: folder.SystemFlag(mark.System), Keywords: mark.Keywords}
		p.count(row)
		for _, w := range mark.Keywords {
			if !slices.Contains(p.Keywords, w) {
				p.Keywords = append(slices.Clip(p.Keywords), w)
			}
		}
		delta.Changed = append(delta.Changed, uid)
	}
	slices.Sort(delta.Changed)
	t.turn(p, &delta)
	return true, nil
}

func (p *page) uncount(row *folder.Row) {
	p.Messages--
	p.Size -= row.Size
	if !row.Flags.Has(folder.Seen) {
		p.Unseen--
	}
	if row.Flags.Has(folder.Deleted) {
		p.Deleted--
	}
}

func (p *page) add(row folder.Row, m *store.Message) {
	p.Rows = append(p.Rows, row)
	p.of = append(p.of, m)
	p.UIDNext = max(p.UIDNext, row.UID+1)
	p.count(&row)
}

func (p *page) count(row *folder.Row) {
	p.Messages++
	p.Size += row.Size
	p.HighestModSeq = max(p.HighestModSeq, row.ModSeq)
	p.LastUID, p.LastModSeq = max(p.LastUID, row.UID), max(p.LastModSeq, row.ModSeq)
	if !row.Flags.Has(folder.Seen) {
		p.Unseen++
	}
	if row.Flags.Has(folder.Deleted) {
		p.Deleted++
	}
}

// sharedRow is the row of a message, if the reader sees it there.
func (r *Reader) sharedRow(k viewOf, s *source, m *store.Message) (folder.Row, bool) {
	uid, modseq, ok := k.place(m, r.a.Mailbox)
	if !ok {
		return folder.Row{}, false
	}
	mark := r.desk.marks[m.ID]
	if mark != nil && mark.HiddenIn(k.view()) || !s.sees(m) {
		return folder.Row{}, false
	}
	row := folder.Row{UID: uid, ModSeq: modseq, Size: m.Shown, Received: m.Received.Unix()}
	if mark != nil {
		row.ModSeq = max(row.ModSeq, mark.ModSeq)
		row.Flags = folder.Flags{System: folder.SystemFlag(mark.System), Keywords: mark.Keywords}
	}
	return row, true
}

// sharedAnew makes a page from all there is.
func (r *Reader) sharedAnew(k viewOf, sources []source, state folder.State, b basis) *page {
	type placed struct {
		row folder.Row
		m   *store.Message
	}
	var all []placed
	next := state.UIDNext
	for i := range sources {
		s := &sources[i]
		for _, it := range s.on.items {
			// A message that is not seen has used its UID all the same.
			if uid, _, ok := k.place(it.m, r.a.Mailbox); ok {
				next = max(next, uid+1)
			}
			if row, ok := r.sharedRow(k, s, it.m); ok {
				all = append(all, placed{row, it.m})
			}
		}
	}
	slices.SortFunc(all, func(x, y placed) int { return int(int64(x.row.UID) - int64(y.row.UID)) })
	p := &page{basis: b, of: make([]*store.Message, 0, len(all)+len(all)/8)}
	p.State = state
	p.Rows = make([]folder.Row, 0, len(all)+len(all)/8)
	words := map[string]bool{}
	for i := range all {
		p.add(all[i].row, all[i].m)
		for _, w := range all[i].row.Flags.Keywords {
			words[w] = true
		}
	}
	p.UIDNext = max(p.UIDNext, next)
	p.Keywords = keywordsOf(words)
	return p
}

func keywordsOf(words map[string]bool) []string {
	var list []string
	for w := range words {
		list = append(list, w)
	}
	slices.SortFunc(list, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return list
}
