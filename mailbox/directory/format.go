package directory

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"time"
)

// The file of a directory is written once, from its start to its end, and then
// only read, at places (io.ReaderAt): nothing of it need be in memory but the
// line of every 64th word.
//
//	magic
//	records    the entries one after the other, in the order of a phone book;
//	           entries are numbered by it from 0
//	offsets    where each record begins, and where the last one ends: u64
//	addresses  a row for each entry, in order of the address's hash: see boxRow
//	numbers    a row for each entry with an RPPS, in its order: see rppsRow
//	postings   for each word, in order of the words, the entries that have it:
//	           uvarint(distance to the one before << 3 | field)
//	words      blocks of 64 words: uvarint lengths of the word and of its postings
//	blocks     for each block its first word and the places of words and postings
//	footer     the figures and places of all this, and a checksum of the footer
//
// Numbers are little-endian. The format is this version's alone: another one
// changes the magic, and the extract is imported again.
const magic = "RELDIR1\n"

// Sizes of rows.
const (
	offsetSize = 8
	boxRowSize = 20
	rppsSize   = 12
)

const blockWords = 64

// places says where the sections begin; each ends where the next begins.
type places struct {
	Records, Offsets, Addresses, Numbers, Postings, Words, Blocks, End uint64
}

// footer ends the file.
type footer struct {
	Entries, Boxes, Numbers, Blocks uint64
	Imported, Issued                int64 // Unix seconds; Issued 0: not known
	At                              places
	Sum                             uint32 // CRC-32C of what stands before
	Magic                           [len(magic)]byte
}

var footerSize = binary.Size(footer{})

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// bytes gives the footer as it is written.
func (f *footer) bytes() []byte {
	f.Magic = [len(magic)]byte([]byte(magic))
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, f)
	raw := b.Bytes()
	sum := footerSize - len(magic) - 4
	f.Sum = crc32.Checksum(raw[:sum], castagnoli)
	binary.LittleEndian.PutUint32(raw[sum:], f.Sum)
	return raw
}

// readFooter reads and checks the end of a file.
func readFooter(r io.ReaderAt, size int64) (f footer, err error) {
	if size < int64(len(magic)+footerSize) {
		return f, ErrCorrupt
	}
	raw := make([]byte, footerSize)
	if _, err := r.ReadAt(raw, size-int64(footerSize)); err != nil {
		return f, fmt.Errorf("reading the end of the directory: %w", err)
	}
	_ = binary.Read(bytes.NewReader(raw), binary.LittleEndian, &f)
	if string(f.Magic[:]) != magic || f.Sum != crc32.Checksum(raw[:footerSize-len(magic)-4], castagnoli) {
		return f, ErrCorrupt
	}
	at := &f.At
	order := []uint64{uint64(len(magic)), at.Records, at.Offsets, at.Addresses, at.Numbers, at.Postings, at.Words, at.Blocks, at.End, uint64(size) - uint64(footerSize)}
	for i := 1; i < len(order); i++ {
		if order[i] < order[i-1] {
			return f, ErrCorrupt
		}
	}
	if f.Entries > maxLines || f.Numbers > f.Entries ||
		at.Addresses-at.Offsets != (f.Entries+1)*offsetSize || at.Numbers-at.Addresses != f.Entries*boxRowSize ||
		at.Postings-at.Numbers != f.Numbers*rppsSize {
		return f, ErrCorrupt
	}
	return f, nil
}

// boxRow leads from an address to an entry. It holds enough to compare two
// directories without their records.
type boxRow struct {
	address uint64 // hash of the address
	holder  uint32 // hash of who answers for it, see holderOf
	kind    byte   // first letter of the type
	entry   uint32
}

func (r *boxRow) put(b []byte) {
	binary.LittleEndian.PutUint64(b, r.address)
	binary.LittleEndian.PutUint32(b[8:], r.holder)
	binary.LittleEndian.PutUint32(b[12:], r.entry)
	clear(b[16:boxRowSize])
	b[16] = r.kind
}

func parseBoxRow(b []byte) boxRow {
	return boxRow{
		binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[8:]), b[16], binary.LittleEndian.Uint32(b[12:]),
	}
}

// rppsRow leads from an RPPS number to an entry.
type rppsRow struct {
	number uint64
	entry  uint32
}

func (r *rppsRow) put(b []byte) {
	binary.LittleEndian.PutUint64(b, r.number)
	binary.LittleEndian.PutUint32(b[8:], r.entry)
}

func parseRPPSRow(b []byte) rppsRow {
	return rppsRow{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint32(b[8:])}
}

// hash is FNV-1a, which stays the same from one import to the next. Two
// addresses of a million meet with a chance of one in 10^7, and then only the
// figures of an import are off by one: look-ups compare the address itself.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

func unix(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}
