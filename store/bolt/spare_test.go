package bolt

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
)

const spareCode = store.PathwayCode("b000001")

// spareStore is one whose segments are small enough to be prepared soon.
func spareStore(t *testing.T, p *place, f files) *Store {
	t.Helper()
	s := p.mustOpen(func(o *Options) { o.SegmentSize, o.FlushAge = 200<<10, time.Hour; o.files = f })
	if err := s.NewKey(bg, pathwayOwner(spareCode)); err != nil {
		t.Fatal(err)
	}
	return s
}

// postUntil posts until something is so, and counts on from n.
func postUntil(t *testing.T, s *Store, n int, is func() bool) int {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); n++ {
		if time.Now().After(end) {
			t.Fatal("it never came to be")
		}
		if err := post(s, spareCode, fmt.Sprintf("01m%023d", n), make([]byte, 4096), 0); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func spareThere(p *place) bool {
	_, err := os.Stat(p.segment(spareName))
	return err == nil
}

// The log goes on in a segment that was prepared: nothing is written ahead there,
// and nothing allocated. What is prepared goes when the store is closed, and when
// one is started that was not.
func TestSpare(t *testing.T) {
	f := new(faulty)
	p := newPlace(t)
	s := spareStore(t, p, f)
	if spareThere(p) {
		t.Error("an empty store prepares a segment")
	}
	n := postUntil(t, s, 0, func() bool { return s.spare.made.Load() != nil })
	made := s.spare.made.Load()
	n = postUntil(t, s, n, func() bool { return s.seg.f == made.f })
	if s.seg.blank != made.blank || s.seg.aside != made.aside {
		t.Errorf("zeros up to %d and allocated to %d, want %d and %d", s.seg.blank, s.seg.aside, made.blank, made.aside)
	}
	n = postUntil(t, s, n, func() bool { return s.state.Segment > 4 && s.spare.made.Load() != nil })
	if s.seg.blank < s.seg.leave {
		t.Error("a segment was begun that was not prepared")
	}
	expectThread(t, s, spareCode, n)
	if r, err := s.Verify(bg, VerifyOptions{}); err != nil || !r.OK {
		t.Errorf("verification: %+v, %v", r, err)
	}
	if !spareThere(p) {
		t.Error("nothing is there that was prepared")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if spareThere(p) {
		t.Error("a closed store keeps what was prepared")
	}
	p.leave()
	if r := p.verify(); !r.OK {
		t.Errorf("verification: %+v", r)
	}
	if err := os.WriteFile(p.segment(spareName), make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	s = p.mustOpen(nil)
	defer s.Close()
	if spareThere(p) {
		t.Error("a start keeps what was prepared before")
	}
	expectThread(t, s, spareCode, n)
}

// A store with a disk too full for it prepares nothing and goes on; when the disk
// is found to be full the room that a prepared segment takes is given back.
func TestSpareIsGivenUp(t *testing.T) {
	f := new(faulty)
	f.free.Store(spareFree)
	p := newPlace(t)
	s := spareStore(t, p, f)
	n := postUntil(t, s, 0, func() bool { return s.state.Segment > 2 })
	if spareThere(p) {
		t.Error("a segment is prepared where there is little room")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	f.free.Store(0)
	s = spareStore(t, p, f)
	defer s.Close()
	n = postUntil(t, s, n, func() bool { return s.spare.made.Load() != nil })
	f.set(&f.sync, syscall.ENOSPC)
	if err := post(s, spareCode, "02m", make([]byte, 4096), 0); !errors.Is(err, store.ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	f.set(&f.sync, nil)
	n = postUntil(t, s, n, func() bool { return !spareThere(p) })
	expectThread(t, s, spareCode, n)
}
