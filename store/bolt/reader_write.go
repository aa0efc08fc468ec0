package bolt

import (
	"errors"
	"fmt"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

const errNoMail = journal.Fault("an entry is of a mail or of a message")

// PutReader implements [store.Tx].
func (t *tx) PutReader(a store.AccountID, r *store.Reader) error {
	have, err := t.Reader(a)
	if err != nil {
		return err
	}
	have.Subscribed, have.Unsubscribed = r.Subscribed, r.Unsubscribed
	*r = *have
	t.touched(a.Topic())
	return t.putReader(a, have)
}

func (t *tx) putReader(a store.AccountID, r *store.Reader) error {
	if err := t.put(bucketReaders, t.readerKey(a, kindReader), a.Owner(), r); err != nil {
		return fmt.Errorf("writing what account %s has: %w", a, err)
	}
	return nil
}

// PutFolder implements [store.Tx].
func (t *tx) PutFolder(a store.AccountID, f *store.Folder) error {
	have, err := t.Folder(a, f.ID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		r, err := t.Reader(a)
		if err != nil {
			return err
		}
		// A folder that is made again under an old name must not have its old
		// UIDs: RFC 9051 §2.3.1.1.
		r.Validity = max(r.Validity+1, t.state.Validity+1, uint32(t.s.o.Clock().Unix()))
		r.Folders++
		have = &store.Folder{UIDValidity: r.Validity, UIDNext: 1}
		if err := t.putReader(a, r); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	f.UIDValidity, f.UIDNext, f.Count, f.Size, f.Changes = have.UIDValidity, have.UIDNext, have.Count, have.Size, have.Changes
	f.HighestModSeq = t.modSeq()
	return t.putFolder(a, f)
}

func (t *tx) putFolder(a store.AccountID, f *store.Folder) error {
	t.touched(a.Topic())
	if err := t.put(bucketReaders, t.readerKey(a, kindFolder, []byte(f.ID)), a.Owner(), f); err != nil {
		return fmt.Errorf("writing folder %s: %w", f.ID, err)
	}
	return nil
}

// DropFolder implements [store.Tx].
func (t *tx) DropFolder(a store.AccountID, id store.FolderID) error {
	f, err := t.Folder(a, id)
	if err != nil {
		return err
	}
	if f.Count > 0 {
		return fmt.Errorf("dropping folder %s: %w", id, store.ErrConflict)
	}
	r, err := t.Reader(a)
	if err != nil {
		return err
	}
	r.Folders--
	if err := t.putReader(a, r); err != nil {
		return err
	}
	prefix := t.readerKey(a, kindChange, t.folderHash(id))
	var changes [][]byte
	err = t.rows(prefix, nil, func(k, _ []byte) (bool, error) {
		changes = append(changes, joined(k))
		return true, nil
	})
	for _, k := range changes {
		err = errors.Join(err, t.drop(bucketReaders, k))
	}
	t.touched(a.Topic())
	if err := errors.Join(err, t.drop(bucketReaders, t.readerKey(a, kindFolder, []byte(id)))); err != nil {
		return fmt.Errorf("dropping folder %s: %w", id, err)
	}
	return nil
}

// AddEntry implements [store.Tx].
func (t *tx) AddEntry(a store.AccountID, id store.FolderID, e *store.Entry, index []byte, d store.Draft) error {
	if err := t.addEntry(a, id, e, index, d); err != nil {
		return fmt.Errorf("putting a message into folder %s: %w", id, err)
	}
	return nil
}

func (t *tx) addEntry(a store.AccountID, id store.FolderID, e *store.Entry, index []byte, d store.Draft) error {
	f, err := t.Folder(a, id)
	if err != nil {
		return err
	}
	if f.Dropped {
		return store.ErrNotFound
	}
	switch {
	case e.Mail == "" && (e.Of == store.MessageRef{} || d != nil):
		return errNoMail
	case d != nil:
		err = t.newMail(a, e, index, d)
	case e.Mail != "":
		err = t.countMail(a, e.Mail, +1)
	}
	if err != nil {
		return err
	}
	e.UID, e.ModSeq = f.UIDNext, t.modSeq()
	f.UIDNext++
	return t.countEntry(a, f, e, +1)
}

// countEntry writes or drops an entry and what counts it.
func (t *tx) countEntry(a store.AccountID, f *store.Folder, e *store.Entry, n int64) error {
	key := t.readerKey(a, kindEntry, t.folderHash(f.ID), u32(e.UID))
	var err error
	if n > 0 {
		err = t.put(bucketReaders, key, a.Owner(), e)
	} else {
		err = t.drop(bucketReaders, key)
	}
	if err != nil {
		return err
	}
	r, err := t.Reader(a)
	if err != nil {
		return err
	}
	f.Count = uint32(int64(f.Count) + n)
	f.Size += n * e.Size
	f.HighestModSeq = t.state.ModSeq
	r.Size += n * e.Size
	r.Messages += n
	if err := t.putReader(a, r); err != nil {
		return err
	}
	return t.putFolder(a, f)
}

// newMail stores a private message.
func (t *tx) newMail(a store.AccountID, e *store.Entry, index []byte, d store.Draft) error {
	blob, err := t.take(d, a.Owner())
	if err != nil {
		return err
	}
	m := &store.Mail{ID: e.Mail, Blob: blob, Entries: 1}
	if err := t.put(bucketReaders, t.readerKey(a, kindMail, []byte(m.ID)), a.Owner(), m); err != nil {
		return err
	}
	return t.put(bucketReaders, t.readerKey(a, kindMailIx, []byte(m.ID)), a.Owner(), nonNil(index))
}

// countMail follows the entries of a private message; with the last one it
// goes.
func (t *tx) countMail(a store.AccountID, id store.MailID, n int) error {
	m, err := t.Mail(a, id)
	if err != nil {
		return err
	}
	m.Entries = uint32(int(m.Entries) + n)
	key := t.readerKey(a, kindMail, []byte(id))
	if m.Entries > 0 {
		return t.put(bucketReaders, key, a.Owner(), m)
	}
	if err := errors.Join(t.drop(bucketReaders, key), t.drop(bucketReaders, t.readerKey(a, kindMailIx, []byte(id)))); err != nil {
		return err
	}
	return t.dropLarge(m.Blob)
}

// UpdateEntry implements [store.Tx].
func (t *tx) UpdateEntry(a store.AccountID, id store.FolderID, e *store.Entry) error {
	f, err := t.Folder(a, id)
	var have *store.Entry
	if err == nil {
		have, err = t.Entry(a, id, e.UID)
	}
	if err != nil {
		return fmt.Errorf("changing an entry: %w", err)
	}
	before := have.ModSeq
	have.System, have.Keywords, have.ModSeq = e.System, e.Keywords, t.modSeq()
	*e = *have
	f.HighestModSeq = e.ModSeq
	err = errors.Join(
		t.put(bucketReaders, t.readerKey(a, kindEntry, t.folderHash(id), u32(e.UID)), a.Owner(), e),
		t.noteChange(a, f, e.UID, before, e.ModSeq, 0),
		t.putFolder(a, f))
	if err != nil {
		return fmt.Errorf("changing an entry of folder %s: %w", id, err)
	}
	return nil
}

// noteChange moves an entry to the end of the changes of its folder, which is for
// the caller to write.
func (t *tx) noteChange(a store.AccountID, f *store.Folder, uid uint32, before, now uint64, gone byte) error {
	prefix := t.readerKey(a, kindChange, t.folderHash(f.ID))
	old := joined(prefix, u64(before), u32(uid))
	if row := t.bucket(bucketReaders).Get(old); row != nil {
		f.Changes ^= t.digest(old, row)
		if err := t.drop(bucketReaders, old); err != nil {
			return err
		}
	}
	key, row := joined(prefix, u64(now), u32(uid)), []byte{clearVersion, gone}
	f.Changes ^= t.digest(key, row)
	return t.putRaw(bucketReaders, key, row)
}

// DropEntry implements [store.Tx].
func (t *tx) DropEntry(a store.AccountID, id store.FolderID, uid uint32) error {
	f, err := t.Folder(a, id)
	var e *store.Entry
	if err == nil {
		e, err = t.Entry(a, id, uid)
	}
	if err == nil && e.Mail != "" {
		err = t.countMail(a, e.Mail, -1)
	}
	if err == nil {
		err = t.noteChange(a, f, uid, e.ModSeq, t.modSeq(), 1)
	}
	if err == nil {
		err = t.countEntry(a, f, e, -1)
	}
	if err != nil {
		return fmt.Errorf("taking an entry out of folder %s: %w", id, err)
	}
	return nil
}

// PutMark implements [store.Tx].
func (t *tx) PutMark(a store.AccountID, m *store.ReaderMark) error {
	if err := t.putMark(a, m); err != nil {
		return fmt.Errorf("writing a mark of account %s: %w", a, err)
	}
	return nil
}

func (t *tx) putMark(a store.AccountID, m *store.ReaderMark) error {
	if _, err := t.in(m.Pathway, m.Message); err != nil {
		return err
	}
	r, err := t.Reader(a)
	if err != nil {
		return err
	}
	old, err := t.Mark(a, store.MessageRef{Pathway: m.Pathway, Message: m.Message})
	switch {
	case err == nil:
		err = t.drop(bucketReaders, t.readerKey(a, kindMarkLog, u64(old.ModSeq)))
	case errors.Is(err, store.ErrNotFound):
		r.Marks++
		err = nil
	}
	if err != nil {
		return err
	}
	m.ModSeq = t.modSeq()
	r.ModSeq = m.ModSeq
	t.touched(a.Topic())
	place := joined(t.handle(m.Pathway), []byte(m.Message))
	return errors.Join(
		t.put(bucketReaders, t.readerKey(a, kindMark, place), a.Owner(), m),
		t.putRaw(bucketReaders, t.readerKey(a, kindMarkLog, u64(m.ModSeq)), joined([]byte{clearVersion}, place)),
		t.putReader(a, r))
}
