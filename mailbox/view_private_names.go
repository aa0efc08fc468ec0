package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

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
		if have.Folders >= maxFolders {
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

// maxFolders bounds the private folders of an account.
const maxFolders = 1000

// Delete implements [folder.User]. What is in the folder goes in steps, so that
// no other commit waits long; from the first on it is not there any more.
func (r *Reader) Delete(ctx context.Context, name string) error {
	if isFixed(name) {
		if r.known(ctx, name) {
			return folder.ErrFixed
		}
		return folder.ErrNone
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

// known reports whether a folder of the hub's is there for this reader.
func (r *Reader) known(ctx context.Context, name string) bool {
	all, err := r.List(ctx)
	return err == nil && slices.ContainsFunc(all, func(f folder.Info) bool { return f.Name == name && !f.Missing })
}

// dropStep bounds the entries taken away in one commit.
const dropStep = 200

// emptyFolder takes away what is in a dropped folder, then the folder. Cut off,
// it goes on when the folders of the account are next changed this way.
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
		if r.known(ctx, from) {
			return folder.ErrFixed
		}
		return folder.ErrNone
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

// maxSubscribed bounds the names an account may subscribe to.
const maxSubscribed = 2000

// Subscribe implements [folder.User].
func (r *Reader) Subscribe(ctx context.Context, name string, on bool) error {
	if len(name) > maxFolderName || strings.HasPrefix(name, fixedMark) {
		return folder.ErrName
	}
	if isFixed(name) {
		o, err := r.find(ctx, name)
		if err != nil {
			return err
		}
		name = fixedMark + o.id
	}
	return r.h.change(ctx, func(tx store.Tx) error {
		have, err := tx.Reader(r.a.ID)
		if err != nil {
			return err
		}
		is := slices.Contains(have.Subscribed, name)
		switch {
		case is == on:
			return nil
		case !on:
			have.Subscribed = slices.DeleteFunc(have.Subscribed, func(s string) bool { return s == name })
		case len(have.Subscribed) >= maxSubscribed:
			return folder.ErrLimit
		default:
			have.Subscribed = append(have.Subscribed, name)
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
