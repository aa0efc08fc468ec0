package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/relais-sante/relais/store"
)

// counted counts what is read of a file.
type counted struct {
	*bytes.Reader
	n int
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.Reader.ReadAt(p, off)
	c.n += n
	return n, err
}

// TestSkipFindsItsPlace: what is read behind a skip is what stands there, from
// the beginning as from the middle, and the end is checked as ever.
func TestSkipFindsItsPlace(t *testing.T) {
	for _, size := range sizes {
		clear := noise(t, size)
		session, body, _ := sealed(t, clear, 1000)
		offsets := append([]int64{size / 2, size - 1, size}, sizes...)
		for _, off := range offsets {
			for _, read := range []int64{0, 1, 70_000} {
				if off < read || off > size {
					continue
				}
				r, err := NewReader(bytes.NewReader(body), 0, int64(len(body)), size, session)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.CopyN(io.Discard, r, read); err != nil {
					t.Fatal(err)
				}
				if err := r.Skip(off - read); err != nil {
					t.Fatalf("size %d, from %d to %d: %v", size, read, off, err)
				}
				rest, err := io.ReadAll(r)
				if err != nil || !bytes.Equal(rest, clear[off:]) {
					t.Errorf("size %d, from %d to %d: %d bytes, %v", size, read, off, len(rest), err)
				}
			}
		}
		r, err := NewReader(bytes.NewReader(body), 0, int64(len(body)), size, session)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Skip(size + 1); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("size %d, past the end: %v", size, err)
		}
	}
}

// TestSkipReadsLittle: a piece from the end of a large message costs a chunk or
// two, and damage in what is read of it shows.
func TestSkipReadsLittle(t *testing.T) {
	clear := noise(t, 4<<20)
	session, body, _ := sealed(t, clear, 1<<16)
	piece := func(body []byte) (int, error) {
		src := &counted{Reader: bytes.NewReader(body)}
		r, err := NewReader(src, 0, int64(len(body)), int64(len(clear)), session)
		if err != nil {
			return 0, err
		}
		if err := r.Skip(3 << 20); err != nil {
			return src.n, err
		}
		_, err = io.CopyN(io.Discard, r, 1000)
		return src.n, err
	}
	if n, err := piece(body); err != nil || n > 2*(chunkSize+tagSize)+bodyHead {
		t.Errorf("read %d bytes, %v", n, err)
	}
	body[bodyHead+(3<<20)+chunkSize/2] ^= 1
	if _, err := piece(body); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("damaged: %v", err)
	}
}

// BenchmarkPieces fetches a message in pieces of 64 KiB, each from its place.
func BenchmarkPieces(b *testing.B) {
	for _, mb := range []int64{1, 16} {
		b.Run(fmt.Sprintf("%dMB", mb), func(b *testing.B) {
			size := mb << 20
			session, body, _ := sealed(b, noise(b, size), 1<<16)
			b.SetBytes(size)
			for b.Loop() {
				for off := int64(0); off < size; off += 1 << 16 {
					r, err := NewReader(bytes.NewReader(body), 0, int64(len(body)), size, session)
					if err != nil {
						b.Fatal(err)
					}
					if err := r.Skip(off); err != nil {
						b.Fatal(err)
					}
					if _, err := io.CopyN(io.Discard, r, 1<<16); err != nil {
						b.Fatal(err)
					}
					r.Close()
				}
			}
		})
	}
}
