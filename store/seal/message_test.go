package seal

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"testing"

	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"pgregory.net/rapid"

	"github.com/relais-sante/relais/store"
)

// sizes lie around every boundary of the format.
var sizes = []int64{
	0, 1, 185, 186, 187, 4096, frameSize - literalHead - 1, frameSize - literalHead, frameSize - literalHead + 1,
	2*frameSize - literalHead, chunkSize - 20, chunkSize - 15, chunkSize - 14, chunkSize - 13, chunkSize,
	8*frameSize - literalHead, 9 * frameSize, 3*chunkSize + 17, 1 << 20,
}

func sealed(t testing.TB, clear []byte, step int) (*SessionKey, []byte, *Writer) {
	t.Helper()
	session, err := NewSession(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w, err := NewWriter(&out, session, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for rest := clear; len(rest) > 0; {
		n := min(step, len(rest))
		if _, err := w.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return session, out.Bytes(), w
}

func noise(t testing.TB, n int64) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(rand.Reader, b); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMessageIsReadBack(t *testing.T) {
	for _, size := range sizes {
		clear := noise(t, size)
		session, body, w := sealed(t, clear, 1000)
		if w.Size() != size || w.Length() != int64(len(body)) || SealedSize(size) != int64(len(body)) {
			t.Errorf("size %d: counted %d clear, %d sealed, foretold %d, are %d", size, w.Size(), w.Length(), SealedSize(size), len(body))
		}
		r, err := NewReader(bytes.NewReader(body), 0, int64(len(body)), size, session)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, clear) {
			t.Errorf("size %d: %d bytes came back, equal %v, %v", size, len(got), bytes.Equal(got, clear), err)
		}
	}
}

// TestBuffersAreWiped: what a message leaves in memory that is used again.
func TestBuffersAreWiped(t *testing.T) {
	blank := func(b []byte) bool { return len(bytes.Trim(b[:cap(b)], "\x00")) == 0 }
	for _, size := range sizes {
		session, err := NewSession(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		w, err := NewWriter(&out, session, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		written := w.buf
		if _, err := w.Write(noise(t, size)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if !blank(written) {
			t.Errorf("%d bytes: some were left in the writer's buffer", size)
		}
		r, err := NewReader(bytes.NewReader(out.Bytes()), 0, w.Length(), size, session)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, r, size); err != nil {
			t.Fatal(err)
		}
		read := r.buf
		r.Close()
		if !blank(read) {
			t.Errorf("%d bytes: some were left in the reader's buffer", size)
		}
	}
}

func TestMessageIsStandardOpenPGP(t *testing.T) {
	k := newKeys(t)
	o := store.Owner{Kind: store.OwnedByPathway, ID: "k7f3q2x"}
	if err := k.NewKey(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	ent, err := k.Entity(o)
	if err != nil {
		t.Fatal(err)
	}
	// The key must survive being written down and read by the library.
	var armoured bytes.Buffer
	if err := ent.SerializePrivateWithoutSigning(&armoured, nil); err != nil {
		t.Fatal(err)
	}
	ring, err := pgp.ReadKeyRing(&armoured)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range sizes {
		clear := noise(t, size)
		session, body, _ := sealed(t, clear, 1<<20)
		pkesk, err := k.Wrap(o, session)
		if err != nil {
			t.Fatal(err)
		}
		head := PacketHeader(int64(len(body)))
		md, err := pgp.ReadMessage(io.MultiReader(bytes.NewReader(pkesk), bytes.NewReader(head[:]), bytes.NewReader(body)), ring, nil, nil)
		if err != nil {
			t.Fatalf("size %d: %v", size, err)
		}
		got, err := io.ReadAll(md.UnverifiedBody)
		if err != nil || !bytes.Equal(got, clear) {
			t.Errorf("size %d: %d bytes came back, equal %v, %v", size, len(got), bytes.Equal(got, clear), err)
		}
	}
}

func TestRewrapLeavesTheBytes(t *testing.T) {
	k := newKeys(t)
	held := store.Owner{Kind: store.OwnedByTriage, ID: "01h"}
	path := store.Owner{Kind: store.OwnedByPathway, ID: "k7f3q2x"}
	for _, o := range []store.Owner{held, path} {
		if err := k.NewKey(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	session, _ := NewSession(rand.Reader)
	first, err := k.Wrap(held, session)
	if err != nil {
		t.Fatal(err)
	}
	got, err := k.Unwrap(held, first)
	if err != nil || *got != *session {
		t.Fatalf("session key came back wrong: %v", err)
	}
	second, err := k.Wrap(path, got)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.Unwrap(path, second); err != nil || *got != *session {
		t.Fatalf("re-wrapped session key came back wrong: %v", err)
	}
	if _, err := k.Unwrap(path, first); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("another owner's wrap: got %v, want ErrCorrupt", err)
	}
}

// Whatever is done to the sealed bytes, no wrong byte comes out and the end is
// an error.
func TestDamageIsFound(t *testing.T) {
	clear := noise(t, 3*chunkSize+100)
	session, body, _ := sealed(t, clear, 1<<16)
	rapid.Check(t, func(t *rapid.T) {
		bad := bytes.Clone(body)
		switch rapid.SampledFrom([]string{"flip", "cut", "swap", "drop"}).Draw(t, "damage") {
		case "flip":
			at := rapid.IntRange(0, len(bad)-1).Draw(t, "at")
			bad[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
		case "cut":
			bad = bad[:rapid.IntRange(0, len(bad)-1).Draw(t, "at")]
		case "swap":
			const n = chunkSize + tagSize
			for i := range n {
				bad[bodyHead+i], bad[bodyHead+n+i] = bad[bodyHead+n+i], bad[bodyHead+i]
			}
		case "drop":
			copy(bad[bodyHead:], bad[bodyHead+chunkSize+tagSize:])
		}
		r, err := NewReader(bytes.NewReader(bad), 0, int64(len(body)), int64(len(clear)), session)
		var got []byte
		if err == nil {
			got, err = io.ReadAll(r)
		}
		if !errors.Is(err, store.ErrCorrupt) {
			t.Fatalf("got %v, want ErrCorrupt", err)
		}
		if !bytes.HasPrefix(clear, got) || len(got) == len(clear) {
			t.Fatalf("%d bytes came out that are not a beginning of the message", len(got))
		}
	})
}

func TestWrongLengthIsFound(t *testing.T) {
	clear := noise(t, 5000)
	session, body, _ := sealed(t, clear, 1<<16)
	for _, size := range []int64{-1, 0, 4999, 5001} {
		if _, err := NewReader(bytes.NewReader(body), 0, int64(len(body)), size, session); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("size %d: got %v, want ErrCorrupt", size, err)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	for _, s := range []struct {
		name string
		size int64
	}{{"4KB", 4 << 10}, {"1MB", 1 << 20}} {
		clear := noise(b, s.size)
		b.Run(s.name, func(b *testing.B) {
			k := newKeys(b)
			o := store.Owner{Kind: store.OwnedByPathway, ID: "k7f3q2x"}
			if err := k.NewKey(b.Context(), o); err != nil {
				b.Fatal(err)
			}
			b.SetBytes(s.size)
			b.ReportAllocs()
			for b.Loop() {
				session, _ := NewSession(rand.Reader)
				w, err := NewWriter(io.Discard, session, rand.Reader)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := w.Write(clear); err != nil {
					b.Fatal(err)
				}
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
				if _, err := k.Wrap(o, session); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	clear := noise(b, 1<<20)
	session, body, _ := sealed(b, clear, 1<<20)
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	for b.Loop() {
		r, err := NewReader(bytes.NewReader(body), 0, int64(len(body)), 1<<20, session)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			b.Fatal(err)
		}
	}
}
