package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/relais-sante/relais/store"
)

// Kinds of rows of bucketReaders, see there.
const (
	kindChange  = 'c'
	kindEntry   = 'e'
	kindFolder  = 'f'
	kindMark    = 'k'
	kindMarkLog = 'l'
	kindMail    = 'm'
	kindReader  = 'r'
	kindMailIx  = 'x'
)

// readerKey makes a key of bucketReaders.
func (v *view) readerKey(a store.AccountID, kind byte, parts ...[]byte) []byte {
	if a != v.account || a == "" {
		v.account, v.accountHanded = a, v.s.keys.Handle(a.Owner())
	}
	return joined(append([][]byte{v.accountHanded[:], {kind}}, parts...)...)
}

func (v *view) folderHash(f store.FolderID) []byte { return v.lookup("folder", string(f))[:8] }

// Reader implements [store.View].
func (v *view) Reader(a store.AccountID) (*store.Reader, error) {
	r := new(store.Reader)
	err := v.get(bucketReaders, v.readerKey(a, kindReader), a.Owner(), r)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("reading what account %s has: %w", a, err)
	}
	return r, nil
}

// Folder implements [store.View].
func (v *view) Folder(a store.AccountID, id store.FolderID) (*store.Folder, error) {
	f := new(store.Folder)
	if err := v.get(bucketReaders, v.readerKey(a, kindFolder, []byte(id)), a.Owner(), f); err != nil {
		return nil, fmt.Errorf("reading folder %s: %w", id, err)
	}
	f.UIDValidity = max(f.UIDValidity, v.validity()) // see Renew
	return f, nil
}

// Folders implements [store.View].
func (v *view) Folders(a store.AccountID) ([]*store.Folder, error) {
	var out []*store.Folder
	err := v.rows(v.readerKey(a, kindFolder), nil, func(k, row []byte) (bool, error) {
		f := new(store.Folder)
		out = append(out, f)
		err := v.open(bucketReaders, k, a.Owner(), row, f)
		f.UIDValidity = max(f.UIDValidity, v.validity()) // see Renew
		return true, err
	})
	if err != nil {
		return nil, fmt.Errorf("listing folders of account %s: %w", a, err)
	}
	return out, nil
}

// rows goes through the rows with a prefix, from where it is followed by from,
// until fn has enough.
func (v *view) rows(prefix, from []byte, fn func(k, row []byte) (more bool, err error)) error {
	c := v.bucket(bucketReaders).Cursor()
	for k, row := c.Seek(joined(prefix, from)); hasPrefix(k, prefix); k, row = c.Next() {
		if more, err := fn(k, row); err != nil || !more {
			return err
		}
	}
	return nil
}

// Entries implements [store.View].
func (v *view) Entries(a store.AccountID, f store.FolderID, from uint32, limit int) ([]store.Entry, error) {
	var out []store.Entry
	if from == ^uint32(0) {
		return nil, nil
	}
	err := v.rows(v.readerKey(a, kindEntry, v.folderHash(f)), u32(from+1), func(k, row []byte) (bool, error) {
		out = append(out, store.Entry{})
		err := v.open(bucketReaders, k, a.Owner(), row, &out[len(out)-1])
		return limit <= 0 || len(out) < limit, err
	})
	if err != nil {
		return nil, fmt.Errorf("listing folder %s: %w", f, err)
	}
	return out, nil
}

// Entry implements [store.View].
func (v *view) Entry(a store.AccountID, f store.FolderID, uid uint32) (*store.Entry, error) {
	e := new(store.Entry)
	if err := v.get(bucketReaders, v.readerKey(a, kindEntry, v.folderHash(f), u32(uid)), a.Owner(), e); err != nil {
		return nil, fmt.Errorf("reading an entry of folder %s: %w", f, err)
	}
	return e, nil
}

// EntryChanges implements [store.View].
func (v *view) EntryChanges(a store.AccountID, f store.FolderID, since uint64) ([]store.Change, error) {
	var out []store.Change
	if since == ^uint64(0) {
		return nil, nil
	}
	prefix := v.readerKey(a, kindChange, v.folderHash(f))
	err := v.rows(prefix, u64(since+1), func(k, row []byte) (bool, error) {
		rest := k[len(prefix):]
		if len(rest) != 12 || len(row) != 2 {
			return false, store.ErrCorrupt
		}
		out = append(out, store.Change{
			ModSeq: binary.BigEndian.Uint64(rest), UID: binary.BigEndian.Uint32(rest[8:]), Gone: row[1] == 1,
		})
		return true, nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing changes of folder %s: %w", f, err)
	}
	return out, nil
}

// Mail implements [store.View].
func (v *view) Mail(a store.AccountID, id store.MailID) (*store.Mail, error) {
	m := new(store.Mail)
	if err := v.get(bucketReaders, v.readerKey(a, kindMail, []byte(id)), a.Owner(), m); err != nil {
		return nil, fmt.Errorf("reading mail %s: %w", id, err)
	}
	return m, nil
}

// MailIndex implements [store.View].
func (v *view) MailIndex(a store.AccountID, id store.MailID) ([]byte, error) {
	var b []byte
	if err := v.get(bucketReaders, v.readerKey(a, kindMailIx, []byte(id)), a.Owner(), &b); err != nil {
		return nil, fmt.Errorf("reading index of mail %s: %w", id, err)
	}
	return b, nil
}

// Marks implements [store.View].
func (v *view) Marks(a store.AccountID, c store.PathwayCode) ([]store.ReaderMark, error) {
	var out []store.ReaderMark
	err := v.rows(v.readerKey(a, kindMark, v.handle(c)), nil, func(k, row []byte) (bool, error) {
		out = append(out, store.ReaderMark{})
		return true, v.open(bucketReaders, k, a.Owner(), row, &out[len(out)-1])
	})
	if err != nil {
		return nil, fmt.Errorf("listing marks of account %s: %w", a, err)
	}
	return out, nil
}

// Mark implements [store.View].
func (v *view) Mark(a store.AccountID, ref store.MessageRef) (*store.ReaderMark, error) {
	m := new(store.ReaderMark)
	if err := v.get(bucketReaders, v.readerKey(a, kindMark, v.handle(ref.Pathway), []byte(ref.Message)), a.Owner(), m); err != nil {
		return nil, fmt.Errorf("reading a mark of account %s: %w", a, err)
	}
	return m, nil
}

// MarkChanges implements [store.View].
func (v *view) MarkChanges(a store.AccountID, since uint64) ([]store.ReaderMark, error) {
	var out []store.ReaderMark
	if since == ^uint64(0) {
		return nil, nil
	}
	err := v.rows(v.readerKey(a, kindMarkLog), u64(since+1), func(_, row []byte) (bool, error) {
		if len(row) < 1+handleSize {
			return false, store.ErrCorrupt
		}
		c, ok := v.pathwayOf(row[1 : 1+handleSize])
		if !ok {
			return true, nil
		}
		m, err := v.Mark(a, store.MessageRef{Pathway: c, Message: store.MessageID(row[1+handleSize:])})
		if err == nil {
			out = append(out, *m)
		}
		return true, err
	})
	if err != nil {
		return nil, fmt.Errorf("listing changed marks of account %s: %w", a, err)
	}
	return out, nil
}
