package seal

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/relais-sante/relais/store"
)

// Keystore, data_dir/keystore, version 1, big endian. It only grows, but for its
// marks; a new epoch writes a new one beside it and takes its name.
//
//	 8  magic "RELAISKS"
//	 1  version (1)
//	 3  zero
//	 4  epoch number
//	16  keystore id, random, the same over all epochs
//	 4  CRC-32C of the above
//	64  mark (mark.go)
//	64  mark
//
// then records:
//
//	 2  length of what lies between this and the checksum
//	 1  type: 1 key, 2 tombstone
//	 1  owner kind
//	 8  time of making, Unix seconds
//	 8  number of the last record before the write that this one came with
//	 1  length of the owner's id
//	 …  owner's id, which means nothing (pathway code, held id…)
//	12  nonce
//	48  secret under AES-256-GCM with the epoch key; 16 for a tombstone, which
//	    is authenticated but empty
//	 4  CRC-32C of the record, its length included
//
// Records are numbered over the life of the hub: a keystore that was written anew
// with n keys begins n before the number that it goes on from. So the number of
// the last one never falls, whatever epochs and backups did.
//
// The associated data are the keystore id, the epoch number, the authentication
// tag of the record before (zeros for the first) and all of the record that comes
// before its nonce: no record can be passed off as another's, moved, repeated or
// left out. That none is missing at the end is what marks are for.
//
// Records that wait together are written by one write and one sync, and the
// next write begins only then. So a broken record is a torn, never acknowledged
// end, to be cut off at open, exactly if no whole record behind it belongs to a
// later write and no mark says that it was durable; otherwise it is corruption.
const (
	storeMagic   = "RELAISKS"
	storeVersion = 1
	storeTitle   = 8 + 4 + 4 + 16 + 4
	storeHead    = storeTitle + 2*markSize

	recordKey       = 1
	recordTombstone = 2
	maxOwnerID      = 200
	recordFixed     = 2 + 1 + 1 + 8 + 8 + 1 + nonceSize + tagSize + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var kindNumbers = map[store.OwnerKind]byte{
	store.OwnedByPathway: 1, store.OwnedByTriage: 2, store.OwnedByBox: 3,
	store.OwnedByAccount: 4, store.OwnedByHub: 5, store.OwnedByTrace: 6,
}

var kindsByNumber = func() map[byte]store.OwnerKind {
	m := make(map[byte]store.OwnerKind, len(kindNumbers))
	for k, n := range kindNumbers {
		m[n] = k
	}
	return m
}()

// encodeTitle gives the beginning of a keystore, which needs no key.
func encodeTitle(number uint32, id [16]byte) []byte {
	b := append(make([]byte, 0, storeHead), storeMagic...)
	b = append(b, storeVersion, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, number)
	b = append(b, id[:]...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeTitle(b []byte) (number uint32, id [16]byte, err error) {
	if len(b) < storeTitle || string(b[:8]) != storeMagic || b[8] == 0 {
		return 0, id, store.ErrCorrupt
	}
	if b[8] > storeVersion {
		return 0, id, store.ErrNewer
	}
	if crc32.Checksum(b[:storeTitle-4], castagnoli) != binary.BigEndian.Uint32(b[storeTitle-4:]) {
		return 0, id, store.ErrCorrupt
	}
	copy(id[:], b[16:32])
	return binary.BigEndian.Uint32(b[12:]), id, nil
}

// record is one line of the keystore in clear.
type record struct {
	kind   byte
	owner  store.Owner
	made   time.Time
	secret [keySize]byte
}

// tip is where a keystore stands: what the next record follows.
type tip struct {
	number uint64 // of the last record
	end    int64  // offset in the file
	tag    [tagSize]byte
}

// associated gives what a record's seal is bound to.
func (e *epoch) associated(before *[tagSize]byte, described []byte) []byte {
	b := append(make([]byte, 0, 20+tagSize+len(described)), e.store[:]...)
	b = binary.BigEndian.AppendUint32(b, e.number)
	b = append(b, before[:]...)
	return append(b, described...)
}

// appendRecords appends records, wrapped, to b, which are written at once behind
// a tip; it gives the tip that comes of it.
func (e *epoch) appendRecords(b []byte, recs []*record, at tip, random io.Reader) ([]byte, tip, error) {
	aead, err := newGCM(e.key[:])
	if err != nil {
		return nil, at, err
	}
	durable := at.number
	for _, r := range recs {
		from := len(b)
		if b, err = e.appendRecord(aead, b, r, durable, &at.tag, random); err != nil {
			return nil, at, err
		}
		at.number++
		at.end += int64(len(b) - from)
	}
	return b, at, nil
}

// appendRecord appends one record and replaces tag by its own.
func (e *epoch) appendRecord(aead cipher.AEAD, b []byte, r *record, durable uint64, tag *[tagSize]byte, random io.Reader) ([]byte, error) {
	number, ok := kindNumbers[r.owner.Kind]
	if !ok || len(r.owner.ID) > maxOwnerID {
		return nil, fmt.Errorf("key of an owner of kind %s: %w", r.owner.Kind, errOwner)
	}
	start := len(b)
	b = append(b, 0, 0, r.kind, number)
	b = binary.BigEndian.AppendUint64(b, uint64(r.made.Unix()))
	b = binary.BigEndian.AppendUint64(b, durable)
	b = append(b, byte(len(r.owner.ID)))
	b = append(b, r.owner.ID...)
	described := b[start+2:]
	var nonce [nonceSize]byte
	if _, err := io.ReadFull(random, nonce[:]); err != nil {
		return nil, err
	}
	var clear []byte
	if r.kind == recordKey {
		clear = r.secret[:]
	}
	sealed := aead.Seal(nonce[:], nonce[:], clear, e.associated(tag, described))
	b = append(b, sealed...)
	copy(tag[:], b[len(b)-tagSize:])
	binary.BigEndian.PutUint16(b[start:], uint16(len(b)-start-2))
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli)), nil
}

// scanRecords hands every whole record of b, which begins with the first one, to
// fn, each with the tip it makes, and returns the tip of all.
func (e *epoch) scanRecords(b []byte, fn func(*record, tip)) (tip, error) {
	t := tip{end: storeHead}
	aead, err := newGCM(e.key[:])
	if err != nil {
		return t, err
	}
	for len(b) > 0 {
		n, whole := recordLength(b)
		if !whole {
			if writtenAfter(b, t.number+1) {
				return t, store.ErrCorrupt
			}
			return t, nil
		}
		body := b[2 : n-4]
		r, err := e.openRecord(aead, body, &t.tag)
		if err != nil {
			return t, err
		}
		if t.end == storeHead {
			t.number = writeBegan(b)
		}
		t.number++
		t.end += int64(n)
		copy(t.tag[:], body[len(body)-tagSize:])
		fn(r, t)
		b = b[n:]
	}
	return t, nil
}

func (e *epoch) openRecord(aead cipher.AEAD, body []byte, before *[tagSize]byte) (*record, error) {
	described := 19 + int(body[18])
	if len(body) < described+nonceSize+tagSize {
		return nil, store.ErrCorrupt
	}
	sealed := body[described:]
	clear, err := aead.Open(nil, sealed[:nonceSize], sealed[nonceSize:], e.associated(before, body[:described]))
	kind, known := kindsByNumber[body[1]]
	if err != nil || !known {
		return nil, store.ErrCorrupt
	}
	r := &record{
		kind: body[0], owner: store.Owner{Kind: kind, ID: string(body[19:described])},
		made: time.Unix(int64(binary.BigEndian.Uint64(body[2:])), 0).UTC(),
	}
	if copy(r.secret[:], clear) != len(r.secret) && r.kind == recordKey {
		return nil, store.ErrCorrupt
	}
	return r, nil
}

// encodeKeystore gives a keystore that holds some keys and nothing else, with the
// number that it goes on from. Its order does not tell what is older than what.
func (e *epoch) encodeKeystore(keys []*record, number uint64, random io.Reader) ([]byte, tip, error) {
	slices.SortFunc(keys, func(a, b *record) int {
		return strings.Compare(string(a.owner.Kind)+a.owner.ID, string(b.owner.Kind)+b.owner.ID)
	})
	b := append(encodeTitle(e.number, e.store), make([]byte, 2*markSize)...)
	b, t, err := e.appendRecords(b, keys, tip{number: number - uint64(len(keys)), end: storeHead}, random)
	if err != nil {
		return nil, t, err
	}
	mark := e.mark(t)
	copy(b[storeTitle:], mark[:])
	copy(b[storeTitle+markSize:], mark[:])
	return b, t, nil
}

// recordLength tells whether b begins with a whole record, and how long it is.
func recordLength(b []byte) (int, bool) {
	if len(b) < recordFixed {
		return 0, false
	}
	n := int(binary.BigEndian.Uint16(b)) + 2 + 4
	if n < recordFixed || n > len(b) {
		return 0, false
	}
	return n, crc32.Checksum(b[:n-4], castagnoli) == binary.BigEndian.Uint32(b[n-4:])
}

// writeBegan is the number of the last record before the write that the record at
// the beginning of b came with.
func writeBegan(b []byte) uint64 { return binary.BigEndian.Uint64(b[12:]) }

// writtenAfter reports whether b, which begins with a broken record, holds a whole
// one of a write that began when the broken one was durable.
func writtenAfter(b []byte, number uint64) bool {
	for i := 1; i+recordFixed <= len(b); i++ {
		if _, ok := recordLength(b[i:]); ok && writeBegan(b[i:]) >= number {
			return true
		}
	}
	return false
}

// lockFile keeps other processes away from a keystore; the lock goes with the
// descriptor.
func lockFile(f *os.File) error {
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if err == syscall.EWOULDBLOCK {
			return ErrInUse
		}
		return err
	}
	return nil
}
