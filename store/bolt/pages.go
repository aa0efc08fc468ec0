package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"

	"github.com/relais-sante/relais/store"
)

// The index file, as bbolt writes it (its format 2, in the machine's byte order):
//
//	page     id u64, flags u16, count u16, overflow u32, then
//	meta     magic u32, version u32, page size u32, flags u32, root page u64,
//	         sequence u64, free list page u64, pages u64, transaction u64,
//	         FNV-1a of all that u64; pages 0 and 1, the newer one counts
//	branch   count × (position u32, key length u32, page u64), keys
//	leaf     count × (flags u32, position u32, key length u32, value length u32),
//	         keys and values; flag 1: the value is a bucket (root page u64,
//	         sequence u64, and the page itself if the root is 0)
//
// Positions count from the element they stand in. This reads the file without
// trusting it: bbolt's own check panics on what it is to find.
const (
	pageHead    = 16
	elementSize = 16
	metaLength  = 64
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	branchPage = 1
	leafPage   = 2
	metaPage   = 4

	bucketElement = 1
	noFreeList    = 1<<64 - 1

	maxDepth = 60 // of pages; a tree of two keys a page would be full at 2^60
)

var native = binary.NativeEndian

// pageFault is a page that does not fit.
type pageFault struct{ page uint64 }

func (f pageFault) Error() string   { return fmt.Sprintf("page %d of the index does not fit", f.page) }
func (f pageFault) Journal() string { return f.Error() }
func (f pageFault) Unwrap() error   { return store.ErrCorrupt }

// pages checks an index file.
type pages struct {
	file   io.ReaderAt
	size   int64
	page   int64  // bytes of one
	count  uint64 // pages below the high water mark
	free   uint64 // page of the free list
	root   uint64
	seen   []uint64 // bits
	report func(pageFault)
	tick   func(id uint64, page []byte) // told of each page that is read
}

var errNoMeta = fmt.Errorf("no meta page of the index can be read: %w", store.ErrCorrupt)

// openPages reads the meta pages.
func openPages(file io.ReaderAt, size int64, report func(pageFault)) (*pages, error) {
	p := &pages{file: file, size: size, report: report, tick: func(uint64, []byte) {}}
	// The first page tells its size, or else the second is looked for.
	found, bad := uint64(0), []pageFault{}
	for i, at := range []int64{0, 0} {
		sizes := []int64{1 << 12, 1 << 13, 1 << 14, 1 << 15, 1 << 16}
		if p.page != 0 {
			sizes = []int64{p.page}
		}
		good := false
		for _, n := range sizes {
			if i == 1 {
				at = n
			}
			if p.meta(at, uint64(i), &found) {
				good = true
				break
			}
		}
		if !good {
			bad = append(bad, pageFault{uint64(i)})
		}
	}
	if len(bad) == 2 {
		return nil, errNoMeta
	}
	for _, f := range bad {
		report(f)
	}
	if uint64(size/p.page) < p.count || p.count > 1<<40 {
		return nil, fmt.Errorf("the index is shorter than it says: %w", store.ErrCorrupt)
	}
	return p, nil
}

// meta reads one meta page and takes it if it is newer than what was found.
func (p *pages) meta(at int64, id uint64, newest *uint64) bool {
	b := make([]byte, pageHead+metaLength)
	if _, err := p.file.ReadAt(b, at); err != nil {
		return false
	}
	m := b[pageHead:]
	sum := fnv.New64a()
	sum.Write(m[:metaLength-8])
	pageSize := int64(native.Uint32(m[8:]))
	if native.Uint64(b) != id || native.Uint16(b[8:]) != metaPage || native.Uint32(m) != boltMagic || native.Uint32(m[4:]) != boltVersion ||
		sum.Sum64() != native.Uint64(m[metaLength-8:]) || pageSize < 1<<9 || pageSize > 1<<20 || id == 1 && at != pageSize {
		return false
	}
	if tx := native.Uint64(m[48:]); p.page == 0 || tx > *newest {
		*newest = tx
		p.page = pageSize
		p.root, p.free, p.count = native.Uint64(m[16:]), native.Uint64(m[32:]), native.Uint64(m[40:])
	}
	return true
}

// walk checks every page that is reached from the root.
func (p *pages) walk() error {
	p.seen = make([]uint64, p.count/64+1)
	return p.tree(p.root, nil, nil, 0)
}

// fail reports a page, and goes on with its neighbours.
func (p *pages) fail(id uint64) error {
	p.report(pageFault{id})
	return nil
}

// read gives a page with its overflow, if it can be one.
func (p *pages) read(id uint64) ([]byte, error) {
	if id < 2 || id >= p.count {
		return nil, nil
	}
	b := make([]byte, p.page)
	if _, err := p.file.ReadAt(b, int64(id)*p.page); err != nil {
		return nil, ioFault(err)
	}
	over := uint64(native.Uint32(b[12:]))
	if native.Uint64(b) != id || id+over >= p.count || over > 1<<20 {
		return nil, nil
	}
	for i := id; i <= id+over; i++ {
		if p.seen[i/64]&(1<<(i%64)) != 0 {
			return nil, nil // in two places
		}
		p.seen[i/64] |= 1 << (i % 64)
	}
	if over > 0 {
		b = append(b, make([]byte, int64(over)*p.page)...)
		if _, err := p.file.ReadAt(b[p.page:], int64(id+1)*p.page); err != nil {
			return nil, ioFault(err)
		}
	}
	p.tick(id, b)
	return b, nil
}

func ioFault(err error) error {
	if errors.Is(err, io.EOF) {
		return nil // shorter than it was: the page does not fit
	}
	return fmt.Errorf("reading the index: %w", fault(err))
}

// tree checks a page and what is under it; its keys lie from lo (inclusive) to hi.
func (p *pages) tree(id uint64, lo, hi []byte, depth int) error {
	b, err := p.read(id)
	if err != nil || b == nil || depth > maxDepth {
		return errors.Join(err, p.fail(id))
	}
	return p.content(id, b, lo, hi, depth)
}

// content checks a page in memory: one of its own, or one inside a value.
func (p *pages) content(id uint64, b, lo, hi []byte, depth int) error {
	kind, count := native.Uint16(b[8:]), int(native.Uint16(b[10:]))
	if kind != branchPage && kind != leafPage || pageHead+count*elementSize > len(b) || kind == branchPage && count == 0 {
		return p.fail(id)
	}
	type child struct {
		page   uint64
		lo, hi []byte
	}
	var under []child
	last := lo
	for i := range count {
		at := pageHead + i*elementSize
		e := b[at:]
		var pos, klen, vlen uint64
		if kind == branchPage {
			pos, klen = uint64(native.Uint32(e)), uint64(native.Uint32(e[4:]))
		} else {
			pos, klen, vlen = uint64(native.Uint32(e[4:])), uint64(native.Uint32(e[8:])), uint64(native.Uint32(e[12:]))
		}
		from := uint64(at) + pos
		if from+klen+vlen > uint64(len(b)) || from < uint64(pageHead+count*elementSize) {
			return p.fail(id)
		}
		key, value := b[from:from+klen], b[from+klen:from+klen+vlen]
		// A branch may begin with a key below that of its own place.
		if i > 0 && bytes.Compare(last, key) >= 0 || i == 0 && kind == leafPage && bytes.Compare(lo, key) > 0 || hi != nil && bytes.Compare(key, hi) >= 0 {
			return p.fail(id)
		}
		last = key
		if kind == branchPage {
			if n := len(under); n > 0 {
				under[n-1].hi = key
			}
			c := child{page: native.Uint64(e[8:]), lo: key, hi: hi}
			if i == 0 {
				c.lo = lo
			}
			under = append(under, c)
			continue
		}
		if native.Uint32(e)&^bucketElement != 0 {
			return p.fail(id)
		}
		if native.Uint32(e) == bucketElement {
			if err := p.bucket(id, value, depth); err != nil {
				return err
			}
		}
	}
	for _, c := range under {
		if err := p.tree(c.page, c.lo, c.hi, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// bucket checks the bucket that a value holds.
func (p *pages) bucket(id uint64, value []byte, depth int) error {
	if len(value) < 16 {
		return p.fail(id)
	}
	if root := native.Uint64(value); root != 0 {
		return p.tree(root, nil, nil, depth+1)
	}
	if len(value) < 16+pageHead || native.Uint16(value[16+8:]) != leafPage {
		return p.fail(id)
	}
	return p.content(id, value[16:], nil, nil, depth+1)
}
