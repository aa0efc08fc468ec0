package store

import (
	"slices"
	"time"
)

// What a reader has of their own: private folders with what lies in them, and
// marks (flags, hides) on the messages of pathways. All of it is sealed with
// the key of the account.
//
// A modseq comes from one counter of the whole store, taken in the order of
// commits: what a reader sees is put together of several lists, and must be in
// one order all the same (RFC 7162 §3.1).

// FolderID names a private folder of one account: a ULID in lower case.
type FolderID string

// Journal implements journal.Safe.
func (i FolderID) Journal() string { return string(i) }

// MailID names a private message of one account: a ULID in lower case.
type MailID string

// Journal implements journal.Safe.
func (i MailID) Journal() string { return string(i) }

// Folder is a private folder.
type Folder struct {
	ID      FolderID  `cbor:"1,keyasint"`
	Name    string    `cbor:"2,keyasint"` // the whole path, in UTF-8
	Use     string    `cbor:"3,keyasint,omitempty"`
	Created time.Time `cbor:"4,keyasint"`
	// Dropped: deleted, and waiting for what lies in it to be taken away.
	Dropped bool `cbor:"5,keyasint,omitempty"`
	// The rest is the engine's.
	UIDValidity   uint32 `cbor:"10,keyasint"`
	UIDNext       uint32 `cbor:"11,keyasint"`
	HighestModSeq uint64 `cbor:"12,keyasint"`
	Count         uint32 `cbor:"13,keyasint"`
	Size          int64  `cbor:"14,keyasint"` // bytes of all entries
	// Changes is a digest over what is listed as changed, for [Verification].
	Changes uint64 `cbor:"15,keyasint,omitempty"`
}

// Entry is a message in a private folder: one of the account's own, or a
// reference to one of a pathway, which goes when that goes.
type Entry struct {
	UID      uint32     `cbor:"1,keyasint"` // the engine's
	ModSeq   uint64     `cbor:"2,keyasint"` // the engine's
	System   uint8      `cbor:"3,keyasint,omitempty"`
	Keywords []string   `cbor:"4,keyasint,omitempty"`
	Size     int64      `cbor:"5,keyasint"` // bytes as shown
	Received int64      `cbor:"6,keyasint"` // INTERNALDATE, seconds since 1970
	Saved    int64      `cbor:"7,keyasint"` // seconds since 1970
	Mail     MailID     `cbor:"8,keyasint,omitempty"`
	Of       MessageRef `cbor:"9,keyasint,omitzero"` // of a pathway, if Mail is empty
	// Sum is the SHA-256 of a message that the hub writes anew when it is read.
	Sum []byte `cbor:"10,keyasint,omitempty"`
}

// Mail is a private message, in as many folders as Entries say.
type Mail struct {
	ID      MailID `cbor:"1,keyasint"`
	Blob    *Blob  `cbor:"2,keyasint"`
	Entries uint32 `cbor:"3,keyasint"` // the engine's
}

// Change is a row of a list that is other than it was.
type Change struct {
	ModSeq uint64
	UID    uint32
	Gone   bool
}

// ReaderMark is what one account has set on a message of a pathway.
type ReaderMark struct {
	Message  MessageID   `cbor:"1,keyasint"`
	Pathway  PathwayCode `cbor:"2,keyasint"`
	ModSeq   uint64      `cbor:"3,keyasint"` // the engine's
	System   uint8       `cbor:"4,keyasint,omitempty"`
	Keywords []string    `cbor:"5,keyasint,omitempty"`
	// Hidden are the views it was deleted from: a rubric's id, or "inbox".
	Hidden []string `cbor:"6,keyasint,omitempty"`
}

// HiddenIn reports whether the message was deleted from a view.
func (m *ReaderMark) HiddenIn(view string) bool { return slices.Contains(m.Hidden, view) }

// Reader is what an account has in all.
type Reader struct {
	Subscribed []string `cbor:"1,keyasint,omitempty"` // names, which need not exist
	// Unsubscribed are the ids of the hub's own folders, which are subscribed to
	// unless the reader wants otherwise.
	Unsubscribed []string `cbor:"2,keyasint,omitempty"`
	// The rest is the engine's.
	Size     int64  `cbor:"10,keyasint"` // bytes of all entries of its folders
	Messages int64  `cbor:"11,keyasint"`
	Folders  int64  `cbor:"12,keyasint"`
	Validity uint32 `cbor:"13,keyasint"` // last UIDVALIDITY given to a folder
	ModSeq   uint64 `cbor:"14,keyasint"` // of the last change of a mark
	Marks    int64  `cbor:"15,keyasint,omitempty"`
}

// BoxUID is the UID that a message has in the INBOX of a box.
type BoxUID struct {
	Box Address `cbor:"1,keyasint"`
	UID uint32  `cbor:"2,keyasint"` // set by the engine: 0 asks for one
}

// Topics of [Store.Watch].
func (c PathwayCode) Topic() string { return "pathway:" + string(c) }

// Topic is that of the private folders and marks of an account.
func (i AccountID) Topic() string { return "account:" + string(i) }

// Topic is that of the teams a box is in, and of what is addressed to it.
func (a Address) Topic() string { return "box:" + string(a) }
