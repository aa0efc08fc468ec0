package bolt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/seal"
)

// Open implements [store.Store].
func (s *Store) Open(ctx context.Context, b store.Blob) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	session, err := s.session(&b)
	if err != nil {
		return nil, fmt.Errorf("opening a message: %w", err)
	}
	f, err := s.segs.acquire(b.Segment)
	if err != nil {
		return nil, lost(err)
	}
	r := &blobReader{s: s, f: f}
	head, err := r.ahead.begin(f.f, b.Offset, int64(recHead)+b.Length)
	if err != nil {
		r.letGo()
		return nil, fmt.Errorf("reading segment %s: %w", b.Segment, fault(err))
	}
	h, ok := decodeRecordHead(head)
	if !ok || h.kind != recMessage || h.length != b.Length || string(h.sum[:]) != string(b.Sum) {
		r.letGo()
		return nil, fmt.Errorf("reading segment %s: %w", b.Segment, store.ErrCorrupt)
	}
	if r.Reader, err = seal.NewReader(&r.ahead, b.Offset+int64(recHead), b.Length, b.Size, session); err != nil {
		r.letGo()
		return nil, err
	}
	return r, nil
}

// session gives the session key of a message, for as long as its owner has a
// key: no row that was read before an erasure opens anything after it.
func (s *Store) session(b *store.Blob) (*seal.SessionKey, error) {
	if len(b.Session) != len(seal.SessionKey{}) || !s.keys.Has(b.Owner) {
		return s.keys.Unwrap(b.Owner, b.Key)
	}
	return (*seal.SessionKey)(b.Session), nil
}

// openBytes reads sealed bytes whose place is known for certain.
func (s *Store) openBytes(name string, off, length, size int64, session *seal.SessionKey) (io.ReadCloser, error) {
	f, err := s.segs.acquire(name)
	if err != nil {
		return nil, lost(err)
	}
	r := &blobReader{s: s, f: f}
	if r.Reader, err = seal.NewReader(f.f, off, length, size, session); err != nil {
		r.letGo()
		return nil, err
	}
	return r, nil
}

// lost says of a missing segment what it is: bytes that are gone.
func lost(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	return err
}

// blobReader lets go of the segment when closed.
type blobReader struct {
	*seal.Reader
	s     *Store
	f     *segFile // nil: let go
	ahead ahead
}

// Close implements [io.Closer].
func (r *blobReader) Close() error {
	err := r.Reader.Close()
	r.letGo()
	return err
}

func (r *blobReader) letGo() {
	if r.f == nil {
		return
	}
	r.ahead.end()
	r.s.segs.release(r.f)
	r.f = nil
}

// ahead is the beginning of a record, read in one go: the head, the salt and, of
// most mails, all the rest. A search through a folder opens each, and three calls
// of the system cost as much as opening what they read.
type ahead struct {
	src io.ReaderAt
	off int64
	b   *[]byte // sealed; nil: nothing
}

const aheadBytes = 8 << 10

var aheads = sync.Pool{New: func() any { b := make([]byte, 0, aheadBytes); return &b }}

// begin reads from off, at most length bytes, and gives the head of the record;
// less of it where the file ends.
func (a *ahead) begin(src io.ReaderAt, off, length int64) ([]byte, error) {
	a.src, a.off, a.b = src, off, aheads.Get().(*[]byte)
	n, err := src.ReadAt((*a.b)[:min(max(length, int64(recHead)), aheadBytes)], off)
	*a.b = (*a.b)[:n]
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return (*a.b)[:min(n, recHead)], err
}

// ReadAt implements [io.ReaderAt].
func (a *ahead) ReadAt(p []byte, off int64) (int, error) {
	if a.b != nil && off >= a.off && off+int64(len(p)) <= a.off+int64(len(*a.b)) {
		return copy(p, (*a.b)[off-a.off:]), nil
	}
	return a.src.ReadAt(p, off)
}

// end gives the memory back.
func (a *ahead) end() {
	if a.b != nil {
		*a.b = (*a.b)[:0]
		aheads.Put(a.b)
		a.b = nil
	}
}
