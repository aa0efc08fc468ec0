package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/relais-sante/relais/store"
)

// Letter indexes of many messages in one go: a listing of a folder reads one of
// each. They lie in the order of their messages, so a cursor that goes on from
// where it stands nearly always finds the next one within a step or two.

// Indexes implements [store.View].
func (v *view) Indexes(c store.PathwayCode, seqs []uint64, fn func(i int, index []byte) error) error {
	w := v.strollIn(bucketThreads, pathwayOwner(c))
	prefix := v.threadKey(c, kindThread)
	for i, seq := range seqs {
		w.key = binary.BigEndian.AppendUint64(append(w.key[:0], prefix...), seq)
		w.key = append(w.key, endIndex)
		clear, err := w.open()
		if err != nil {
			return fmt.Errorf("reading indexes of %s: %w", c, err)
		}
		if clear == nil {
			continue
		}
		if err := fn(i, clear); err != nil {
			return err
		}
	}
	return nil
}

// MailIndexes implements [store.View].
func (v *view) MailIndexes(a store.AccountID, ids []store.MailID, fn func(i int, index []byte) error) error {
	w := v.strollIn(bucketReaders, a.Owner())
	prefix := v.readerKey(a, kindMailIx)
	for i, id := range ids {
		w.key = append(append(w.key[:0], prefix...), id...)
		clear, err := w.open()
		if err != nil {
			return fmt.Errorf("reading indexes of private messages of %s: %w", a, err)
		}
		if clear == nil {
			continue
		}
		if err := fn(i, clear); err != nil {
			return err
		}
	}
	return nil
}

// stroll opens rows of one owner, by keys that mostly come in order.
type stroll struct {
	v      *view
	bucket string
	owner  store.Owner
	cursor *cursor
	at     []byte // key that the cursor stands on
	row    []byte
	key    []byte // wanted
	clear  []byte // scratch
}

func (v *view) strollIn(bucket []byte, owner store.Owner) *stroll {
	return &stroll{v: v, bucket: string(bucket), owner: owner, cursor: v.bucket(bucket).Cursor()}
}

// strides is how many rows are passed by before the next is sought from the
// root of the tree: the row of a message lies between two indexes.
const strides = 3

// open gives the row under key in clear, nil if there is none. The bytes are
// valid until the next call.
func (w *stroll) open() ([]byte, error) {
	for n := 0; w.at != nil && n < strides && bytes.Compare(w.at, w.key) < 0; n++ {
		w.at, w.row = w.cursor.Next()
	}
	if !bytes.Equal(w.at, w.key) {
		if w.at, w.row = w.cursor.Seek(w.key); !bytes.Equal(w.at, w.key) {
			return nil, nil
		}
	}
	var err error
	w.clear, err = w.v.s.keys.OpenRow(w.clear[:0], w.owner, w.bucket, w.key, w.row)
	if w.clear == nil {
		w.clear = []byte{}
	}
	return w.clear, err
}
