package bolt

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"

	"github.com/relais-sante/relais/store"
)

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
	if !p.keys.Has(triageOwner("01h")) {
		t.Error("the key made after room came back is gone")
	}
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
	set(10)
	if err := s.NewKey(bg, triageOwner("01h")); !errors.Is(err, store.ErrFull) {
		fail("a key without room: %v", err)
	}
	set(1 << 40)
	if err := s.NewKey(bg, triageOwner("01h")); err != nil {
		fail("a key after room came back: %v", err)
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
