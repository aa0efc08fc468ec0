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
	head := make([]byte, recHead)
	if _, err := f.f.ReadAt(head, b.Offset); err != nil && !errors.Is(err, io.EOF) {
		s.segs.release(f)
		return nil, fmt.Errorf("reading segment %s: %w", b.Segment, fault(err))
	}
	h, ok := decodeRecordHead(head)
	if !ok || h.kind != recMessage || h.length != b.Length || string(h.sum[:]) != string(b.Sum) {
		s.segs.release(f)
		return nil, fmt.Errorf("reading segment %s: %w", b.Segment, store.ErrCorrupt)
	}
	return s.reader(f, b.Offset+int64(recHead), b.Length, b.Size, session)
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
	return s.reader(f, off, length, size, session)
}

func (s *Store) reader(f *segFile, off, length, size int64, session *seal.SessionKey) (io.ReadCloser, error) {
	r, err := seal.NewReader(f.f, off, length, size, session)
	if err != nil {
		s.segs.release(f)
		return nil, err
	}
	return &blobReader{Reader: r, release: sync.OnceFunc(func() { s.segs.release(f) })}, nil
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
	release func()
}

func (r *blobReader) Close() error {
	err := r.Reader.Close()
	r.release()
	return err
}
