package bolt

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"

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

// segment is the shared segment being appended to.
type segment struct {
	f       *os.File
	name    string
	number  uint32
	aside   int64  // end of the room set aside; belongs to the turn
	noAside bool   // the file system cannot; this too
	crowded bool   // no other could be begun: go on beyond the usual size
	blank   int64  // up to where bytes were written; belongs to who writes
	buf     []byte // to write from
}

// roomFor makes sure that there is room for what a Commit appends, before it
// becomes part of a group: then only its own caller hears of a full disk. What
// brings no message may use the last of the room set aside, so that copies are
// sent, and consents withdrawn, while messages find no room.
func (s *Store) roomFor(g *group, t *tx) error {
	seg := g.seg
	need := g.start + g.size + t.size + int64(len(g.rows)) + recordSlack
	for i := range t.log {
		need += int64(t.log[i].is.size())
	}
	message := len(t.drafts) > 0
	if message && s.full.Load() {
		if free, err := s.o.files.Free(s.o.Dir); err == nil && free < leastFree {
			return fmt.Errorf("storing a message: %w", store.ErrFull)
		}
	}
	if seg.noAside || need+reserve <= seg.aside {
		return nil
	}
	to := (need + reserve + setAside - 1) / setAside * setAside
	err := s.o.files.Allocate(seg.f, seg.aside, to-seg.aside)
	switch {
	case err == nil:
		seg.aside = to
		return nil
	case !noRoom(err):
		seg.noAside = true
		return nil
	case !message && need <= seg.aside:
		return nil
	case !message:
		to = need + leastFree
		if err = s.o.files.Allocate(seg.f, seg.aside, to-seg.aside); err == nil {
			seg.aside = to
			return nil
		}
	}
	s.noteFull(err)
	return fmt.Errorf("setting room aside in segment %s: %w", seg.name, fault(err))
}

// write puts the parts of a group where it begins. Behind small groups zeros are
// written too, at once for those to come: a sync of bytes that were written
// before is one flush of the disk, where the first of each block costs the file
// system's journal another.
func (g *segment) write(fs files, parts [][]byte, at, aside int64) error {
	g.buf = g.buf[:0]
	flush := func(b []byte) error {
		if len(b) == 0 {
			return nil
		}
		k, err := fs.WriteAt(g.f, b, at)
		at += int64(k)
		return err
	}
	for _, p := range parts {
		if len(g.buf)+len(p) > mostBuffered {
			if err := flush(g.buf); err != nil {
				return err
			}
			g.buf = g.buf[:0]
		}
		if len(p) > mostBuffered {
			if err := flush(p); err != nil {
				return err
			}
			continue
		}
		g.buf = append(g.buf, p...)
	}
	if err := flush(g.buf); err != nil {
		return err
	}
	if at <= g.blank {
		return nil
	}
	g.blank = at
	if n := min(aside-at, int64(len(blanks))); n > 0 && len(g.buf) < mostBuffered/2 {
		_, _ = fs.WriteAt(g.f, blanks[:n], at) // only for speed
		g.blank += n
	}
	return nil
}

var blanks [1 << 20]byte

// segments reads segment files through a bounded number of open ones.
type segments struct {
	dir   string
	files files

	mu   sync.Mutex
	open map[string]*segFile
	// While a snapshot is open nothing is removed: what would be waits.
	pins   int
	waits  []string
	drafts map[string]bool // large segments that no commit names yet
}

type segFile struct {
	f    *os.File
	refs int
	gone bool // close when the last reader leaves
}

const maxOpenSegments = 128

func (g *segments) init(dir string, fs files) {
	g.dir, g.files, g.open, g.drafts = dir, fs, map[string]*segFile{}, map[string]bool{}
}

func (g *segments) path(name string) string { return filepath.Join(g.dir, name) }

// acquire opens a segment for reading; release must follow.
func (g *segments) acquire(name string) (*segFile, error) {
	if filepath.Base(name) != name || !strings.HasSuffix(name, segSuffix) {
		return nil, fmt.Errorf("opening a segment: %w", store.ErrCorrupt)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := g.open[name]; f != nil {
		f.refs++
		return f, nil
	}
	if len(g.open) >= maxOpenSegments {
		for n, f := range g.open {
			if f.refs == 0 {
				f.f.Close()
				delete(g.open, n)
				break
			}
		}
	}
	osf, err := g.files.OpenFile(g.path(name), os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("opening segment %s: %w", name, err)
	}
	head := make([]byte, segHead)
	if _, err = io.ReadFull(osf, head); err != nil {
		err = store.ErrCorrupt
	} else {
		err = checkSegmentHead(head)
	}
	if err != nil {
		osf.Close()
		return nil, fmt.Errorf("opening segment %s: %w", name, err)
	}
	f := &segFile{f: osf, refs: 1}
	g.open[name] = f
	return f, nil
}

func (g *segments) release(f *segFile) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f.refs--; f.refs == 0 && f.gone {
		f.f.Close()
	}
}

// remove deletes a segment file that nothing names any more.
func (g *segments) remove(name string) error {
	g.mu.Lock()
	if f := g.open[name]; f != nil {
		delete(g.open, name)
		if f.refs == 0 {
			f.f.Close()
		} else {
			f.gone = true
		}
	}
	pinned := g.pins > 0 && !g.drafts[name]
	if pinned {
		g.waits = append(g.waits, name)
	}
	g.mu.Unlock()
	if pinned {
		return nil
	}
	return os.Remove(g.path(name))
}

// pin keeps every segment until unpin, which gives those that waited to go once
// nobody needs them any more.
func (g *segments) pin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pins++
}

func (g *segments) unpin() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pins--; g.pins > 0 {
		return nil
	}
	gone := g.waits
	g.waits = nil
	return gone
}

// drafting notes a large segment that is being written, until a commit names it
// or it is discarded.
func (g *segments) drafting(name string, is bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if is {
		g.drafts[name] = true
	} else {
		delete(g.drafts, name)
	}
}

// loose lists large segments that an index need not name: drafts, and those that
// wait to go.
func (g *segments) loose() map[string]bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := maps.Clone(g.drafts)
	for _, name := range g.waits {
		all[name] = true
	}
	return all
}

func (g *segments) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for n, f := range g.open {
		if f.refs == 0 {
			f.f.Close()
		} else {
			f.gone = true
		}
		delete(g.open, n)
	}
}
