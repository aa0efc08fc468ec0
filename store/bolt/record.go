package bolt

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/relais-sante/relais/store"
)

// A commit record stands in the shared segment behind the messages of a group and
// holds all that the group changed: rows of the index as they are there, sealed,
// under keys made of handles, ids and numbers, and the state that came of it. So
// the segments are the log ahead of the index, nothing is sealed twice, what goes
// with a key goes here too, and bringing an index up to date is putting rows in.
//
// It is CBOR, a map of
//
//	1  rows, each an array of the bucket's number, its key, and the row or null
//	   where it was deleted
//	2  the state, sealed for this record: see sealedFor
type commitRecord struct {
	Rows  []loggedRow `cbor:"1,keyasint"`
	State []byte      `cbor:"2,keyasint"`
}

// loggedRow is a row as it was written, or that it was deleted.
type loggedRow struct {
	_      struct{} `cbor:",toarray"`
	Bucket byte
	Key    []byte // that of a look-up begins with its generation
	Row    []byte // nil: deleted
}

// CBOR of a commit record is written by hand, since it is written often and read
// seldom (RFC 8949 §3).
const (
	cborUint  = 0 << 5
	cborBytes = 2 << 5
	cborArray = 4 << 5
	cborMap   = 5 << 5
	cborNull  = 0xf6
)

func appendHead(b []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n < 1<<8:
		return append(b, major|24, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n < 1<<32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}

func appendBytes(b, p []byte) []byte {
	return append(appendHead(b, cborBytes, uint64(len(p))), p...)
}

// appendRow appends the row that an entry of a level is.
func appendRow(b []byte, e *entry) []byte {
	b = append(b, cborArray|3)
	b = appendHead(b, cborUint, uint64(e.key[0]))
	b = appendBytes(b, e.key[1:])
	if e.row == nil {
		return append(b, cborNull)
	}
	return appendBytes(b, e.row)
}

// appendRecord appends the payload of a commit record: n rows that are encoded
// already, and the state that comes before the record itself. The state learns
// how far the keystore is: the keys that the rows name are durable.
func (s *Store) appendRecord(b []byte, n int, rows []byte, st *state) ([]byte, error) {
	st.Keys = s.keys.Number()
	from := len(b)
	b = append(b, cborMap|2, cborUint|1)
	b = appendHead(b, cborArray, uint64(n))
	b = append(b, rows...)
	b = append(b, cborUint|2)
	sealed, err := s.sealState(st, b[from:])
	if err != nil {
		return nil, err
	}
	return appendBytes(b, sealed), nil
}

// sealedFor binds a state to what stands before it in its record: with the hash
// over all records before, which the state holds, nobody without the key of the
// hub can make, change, move or leave out a record that a start would take.
func sealedFor(before []byte) []byte {
	sum := sha256.Sum256(before)
	return append([]byte("log"), sum[:]...)
}

func (s *Store) sealState(st *state, before []byte) ([]byte, error) {
	clear, err := encode(st)
	if err != nil {
		return nil, err
	}
	return s.keys.SealRow(nil, hubOwner, string(bucketMeta), sealedFor(before), clear)
}

// parseRecord reads the payload of a commit record; ok is false if it is none.
func parseRecord(payload []byte) (rec commitRecord, before []byte, ok bool) {
	if decoding.Unmarshal(payload, &rec) != nil {
		return rec, nil, false
	}
	for i := range rec.Rows {
		if _, _, ok := splitPlace(rec.Rows[i].place()); !ok {
			return rec, nil, false
		}
	}
	n := len(appendHead(nil, cborBytes, uint64(len(rec.State)))) + len(rec.State)
	return rec, payload[:max(0, len(payload)-n)], true
}

// place is the key of the row in a level.
func (r *loggedRow) place() []byte {
	return append(append(make([]byte, 0, 1+len(r.Key)), r.Bucket), r.Key...)
}

// stateOf opens the state of a record.
func (s *Store) stateOf(rec *commitRecord, before []byte) (*state, error) {
	clear, err := s.keys.OpenRow(nil, hubOwner, string(bucketMeta), sealedFor(before), rec.State)
	if err != nil {
		return nil, fmt.Errorf("opening the state of a commit record: %w", store.ErrCorrupt)
	}
	st := new(state)
	return st, decode(bucketMeta, clear, st)
}

// standsAlone tells rows that nothing else would tell, which a salvage puts back,
// from those that follow from them (look-ups, lists, counts) or from a message's
// bytes (its letter index), which it makes anew.
func standsAlone(number byte, key []byte) bool {
	switch number {
	case numThreads:
		return isMessageKey(key)
	case numReaders:
		if len(key) <= handleSize {
			return false
		}
		switch key[handleSize] {
		case kindChange, kindMarkLog, kindMailIx:
			return false
		}
	}
	return number >= numPathways && number <= numErasures
}

func clone(b []byte) []byte { return append(make([]byte, 0, len(b)), b...) }
