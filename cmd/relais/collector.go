package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// garbage is how much the heap may always grow between two collections. What
	// lives in an idle hub is small, while each message leaves hundreds of
	// kilobytes behind: collecting whenever so little has doubled took a tenth of
	// the time. With more alive than this, the runtime's own measure holds.
	garbage = 96 << 20
	// weighing is how often what lives is looked at.
	weighing = 10 * time.Second
	// A hub that allocated no more than calm between two looks gives back what it
	// holds and does not use, once that is worth a collection.
	calm  = 8 << 20
	worth = 32 << 20
)

// paceCollector gives the garbage collector room until ctx ends, and has what was
// left behind given back to the system when the hub has become calm: by itself
// the runtime keeps all that its heap may grow to. An operator's GOGC is left
// alone, and GOMEMLIMIT stays what it is.
func paceCollector(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	afterEach(ctx, func() { debug.SetGCPercent(percentFor(weigh().live)) })
	tick := time.NewTicker(weighing)
	defer tick.Stop()
	now := weigh()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		before := now
		if now = weigh(); now.idle(before) {
			debug.FreeOSMemory()
		}
	}
}

// afterEach calls fn now and after each collection until ctx ends. A measure that
// is looked at now and then would be of a heap that has grown since, as that of a
// hub with many pathways does while it starts.
func afterEach(ctx context.Context, fn func()) {
	if ctx.Err() != nil {
		return
	}
	fn()
	runtime.SetFinalizer(&collected{}, func(*collected) { afterEach(ctx, fn) })
}

// collected is garbage at once; it has a pointer so that it is not put together
// with others.
type collected struct{ _ *byte }

// weight is what the heap holds, in bytes.
type weight struct {
	live      uint64 // as of the last collection
	held      uint64 // objects, dead ones among them, and room not given back
	allocated uint64 // since the start
}

func weigh() weight {
	s := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/free:bytes"}, {Name: "/gc/heap/allocs:bytes"},
	}
	metrics.Read(s)
	return weight{live: s[0].Value.Uint64(), held: s[1].Value.Uint64() + s[2].Value.Uint64(), allocated: s[3].Value.Uint64()}
}

// idle reports whether little was done since before and much could be given back.
func (w weight) idle(before weight) bool {
	return w.allocated-before.allocated <= calm && w.held > w.live+worth
}

// percentFor gives GOGC for so many bytes alive.
func percentFor(live uint64) int {
	const least, most = 100, 1000
	return int(min(most, max(least, garbage*100/max(live, 1))))
}
