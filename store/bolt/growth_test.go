package bolt

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
)

// What a message costs must not grow with what is stored: the rate with 100,000
// pathways and 1,000,000 messages is at least 0.9 of that of an empty store, and
// opening such a store takes at most 2 s. Clocks are only looked at in the long
// form: on a busy machine they say nothing.
func TestGrowth(t *testing.T) {
	if os.Getenv("RELAIS_LONG") != "1" {
		t.Skip("takes minutes: RELAIS_LONG=1")
	}
	const pathways, messages, least = 100000, 1000000, 0.9
	p := newPlace(t)
	s := p.mustOpen(nil)
	code := func(n int) store.PathwayCode { return store.PathwayCode(fmt.Sprintf("g%06d", n%pathways)) }
	makePathways(t, s, code, pathways)
	empty := rate(t, s, code, "a")
	for i := 0; i < messages; i += 500 {
		if err := s.Commit(bg, func(t store.Tx) error {
			for j := i; j < i+500; j++ {
				id := fmt.Sprintf("b%09d", j)
				m := &store.Message{
					ID: store.MessageID(id), Pathway: code(j * 7919), Kind: store.KindPost, RFCID: id + "@x", Subject: "Compte rendu",
					Filings: []store.Filing{{Rubric: "coordination"}},
				}
				if err := t.FileMessage(m, benchIndex, nil); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	grown := rate(t, s, code, "c")
	s.Close()
	start := time.Now()
	s = p.mustOpen(nil)
	opening := time.Since(start)
	st, err := s.Stats(bg)
	if err != nil {
		t.Fatal(err)
	}
	var mem runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&mem)
	t.Logf("%d pathways, %d messages: %.0f/s empty, %.0f/s grown (%.2f); opened in %v; index %d MiB; heap %d MiB",
		pathways, st.Messages, empty, grown, grown/empty, opening, st.IndexBytes>>20, mem.HeapAlloc>>20)
	if grown/empty < least {
		t.Errorf("the rate fell to %.2f of what it was, want at least %.2f", grown/empty, least)
	}
}

func makePathways(t *testing.T, s *Store, code func(int) store.PathwayCode, n int) {
	t.Helper()
	var wg sync.WaitGroup
	var next atomic.Int64
	for range 64 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := s.NewKey(bg, pathwayOwner(code(i))); err != nil {
					t.Error(err)
					return
				}
				if err := s.Commit(bg, func(t store.Tx) error { return t.PutPathway(benchPathway(code(i))) }); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// rate posts from 64 writers and gives messages a second.
func rate(t *testing.T, s *Store, code func(int) store.PathwayCode, prefix string) float64 {
	t.Helper()
	const n = 20000
	var wg sync.WaitGroup
	var next atomic.Int64
	clear := []byte(strings.Repeat("x", 4096))
	start := time.Now()
	for range 64 {
		wg.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				if err := post(s, code(i*104729), fmt.Sprintf("%s%09d", prefix, i), clear, 2); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return float64(n) / time.Since(start).Seconds()
}
