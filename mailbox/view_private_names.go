package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/store"
)

// Private folders as such: made, deleted, renamed, subscribed to, and how much
// room they take.

// Create implements [folder.User].
func (r *Reader) Create(ctx context.Context, name string, use folder.Use) error {
	name, err := privateName(name)
	if err != nil {
		return err
	}
	return r.h.change(ctx, func(tx store.Tx) error {
		have, err := tx.Reader(r.a.ID)
		if err != nil {
			return err
		}
		if have.Folders >= int64(r.h.o.Quota.Folders) {
			return folder.ErrLimit
		}
		if _, err := r.folderNamed(tx, name); err == nil {
			return folder.ErrExists
		} else if !errors.Is(err, folder.ErrNone) {
			return err
		}
		return r.newFolder(tx, name, use)
	})
}

// Delete implements [folder.User]. What is in the folder goes in steps, so that
// no other commit waits long; from the first on it is not there any more.
func (r *Reader) Delete(ctx context.Context, name string) error {
	if isFixed(name) {
		return r.fixed(ctx, name)
	}
	var id store.FolderID
	err := r.h.change(ctx, func(tx store.Tx) error {
		f, err := r.folderNamed(tx, name)
		if err != nil {
			return err
		}
		id, f.Dropped, f.Name = f.ID, true, ""
		return tx.PutFolder(r.a.ID, f)
	})
	if err != nil {
		return err
	}
	return r.h.emptyFolder(ctx, r.a.ID, id)
}

// fixed is the answer to a change of one of the hub's folders: that it is the
// hub's, to those who see it.
func (r *Reader) fixed(ctx context.Context, name string) error {
	all, err := r.List(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(all, func(f folder.Info) bool { return f.Name == name && !f.Missing }) {
		return folder.ErrFixed
	}
	return folder.ErrNone
}

// dropStep bounds the entries taken away in one commit.
const dropStep = 200

// emptyDropped finishes deletions that a crash cut off.
func (r *Reader) emptyDropped(ctx context.Context) error {
	var left []store.FolderID
	err := r.h.view(ctx, func(v store.View) error {
		all, err := v.Folders(r.a.ID)
		for _, f := range all {
			if f.Dropped {
				left = append(left, f.ID)
			}
		}
		return err
	})
	for _, id := range left {
		if err == nil {
			err = r.h.emptyFolder(ctx, r.a.ID, id)
		}
	}
	if errors.Is(err, store.ErrNotFound) {
		return nil // another session was quicker
	}
	if err != nil {
		return fmt.Errorf("emptying deleted folders: %w", err)
	}
	return nil
}

// emptyFolder takes away what is in a dropped folder, then the folder. Cut off,
// it goes on at the account's next login.
func (h *Hub) emptyFolder(ctx context.Context, a store.AccountID, id store.FolderID) error {
	for {
		left := false
		err := h.change(ctx, func(tx store.Tx) error {
			entries, err := tx.Entries(a, id, 0, dropStep)
			if err != nil {
				return err
			}
			for i := range entries {
				if err := tx.DropEntry(a, id, entries[i].UID); err != nil {
					return err
				}
			}
			if left = len(entries) == dropStep; left {
				return nil
			}
			return tx.DropFolder(a, id)
		})
		if err != nil || !left {
			return err
		}
	}
}

// Rename implements [folder.User]: folders below go along. INBOX cannot be: its
// messages are the pathways'.
func (r *Reader) Rename(ctx context.Context, from, to string) error {
	to, err := privateName(to)
	if err != nil {
		return err
	}
	if isFixed(from) {
		return r.fixed(ctx, from)
	}
	return r.h.change(ctx, func(tx store.Tx) error {
		all, err := tx.Folders(r.a.ID)
		if err != nil {
			return fmt.Errorf("listing folders: %w", err)
		}
		moved := 0
		names := map[string]bool{}
		for _, f := range all {
			names[f.Name] = !f.Dropped
		}
		for _, f := range all {
			rest, below := cutFolder(f.Name, from)
			if f.Dropped || !below {
				continue
			}
			if names[to+rest] {
				return folder.ErrExists
			}
			if f.Name, err = privateName(to + rest); err != nil {
				return err
			}
			if err := tx.PutFolder(r.a.ID, f); err != nil {
				return err
			}
			moved++
		}
		if moved == 0 {
			return folder.ErrNone
		}
		return nil
	})
}

// cutFolder gives what of a name comes behind that of a folder it is, or is in.
func cutFolder(name, of string) (rest string, ok bool) {
	if len(name) < len(of) || name[:len(of)] != of {
		return "", false
	}
	rest = name[len(of):]
	return rest, rest == "" || rest[0] == folder.Delimiter
}

// Subscribe implements [folder.User].
func (r *Reader) Subscribe(ctx context.Context, name string, on bool) error {
	if len(name) > maxFolderName {
		return folder.ErrName
	}
	fixed := isFixed(name)
	if fixed {
		o, err := r.find(ctx, name)
		if err != nil {
			return err
		}
		name = o.id
	}
	return r.h.change(ctx, func(tx store.Tx) error {
		have, err := tx.Reader(r.a.ID)
		if err != nil {
			return err
		}
		list, keep := &have.Subscribed, on
		if fixed {
			list, keep = &have.Unsubscribed, !on
		}
		switch kept := slices.Contains(*list, name); {
		case kept == keep:
			return nil
		case !keep:
			*list = slices.DeleteFunc(*list, func(s string) bool { return s == name })
		case len(*list) >= r.h.o.Quota.Subscriptions:
			return folder.ErrLimit
		default:
			*list = append(*list, name)
		}
		return tx.PutReader(r.a.ID, have)
	})
}

// Quota implements [folder.User].
func (r *Reader) Quota(ctx context.Context) (folder.Quota, error) {
	var q folder.Quota
	err := r.h.view(ctx, func(v store.View) error {
		have, err := v.Reader(r.a.ID)
		if err != nil {
			return err
		}
		q = folder.Quota{Size: have.Size, SizeLimit: r.h.o.Quota.Size, Messages: have.Messages, MessagesLimit: r.h.o.Quota.Messages}
		return nil
	})
	return q, err
}
