package store

import (
	"errors"
	"time"
)

// Flaw is one thing that verification found other than it was written.
type Flaw struct {
	Kind FlawKind `json:"kind"`
	// File it is in, relative to the store's folder.
	File string `json:"file"`
	// Offset in the file; -1: the whole file, or not known.
	Offset int64 `json:"offset"`
	// ID of what is hit, where it can be told: message, held message, delivery,
	// trace, account, or code of a pathway.
	ID string `json:"id,omitempty"`
}

// FlawKind says what is wrong.
type FlawKind string

// Kinds of flaws.
const (
	FlawChanged FlawKind = "changed" // bytes of a message file are not those written
	FlawMissing FlawKind = "missing" // a message file, or bytes of one, are gone
	FlawAdded   FlawKind = "added"   // a file, or bytes of one, that the hub did not write
	FlawRecord  FlawKind = "record"  // a record of the index cannot be read, or does not fit the others
	FlawTrace   FlawKind = "trace"   // the traces were changed, reordered or cut
	FlawPage    FlawKind = "page"    // a page of the index is torn
	FlawKey     FlawKind = "key"     // the keystore is damaged
)

// Journal implements journal.Safe.
func (k FlawKind) Journal() string { return string(k) }

// MaxFlaws is how many flaws a verification lists; more are only counted.
const MaxFlaws = 1000

// Verification is what came of reading everything.
type Verification struct {
	OK     bool   `json:"ok"`
	Online bool   `json:"online"`
	Flaws  []Flaw `json:"flaws"`
	Count  int64  `json:"flaw_count"` // also those not listed

	Sequence uint64 `json:"sequence"` // of the last commit that was read
	Segments int64  `json:"segments"`
	Bytes    int64  `json:"bytes"` // of messages and index
	Records  int64  `json:"records"`
	Messages int64  `json:"messages"` // held and private ones included
	Traces   int64  `json:"traces"`
	Keys     int64  `json:"keys"`
	// Erased are records whose key is gone.
	Erased int64 `json:"erased"`
	// Unfinished: the hub did not stop in order; the next start cuts off what was
	// never acknowledged.
	Unfinished bool          `json:"unfinished"`
	Took       time.Duration `json:"-"`
}

// Note adds a flaw.
func (v *Verification) Note(f Flaw) {
	v.Count++
	if len(v.Flaws) < MaxFlaws {
		v.Flaws = append(v.Flaws, f)
	}
}

// Gone reports that a record cannot be read because its key was dropped.
func Gone(err error) bool { return errors.Is(err, ErrErased) || errors.Is(err, ErrNotFound) }
