package imap

import (
	"bytes"
	"compress/flate"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// texts to compress: short, repetitive, random, long.
func inflateSamples() [][]byte {
	noise := make([]byte, 100_000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	return [][]byte{
		nil, []byte("3 NAMESPACE\r\n"), []byte(strings.Repeat("a", 70_000)), noise,
		[]byte(strings.Repeat("* 12 FETCH (UID 14 FLAGS (\\Seen))\r\n", 5000)), append(noise[:5000:5000], noise[:40_000]...),
	}
}

func TestInflate(t *testing.T) {
	for _, level := range []int{flate.NoCompression, flate.BestSpeed, flate.DefaultCompression, flate.HuffmanOnly} {
		for _, sample := range inflateSamples() {
			var b bytes.Buffer
			w, err := flate.NewWriter(&b, level)
			if err != nil {
				t.Fatal(err)
			}
			for rest := sample; len(rest) > 0; {
				n := min(len(rest), 17_000)
				if _, err := w.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				if err := w.Flush(); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			for name, src := range map[string]io.Reader{
				"whole": bytes.NewReader(b.Bytes()), "bytewise": iotest.OneByteReader(bytes.NewReader(b.Bytes())),
			} {
				got, err := io.ReadAll(newInflater(src))
				if err != nil || !bytes.Equal(got, sample) {
					t.Errorf("level %d, %s: %d bytes of %d came back, %v", level, name, len(got), len(sample), err)
				}
			}
		}
	}
}

// bitWriter writes bits, least significant first.
type bitWriter struct {
	b []byte
	n int
}

func (w *bitWriter) put(v uint, n int) {
	for i := range n {
		if w.n%8 == 0 {
			w.b = append(w.b, 0)
		}
		w.b[w.n/8] |= byte(v>>i&1) << (w.n % 8)
		w.n++
	}
}

// literal writes a byte below 144 in the fixed code, which begins with its most
// significant bit.
func (w *bitWriter) literal(c byte) {
	code := uint(0x30) + uint(c)
	for i := 7; i >= 0; i-- {
		w.put(code>>i&1, 1)
	}
}

// A command that ends with a partial flush is known whole before anything more
// arrives. compress/flate waits here, hence a reader of our own.
func TestInflatePartialFlush(t *testing.T) {
	var w bitWriter
	w.put(0b010, 3) // fixed codes
	for _, c := range []byte("3 NAMESPACE\r\n") {
		w.literal(c)
	}
	w.put(0, 7)     // end of block
	w.put(0b010, 3) // and an empty one: zlib's Z_PARTIAL_FLUSH
	w.put(0, 7)
	for name, c := range map[string]struct {
		new   func(io.Reader) io.Reader
		waits bool
	}{
		"inflater":       {func(r io.Reader) io.Reader { return newInflater(r) }, false},
		"compress/flate": {func(r io.Reader) io.Reader { return flate.NewReader(r) }, true}, // else no need of our own
	} {
		src := &network{first: w.b}
		b := make([]byte, 100)
		n, _ := c.new(src).Read(b)
		if string(b[:n]) != "3 NAMESPACE\r\n" || src.waited != c.waits {
			t.Errorf("%s gave %q, waited %v", name, b[:n], src.waited)
		}
	}
}

// network gives something once; reading on would wait for the peer.
type network struct {
	first  []byte
	waited bool
}

func (n *network) Read(p []byte) (int, error) {
	if n.first == nil {
		n.waited = true
		return 0, io.ErrUnexpectedEOF
	}
	got := copy(p, n.first)
	n.first = nil
	return got, nil
}

func FuzzInflate(f *testing.F) {
	for _, s := range inflateSamples()[:3] {
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, flate.BestSpeed)
		_, _ = w.Write(s)
		w.Close()
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 1 << 20
		got, err := io.ReadAll(io.LimitReader(newInflater(bytes.NewReader(in)), limit))
		want, werr := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(in)), limit))
		if werr == nil && (err != nil || !bytes.Equal(got, want)) {
			t.Errorf("got %d bytes and %v, compress/flate %d", len(got), err, len(want))
		}
	})
}
