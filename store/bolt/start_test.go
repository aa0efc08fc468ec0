package bolt

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/relais-sante/relais/store"
)

func drain(s *Store, b store.Blob) (int64, error) {
	r, err := s.Open(bg, b)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return io.Copy(io.Discard, r)
}

// filled is a place whose store holds a few messages, one of them large.
func filled(t *testing.T) (*place, []*store.Message) {
	t.Helper()
	p := newPlace(t)
	s := p.mustOpen(nil)
	code := store.PathwayCode("b000001")
	if err := s.NewKey(bg, pathwayOwner(code)); err != nil {
		t.Fatal(err)
	}
	for i, n := range []int{100, 5000, 200000, 2 << 20, 10} {
		if err := post(s, code, fmt.Sprintf("01m%023d", i), bytes.Repeat([]byte("x"), n), 1); err != nil {
			t.Fatal(err)
		}
	}
	var thread []*store.Message
	if err := s.View(bg, func(v store.View) (err error) {
		thread, err = v.Thread(code, 0, 0)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return p, thread
}

func (p *place) file(name string) string { return filepath.Join(p.seal.DataDir, name) }

func (p *place) segment(name string) string { return filepath.Join(p.seal.DataDir, "segments", name) }

// Any changed byte of a message file is found; no wrong byte is given out.
func TestChangedByteInSegment(t *testing.T) {
	p, thread := filled(t)
	s := p.mustOpen(nil)
	for _, m := range thread {
		path := p.segment(m.Blob.Segment)
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		end := m.Blob.Offset + int64(recHead) + m.Blob.Length
		step := max(1, m.Blob.Length/40)
		for at := m.Blob.Offset; at < end; at += step {
			b := make([]byte, 1)
			if _, err := f.ReadAt(b, at); err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt([]byte{b[0] ^ 0x40}, at); err != nil {
				t.Fatal(err)
			}
			n, err := drain(s, *m.Blob)
			if !errors.Is(err, store.ErrCorrupt) || n == m.Blob.Size && m.Blob.Size > 0 {
				t.Fatalf("byte %d changed: %d bytes and %v, want ErrCorrupt", at, n, err)
			}
			if _, err := f.WriteAt(b, at); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := drain(s, *m.Blob); err != nil || n != m.Blob.Size {
			t.Fatalf("mended: %d bytes, %v", n, err)
		}
	}
	// A missing file is no different.
	last := thread[3].Blob
	s.Close()
	s = p.mustOpen(nil)
	if err := os.Remove(p.segment(last.Segment)); err != nil {
		t.Fatal(err)
	}
	if _, err := drain(s, *last); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("missing segment: got %v, want ErrCorrupt", err)
	}
}

// What a crash leaves behind the index is cut off; a half-written record, a new
// segment and the file of a draft go.
func TestRestOfACrashIsCutOff(t *testing.T) {
	p, thread := filled(t)
	name := thread[0].Blob.Segment
	whole, err := os.ReadFile(p.segment(name))
	if err != nil {
		t.Fatal(err)
	}
	payload := []byte("never acknowledged")
	seq := stateOf(t, p).Seq
	rec := recordHead{kind: recCommit, seq: seq + 1, length: int64(len(payload)), sum: sha256.Sum256(payload)}
	record := append(rec.encode(), payload...)
	for what, tail := range map[string][]byte{
		"whole record": record, "half a record": record[:len(record)/2], "zeros": make([]byte, 5000), "noise": []byte("noise"),
	} {
		if err := os.WriteFile(p.segment(name), append(bytes.Clone(whole), tail...), 0o600); err != nil {
			t.Fatal(err)
		}
		next := append(segmentHead('s'), record...)
		for extra, b := range map[string][]byte{"s-00000002.seg": next, "l-0123456789abcdef01234567.seg": []byte("draft")} {
			if err := os.WriteFile(p.segment(extra), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s := p.mustOpen(nil)
		expectThread(t, s, "b000001", len(thread))
		checkNoOrphans(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if have, err := os.ReadFile(p.segment(name)); err != nil || !bytes.Equal(have, whole) {
			t.Errorf("%s: the segment has %d bytes, want %d; %v", what, len(have), len(whole), err)
		}
	}
}

func stateOf(t *testing.T, p *place) state {
	t.Helper()
	s := p.mustOpen(nil)
	defer s.Close()
	return s.state
}

// A start that would throw away acknowledged messages is refused.
func TestOldOrMissingIndexIsRefused(t *testing.T) {
	p, thread := filled(t)
	index := filepath.Join(p.seal.DataDir, "index.db")
	old, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	s := p.mustOpen(nil)
	for i := range 3 {
		if err := post(s, "b000001", fmt.Sprintf("02m%023d", i), []byte("later"), 1); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	name := thread[0].Blob.Segment
	before, _ := os.ReadFile(p.segment(name))
	refuses := func(what string) {
		t.Helper()
		s, err := p.open(nil)
		if !errors.Is(err, store.ErrCorrupt) {
			if err == nil {
				s.Close()
			}
			t.Fatalf("%s: got %v, want ErrCorrupt", what, err)
		}
		if after, _ := os.ReadFile(p.segment(name)); !bytes.Equal(before, after) {
			t.Fatalf("%s: the segment was changed", what)
		}
	}
	if err := os.WriteFile(index, old, 0o600); err != nil {
		t.Fatal(err)
	}
	refuses("older index")
	if err := os.Remove(index); err != nil {
		t.Fatal(err)
	}
	refuses("no index")
	if err := os.WriteFile(index, bytes.Repeat([]byte("junk"), 10000), 0o600); err != nil {
		t.Fatal(err)
	}
	refuses("no bbolt file")
}

func TestShortenedSegmentIsRefused(t *testing.T) {
	p, thread := filled(t)
	path := p.segment(thread[0].Blob.Segment)
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, fi.Size()-1); err != nil {
		t.Fatal(err)
	}
	if _, err := p.open(nil); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("got %v, want ErrCorrupt", err)
	}
}

func TestOneProcessOnly(t *testing.T) {
	p := newPlace(t)
	p.mustOpen(nil)
	// Without the keystore's own lock, which comes first.
	_, err := Open(Options{Dir: p.seal.DataDir, Keys: p.keys, LockTimeout: 1})
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
}

func TestMigration(t *testing.T) {
	p, thread := filled(t)
	var ran []uint32
	extra := func(to uint32, fails error) step {
		return step{to, func(s *Store, btx *bolt.Tx) error {
			ran = append(ran, to)
			if _, err := btx.CreateBucketIfNotExists([]byte(fmt.Sprintf("new%d", to))); err != nil {
				return err
			}
			return fails
		}}
	}
	with := func(steps ...step) func(*Options) {
		return func(o *Options) { o.steps = append(append([]step{}, migrations...), steps...) }
	}
	stop := errors.New("stop")
	if _, err := p.open(with(extra(3, nil), extra(4, stop))); !errors.Is(err, stop) {
		t.Fatalf("got %v, want the step's own error", err)
	}
	// The step that worked is done with, the one that failed left nothing.
	s := p.mustOpen(with(extra(3, nil), extra(4, nil)))
	if got := fmt.Sprint(ran); got != "[3 4 4]" {
		t.Errorf("steps ran as %s, want [3 4 4]", got)
	}
	expectThread(t, s, "b000001", len(thread))
	if n, err := s.format(); n != 4 || err != nil {
		t.Errorf("format %d, %v", n, err)
	}
	s.Close()
	// This program, which knows no step 4, refuses and changes nothing.
	if _, err := p.open(nil); !errors.Is(err, store.ErrNewer) {
		t.Errorf("got %v, want ErrNewer", err)
	}
	s = p.mustOpen(with(extra(3, nil), extra(4, nil)))
	expectThread(t, s, "b000001", len(thread))
}
