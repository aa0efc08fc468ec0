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
//	16  id of a message, random; zero in a commit record
//	 8  length of the payload
//	32  SHA-256 of the payload
//	 4  CRC-32C of the record's header above
//	 …  payload
//
// Behind the last record of the shared segment in use lie zeros that were set
// aside; they are cut off when it is closed.
//
// A sealed message is the body of an OpenPGP SEIPDv2 packet (store/seal). A
// commit record is CBOR, see [commitRecord]: rows of the index, sealed as they
// are there. The state of the index tells the end of the last group; what lies
// behind belongs to a group that was never acknowledged.
//
// Salvage, when the index is lost: read every shared segment from its start;
// records are found by their magic and header checksum, so a damaged stretch
// costs only the records in it. The rows of all commit records are put back in
// order, the newest of each key wins; those whose owner's key is gone are left
// out. Letter indexes are made again from the bytes, look-ups from the records.
// The last group may be unacknowledged: its sequence number is the highest and
// no index vouches for it. See salvage.go.
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
	// write a new file size each time.
	setAside = 8 << 20
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

// segment is the shared segment being appended to. Only the committer uses it.
type segment struct {
	f       *os.File
	name    string
	aside   int64 // end of the room set aside
	noAside bool  // the file system cannot
}

// write puts the parts of a group at offset end and syncs once.
func (g *segment) write(fs files, parts [][]byte, end int64) (int64, error) {
	var n int64
	for _, p := range parts {
		n += int64(len(p))
	}
	if !g.noAside && end+n > g.aside {
		to := (end + n + setAside - 1) / setAside * setAside
		if err := allocate(g.f, g.aside, to-g.aside); err != nil {
			g.noAside = true // no room for so much, or not possible here
		} else {
			g.aside = to
		}
	}
	const whole = 256 << 10
	buf := make([]byte, 0, min(n, whole))
	at := end
	flush := func(b []byte) error {
		if len(b) == 0 {
			return nil
		}
		if err := fs.Write(len(b)); err != nil {
			return err
		}
		k, err := g.f.WriteAt(b, at)
		at += int64(k)
		return err
	}
	for _, p := range parts {
		if len(buf)+len(p) > cap(buf) {
			if err := flush(buf); err != nil {
				return 0, err
			}
			buf = buf[:0]
		}
		if len(p) > cap(buf) {
			if err := flush(p); err != nil {
				return 0, err
			}
			continue
		}
		buf = append(buf, p...)
	}
	if err := flush(buf); err != nil {
		return 0, err
	}
	if err := fs.Sync(); err != nil {
		return 0, err
	}
	return n, datasync(g.f)
}

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
