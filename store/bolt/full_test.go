package bolt

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
)

// faulty makes writes and syncs of segments and drafts, and setting room aside,
// fail on demand.
type faulty struct {
	osFiles
	write, sync, room atomic.Pointer[error]
	free              atomic.Int64 // 0: as it is
	syncs, bytes      atomic.Int64
}

func (f *faulty) set(p *atomic.Pointer[error], err error) {
	if err == nil {
		p.Store(nil)
		return
	}
	p.Store(&err)
}

func (f *faulty) WriteAt(file *os.File, b []byte, off int64) (int, error) {
	if e := f.write.Load(); e != nil {
		return 0, *e
	}
	f.bytes.Add(int64(len(b)))
	return f.osFiles.WriteAt(file, b, off)
}

func (f *faulty) Sync(file *os.File) error {
	if e := f.sync.Load(); e != nil {
		return *e
	}
	f.syncs.Add(1)
	return f.osFiles.Sync(file)
}

func (f *faulty) Allocate(file *os.File, off, n int64) error {
	if e := f.room.Load(); e != nil {
		return *e
	}
	return f.osFiles.Allocate(file, off, n)
}

func (f *faulty) Free(dir string) (int64, error) {
	if n := f.free.Load(); n != 0 {
		return n, nil
	}
	return f.osFiles.Free(dir)
}

// A full disk refuses messages cleanly, keeps what is there, lets go on what
// brings no message, and recovers by itself.
func TestFullAndBack(t *testing.T) {
	for name, full := range map[string]error{"no space": syscall.ENOSPC, "quota": syscall.EDQUOT} {
		t.Run(name, func(t *testing.T) {
			f := new(faulty)
			p := newPlace(t)
			s := p.mustOpen(func(o *Options) { o.files = f })
			code := store.PathwayCode("b000001")
			if err := s.NewKey(bg, pathwayOwner(code)); err != nil {
				t.Fatal(err)
			}
			kept := 0
			try := func(size int) error {
				err := post(s, code, fmt.Sprintf("01m%023d", kept), make([]byte, size), 1)
				if err == nil {
					kept++
				}
				return err
			}
			if err := try(4096); err != nil {
				t.Fatal(err)
			}
			f.set(&f.room, full)
			kept += fillUp(t, s, code)
			for range 3 {
				if err := try(100 << 10); !errors.Is(err, store.ErrFull) {
					t.Fatalf("after %d: got %v, want ErrFull", kept, err)
				}
			}
			if h := s.Health(); h != HealthFull {
				t.Errorf("health is %q", h)
			}
			for i := range 100 {
				if err := s.Commit(bg, func(t store.Tx) error { return t.PutSetting("s", make([]byte, 10*i)) }); err != nil {
					t.Fatalf("a commit without a message: %v", err)
				}
			}
			f.set(&f.write, full)
			if _, err := s.Create(bg, 2<<20); !errors.Is(err, store.ErrFull) {
				t.Errorf("a large draft: got %v, want ErrFull", err)
			}
			f.set(&f.write, nil)
			f.set(&f.room, nil)
			f.set(&f.sync, full)
			if err := try(4096); !errors.Is(err, store.ErrFull) {
				t.Fatalf("got %v, want ErrFull", err)
			}
			f.set(&f.sync, nil)
			if err := try(4096); err != nil {
				t.Fatalf("after room came back: %v", err)
			}
			if h := s.Health(); h != "" {
				t.Errorf("health is %q", h)
			}
			for range 2 {
				expectThread(t, s, code, kept)
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				s = p.mustOpen(nil)
			}
		})
	}
}

// fillUp posts until what was set aside is too little, and says how often.
func fillUp(t *testing.T, s *Store, code store.PathwayCode) int {
	t.Helper()
	for n := range 1000 {
		err := post(s, code, fmt.Sprintf("02m%023d", n), make([]byte, 100<<10), 1)
		if errors.Is(err, store.ErrFull) && n > 1 {
			return n
		}
		if err != nil {
			t.Fatalf("message %d: %v", n, err)
		}
	}
	t.Fatal("never full")
	return 0
}

// Where nothing can be written nothing is kept, until it can.
func TestReadOnlyDisk(t *testing.T) {
	f := new(faulty)
	s := newPlace(t).mustOpen(func(o *Options) { o.files = f })
	code := store.PathwayCode("b000001")
	if err := s.NewKey(bg, pathwayOwner(code)); err != nil {
		t.Fatal(err)
	}
	f.set(&f.write, syscall.EROFS)
	if err := post(s, code, "01m1", nil, 0); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a message: got %v, want ErrUnavailable", err)
	}
	if err := s.Commit(bg, func(t store.Tx) error { return t.PutSetting("s", nil) }); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a setting: got %v, want ErrUnavailable", err)
	}
	f.set(&f.write, nil)
	if err := post(s, code, "01m1", nil, 0); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	expectThread(t, s, code, 1)
}

// Where the room is known to be gone nothing is tried.
func TestFullIsNotTriedAgain(t *testing.T) {
	f := new(faulty)
	s := newPlace(t).mustOpen(func(o *Options) { o.files = f })
	code := store.PathwayCode("b000001")
	if err := s.NewKey(bg, pathwayOwner(code)); err != nil {
		t.Fatal(err)
	}
	f.set(&f.room, syscall.ENOSPC)
	fillUp(t, s, code)
	f.set(&f.room, nil)
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

// What is built on a group that cannot be written runs again without it: here
// each commit counts one on from the last, and every second group fails.
func TestRunsAgain(t *testing.T) {
	f := new(faulty)
	s := newPlace(t).mustOpen(func(o *Options) { o.files = f })
	code := store.PathwayCode("b000001")
	if err := s.NewKey(bg, pathwayOwner(code)); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(bg, func(t store.Tx) error { return t.PutPathway(&store.Pathway{Code: code}) }); err != nil {
		t.Fatal(err)
	}
	const writers, each = 8, 30
	var kept, failed, runs atomic.Int64
	stop := make(chan struct{})
	var breaking, wg sync.WaitGroup
	breaking.Go(func() {
		for {
			select {
			case <-stop:
				f.set(&f.sync, nil)
				return
			default:
			}
			f.set(&f.sync, syscall.ENOSPC)
			time.Sleep(time.Millisecond)
			f.set(&f.sync, nil)
			time.Sleep(time.Millisecond)
		}
	})
	for range writers {
		wg.Go(func() {
			for range each {
				var after uint64
				err := s.Commit(bg, func(tx store.Tx) error {
					runs.Add(1)
					p, err := tx.Pathway(code)
					if err != nil {
						return err
					}
					if err := tx.PutPathway(p); err != nil {
						return err
					}
					after = p.Revision
					return nil
				})
				switch {
				case err == nil:
					kept.Add(1)
					if p, err := pathwayNow(s, code); err != nil || p.Revision < after {
						t.Errorf("revision %d was acknowledged, %d is there: %v", after, p.Revision, err)
					}
				case errors.Is(err, store.ErrFull):
					failed.Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	breaking.Wait()
	p, err := pathwayNow(s, code)
	if err != nil || int64(p.Revision) != 1+kept.Load() {
		t.Errorf("%d kept, revision %d, %v", kept.Load(), p.Revision, err)
	}
	t.Logf("%d kept, %d refused, %d runs", kept.Load(), failed.Load(), runs.Load())
}

func pathwayNow(s *Store, code store.PathwayCode) (p *store.Pathway, err error) {
	err = s.View(bg, func(v store.View) error {
		p, err = v.Pathway(code)
		return err
	})
	return p, err
}
