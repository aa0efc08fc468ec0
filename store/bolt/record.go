package bolt

import (
	"crypto/sha256"

	"github.com/relais-sante/relais/store"
)

// commitRecord stands in the shared segment beside each message that was filed
// or held, so that a lost index can be made again (see segment.go). What is in
// clear says nothing about anybody: numbers, a place, a keyed handle, a wrapped
// key.
type commitRecord struct {
	Owner   []byte `cbor:"1,keyasint"`           // handle of the pathway or held message
	Segment string `cbor:"2,keyasint,omitempty"` // where the bytes are; empty: none
	Offset  int64  `cbor:"3,keyasint,omitempty"`
	Length  int64  `cbor:"4,keyasint,omitempty"`
	Key     []byte `cbor:"5,keyasint,omitempty"` // PKESK packet
	// Detail is a [commitDetail] sealed like a row of the owner, with "commit"
	// for the bucket and the record's id for the key.
	Detail []byte `cbor:"6,keyasint"`
}

// commitDetail is what the index would be made again from.
type commitDetail struct {
	Message *store.Message `cbor:"1,keyasint,omitempty"` // rubrics, UIDs, author included
	Held    *store.Held    `cbor:"2,keyasint,omitempty"`
	// Copies are the deliveries made with the message. Whether they went out
	// is not known here: salvaged, they are held.
	Copies []*store.Delivery `cbor:"3,keyasint,omitempty"`
	// Of a private message: its first entry and the folder it was put into.
	Mail   *store.Mail  `cbor:"4,keyasint,omitempty"`
	Entry  *store.Entry `cbor:"5,keyasint,omitempty"`
	Folder string       `cbor:"6,keyasint,omitempty"`
}

// filed is a message or held message of this Commit.
type filed struct {
	owner store.Owner
	id    [16]byte // of its bytes, or of nothing
	blob  *store.Blob
	msg   *store.Message
	held  *store.Held

	mail   *store.Mail
	entry  *store.Entry
	folder string // its name
}

const bucketCommit = "commit"

func (t *tx) writeCommitRecord(f *filed) error {
	detail := commitDetail{Message: f.msg, Held: f.held, Mail: f.mail, Entry: f.entry, Folder: f.folder}
	if f.msg != nil {
		detail.Copies = t.copies[f.msg.ID]
	}
	clear, err := encode(&detail)
	if err != nil {
		return err
	}
	h := t.s.keys.Handle(f.owner)
	rec := commitRecord{Owner: h[:]}
	if f.blob != nil {
		rec.Segment, rec.Offset, rec.Length, rec.Key = f.blob.Segment, f.blob.Offset, f.blob.Length, f.blob.Key
	}
	if rec.Detail, err = t.s.keys.SealRow(nil, f.owner, bucketCommit, f.id[:], clear); err != nil {
		return err
	}
	payload, err := encode(&rec)
	if err != nil {
		return err
	}
	head := recordHead{kind: recCommit, seq: t.state.Seq, id: f.id, length: int64(len(payload)), sum: sha256.Sum256(payload)}
	t.append(head.encode())
	t.append(payload)
	return nil
}
