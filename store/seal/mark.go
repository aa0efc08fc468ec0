package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"os"
	"slices"

	"github.com/relais-sante/relais/store"
)

// A mark says up to which record a keystore was durable, so that one that was cut
// between two records shows:
//
//	 8  number of that record
//	 8  offset of its end
//	16  its authentication tag
//	32  HMAC-SHA256 of keystore id, epoch number and the above, under a key
//	    derived from the epoch key
//
// Marks are not written with records, which would take a second write each time:
// they follow as the copies do, and once more when the keystore is closed. There
// are two, written in turn, so that a crash while one is written leaves the
// other. Behind the last mark a cut looks like a crash; there the commits of the
// store tell, each of which holds the number of the last record of its moment.
const markSize = 8 + 8 + tagSize + sha256.Size

func (e *epoch) mark(t tip) (m [markSize]byte) {
	b := binary.BigEndian.AppendUint64(m[:0], t.number)
	b = binary.BigEndian.AppendUint64(b, uint64(t.end))
	b = append(b, t.tag[:]...)
	key := derive(e.key[:], "keystore mark")
	mac := hmac.New(sha256.New, key[:])
	mac.Write(e.store[:])
	mac.Write(binary.BigEndian.AppendUint32(nil, e.number))
	mac.Write(b)
	mac.Sum(b)
	return m
}

// tipOf gives what a mark says; false if nobody with the epoch key said so.
func (e *epoch) tipOf(m [markSize]byte) (tip, bool) {
	t := tip{number: binary.BigEndian.Uint64(m[:]), end: int64(binary.BigEndian.Uint64(m[8:])), tag: [tagSize]byte(m[16:])}
	want := e.mark(t)
	return t, hmac.Equal(m[:], want[:])
}

// marks are those at the beginning of a keystore, as they are in the file.
type marks [2][markSize]byte

func marksIn(b []byte) (m marks) {
	for i := range m {
		copy(m[i][:], b[min(len(b), storeTitle+i*markSize):])
	}
	return m
}

func (m *marks) encode() []byte { return slices.Concat(m[0][:], m[1][:]) }

// contents is what a keystore's file holds.
type contents struct {
	tip    tip
	marks  marks
	spoilt []int // marks that nobody made, or that were torn while being written
}

// read hands every record of a keystore to fn. It gives [store.ErrCorrupt], with
// the tip that it got to, unless every record is there that a mark speaks of.
func (e *epoch) read(b []byte, fn func(*record)) (contents, error) {
	c := contents{tip: tip{end: storeHead}, marks: marksIn(b)}
	if len(b) < storeHead {
		return c, store.ErrCorrupt
	}
	missing := map[tip]bool{}
	for i := range c.marks {
		if t, ok := e.tipOf(c.marks[i]); ok {
			missing[t] = true
		} else {
			c.spoilt = append(c.spoilt, i)
		}
	}
	if len(missing) == 0 {
		return c, store.ErrCorrupt
	}
	delete(missing, c.tip) // of a keystore that has held nothing yet
	var err error
	c.tip, err = e.scanRecords(b[storeHead:], func(r *record, t tip) {
		delete(missing, t)
		fn(r)
	})
	if err == nil && len(missing) > 0 {
		err = store.ErrCorrupt
	}
	return c, err
}

// opens tells whether an epoch key is that of a keystore, be it damaged.
func (e *epoch) opens(b []byte) bool {
	for _, m := range marksIn(b) {
		if _, ok := e.tipOf(m); ok {
			return true
		}
	}
	return false
}

// note writes a mark of what is durable in the place of the older of two, or of one
// that is spoilt, and in m. It is for the caller to sync.
func (m *marks) note(f *os.File, e *epoch, t tip) error {
	older := 0
	first, sound := e.tipOf(m[0])
	second, both := e.tipOf(m[1])
	if sound && (!both || second.number < first.number) {
		older = 1
	}
	mark := e.mark(t)
	if sound && both && m[1-older] == mark || m[older] == mark {
		return nil
	}
	if _, err := f.WriteAt(mark[:], int64(storeTitle+older*markSize)); err != nil {
		return err
	}
	m[older] = mark
	return nil
}
