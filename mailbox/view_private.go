package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/store"
)

// Tables of private folders. A pathway's message in one is a reference: it is
// there as long as its pathway lets it be seen.

// privatePage is the page of a private folder and what it is made of.
type privatePage struct {
	page
	all     []folder.Row // whether or not they may be seen now
	allKept []kept       // row by row
	refs    int          // of them, references
}

// kept is what a row of a private folder stands for.
type kept struct {
	saved int64 // seconds since 1970
	mail  store.MailID
	of    *store.MessageRef // a pathway's message, if mail is empty
}

func keptOf(e *store.Entry) kept {
	k := kept{saved: e.Saved, mail: e.Mail}
	if e.Mail == "" {
		k.of = &e.Of
	}
	return k
}

// entries tells on a snapshot what the rows of a page stand for.
type entries struct {
	o      *opened
	v      store.View
	stands bool // the folder is as it was when the page was made
	next   int  // place of the row behind the last one
}

// row finds a row by UID: the next one, nearly always.
func (n *entries) row(uid uint32) (i int, ok bool) {
	if p := n.o.page; p != nil && n.next < len(p.Rows) && p.Rows[n.next].UID == uid {
		i, ok = n.next, true
	} else {
		i, ok = n.o.row(uid)
	}
	n.next = i + 1
	return i, ok
}

// begin takes a snapshot.
func (n *entries) begin(o *opened, v store.View) error {
	n.o, n.v, n.stands = o, v, false
	if o.kind != kindPrivate || o.page == nil {
		return nil
	}
	f, err := v.Folder(o.r.a.ID, o.private)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading a folder: %w", err)
	}
	n.stands = !f.Dropped && f.HighestModSeq == o.page.at
	return nil
}

// kept gives what row i, of that UID, stands for; errGone if it is there no
// longer.
func (n *entries) kept(i int, uid uint32) (kept, error) {
	if n.stands {
		return n.o.page.kept[i], nil
	}
	e, err := n.v.Entry(n.o.r.a.ID, n.o.private, uid)
	if errors.Is(err, store.ErrNotFound) {
		return kept{}, errGone
	}
	if err != nil {
		return kept{}, fmt.Errorf("reading an entry: %w", err)
	}
	return keptOf(e), nil
}

// privateKey is the key of a folder among a desk's tables.
func privateKey(id store.FolderID) string { return "private:" + string(id) }

// folderNamed finds a private folder. The one found last is looked at first: a
// client puts one message after the other into the same.
func (r *Reader) folderNamed(v store.View, name string) (*store.Folder, error) {
	if r.lastFound != "" {
		f, err := v.Folder(r.a.ID, r.lastFound)
		if err == nil && f.Name == name && !f.Dropped && f.Use != sheetUse {
			return f, nil
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, fmt.Errorf("looking up a folder: %w", err)
		}
	}
	all, err := v.Folders(r.a.ID)
	if err != nil {
		return nil, fmt.Errorf("listing folders: %w", err)
	}
	for _, f := range all {
		if f.Name == name && !f.Dropped && f.Use != sheetUse {
			r.lastFound = f.ID
			return f, nil
		}
	}
	return nil, folder.ErrNone
}

// privatePage gives a private folder as it is now. The desk is locked.
func (r *Reader) privatePage(ctx context.Context, id store.FolderID) (*tables, error) {
	t := r.desk.tables[privateKey(id)]
	if t == nil {
		t = &tables{}
	}
	last := r.desk.private[id]
	var now *privatePage
	var delta *folder.Delta // known where messages only came
	err := r.h.view(ctx, func(v store.View) error {
		f, err := v.Folder(r.a.ID, id)
		if err == nil && f.Dropped || errors.Is(err, store.ErrNotFound) {
			return folder.ErrNone
		}
		if err != nil {
			return err
		}
		if last != nil && last.at == f.HighestModSeq && last.refs == 0 {
			now = last
			return nil
		}
		now, delta, err = r.follow(v, f, last)
		return err
	})
	if err != nil {
		if errors.Is(err, folder.ErrNone) {
			delete(r.desk.tables, privateKey(id))
			delete(r.desk.private, id)
			r.h.slabs.forget(accountSlab(r.a.ID))
		}
		return nil, err
	}
	if now == last {
		return t, nil
	}
	if delta == nil {
		gone, err := r.unseen(ctx, now)
		if err != nil {
			return nil, err
		}
		if last != nil && now.at == last.at && len(gone) == len(last.all)-len(last.Rows) && sameGone(last, gone) {
			return t, nil
		}
		now.fill(gone)
	}
	t.turn(&now.page, delta)
	r.desk.tables[privateKey(id)], r.desk.private[id] = t, now
	return t, nil
}

// fill makes the table of what may be seen.
func (p *privatePage) fill(gone map[uint32]bool) {
	p.Rows, p.kept = p.all, p.allKept
	if len(gone) > 0 {
		p.Rows, p.kept = nil, nil
		for i := range p.all {
			if !gone[p.all[i].UID] {
				p.Rows, p.kept = append(p.Rows, p.all[i]), append(p.kept, p.allKept[i])
			}
		}
		p.HighestModSeq++ // something may have gone with no change in here
	}
	words := map[string]bool{}
	for i := range p.Rows {
		p.count(&p.Rows[i])
		for _, w := range p.Rows[i].Flags.Keywords {
			words[w] = true
		}
	}
	p.Keywords = keywordsOf(words)
}

// follow makes a page of the last one and what changed since; without one, of
// all there is. Where messages of one's own came and nothing else happened, the
// page is whole, at the cost of those, and delta says what came.
func (r *Reader) follow(v store.View, f *store.Folder, last *privatePage) (now *privatePage, delta *folder.Delta, err error) {
	now = &privatePage{}
	now.at = f.HighestModSeq
	now.State = folder.State{UIDValidity: f.UIDValidity, UIDNext: f.UIDNext, HighestModSeq: f.HighestModSeq}
	after := uint32(0)
	grown := false
	if last != nil {
		now.all, now.allKept, now.refs = last.all, last.allKept, last.refs
		if n := len(last.all); n > 0 {
			after = last.all[n-1].UID
		}
		changes, err := v.EntryChanges(r.a.ID, f.ID, last.at)
		if err != nil {
			return nil, nil, err
		}
		grown = len(changes) == 0 && last.UIDValidity == f.UIDValidity
		if err := r.apply(v, f.ID, now, changes); err != nil {
			return nil, nil, err
		}
	}
	added, err := v.Entries(r.a.ID, f.ID, after, 0)
	if err != nil {
		return nil, nil, err
	}
	for i := range added {
		e := &added[i]
		now.all, now.allKept = append(now.all, entryRow(e)), append(now.allKept, keptOf(e))
		if e.Mail == "" {
			now.refs++
		}
	}
	if !grown || now.refs > 0 {
		return now, nil, nil
	}
	now.Rows, now.kept = now.all, now.allKept
	now.Keywords = last.Keywords
	now.Messages, now.Unseen, now.Deleted, now.Size = last.Messages, last.Unseen, last.Deleted, last.Size
	now.LastUID, now.LastModSeq = last.LastUID, last.LastModSeq
	delta = &folder.Delta{}
	for i := len(last.all); i < len(now.all); i++ {
		row := &now.all[i]
		now.count(row)
		delta.Added = append(delta.Added, row.UID)
		for _, w := range row.Flags.Keywords {
			if !slices.Contains(now.Keywords, w) {
				now.Keywords = append(slices.Clip(now.Keywords), w)
			}
		}
	}
	return now, delta, nil
}

// apply brings the rows that were there up to date, in a copy.
func (r *Reader) apply(v store.View, id store.FolderID, now *privatePage, changes []store.Change) error {
	var gone map[uint32]bool
	cloned := false
	for _, c := range changes {
		i, ok := slices.BinarySearchFunc(now.all, c.UID, func(row folder.Row, uid uint32) int { return int(int64(row.UID) - int64(uid)) })
		if !ok {
			continue // came and changed since: it is among the added
		}
		if !cloned {
			now.all, now.allKept, cloned = slices.Clone(now.all), slices.Clone(now.allKept), true
		}
		if c.Gone {
			if gone == nil {
				gone = map[uint32]bool{}
			}
			gone[c.UID] = true
			r.h.slabs.remove(accountSlab(r.a.ID), string(now.allKept[i].mail))
			continue
		}
		e, err := v.Entry(r.a.ID, id, c.UID)
		if err != nil {
			return err
		}
		now.all[i] = entryRow(e)
	}
	if gone == nil {
		return nil
	}
	kept := 0
	for i := range now.all {
		switch {
		case !gone[now.all[i].UID]:
			now.all[kept], now.allKept[kept] = now.all[i], now.allKept[i]
			kept++
		case now.allKept[i].of != nil:
			now.refs--
		}
	}
	now.all, now.allKept = now.all[:kept], now.allKept[:kept]
	return nil
}

func entryRow(e *store.Entry) folder.Row {
	return folder.Row{
		UID: e.UID, ModSeq: e.ModSeq, Size: e.Size, Received: e.Received,
		Flags: folder.Flags{System: folder.SystemFlag(e.System), Keywords: e.Keywords},
	}
}

// unseen are the references that may not be seen now.
func (r *Reader) unseen(ctx context.Context, p *privatePage) (map[uint32]bool, error) {
	if p.refs == 0 {
		return nil, nil
	}
	sources, err := r.sources(ctx, "")
	if err != nil {
		return nil, err
	}
	may := map[store.MessageID]bool{}
	for i := range sources {
		for _, it := range sources[i].on.items {
			may[it.m.ID] = sources[i].sees(it.m)
		}
	}
	gone := map[uint32]bool{}
	for i := range p.all {
		if of := p.allKept[i].of; of != nil && !may[of.Message] {
			gone[p.all[i].UID] = true
		}
	}
	return gone, nil
}

func sameGone(last *privatePage, gone map[uint32]bool) bool {
	shown := map[uint32]bool{}
	for i := range last.Rows {
		shown[last.Rows[i].UID] = true
	}
	for i := range last.all {
		if uid := last.all[i].UID; last.allKept[i].of != nil && shown[uid] == gone[uid] {
			return false
		}
	}
	return true
}
