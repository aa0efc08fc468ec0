package bolt

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
)

// A commit costs one sync, and little more is written than it brings.
func TestOneSync(t *testing.T) {
	f := new(faulty)
	s := newPlace(t).mustOpen(func(o *Options) { o.files, o.FlushAge = f, time.Hour })
	code := store.PathwayCode("b000001")
	if err := s.NewKey(bg, pathwayOwner(code)); err != nil {
		t.Fatal(err)
	}
	if err := post(s, code, "01m0", make([]byte, 4096), 2); err != nil {
		t.Fatal(err)
	}
	const n = 20
	syncs, size := f.syncs.Load(), s.levels.Load().state.End
	for i := range n {
		if err := post(s, code, fmt.Sprintf("01n%d", i), make([]byte, 4096), 2); err != nil {
			t.Fatal(err)
		}
	}
	if have := f.syncs.Load() - syncs; have != n {
		t.Errorf("%d syncs for %d commits", have, n)
	}
	each := (s.levels.Load().state.End - size) / n
	t.Logf("%d bytes for a message of 4096 with an index of %d and 2 copies", each, len(benchIndex))
	if each > 12<<10 {
		t.Errorf("%d bytes for a message", each)
	}
	// Soon ones cost none, until one does for all.
	syncs = f.syncs.Load()
	for i := range n {
		if err := s.CommitSoon(bg, func(t store.Tx) error { return t.PutSetting("s", u32(uint32(i))) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.syncTo(s.levels.Load().state.Seq); err != nil {
		t.Fatal(err)
	}
	if have := f.syncs.Load() - syncs; have > n/2 {
		t.Errorf("%d syncs for %d commits that need none of their own", have, n)
	}
	if s.durable != s.levels.Load().state.Seq {
		t.Error("not durable after its sync")
	}
}

// abandoned leaves a store as a killed process does, with all rows in the log
// only, and gives its segment.
func abandoned(t *testing.T, posts int) (*place, string) {
	t.Helper()
	p := newPlace(t)
	s := p.mustOpen(nil)
	code := store.PathwayCode("b000001")
	if err := s.NewKey(bg, pathwayOwner(code)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = p.mustOpen(func(o *Options) { o.FlushAge = time.Hour })
	index, err := os.ReadFile(p.file(indexName)) // in use, and without what comes
	if err != nil {
		t.Fatal(err)
	}
	for i := range posts {
		if err := post(s, code, fmt.Sprintf("01m%d", i), []byte("x"), 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(s.Close(), os.WriteFile(p.file(indexName), index, 0o600)); err != nil {
		t.Fatal(err)
	}
	p.leave()
	return p, p.segment(sharedName(1))
}

// A log that ends in the middle of a group ends before it; one that is damaged in
// the middle, with groups behind it that vouch for what is gone, is refused.
func TestTornOrDamaged(t *testing.T) {
	const posts = 5
	p, path := abandoned(t, posts)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	index, err := os.ReadFile(p.file(indexName))
	if err != nil {
		t.Fatal(err)
	}
	var ends []int // of groups
	for at := segHead; at < len(whole); {
		h, ok := decodeRecordHead(whole[at:])
		if !ok {
			t.Fatalf("no record at %d", at)
		}
		at += recHead + int(h.length)
		if h.kind == recCommit {
			ends = append(ends, at)
		}
	}
	ends = ends[len(ends)-posts:]
	restore := func(b []byte) {
		if err := errors.Join(os.WriteFile(path, b, 0o600), os.WriteFile(p.file(indexName), index, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for i, end := range ends {
		for what, b := range map[string][]byte{
			"cut":    whole[:end-1],
			"zeros":  append(bytes.Clone(whole[:end-100]), make([]byte, 5000)...),
			"before": whole[:end],
		} {
			restore(b)
			s := p.mustOpen(nil)
			want := i
			if what == "before" {
				want++
			}
			expectThread(t, s, "b000001", want)
			if err := post(s, "b000001", "02m", []byte("y"), 1); err != nil {
				t.Error(err)
			}
			s.Close()
			p.leave()
			if v := p.verify(); !v.OK {
				t.Errorf("%s at %d: %+v", what, end, v.Flaws)
			}
		}
		bad := bytes.Clone(whole)
		bad[end-50] ^= 1
		restore(bad)
		s, err := p.open(nil)
		switch {
		case i == posts-1: // nothing behind vouches for it
			if err != nil {
				t.Fatal(err)
			}
			expectThread(t, s, "b000001", i)
			s.Close()
		case !errors.Is(err, store.ErrCorrupt):
			t.Errorf("damage in group %d: got %v, want ErrCorrupt", i, err)
		default:
			if after, _ := os.ReadFile(path); !bytes.Equal(after, bad) {
				t.Errorf("damage in group %d: the segment was changed", i)
			}
		}
		p.leave()
		if err != nil {
			if v := p.verify(); v.OK {
				t.Errorf("damage in group %d is not found", i)
			}
		}
	}
}

// FuzzReplay: a log is read without trusting it.
func FuzzReplay(f *testing.F) {
	p := newPlace(f)
	s := p.mustOpen(func(o *Options) { o.FlushAge = time.Hour })
	if err := s.NewKey(bg, pathwayOwner("b000001")); err != nil {
		f.Fatal(err)
	}
	before := *s.levels.Load().state
	for i := range 3 {
		if err := post(s, "b000001", fmt.Sprintf("01m%d", i), []byte("x"), 1); err != nil {
			f.Fatal(err)
		}
	}
	whole, err := os.ReadFile(p.segment(sharedName(1)))
	if err != nil {
		f.Fatal(err)
	}
	whole = whole[:s.levels.Load().state.End]
	f.Add(uint32(before.End+10), []byte{1, 2, 3}, false)
	f.Add(uint32(before.End+recHead), []byte{0xbf, 0xff}, true)
	f.Fuzz(func(t *testing.T, at uint32, patch []byte, mend bool) {
		b := bytes.Clone(whole)
		from := int(before.End) + int(at)%(len(b)-int(before.End))
		copy(b[from:], patch)
		if mend {
			mendSums(b, int(before.End))
		}
		r := &replay{s: s, state: before, rows: newLevel()}
		for {
			st, rec, err := r.group(bytes.NewReader(b), r.state.Segment, r.state.End, int64(len(b)), r.state.Chain)
			if err != nil {
				break
			}
			if err := r.take(st, rec); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(b[before.End:r.state.End], whole[before.End:r.state.End]) {
			t.Error("something was taken that the hub did not write")
		}
		if _, err := r.vouched(bytes.NewReader(b), before.End, int64(len(b)), false); err != nil {
			t.Error(err)
		}
	})
}

// mendSums makes the checksums of records fit what they hold.
func mendSums(b []byte, at int) {
	for at+recHead <= len(b) {
		h, ok := decodeRecordHead(b[at:])
		if !ok || at+recHead+int(h.length) > len(b) || h.length > 1<<20 {
			return
		}
		h.sum = sha256.Sum256(b[at+recHead : at+recHead+int(h.length)])
		copy(b[at:], h.encode())
		at += recHead + int(h.length)
	}
}
