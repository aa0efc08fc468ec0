package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"
)

// What was taken from a source that may show it again: a row for each mail, by
// keyed hash, with the day it was taken.

// Taken implements [store.View].
func (v *view) Taken(source string, digest [32]byte) (bool, error) {
	return v.bucket(bucketTaken).Get(v.lookup("taken", source, string(digest[:]))) != nil, nil
}

// PutTaken implements [store.Tx].
func (t *tx) PutTaken(source string, digest [32]byte, at time.Time) error {
	key, row := t.lookup("taken", source, string(digest[:])), joined([]byte{clearVersion}, u32(dayOf(at)))
	return t.putRaw(bucketTaken, key, row)
}

// PurgeTaken implements [store.Tx].
func (t *tx) PurgeTaken(from []byte, visit int, before time.Time) (last []byte, n int, err error) {
	var start []byte
	if len(from) > 0 {
		start = after(nil, from)
	}
	var gone [][]byte
	c := t.bucket(bucketTaken).Cursor()
	for k, row := c.Seek(start); ; k, row = c.Next() {
		if k == nil {
			last = nil
			break
		}
		if visit--; visit < 0 {
			break
		}
		last = bytes.Clone(k)
		if day, ok := takenDay(row); ok && day < dayOf(before) {
			gone = append(gone, last)
		}
	}
	for _, k := range gone {
		if err := t.drop(bucketTaken, k); err != nil {
			return last, 0, fmt.Errorf("purging what was taken: %w", err)
		}
	}
	return last, len(gone), nil
}

// dayOf counts days since 1970.
func dayOf(at time.Time) uint32 { return uint32(max(at.Unix(), 0) / (24 * 60 * 60)) }

func takenDay(row []byte) (uint32, bool) {
	if len(row) != 5 || row[0] != clearVersion {
		return 0, false
	}
	return binary.BigEndian.Uint32(row[1:]), true
}
