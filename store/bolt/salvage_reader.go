package bolt

import (
	"bytes"

	"github.com/relais-sante/relais/store"
)

// What accounts have of their own. Their rows come in the order of their kinds:
// entries, folders, marks, private messages, the reader; so what counts others is
// counted anew from those that came before. What changed when is lost, and with it
// nothing that is shown: every UIDVALIDITY is another.

// salvagedReader is what the rows of one account come to.
type salvagedReader struct {
	owner   store.Owner
	handle  []byte
	folders map[[8]byte]*store.Folder // by their hashes: what the entries come to
	mails   map[store.MailID]uint32   // entries of each
	sum     store.Reader
	found   bool // the reader itself
}

func (c *salvager) readerRow(t *tx, k, row []byte) error {
	if len(k) <= handleSize {
		return store.ErrCorrupt
	}
	o, ok := c.s.keys.OwnerOf([handleSize]byte(k[:handleSize]))
	if !ok {
		return store.ErrErased
	}
	if !bytes.Equal(c.reader.handle, k[:handleSize]) {
		if err := c.endReader(t); err != nil {
			return err
		}
		c.reader = salvagedReader{owner: o, handle: clone(k[:handleSize]), folders: map[[8]byte]*store.Folder{}, mails: map[store.MailID]uint32{}}
		for _, k := range t.keysOf(bucketReaders, joined(k[:handleSize], []byte{kindFolder}), nil) {
			c.reader.folders[[8]byte(t.folderHash(store.FolderID(k[handleSize+1:])))] = new(store.Folder)
		}
	}
	r := &c.reader
	switch k[handleSize] {
	case kindEntry:
		return c.entry(t, k, row)
	case kindFolder:
		f := new(store.Folder)
		if err := t.open(bucketReaders, k, o, row, f); err != nil {
			return err
		}
		return c.folder(t, k, f)
	case kindMark:
		m := new(store.ReaderMark)
		if err := t.open(bucketReaders, k, o, row, m); err != nil {
			return err
		}
		r.sum.Marks++
		r.sum.ModSeq = max(r.sum.ModSeq, m.ModSeq)
		t.state.ModSeq = max(t.state.ModSeq, m.ModSeq)
		return t.putRaw(bucketReaders, joined(k[:handleSize], []byte{kindMarkLog}, u64(m.ModSeq)), joined([]byte{clearVersion}, k[handleSize+1:]))
	case kindMail:
		m := new(store.Mail)
		if err := t.open(bucketReaders, k, o, row, m); err != nil {
			return err
		}
		if m.Entries = r.mails[m.ID]; m.Entries == 0 {
			return store.ErrCorrupt // in no folder any more
		}
		c.out.Messages++
		key := append(append(clone(k[:handleSize]), kindMailIx), k[handleSize+1:]...)
		if err := t.put(bucketReaders, key, o, c.letter(t, m.Blob, string(m.ID))); err != nil {
			return err
		}
		return t.put(bucketReaders, k, o, m)
	case kindReader:
		have := new(store.Reader)
		if err := t.open(bucketReaders, k, o, row, have); err != nil {
			return err
		}
		r.sum.Subscribed, r.sum.Unsubscribed = have.Subscribed, have.Unsubscribed
		r.sum.Validity, r.sum.ModSeq = max(r.sum.Validity, have.Validity), max(r.sum.ModSeq, have.ModSeq)
		r.found = true
	}
	return nil
}

func (c *salvager) entry(t *tx, k, row []byte) error {
	e := new(store.Entry)
	if err := t.open(bucketReaders, k, c.reader.owner, row, e); err != nil {
		return err
	}
	rest := k[handleSize+1:]
	if len(rest) != 8+4 {
		return store.ErrCorrupt
	}
	f := c.reader.folders[[8]byte(rest)]
	if f == nil {
		return store.ErrCorrupt // its folder is lost
	}
	if e.Mail != "" {
		if t.bucket(bucketReaders).Get(joined(k[:handleSize], []byte{kindMail}, []byte(e.Mail))) == nil {
			return store.ErrCorrupt // of a message that is lost
		}
		c.reader.mails[e.Mail]++
	}
	f.Count++
	f.Size += e.Size
	f.UIDNext, f.HighestModSeq = max(f.UIDNext, e.UID+1), max(f.HighestModSeq, e.ModSeq)
	t.state.ModSeq = max(t.state.ModSeq, e.ModSeq)
	return nil
}

func (c *salvager) folder(t *tx, k []byte, f *store.Folder) error {
	sum := &c.reader.sum
	has := c.reader.folders[[8]byte(t.folderHash(f.ID))]
	if has == nil {
		return store.ErrCorrupt // under another key than its id
	}
	f.Count, f.Size, f.Changes = has.Count, has.Size, 0
	f.UIDNext, f.HighestModSeq = max(f.UIDNext, has.UIDNext), max(f.HighestModSeq, has.HighestModSeq)
	sum.Folders++
	sum.Messages += int64(f.Count)
	sum.Size += f.Size
	sum.Validity = max(sum.Validity, f.UIDValidity)
	t.state.ModSeq = max(t.state.ModSeq, f.HighestModSeq)
	t.state.Validity = max(t.state.Validity, f.UIDValidity)
	return t.put(bucketReaders, k, c.reader.owner, f)
}

// endReader writes what an account's rows came to.
func (c *salvager) endReader(t *tx) error {
	r := &c.reader
	defer func() { *r = salvagedReader{} }()
	if !r.found && r.sum.Folders == 0 && r.sum.Marks == 0 {
		return nil
	}
	return t.put(bucketReaders, joined(r.handle, []byte{kindReader}), r.owner, &r.sum)
}
