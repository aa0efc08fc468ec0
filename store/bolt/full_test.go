package bolt

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
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

// An index that reaches its limit is a full disk too: this is bbolt's own way of
// failing, in the middle of a commit.
func TestIndexLimit(t *testing.T) {
	p := newPlace(t)
	const limit = 64 << 20 // bbolt grows by 16 MiB; less would leave no room to fail in
	s := p.mustOpen(func(o *Options) { o.MaxIndexBytes, o.InitialMmapSize = limit, limit })
	value := make([]byte, 4<<20)
	var n int
	var err error
	for n = 0; n < 100; n++ {
		if err = s.Commit(bg, func(t store.Tx) error { return t.PutSetting(fmt.Sprint(n), value) }); err != nil {
			break
		}
	}
	if !errors.Is(err, store.ErrFull) || n < 2 {
		t.Fatalf("after %d commits: %v, want ErrFull", n, err)
	}
	check := func(s *Store) {
		t.Helper()
		if err := s.View(bg, func(v store.View) error {
			for i := range n {
				if b, err := v.Setting(fmt.Sprint(i)); err != nil || len(b) != len(value) {
					return fmt.Errorf("setting %d: %d bytes, %w", i, len(b), err)
				}
			}
			_, err := v.Setting(fmt.Sprint(n))
			if !errors.Is(err, store.ErrNotFound) {
				return fmt.Errorf("the refused one: %w", err)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	check(s)
	s.Close()
	s = p.mustOpen(nil)
	check(s)
	if err := s.Commit(bg, func(t store.Tx) error { return t.PutSetting(fmt.Sprint(n), value) }); err != nil {
		t.Errorf("without the limit: %v", err)
	}
}

const limitEnv = "RELAIS_STORE_LIMIT_CHILD"

// A process whose files may not grow beyond a limit (the kernel's EFBIG) is what
// comes nearest to a full disk without one: index, segments, drafts and keystore
// all meet it.
func TestFileSizeLimit(t *testing.T) {
	p := newPlace(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), limitEnv+"="+p.args())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the process failed: %v\n%s", err, out)
	}
	var kept int
	if _, err := fmt.Sscanf(string(out), "kept %d", &kept); err != nil || kept == 0 {
		t.Fatalf("the process said %q", out)
	}
	s := p.mustOpen(nil)
	expectThread(t, s, "b000001", kept)
}

func limitChild(args []string) {
	fail := func(format string, a ...any) {
		fmt.Printf(format+"\n", a...)
		os.Exit(1)
	}
	signal.Ignore(syscall.SIGXFSZ) // the kernel's way of saying it besides EFBIG
	s := childStore(args)
	code := store.PathwayCode("b000001")
	if err := s.NewKey(bg, pathwayOwner(code)); err != nil {
		fail("%v", err)
	}
	set := func(n uint64) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: ^uint64(0)}); err != nil {
			fail("limit: %v", err)
		}
	}
	kept, refused := 0, 0
	try := func() error { return post(s, code, fmt.Sprintf("01m%023d", kept), make([]byte, 10000), 1) }
	for _, limit := range []uint64{100 << 10, 300 << 10, 900 << 10} {
		set(limit)
		for range 200 {
			err := try()
			if err == nil {
				kept++
				continue
			}
			if !errors.Is(err, store.ErrFull) {
				fail("refused with %v", err)
			}
			if refused++; refused%5 == 0 {
				break
			}
		}
	}
	if refused == 0 {
		fail("never full")
	}
	set(1 << 40)
	for range 20 {
		if err := try(); err != nil {
			fail("after room came back: %v", err)
		}
		kept++
	}
	if err := s.Close(); err != nil {
		fail("closing: %v", err)
	}
	fmt.Printf("kept %d\n", kept)
}
