package bolt

import (
	"bytes"
	"encoding/binary"

	"github.com/relais-sante/relais/store"
)

// What an account has of its own. Its reader row counts folders, entries and
// marks, each folder its entries, with a digest over what it lists as changed;
// each private message counts the entries that lead to it. So none of these can be
// missing, or be one of before. Only of a reader that has nothing but a list of
// subscriptions no other row speaks: without it the folders it is shown are those
// that everybody is.

// readerTally is what the rows of one account come to. They come in the order of
// their kinds: changes, entries, folders, marks, private messages, the reader.
type readerTally struct {
	handle  []byte
	reader  *store.Reader
	folders map[[8]byte]*folderTally // by the hashes that stand for them in keys
	marks   int64
	logged  int64  // marks, in the order of their changes
	modSeq  uint64 // last of a mark
	mails   int
}

type folderTally struct {
	folder  *store.Folder
	count   uint32
	size    int64
	changes uint64 // digest
	uid     uint32 // last
	modSeq  uint64
}

func (r *readerTally) of(hash []byte) *folderTally {
	key := [8]byte(hash)
	if r.folders[key] == nil {
		r.folders[key] = &folderTally{}
	}
	return r.folders[key]
}

func (t *folderTally) given(uid uint32, modSeq uint64) {
	t.uid, t.modSeq = max(t.uid, uid), max(t.modSeq, modSeq)
}

func (c *verifier) readerRow(k, row []byte) error {
	if len(k) <= handleSize {
		return misfit
	}
	o, ok := c.v.s.keys.OwnerOf([handleSize]byte(k[:handleSize]))
	if !ok {
		return store.ErrErased
	}
	if !bytes.Equal(c.reader.handle, k[:handleSize]) {
		c.endReader()
		c.reader = readerTally{handle: clone(k[:handleSize]), folders: map[[8]byte]*folderTally{}}
	}
	r, rest := &c.reader, k[handleSize+1:]
	switch k[handleSize] {
	case kindChange:
		if len(rest) != 8+8+4 || len(row) != 2 || row[0] != clearVersion || row[1] > 1 {
			return misfit
		}
		t := r.of(rest[:8])
		t.changes ^= c.v.digest(k, row)
		t.given(binary.BigEndian.Uint32(rest[16:]), binary.BigEndian.Uint64(rest[8:]))
		return nil
	case kindEntry:
		return c.entryRow(o, k, row)
	case kindFolder:
		f := new(store.Folder)
		if err := c.v.open(bucketReaders, k, o, row, f); err != nil {
			return err
		}
		r.of(c.v.folderHash(f.ID)).folder = f
		if string(f.ID) != string(rest) {
			return misfit
		}
		return nil
	case kindMark:
		r.marks++
		m := new(store.ReaderMark)
		if err := c.v.open(bucketReaders, k, o, row, m); err != nil {
			return err
		}
		r.modSeq = max(r.modSeq, m.ModSeq)
		log := c.v.bucket(bucketReaders).Get(joined(k[:handleSize], []byte{kindMarkLog}, u64(m.ModSeq)))
		if !bytes.Equal(log, joined([]byte{clearVersion}, rest)) {
			return misfit
		}
		return nil
	case kindMarkLog:
		r.logged++
		if len(row) < 1 || row[0] != clearVersion {
			return misfit
		}
		return c.there(bucketReaders, joined(k[:handleSize], []byte{kindMark}, row[1:]))
	case kindMail:
		r.mails++
		m := new(store.Mail)
		if err := c.v.open(bucketReaders, k, o, row, m); err != nil {
			return err
		}
		c.mails.there += int(m.Entries)
		c.blob(m.Blob, string(m.ID))
		if string(m.ID) != string(rest) || m.Entries == 0 {
			return misfit
		}
		return c.there(bucketReaders, joined(k[:handleSize], []byte{kindMailIx}, rest))
	case kindMailIx:
		if err := c.v.open(bucketReaders, k, o, row, new([]byte)); err != nil {
			return err
		}
		return c.there(bucketReaders, joined(k[:handleSize], []byte{kindMail}, rest))
	case kindReader:
		r.reader = new(store.Reader)
		return c.v.open(bucketReaders, k, o, row, r.reader)
	}
	return misfit
}

func (c *verifier) entryRow(o store.Owner, k, row []byte) error {
	rest := k[handleSize+1:]
	if len(rest) != 8+4 {
		return misfit
	}
	e := new(store.Entry)
	if err := c.v.open(bucketReaders, k, o, row, e); err != nil {
		return err
	}
	t := c.reader.of(rest[:8])
	t.count++
	t.size += e.Size
	t.given(e.UID, e.ModSeq)
	if e.UID != binary.BigEndian.Uint32(rest[8:]) {
		return misfit
	}
	if e.Mail == "" {
		return nil
	}
	c.mails.asked++
	return c.there(bucketReaders, joined(k[:handleSize], []byte{kindMail}, []byte(e.Mail)))
}

// endReader compares what an account has with what its folders and its reader say.
func (c *verifier) endReader() {
	r := c.reader
	c.reader = readerTally{}
	if r.handle == nil {
		return
	}
	sum := store.Reader{Folders: int64(len(r.folders)), Marks: r.marks}
	fits := r.marks == r.logged
	for _, t := range r.folders {
		sum.Messages += int64(t.count)
		sum.Size += t.size
		f := t.folder
		fits = fits && f != nil && f.Count == t.count && f.Size == t.size && f.Changes == t.changes && f.UIDNext > t.uid && f.HighestModSeq >= t.modSeq
	}
	if have := r.reader; have == nil {
		fits = false
	} else {
		fits = fits && have.Folders == sum.Folders && have.Messages == sum.Messages && have.Size == sum.Size &&
			have.Marks == sum.Marks && have.ModSeq >= r.modSeq
	}
	if !fits {
		c.flaw(store.FlawRecord, indexName, -1, "")
	}
}
