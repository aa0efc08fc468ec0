package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/store"
)

// What a reader changes: flags, and what is hidden, moved or copied. Flags and
// hides on a pathway's message are this account's alone; only filing it in
// another rubric changes what others see, and goes the way of `message refile`.

// Limits of what is changed in one go.
const (
	changeStep  = 500 // flags set in one commit
	maxKeywords = 50  // keywords of one message
	maxKeyword  = 100 // bytes
)

// SetFlags implements [folder.Folder].
func (o *opened) SetFlags(ctx context.Context, uids []uint32, how folder.FlagChange, flags folder.Flags, unchangedSince *uint64) ([]folder.Row, []uint32, error) {
	if o.readOnly {
		return nil, nil, folder.ErrReadOnly
	}
	for _, w := range flags.Keywords {
		if len(w) > maxKeyword {
			return nil, nil, folder.ErrLimit
		}
	}
	var rows []folder.Row
	var modified []uint32
	for step := range slices.Chunk(o.present(uids), changeStep) {
		var done []folder.Row
		var left []uint32
		err := o.r.h.change(ctx, func(tx store.Tx) error {
			done, left = done[:0], left[:0]
			for _, i := range step {
				row, err := o.setFlags(tx, i, how, flags, unchangedSince)
				switch {
				case errors.Is(err, errGone):
				case errors.Is(err, errModified):
					left = append(left, o.page.Rows[i].UID)
				case err != nil:
					return err
				default:
					done = append(done, row)
				}
			}
			return nil
		})
		if err != nil {
			return nil, nil, fmt.Errorf("setting flags: %w", err)
		}
		rows, modified = append(rows, done...), append(modified, left...)
	}
	return rows, modified, nil
}

var errModified = errors.New("modified since") // inner

// setFlags changes the flags of one row.
func (o *opened) setFlags(tx store.Tx, i int, how folder.FlagChange, flags folder.Flags, since *uint64) (folder.Row, error) {
	row := o.page.Rows[i]
	if o.kind == kindShared {
		m := o.page.of[i]
		mark, err := o.r.markOf(tx, m)
		if err != nil {
			return row, err
		}
		row.ModSeq = max(row.ModSeq, mark.ModSeq)
		if since != nil && row.ModSeq > *since {
			return row, errModified
		}
		row.Flags = folder.Flags{System: folder.SystemFlag(mark.System), Keywords: mark.Keywords}
		now, err := changed(row.Flags, how, flags)
		if err != nil || now.Equal(row.Flags) {
			return row, err
		}
		mark.System, mark.Keywords = uint8(now.System), now.Keywords
		if err := tx.PutMark(o.r.a.ID, mark); err != nil {
			return row, err
		}
		row.Flags, row.ModSeq = now, mark.ModSeq
		return row, nil
	}
	id := o.private
	if o.kind == kindSheet {
		id = o.sheetFolder()
	}
	e, err := tx.Entry(o.r.a.ID, id, row.UID)
	if errors.Is(err, store.ErrNotFound) {
		return row, errGone
	}
	if err != nil {
		return row, err
	}
	row.ModSeq, row.Flags = e.ModSeq, entryRow(e).Flags
	if since != nil && row.ModSeq > *since {
		return row, errModified
	}
	now, err := changed(row.Flags, how, flags)
	if err != nil || now.Equal(row.Flags) {
		return row, err
	}
	e.System, e.Keywords = uint8(now.System), now.Keywords
	if err := tx.UpdateEntry(o.r.a.ID, id, e); err != nil {
		return row, err
	}
	row.Flags, row.ModSeq = now, e.ModSeq
	return row, nil
}

// markOf reads the account's mark on a message, or begins one.
func (r *Reader) markOf(v store.View, m *store.Message) (*store.ReaderMark, error) {
	mark, err := v.Mark(r.a.ID, store.MessageRef{Pathway: m.Pathway, Message: m.ID})
	if errors.Is(err, store.ErrNotFound) {
		return &store.ReaderMark{Message: m.ID, Pathway: m.Pathway}, nil
	}
	return mark, err
}

// changed applies a change to flags.
func changed(f folder.Flags, how folder.FlagChange, by folder.Flags) (folder.Flags, error) {
	now := f.With(how, by)
	if len(now.Keywords) > maxKeywords {
		return f, folder.ErrLimit
	}
	return now, nil
}

// Expunge implements [folder.Folder].
func (o *opened) Expunge(ctx context.Context, uids []uint32) error {
	if o.readOnly {
		return folder.ErrReadOnly
	}
	if o.kind == kindSheet {
		return nil // it comes back with the next change; nothing else is here
	}
	for step := range slices.Chunk(o.present(uids), changeStep) {
		err := o.r.h.change(ctx, func(tx store.Tx) error {
			for _, i := range step {
				if err := o.takeAway(tx, i, true); err != nil && !errors.Is(err, errGone) {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("expunging: %w", err)
		}
	}
	return nil
}

// takeAway takes one row out of the folder: what is private goes, what is the
// pathway's is hidden here. flagged: only if it is flagged Deleted.
func (o *opened) takeAway(tx store.Tx, i int, flagged bool) error {
	uid := o.page.Rows[i].UID
	if o.kind == kindPrivate {
		e, err := tx.Entry(o.r.a.ID, o.private, uid)
		if errors.Is(err, store.ErrNotFound) || err == nil && flagged && folder.SystemFlag(e.System)&folder.Deleted == 0 {
			return errGone
		}
		if err != nil {
			return err
		}
		return tx.DropEntry(o.r.a.ID, o.private, uid)
	}
	mark, err := o.r.markOf(tx, o.page.of[i])
	if err != nil {
		return err
	}
	if flagged && folder.SystemFlag(mark.System)&folder.Deleted == 0 || mark.HiddenIn(o.view.view()) {
		return errGone
	}
	// The flags are one for all folders it is shown in; in the others it is not
	// deleted.
	mark.System &^= uint8(folder.Deleted)
	mark.Hidden = append(slices.Clone(mark.Hidden), o.view.view())
	return tx.PutMark(o.r.a.ID, mark)
}
