package bolt

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
)

// Nobody waits for ever, whoever came to run and did not: some give up while they
// wait for the turn, some fail, some find the levels full, a segment at its end or
// the index being written. What was acknowledged is there.
func TestComingAndGoing(t *testing.T) {
	p := newPlace(t)
	s := p.mustOpen(func(o *Options) {
		o.SegmentSize, o.FlushBytes, o.FlushAge = 30000, 20000, 2*time.Millisecond
	})
	const writers, each = 16, 60
	refused := errors.New("refused")
	var kept [writers]uint32
	var gaveUp atomic.Int64
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for n := range uint32(each) {
				ctx, cancel := context.WithCancel(bg)
				if r.IntN(3) == 0 {
					time.AfterFunc(time.Duration(r.IntN(2000))*time.Microsecond, cancel)
				}
				fails := r.IntN(5) == 0
				commit := s.Commit
				if r.IntN(2) == 0 {
					commit = s.CommitSoon
				}
				err := commit(ctx, func(tx store.Tx) error {
					if err := tx.PutSetting(fmt.Sprint("w", w), append(u32(n+1), make([]byte, 300)...)); err != nil || !fails {
						return err
					}
					return refused
				})
				cancel()
				switch {
				case err == nil:
					kept[w] = n + 1
				case errors.Is(err, context.Canceled):
					gaveUp.Add(1)
				case !fails || !errors.Is(err, refused):
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for range 2 {
		if err := s.View(bg, func(v store.View) error {
			for w := range writers {
				b, err := v.Setting(fmt.Sprint("w", w))
				if err != nil || string(b[:4]) != string(u32(kept[w])) {
					t.Errorf("writer %d: %d was kept, %x is there, %v", w, kept[w], b[:min(4, len(b))], err)
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = p.mustOpen(nil)
	}
	s.Close()
	t.Logf("%d gave up", gaveUp.Load())
}

// Those who wait for the turn while nothing is written share a sync; who is alone
// waits for nobody.
func TestGroupsWaitForThoseWhoCome(t *testing.T) {
	f := new(faulty)
	s := newPlace(t).mustOpen(func(o *Options) { o.files, o.FlushAge = f, time.Hour })
	defer s.Close()
	put := func(name string) error {
		return s.Commit(bg, func(t store.Tx) error { return t.PutSetting(name, []byte("x")) })
	}
	if err := put("first"); err != nil {
		t.Fatal(err)
	}
	const n = groupEnough - 2
	before := f.syncs.Load()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Commit(bg, func(t store.Tx) error {
			for i := range n {
				wg.Go(func() {
					if err := put(fmt.Sprint("s", i)); err != nil {
						panic(err)
					}
				})
			}
			for s.coming.Load() < n {
				time.Sleep(time.Millisecond)
			}
			return t.PutSetting("s", []byte("x"))
		}); err != nil {
			t.Error(err)
		}
	})
	wg.Wait()
	if have := f.syncs.Load() - before; have != 1 {
		t.Errorf("%d syncs for %d who came together", have, n+1)
	}
	before = f.syncs.Load()
	if err := put("last"); err != nil || f.syncs.Load() != before+1 {
		t.Errorf("%d syncs for one alone, %v", f.syncs.Load()-before, err)
	}
}
