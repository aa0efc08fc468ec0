package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"testing"
)

func TestPercentFor(t *testing.T) {
	for live, want := range map[uint64]int{0: 1000, 8 << 20: 1000, 24 << 20: 400, 96 << 20: 100, 1 << 30: 100} {
		if got := percentFor(live); got != want {
			t.Errorf("with %d MiB alive GOGC is %d, want %d", live>>20, got, want)
		}
	}
}

func TestAfterEachCollection(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	called := make(chan struct{}, 100)
	afterEach(ctx, func() { called <- struct{}{} })
	for range 3 {
		<-called
		runtime.GC()
	}
}

func TestIdleHubGivesBack(t *testing.T) {
	was := weight{live: 10 << 20, held: 90 << 20, allocated: 1 << 30}
	for _, c := range []struct {
		name string
		now  weight
		want bool
	}{
		{"calm, with much to give back", weight{10 << 20, 90 << 20, 1<<30 + 1<<20}, true},
		{"calm, with little", weight{80 << 20, 90 << 20, 1<<30 + 1<<20}, false},
		{"at work", weight{10 << 20, 90 << 20, 1<<30 + 100<<20}, false},
	} {
		if got := c.now.idle(was); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	for range 64 {
		left = make([]byte, 1<<20)
	}
	left = nil
	debug.FreeOSMemory()
	if now := weigh(); now.idle(now) {
		t.Errorf("once given back it is still to be given: %+v", now)
	}
}

var left []byte
