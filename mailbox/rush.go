package mailbox

import (
	"runtime"
	"sync/atomic"
	"time"
)

// rush counts the messages that came whole and wait for their answer: those
// still on the network cost next to nothing, however many or slow they are. Many
// at once are a rush, in which whoever can wait should.
type rush struct {
	many   int64 // as many are a rush
	taking atomic.Int64
	ended  atomic.Pointer[time.Time] // nil: there was none
}

// rushed is how many messages make a rush where there are two processors, or
// one; where there are more, twice as many as those.
const rushed = 4

func newRush() *rush { return &rush{many: max(rushed, int64(2*runtime.GOMAXPROCS(0)))} }

func (r *rush) enter() { r.taking.Add(1) }

func (r *rush) leave() {
	if r.taking.Add(-1) == r.many-1 {
		now := time.Now()
		r.ended.Store(&now)
	}
}

// Rush is when there was last a rush of messages being taken: now, if there is
// one; zero, if there never was.
func (h *Hub) Rush() time.Time {
	if h.rush.taking.Load() >= h.rush.many {
		return time.Now()
	}
	if t := h.rush.ended.Load(); t != nil {
		return *t
	}
	return time.Time{}
}
