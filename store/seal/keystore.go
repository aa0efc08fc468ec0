package seal

import (
	"crypto/cipher"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/relais-sante/relais/store"
)

// Keystore, data_dir/keystore, version 1, big endian. It only grows; a new
// epoch writes a new one beside it and takes its name.
//
//	 8  magic "RELAISKS"
//	 1  version (1)
//	 3  zero
//	 4  epoch number
//	16  keystore id, random, the same over all epochs
//	 4  CRC-32C of the above
//
// then records:
//
//	 2  length of what lies between this and the checksum
//	 1  type: 1 key, 2 tombstone
//	 1  owner kind
//	 8  time of making, Unix seconds
//	 8  offset in the file where the write this record came with began
//	 1  length of the owner's id
//	 …  owner's id, which means nothing (pathway code, held id…)
//	12  nonce
//	48  secret under AES-256-GCM with the epoch key; 16 for a tombstone, which
//	    is authenticated but empty
//	 4  CRC-32C of the record, its length included
//
// The associated data are the keystore id, the epoch number and all of the
// record that comes before its nonce, so that no record can be passed off as
// another's or moved.
//
// Records that wait together are written by one write and one sync, and the
// next write begins only then. So a broken record is a torn, never acknowledged
// end, to be cut off at open, exactly if no whole record behind it belongs to a
// later write; otherwise it is corruption.
const (
	storeMagic   = "RELAISKS"
	storeVersion = 1
	storeHead    = 8 + 4 + 4 + 16 + 4

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

func encodeHead(number uint32, id [16]byte) []byte {
	b := append(make([]byte, 0, storeHead), storeMagic...)
	b = append(b, storeVersion, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, number)
	b = append(b, id[:]...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeHead(b []byte) (number uint32, id [16]byte, err error) {
	if len(b) < storeHead || string(b[:8]) != storeMagic || b[8] == 0 {
		return 0, id, store.ErrCorrupt
	}
	if b[8] > storeVersion {
		return 0, id, store.ErrNewer
	}
	if crc32.Checksum(b[:storeHead-4], castagnoli) != binary.BigEndian.Uint32(b[storeHead-4:]) {
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

// associated gives what a record's seal is bound to.
func (e *epoch) associated(described []byte) []byte {
	b := append(make([]byte, 0, 20+len(described)), e.store[:]...)
	b = binary.BigEndian.AppendUint32(b, e.number)
	return append(b, described...)
}

// appendRecord adds r, wrapped, to b; the write it belongs to begins at offset
// from of the file.
func (e *epoch) appendRecord(b []byte, r *record, from int64, random io.Reader) ([]byte, error) {
	aead, err := newGCM(e.key[:])
	if err != nil {
		return nil, err
	}
	return e.appendWith(aead, b, r, from, random)
}

// appendWith is appendRecord for many: setting up a cipher costs more than
// sealing a record.
func (e *epoch) appendWith(aead cipher.AEAD, b []byte, r *record, from int64, random io.Reader) ([]byte, error) {
	number, ok := kindNumbers[r.owner.Kind]
	if !ok || len(r.owner.ID) > maxOwnerID {
		return nil, fmt.Errorf("key of an owner of kind %s: %w", r.owner.Kind, errOwner)
	}
	start := len(b)
	b = append(b, 0, 0, r.kind, number)
	b = binary.BigEndian.AppendUint64(b, uint64(r.made.Unix()))
	b = binary.BigEndian.AppendUint64(b, uint64(from))
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
	sealed := aead.Seal(nonce[:], nonce[:], clear, e.associated(described))
	b = append(b, sealed...)
	binary.BigEndian.PutUint16(b[start:], uint16(len(b)-start-2))
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli)), nil
}

// scanRecords hands every whole record of b, which lies at offset base of the
// file, to fn and returns the length of what it could read.
func (e *epoch) scanRecords(b []byte, base int64, fn func(*record)) (int, error) {
	aead, err := newGCM(e.key[:])
	if err != nil {
		return 0, err
	}
	at := 0
	for at < len(b) {
		n, whole := recordLength(b[at:])
		if !whole {
			if writtenAfter(b[at:], base+int64(at)) {
				return at, store.ErrCorrupt
			}
			return at, nil
		}
		r, err := e.openRecord(aead, b[at+2:at+n-4])
		if err != nil {
			return at, err
		}
		fn(r)
		at += n
	}
	return at, nil
}

func (e *epoch) openRecord(aead cipher.AEAD, body []byte) (*record, error) {
	described := 19 + int(body[18])
	if len(body) < described+nonceSize+tagSize {
		return nil, store.ErrCorrupt
	}
	sealed := body[described:]
	clear, err := aead.Open(nil, sealed[:nonceSize], sealed[nonceSize:], e.associated(body[:described]))
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

// writtenAfter reports whether b, which begins with a broken record at offset at
// of the file, holds a whole record of a later write.
func writtenAfter(b []byte, at int64) bool {
	for i := 1; i+recordFixed <= len(b); i++ {
		if _, ok := recordLength(b[i:]); ok && int64(binary.BigEndian.Uint64(b[i+12:])) > at {
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
