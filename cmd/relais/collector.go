package main

import (
	"context"
	"os"
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
)

// paceCollector gives the garbage collector room until ctx ends. An operator's
// GOGC is left alone, and GOMEMLIMIT stays what it is.
func paceCollector(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(weighing)
	defer tick.Stop()
	for {
		metrics.Read(sample)
		debug.SetGCPercent(percentFor(sample[0].Value.Uint64()))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// percentFor gives GOGC for so many bytes alive.
func percentFor(live uint64) int {
	const least, most = 100, 1000
	return int(min(most, max(least, garbage*100/max(live, 1))))
}
