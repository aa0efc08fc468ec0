package inbound

import (
	"sync"
	"time"
)

// rate counts events per key in a sliding minute: what came in this minute plus
// the share of the last one that the window still covers. Keys that were quiet
// for two minutes are forgotten.
type rate struct {
	perMinute int // 0: no limit

	mu        sync.Mutex
	minute    time.Time // start of this minute
	this, was map[string]int
}

// allow counts one event if the key may have one.
func (r *rate) allow(key string, now time.Time) bool {
	if r.perMinute <= 0 {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch past := now.Sub(r.minute); {
	case r.this == nil || past >= 2*time.Minute || past < 0:
		r.minute, r.this, r.was = now, map[string]int{}, nil
	case past >= time.Minute:
		r.minute, r.this, r.was = r.minute.Add(time.Minute), map[string]int{}, r.this
	}
	covered := 1 - float64(now.Sub(r.minute))/float64(time.Minute)
	if float64(r.this[key])+covered*float64(r.was[key]) >= float64(r.perMinute) {
		return false
	}
	r.this[key]++
	return true
}
