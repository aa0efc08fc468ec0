package bolt

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/relais-sante/relais/store"
)

// segments reads the shared segments from end to end, and looks for files that
// nobody named. Large segments are read where a row names them.
func (c *verifier) segments() error {
	known := map[string]bool{}
	for number := uint32(1); number <= c.state.Segment; number++ {
		name := sharedName(number)
		known[name] = true
		e := segmentEnd{number, c.state.End, c.state.Chain}
		if number < c.state.Segment {
			if err := c.v.get(bucketSegments, u32(number), hubOwner, &e); err != nil {
				c.flaw(store.FlawRecord, indexName, -1, "")
				continue
			}
		}
		if err := c.shared(name, &e); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(c.s.segs.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("listing segments: %w", fault(err))
	}
	loose := map[string]bool{}
	if c.online {
		loose = c.s.segs.loose()
	}
	for _, e := range entries {
		name := e.Name()
		large := strings.HasPrefix(name, largePrefix) && strings.HasSuffix(name, segSuffix)
		number, shared := sharedNumber(name)
		switch {
		case known[name] || loose[name]:
		case large && c.v.bucket(bucketLarge).Get([]byte(name)) != nil:
		case large && c.out.Unfinished: // a draft that a crash left
		case name == spareName && (c.out.Unfinished || c.online):
		case shared && number == c.state.Segment+1 && c.out.Unfinished:
			// One that was just begun: no group in it is acknowledged yet.
		case shared && number > c.state.Segment && c.online: // begun since
		case large && c.online && c.sinceNamed(name):
		default:
			c.flaw(store.FlawAdded, filepath.Join(segmentsDir, name), -1, "")
		}
	}
	return nil
}

// sinceNamed reports whether a large segment belongs to a commit after the
// snapshot.
func (c *verifier) sinceNamed(name string) bool {
	found := false
	_ = c.s.View(c.ctx, func(v store.View) error {
		found = v.(*view).bucket(bucketLarge).Get([]byte(name)) != nil
		return nil
	})
	return found
}

// segmentsAlone reads what can be read of the segments without an index.
func (c *verifier) segmentsAlone() error {
	entries, err := os.ReadDir(c.s.segs.dir)
	if err != nil {
		return fmt.Errorf("listing segments: %w", fault(err))
	}
	for _, e := range entries {
		if number, ok := sharedNumber(e.Name()); ok {
			if err := c.shared(e.Name(), &segmentEnd{Number: number, End: math.MaxInt64}); err != nil {
				return err
			}
		}
	}
	return nil
}

// shared reads one shared segment up to its end.
func (c *verifier) shared(name string, end *segmentEnd) error {
	file := filepath.Join(segmentsDir, name)
	f, err := os.Open(c.s.segs.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		c.flaw(store.FlawMissing, file, -1, "")
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening segment %s: %w", name, fault(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("opening segment %s: %w", name, fault(err))
	}
	c.out.Segments++
	size := info.Size()
	alone := end.End == math.MaxInt64
	if alone {
		end.End = size
	}
	if size < end.End {
		c.flaw(store.FlawMissing, file, size, "")
	}
	s := &scan{file: f, name: name, end: min(size, end.End), tick: c.tick}
	if err := s.run(func(h recordHead, at int64, sound bool, _ []byte) error {
		c.out.Records++
		if !sound {
			c.damaged[spot{name, at}] = true
		}
		return nil
	}); err != nil {
		return fmt.Errorf("reading segment %s: %w", name, err)
	}
	for _, at := range s.gaps {
		if !alone || !s.onlyZeros {
			c.flaw(store.FlawChanged, file, at, "")
		}
	}
	if alone {
		return nil
	}
	if len(s.gaps) == 0 && size >= end.End && s.chain != end.Chain {
		c.flaw(store.FlawChanged, file, -1, "") // other records than those written
	}
	if size > end.End && c.grown(f, end, size) {
		c.flaw(store.FlawAdded, file, end.End, "")
	}
	return nil
}

func (c *verifier) tick(n int64) error {
	c.read(n)
	return c.ctx.Err()
}

// grown tells bytes that were added behind the end from room set aside, and from
// what a crash left.
func (c *verifier) grown(f *os.File, end *segmentEnd, size int64) bool {
	switch {
	case end.Number < c.state.Segment:
		return true
	case c.online:
		return c.tail.size > c.tail.aside || c.tail.dirty
	}
	return !c.out.Unfinished // what a crash leaves was looked into, see replay
}

// scan reads the records of a shared segment in order. Damage costs the records
// it is in: the next is found by its magic and checksum.
type scan struct {
	file *os.File
	name string
	end  int64
	tick func(int64) error

	chain [32]byte // over the heads that were found
	gaps  []int64  // where something stands that is no record
	// onlyZeros: the one gap is at the end and holds zeros, as the room set aside
	// does.
	onlyZeros bool
}

// maxCommit is the largest commit record read into memory: many times the
// largest group.
const maxCommit = 1 << 30

// run calls fn with each record: its head, its place, whether its payload is
// what was written, and the payload of a commit record.
func (s *scan) run(fn func(h recordHead, at int64, sound bool, payload []byte) error) error {
	head := make([]byte, segHead)
	if _, err := s.file.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return fault(err)
	}
	if checkSegmentHead(head) != nil || head[9] != 's' || !zeros(head[10:28]) {
		s.gaps = append(s.gaps, 0)
	}
	heads := make([]byte, recHead)
	for at := int64(segHead); at < s.end; {
		k, err := s.file.ReadAt(heads, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return fault(err)
		}
		h, ok := decodeRecordHead(heads[:k])
		if !ok || h.length > s.end-at-int64(recHead) {
			s.gaps = append(s.gaps, at)
			if at, err = s.next(at); err != nil {
				return err
			}
			continue
		}
		s.chain = chained(s.chain, [][]byte{heads})
		payload, sound, err := s.payload(at+int64(recHead), &h)
		if err != nil {
			return err
		}
		if err := fn(h, at, sound, payload); err != nil {
			return err
		}
		at += int64(recHead) + h.length
	}
	return nil
}

// payload reads what a record holds.
func (s *scan) payload(from int64, h *recordHead) ([]byte, bool, error) {
	sum := sha256.New()
	r := io.NewSectionReader(s.file, from, h.length)
	var kept []byte
	if h.kind == recCommit && h.length <= maxCommit {
		kept = make([]byte, 0, h.length)
	}
	b := make([]byte, min(max(h.length, 1), 1<<20))
	for {
		n, err := r.Read(b)
		sum.Write(b[:n])
		if kept != nil {
			kept = append(kept, b[:n]...)
		}
		if terr := s.tick(int64(n)); terr != nil {
			return nil, false, terr
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, false, fault(err)
		}
	}
	return kept, [32]byte(sum.Sum(nil)) == h.sum, nil
}

// next finds the next record behind a place where there is none, or the end.
func (s *scan) next(at int64) (int64, error) {
	r := bufio.NewReaderSize(io.NewSectionReader(s.file, at+1, s.end-at-1), 1<<20)
	s.onlyZeros = len(s.gaps) == 1
	for at++; ; at++ {
		b, err := r.Peek(recHead)
		if len(b) < recHead {
			for _, c := range b {
				s.onlyZeros = s.onlyZeros && c == 0
			}
			if err != nil && !errors.Is(err, io.EOF) {
				return 0, fault(err)
			}
			return s.end, nil
		}
		if b[0] == recMagic[0] {
			if h, ok := decodeRecordHead(b); ok && h.length <= s.end-at-int64(recHead) {
				s.onlyZeros = false
				return at, nil
			}
		}
		s.onlyZeros = s.onlyZeros && b[0] == 0
		if at%(1<<20) == 0 {
			if err := s.tick(0); err != nil {
				return 0, err
			}
		}
		_, _ = r.Discard(1)
	}
}

// blob checks that the bytes of a message are where its row says.
func (c *verifier) blob(b *store.Blob, id string) {
	c.out.Messages++
	if b == nil {
		return
	}
	file := filepath.Join(segmentsDir, b.Segment)
	if p := (spot{b.Segment, b.Offset}); c.damaged[p] {
		delete(c.damaged, p)
		c.flaw(store.FlawChanged, file, b.Offset, id)
		return
	}
	if strings.HasPrefix(b.Segment, largePrefix) {
		c.large(b, file, id)
		return
	}
	seg, err := c.s.segs.acquire(b.Segment)
	if err != nil {
		kind := store.FlawChanged
		if errors.Is(err, fs.ErrNotExist) {
			kind = store.FlawMissing
		}
		c.flaw(kind, file, b.Offset, id)
		return
	}
	defer c.s.segs.release(seg)
	if !names(seg.f, b, b.Offset) {
		c.flaw(store.FlawChanged, file, b.Offset, id)
	}
}

// names reports whether the record that a blob speaks of begins there.
func names(f io.ReaderAt, b *store.Blob, at int64) bool {
	head := make([]byte, recHead)
	if _, err := f.ReadAt(head, at); err != nil {
		return false
	}
	h, ok := decodeRecordHead(head)
	return ok && zeros(head[5:8]) && h.kind == recMessage && h.length == b.Length && string(h.sum[:]) == string(b.Sum)
}

// large reads the file of a large message.
func (c *verifier) large(b *store.Blob, file, id string) {
	f, err := os.Open(c.s.segs.path(b.Segment))
	if err != nil {
		c.flaw(store.FlawMissing, file, -1, id)
		return
	}
	defer f.Close()
	c.out.Segments++
	info, err := f.Stat()
	want := segHead + int64(recHead) + b.Length
	head := make([]byte, segHead)
	if err == nil {
		_, err = f.ReadAt(head, 0)
	}
	switch {
	case err != nil, checkSegmentHead(head) != nil, head[9] != 'l', !zeros(head[10:28]), !names(f, b, segHead):
		c.flaw(store.FlawChanged, file, 0, id)
		return
	case info.Size() < want:
		c.flaw(store.FlawMissing, file, info.Size(), id)
		return
	case info.Size() > want:
		c.flaw(store.FlawAdded, file, want, id)
		return
	}
	s := &scan{file: f, tick: c.tick}
	if _, sound, err := s.payload(segHead+int64(recHead), &recordHead{length: b.Length, sum: [32]byte(b.Sum)}); err != nil || !sound {
		c.flaw(store.FlawChanged, file, segHead+int64(recHead), id)
	}
}
