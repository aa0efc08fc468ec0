package bolt

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/relais-sante/relais/store"
)

// Segments. A shared one, s-NNNNNNNN.seg, takes small messages and all commit
// records, in order of commit; a large message has a file of its own,
// l-RANDOM.seg. Version 1, big endian. Each file begins with
//
//	 8  magic "RELAISEG"
//	 1  version (1)
//	 1  's' or 'l'
//	18  zero
//	 4  CRC-32C of the above
//
// then records:
//
//	 4  magic "RREC"
//	 1  kind: 1 sealed message, 2 commit record
//	 3  zero
//	 8  sequence number of the group (0 in a large segment: not known yet)
//	16  id of a message, random; in a commit record 8 bytes number of the last
//	    group that was durable when it was made, 8 zero
//	 8  length of the payload
//	32  SHA-256 of the payload
//	 4  CRC-32C of the record's header above
//	 …  payload
//
// A group is its messages and then its commit record; groups are numbered without
// a gap, over all segments. The first one in a segment tells, with a row of
// bucketSegments, where the one before ends. Behind the last group lie zeros and
// room set aside, which are cut off when the segment is closed.
//
// A sealed message is the body of an OpenPGP SEIPDv2 packet (store/seal). A
// commit record holds every row that the group changed and the state that comes of
// it, see record.go: the state of the index tells up to which group it has them,
// what lies behind is brought to it in memory at a start, see replay.go.
//
// Salvage, when the index is lost: read every shared segment from its start;
// records are found by their magic and header checksum, so a damaged stretch
// costs only the records in it. The rows of all commit records that stand for
// themselves are put back in order, the newest of each key wins; those whose
// owner's key is gone are left out. Letter indexes are made again from the bytes,
// look-ups and lists from the records. The last groups may be unacknowledged: no
// later one vouches for them. See salvage.go.
const (
	segMagic   = "RELAISEG"
	segVersion = 1
	segHead    = 32

	recMagic = "RREC"
	recHead  = 4 + 4 + 8 + 16 + 8 + 32 + 4

	recMessage = 1
	recCommit  = 2

	sharedPrefix = "s-"
	largePrefix  = "l-"
	segSuffix    = ".seg"

	// setAside is how much room is allocated at a time, so that a sync need not
	// write a new file size each time; reserve is how much of it only commits
	// without a message may use when no more can be had, leastFree how little
	// room is not worth an attempt.
	setAside  = 8 << 20
	reserve   = 4 << 20
	leastFree = 256 << 10

	recordSlack  = 4 << 10   // what a commit record holds besides the rows of members
	mostBuffered = 256 << 10 // of a group that is written at once
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sharedName(number uint32) string {
	return fmt.Sprintf("%s%08d%s", sharedPrefix, number, segSuffix)
}

func sharedNumber(name string) (uint32, bool) {
	var n uint32
	_, err := fmt.Sscanf(name, sharedPrefix+"%08d"+segSuffix, &n)
	return n, err == nil && sharedName(n) == name
}

func segmentHead(kind byte) []byte {
	b := append(make([]byte, 0, segHead), segMagic...)
	b = append(b, segVersion, kind)
	b = append(b, make([]byte, segHead-4-len(b))...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func checkSegmentHead(b []byte) error {
	switch {
	case len(b) < segHead || string(b[:8]) != segMagic:
		return store.ErrCorrupt
	case b[8] > segVersion:
		return store.ErrNewer
	case crc32.Checksum(b[:segHead-4], castagnoli) != binary.BigEndian.Uint32(b[segHead-4:]):
		return store.ErrCorrupt
	}
	return nil
}

// recordHead describes a record.
type recordHead struct {
	kind   byte
	seq    uint64
	id     [16]byte
	length int64
	sum    [32]byte
}

func (h *recordHead) encode() []byte {
	b := append(make([]byte, 0, recHead), recMagic...)
	b = append(b, h.kind, 0, 0, 0)
	b = binary.BigEndian.AppendUint64(b, h.seq)
	b = append(b, h.id[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.length))
	b = append(b, h.sum[:]...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeRecordHead(b []byte) (h recordHead, ok bool) {
	if len(b) < recHead || string(b[:4]) != recMagic ||
		crc32.Checksum(b[:recHead-4], castagnoli) != binary.BigEndian.Uint32(b[recHead-4:]) {
		return h, false
	}
	h.kind = b[4]
	h.seq = binary.BigEndian.Uint64(b[8:])
	copy(h.id[:], b[16:])
	h.length = int64(binary.BigEndian.Uint64(b[32:]))
	copy(h.sum[:], b[40:])
	return h, h.length >= 0
}

// chained goes on with a hash over the headers of records, hence over all that a
// segment holds. Checksums can be made by whoever changes a record; this hash is
// kept sealed in the index.
func chained(chain [32]byte, heads [][]byte) [32]byte {
	var link [32 + recHead]byte
	for _, head := range heads {
		copy(link[:], chain[:])
		copy(link[32:], head)
		chain = sha256.Sum256(link[:])
	}
	return chain
}
