package outbound

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// breath is how long a rush must have been over before copies go again: the
// senders of a burst wait for one commit together, and are back some
// milliseconds after it.
const breath = 20 * time.Millisecond

// yield makes room for a burst: while many messages are being taken at once no
// copy is claimed, so that the processors and the disk are there for the answers
// that senders wait for. What was claimed goes. Sendmail and Exim do likewise
// (QueueLA, queue_only_load), but by the load of the machine and without an end.
//
// Here there is one. Every lane goes again once the rush is over, or when the
// burst has lasted for most; and none begins before no rush was seen for as long.
// What does not end is no burst: then both go on side by side as if there were
// no yield.
type yield struct {
	most  time.Duration    // 0: never
	rush  func() time.Time // when there was last a rush, see Options.Rush
	spent prometheus.Counter

	mu    sync.Mutex
	began time.Time // when this burst was first looked at
	last  time.Time // what rush said last
	since time.Time // copies wait since then; zero: they do not
}

// wait is how long to claim nothing before asking again; 0: claim.
func (y *yield) wait(now time.Time) time.Duration {
	if y.most <= 0 || y.rush == nil {
		return 0
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	rush := y.rush()
	if rush.Sub(y.last) >= y.most {
		y.began = now
	}
	y.last = rush
	left := min(breath-now.Sub(rush), y.most-now.Sub(y.began))
	switch {
	case left > 0 && y.since.IsZero():
		y.since = now
	case left <= 0 && !y.since.IsZero():
		y.spent.Add(now.Sub(y.since).Seconds())
		y.since = time.Time{}
	}
	return max(left, 0)
}
