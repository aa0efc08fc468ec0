package bolt

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/relais-sante/relais/store"
)

// faulty makes writes and syncs of segments and drafts fail on demand, and the
// index too: it opens it on a file that was limited.
type faulty struct {
	osFiles
	write, sync atomic.Pointer[error]
	free        atomic.Int64 // 0: as it is
}

func (f *faulty) set(p *atomic.Pointer[error], err error) {
	if err == nil {
		p.Store(nil)
		return
	}
	p.Store(&err)
}

func (f *faulty) Write(int) error {
	if e := f.write.Load(); e != nil {
		return *e
	}
	return nil
}

func (f *faulty) Sync() error {
	if e := f.sync.Load(); e != nil {
		return *e
	}
	return nil
}

func (f *faulty) Free(dir string) (int64, error) {
	if n := f.free.Load(); n != 0 {
		return n, nil
	}
	return f.osFiles.Free(dir)
}

// A full disk refuses cleanly, keeps what is there, lets go on what needs no
// room for messages, and recovers by itself.
func TestFullAndBack(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		want error
	}{
		{"no space", syscall.ENOSPC, store.ErrFull},
		{"quota", syscall.EDQUOT, store.ErrFull},
		{"read-only", syscall.EROFS, store.ErrUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := new(faulty)
			p := newPlace(t)
			s := p.mustOpen(func(o *Options) { o.files = f })
			code := store.PathwayCode("b000001")
			if err := s.NewKey(bg, pathwayOwner(code)); err != nil {
				t.Fatal(err)
			}
			id := func(n int) string { return fmt.Sprintf("01m%023d", n) }
			if err := post(s, code, id(0), make([]byte, 4096), 1); err != nil {
				t.Fatal(err)
			}
			f.set(&f.write, tc.err)
			for n := range 3 {
				if err := post(s, code, id(n+1), make([]byte, 4096), 1); !errors.Is(err, tc.want) {
					t.Fatalf("got %v, want %v", err, tc.want)
				}
			}
			if _, err := s.Create(bg, 2<<20); !errors.Is(err, tc.want) {
				t.Errorf("a large draft: got %v, want %v", err, tc.want)
			}
			if err := s.Commit(bg, func(t store.Tx) error { return t.PutSetting("s", nil) }); err != nil {
				t.Errorf("a commit without a message: %v", err)
			}
			f.set(&f.write, nil)
			f.set(&f.sync, tc.err)
			if err := post(s, code, id(1), make([]byte, 4096), 1); !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			f.set(&f.sync, nil)
			if err := post(s, code, id(1), make([]byte, 4096), 1); err != nil {
				t.Fatalf("after room came back: %v", err)
			}
			for range 2 {
				expectThread(t, s, code, 2)
				s.Close()
				s = p.mustOpen(nil)
			}
		})
	}
}

// Where the room is known to be gone nothing is tried.
func TestFullIsNotTriedAgain(t *testing.T) {
	f := new(faulty)
	s := newPlace(t).mustOpen(func(o *Options) { o.files = f })
	code := store.PathwayCode("b000001")
	if err := s.NewKey(bg, pathwayOwner(code)); err != nil {
		t.Fatal(err)
	}
	f.set(&f.write, syscall.ENOSPC)
	if err := post(s, code, "01m1", nil, 0); !errors.Is(err, store.ErrFull) {
		t.Fatal(err)
	}
	f.set(&f.write, nil)
	f.free.Store(1000)
	if err := post(s, code, "01m1", nil, 0); !errors.Is(err, store.ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	f.free.Store(1 << 30)
	if err := post(s, code, "01m1", nil, 0); err != nil {
		t.Error(err)
	}
}

// After an I/O error no later success can be believed.
func TestInputOutputErrorStopsWriting(t *testing.T) {
	f := new(faulty)
	p := newPlace(t)
	s := p.mustOpen(func(o *Options) { o.files = f })
	code := store.PathwayCode("b000001")
	if err := s.NewKey(bg, pathwayOwner(code)); err != nil {
		t.Fatal(err)
	}
	if err := post(s, code, "01m1", nil, 0); err != nil {
		t.Fatal(err)
	}
	f.set(&f.sync, syscall.EIO)
	if err := post(s, code, "01m2", nil, 0); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	f.set(&f.sync, nil)
	if err := post(s, code, "01m2", nil, 0); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable still", err)
	}
	expectThread(t, s, code, 1)
	s.Close()
	s = p.mustOpen(nil)
	if err := post(s, code, "01m2", nil, 0); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	expectThread(t, s, code, 2)
}

// expectThread reads everything of a pathway back.
func expectThread(t *testing.T, s *Store, code store.PathwayCode, want int) {
	t.Helper()
	var thread []*store.Message
	if err := s.View(bg, func(v store.View) (err error) {
		thread, err = v.Thread(code, 0, 0)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if len(thread) != want {
		t.Fatalf("%d messages in the thread, want %d", len(thread), want)
	}
	for i, m := range thread {
		if m.Seq != uint64(i+1) {
			t.Errorf("place %d holds number %d", i+1, m.Seq)
		}
		if m.Blob != nil {
			if n, err := drain(s, *m.Blob); err != nil || n != m.Blob.Size {
				t.Errorf("message %d: %d bytes, %v", i, n, err)
			}
		}
	}
}

// In a group whose messages find no room the others go on: their functions run
// again without it.
func TestRestOfAGroupGoesOn(t *testing.T) {
	f := new(faulty)
	s := newPlace(t).mustOpen(func(o *Options) { o.files = f })
	code := store.PathwayCode("b000001")
	if err := s.NewKey(bg, pathwayOwner(code)); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(bg, func(t store.Tx) error { return t.PutPathway(&store.Pathway{Code: code}) }); err != nil {
		t.Fatal(err)
	}
	f.set(&f.write, syscall.ENOSPC)
	// Whether the second is in the first one's group is for the scheduler to
	// say; it is in the end.
	for range 1000 {
		runs := 0
		other := make(chan error)
		d, err := s.Create(bg, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Finish(); err != nil {
			t.Fatal(err)
		}
		err = s.Commit(bg, func(tx store.Tx) error {
			waits := make(chan struct{})
			go func() {
				p, err := pathwayNow(s, code)
				close(waits)
				if err == nil {
					err = s.Commit(bg, func(t store.Tx) error { runs++; return t.PutPathway(p) })
				}
				other <- err
			}()
			<-waits
			for range 100 {
				runtime.Gosched()
			}
			return tx.FileMessage(&store.Message{ID: "01m", Pathway: code}, nil, d)
		})
		d.Discard()
		if !errors.Is(err, store.ErrFull) {
			t.Fatalf("the message: got %v, want ErrFull", err)
		}
		if err := <-other; err != nil {
			t.Fatalf("the other, run %d times: %v", runs, err)
		}
		if runs == 2 {
			return
		}
	}
	t.Error("no group was ever run again")
}

func pathwayNow(s *Store, code store.PathwayCode) (p *store.Pathway, err error) {
	err = s.View(bg, func(v store.View) error {
		p, err = v.Pathway(code)
		return err
	})
	return p, err
}
