package bolt

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
)

// timed measures what a store asks of its files.
type timed struct {
	osFiles
	syncs, bytes, syncing, writing atomic.Int64
}

func (f *timed) WriteAt(file *os.File, b []byte, off int64) (int, error) {
	defer f.since(&f.writing, time.Now())
	f.bytes.Add(int64(len(b)))
	return f.osFiles.WriteAt(file, b, off)
}

func (f *timed) Sync(file *os.File) error {
	defer f.since(&f.syncing, time.Now())
	f.syncs.Add(1)
	return f.osFiles.Sync(file)
}

func (f *timed) since(sum *atomic.Int64, start time.Time) { sum.Add(int64(time.Since(start))) }

// BenchmarkTail says how long a message waits to be durable, and what it costs of
// the processor: each writer posts one of 4 KB for one box, has its copy claimed
// and says what came of it, as the hub does. One writer is the case where nothing
// but the disk and the store's own housekeeping makes a commit slow. Several
// seconds tell (-benchtime 20000x).
func BenchmarkTail(b *testing.B) {
	for _, writers := range []int{1, 10, 50} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) { benchmarkTail(b, writers) })
	}
}

func benchmarkTail(b *testing.B, writers int) {
	f := new(timed)
	p := newPlace(b)
	s := p.mustOpen(func(o *Options) { o.files = f })
	codes := make([]store.PathwayCode, 100)
	for i := range codes {
		codes[i] = store.PathwayCode(fmt.Sprintf("b%06d", i))
		if err := s.NewKey(bg, pathwayOwner(codes[i])); err != nil {
			b.Fatal(err)
		}
	}
	clear := make([]byte, 4096)
	took := make([]time.Duration, b.N)
	var next atomic.Int64
	var wg sync.WaitGroup
	syncs, bytes, cpu := f.syncs.Load(), f.bytes.Load(), cpuTime()
	b.ReportAllocs()
	b.ResetTimer()
	for range writers {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
				start := time.Now()
				err := post(s, codes[i%100], fmt.Sprintf("01m%023d", i), clear, 1)
				took[i] = time.Since(start)
				if err == nil {
					err = sendOn(s)
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	slices.SortFunc(took, cmp.Compare)
	at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Microseconds()) }
	n := float64(b.N)
	b.ReportMetric(at(0.5), "p50-µs")
	b.ReportMetric(at(0.99), "p99-µs")
	b.ReportMetric(at(0.999), "p999-µs")
	b.ReportMetric(at(1), "most-µs")
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/n, "cpu-µs/op")
	b.ReportMetric(float64(f.syncs.Load()-syncs)/n, "syncs/op")
	b.ReportMetric(float64(f.bytes.Load()-bytes)/n/1024, "log-KB/op")
}

// sendOn claims a copy and says that it was sent.
func sendOn(s *Store) error {
	var mine []store.Item
	if err := s.CommitSoon(bg, func(t store.Tx) (err error) {
		mine, err = t.Claim("out:chu.example", time.Now(), time.Minute, "w", 1)
		return err
	}); err != nil {
		return err
	}
	return s.CommitSoon(bg, func(t store.Tx) error {
		for _, it := range mine {
			d, err := t.Delivery(it.Delivery)
			if err != nil {
				return err
			}
			d.State = store.Sent
			if err := t.PutDelivery(d); err != nil {
				return err
			}
			if err := t.DropItem(it); err != nil {
				return err
			}
		}
		return nil
	})
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
