package mailbox

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/store"
)

// Pages: made of all there is, or of the last one and what is new.

// extend makes a page of the last one and new messages, some of them marked. It
// gives up if one of them does not belong at the end, or an old one was marked.
func (r *Reader) extend(ctx context.Context, t *tables, k viewOf, sources []source, state folder.State, b basis) (done bool, err error) {
	old := t.page
	if old.basis.marks != b.marks {
		changed, err := r.marked(ctx, k, old.basis.marks)
		if err != nil {
			return false, err
		}
		for i := range changed {
			m := r.h.shelves.find(changed[i].Pathway, changed[i].Message)
			if m == nil {
				return false, nil
			}
			if uid, _, in := k.place(m, r.a.Mailbox); in && uid < old.UIDNext {
				return false, nil
			}
		}
	}
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
				return false, nil
			}
			p.add(row, it.m)
			p.learn(row.Flags.Keywords)
			delta.Added = append(delta.Added, row.UID)
		}
	}
	t.turn(p, &delta)
	return true, nil
}

// marked lists the marks set since a modseq that may be of messages in the
// folder.
func (r *Reader) marked(ctx context.Context, k viewOf, since uint64) (changed []store.ReaderMark, err error) {
	err = r.h.view(ctx, func(v store.View) error {
		changed, err = v.MarkChanges(r.a.ID, since)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading marks: %w", err)
	}
	if k.code != "" { // the UIDs of a rubric are its own, not another pathway's
		changed = slices.DeleteFunc(changed, func(m store.ReaderMark) bool { return m.Pathway != k.code })
	}
	return changed, nil
}

// remark makes a page of the last one where only flags have changed. It gives up
// when something was hidden or comes back.
func (r *Reader) remark(ctx context.Context, t *tables, k viewOf, state folder.State, b basis) (done bool, err error) {
	old := t.page
	changed, err := r.marked(ctx, k, old.basis.marks)
	if err != nil {
		return false, err
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
		p.learn(mark.Keywords)
		delta.Changed = append(delta.Changed, uid)
	}
	slices.Sort(delta.Changed)
	t.turn(p, &delta)
	return true, nil
}

// learn adds keywords to those in use.
func (p *page) learn(words []string) {
	for _, w := range words {
		if !slices.Contains(p.Keywords, w) {
			p.Keywords = append(slices.Clip(p.Keywords), w)
		}
	}
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
