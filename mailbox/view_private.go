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

// privatePages are the pages of a private folder and what they are made of.
type privatePage struct {
	page
	all  []folder.Row                // whether or not they may be seen now
	refs map[uint32]store.MessageRef // those that are references
	at   uint64                      // modseq of the folder
}

// privateKey is the key of a folder among a desk's tables.
func privateKey(id store.FolderID) string { return "private:" + string(id) }

// folderNamed finds a private folder.
func (r *Reader) folderNamed(v store.View, name string) (*store.Folder, error) {
	all, err := v.Folders(r.a.ID)
	if err != nil {
		return nil, fmt.Errorf("listing folders: %w", err)
	}
	for _, f := range all {
		if f.Name == name && !f.Dropped && f.Use != sheetUse {
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
	err := r.h.view(ctx, func(v store.View) error {
		f, err := v.Folder(r.a.ID, id)
		if err == nil && f.Dropped || errors.Is(err, store.ErrNotFound) {
			return folder.ErrNone
		}
		if err != nil {
			return err
		}
		if last != nil && last.at == f.HighestModSeq && len(last.refs) == 0 {
			now = last
			return nil
		}
		now, err = r.follow(v, f, last)
		return err
	})
	if err != nil {
		if errors.Is(err, folder.ErrNone) {
			delete(r.desk.tables, privateKey(id))
			delete(r.desk.private, id)
		}
		return nil, err
	}
	if now == last {
		return t, nil
	}
	gone, err := r.unseen(ctx, now)
	if err != nil {
		return nil, err
	}
	if last != nil && now.at == last.at && len(gone) == len(last.all)-len(last.Rows) && sameGone(last, gone) {
		return t, nil
	}
	now.Rows = now.all
	if len(gone) > 0 {
		now.Rows = slices.DeleteFunc(slices.Clone(now.all), func(row folder.Row) bool { return gone[row.UID] })
		now.HighestModSeq++ // something may have gone with no change in here
	}
	words := map[string]bool{}
	for i := range now.Rows {
		now.count(&now.Rows[i])
		for _, w := range now.Rows[i].Flags.Keywords {
			words[w] = true
		}
	}
	now.Keywords = keywordsOf(words)
	t.turn(&now.page, nil)
	r.desk.tables[privateKey(id)], r.desk.private[id] = t, now
	return t, nil
}

// follow makes a page of the last one and what changed since; without one, of
// all there is.
func (r *Reader) follow(v store.View, f *store.Folder, last *privatePage) (*privatePage, error) {
	now := &privatePage{at: f.HighestModSeq, refs: map[uint32]store.MessageRef{}}
	now.State = folder.State{UIDValidity: f.UIDValidity, UIDNext: f.UIDNext, HighestModSeq: f.HighestModSeq}
	after := uint32(0)
	if last != nil {
		for uid, ref := range last.refs {
			now.refs[uid] = ref
		}
		now.all = last.all
		if n := len(last.all); n > 0 {
			after = last.all[n-1].UID
		}
		changes, err := v.EntryChanges(r.a.ID, f.ID, last.at)
		if err != nil {
			return nil, err
		}
		if err := r.apply(v, f.ID, now, changes); err != nil {
			return nil, err
		}
	}
	added, err := v.Entries(r.a.ID, f.ID, after, 0)
	if err != nil {
		return nil, err
	}
	for i := range added {
		e := &added[i]
		now.all = append(now.all, entryRow(e))
		if e.Mail == "" {
			now.refs[e.UID] = e.Of
		}
	}
	return now, nil
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
			now.all, cloned = slices.Clone(now.all), true
		}
		if c.Gone {
			if gone == nil {
				gone = map[uint32]bool{}
			}
			gone[c.UID] = true
			continue
		}
		e, err := v.Entry(r.a.ID, id, c.UID)
		if err != nil {
			return err
		}
		now.all[i] = entryRow(e)
	}
	if gone != nil {
		now.all = slices.DeleteFunc(now.all, func(row folder.Row) bool { return gone[row.UID] })
		for uid := range gone {
			delete(now.refs, uid)
		}
	}
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
	if len(p.refs) == 0 {
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
	for uid, ref := range p.refs {
		if !may[ref.Message] {
			gone[uid] = true
		}
	}
	return gone, nil
}

func sameGone(last *privatePage, gone map[uint32]bool) bool {
	shown := map[uint32]bool{}
	for i := range last.Rows {
		shown[last.Rows[i].UID] = true
	}
	for uid := range last.refs {
		if shown[uid] == gone[uid] {
			return false
		}
	}
	return true
}
