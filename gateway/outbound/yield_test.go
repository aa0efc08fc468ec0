package outbound

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"
)

// door is where messages come in, as the relay sees it.
type door struct {
	mu   sync.Mutex
	busy bool
	last time.Time
}

func (d *door) rush() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy {
		d.last = time.Now()
	}
	return d.last
}

// crowd begins or ends a rush.
func (d *door) crowd(busy bool) {
	d.rush()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy = busy
}

const most = 2 * time.Second

// yields runs fn with a relay that yields to a door.
func yields(t *testing.T, fn func(t *testing.T, in *door, q *queue, sent func() int), more ...func(*Options)) {
	d, in := newDistant(nil), new(door)
	d.up.Store(true)
	set := func(o *Options) { o.Yield, o.Rush = most, in.rush }
	bubble(t, d, newQueue, func(t *testing.T, q *queue) {
		fn(t, in, q, func() int {
			synctest.Wait()
			return len(d.op.taken())
		})
	}, slices.Insert(more, 0, set)...)
}

// addMany queues copies in three lanes, more than are claimed at once.
func (q *queue) addMany() {
	for i := range 300 {
		q.add(fmt.Sprintf("box%d@chu%d.example", i, i%3))
	}
}

// In a burst nothing is claimed; when it is over everything goes at once.
func TestYield(t *testing.T) {
	reg := prometheus.NewRegistry()
	yields(t, func(t *testing.T, in *door, q *queue, sent func() int) {
		in.crowd(true)
		q.addMany()
		time.Sleep(time.Second)
		if n := sent(); n != 0 {
			t.Fatalf("%d copies went in a burst", n)
		}
		in.crowd(false)
		time.Sleep(breath)
		if n := sent(); n != 300 {
			t.Fatalf("%d copies went after it", n)
		}
		q.addMany()
		if n := sent(); n != 600 {
			t.Errorf("%d copies have gone when nobody comes", n)
		}
	}, func(o *Options) { o.Metrics = reg })
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "relais_outbound_yielding_seconds_total" {
			if s := f.GetMetric()[0].GetCounter().GetValue(); s != (time.Second + breath).Seconds() {
				t.Errorf("it yielded for %v s", s)
			}
			return
		}
	}
	t.Error("no figure tells")
}

// A burst without an end holds nothing back for longer than the bound, and
// afterwards nothing at all until nobody came for as long.
func TestYieldEnds(t *testing.T) {
	yields(t, func(t *testing.T, in *door, q *queue, sent func() int) {
		in.crowd(true)
		q.addMany()
		time.Sleep(most - time.Millisecond)
		if n := sent(); n != 0 {
			t.Fatalf("%d copies went in a burst", n)
		}
		time.Sleep(time.Millisecond)
		if n := sent(); n != 300 {
			t.Fatalf("%d copies went at the bound", n)
		}
		for i := range 10 {
			q.addMany()
			if n := sent(); n != 300*(i+2) {
				t.Fatalf("%d copies have gone, %v after the bound", n, time.Duration(i)*most/4)
			}
			in.crowd(i%2 == 0) // too short a pause is none
			time.Sleep(most / 4)
		}
		in.crowd(false)
		time.Sleep(most)
		in.crowd(true)
		q.addMany()
		if n := sent(); n != 3300 {
			t.Errorf("%d copies have gone in the next burst", n-3300)
		}
	})
}

// A hub that stops while it yields stops at once, and no copy was touched.
func TestYieldStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, q := new(door), newQueue()
		in.crowd(true)
		q.addMany()
		o := quick(q, oneHost{})
		o.Yield, o.Rush = most, in.rush
		_, stop := start(t, o)
		time.Sleep(time.Second)
		begun := time.Now()
		stop()
		if took := time.Since(begun); took > 0 {
			t.Errorf("stopping took %v", took)
		}
		for id, e := range q.entries {
			if len(e.claimed) != 0 || len(e.results) != 0 || e.leased {
				t.Fatalf("copy %s was touched: %+v", id, e)
			}
		}
	})
}

// Whatever comes, copies wait while there is a rush and a breath longer, from the
// beginning of a burst until it has lasted for the bound, pauses included.
func TestYieldBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const step = 5 * time.Millisecond
		var last, began, now time.Time
		y := &yield{most: most, rush: func() time.Time { return last }, spent: prometheus.NewCounter(prometheus.CounterOpts{Name: "x"})}
		now = time.Unix(1e9, 0)
		for i := range rapid.IntRange(1, 40).Draw(t, "stretches") {
			for range rapid.IntRange(1, 600).Draw(t, "steps") {
				now = now.Add(step)
				if i%2 == 0 {
					if now.Sub(last) >= most {
						began = now
					}
					last = now
				}
				waits := now.Sub(last) < breath && now.Sub(began) < most
				wait := y.wait(now)
				if wait > 0 != waits {
					t.Fatalf("waits for %v, %v into a burst, %v after the last rush", wait, now.Sub(began), now.Sub(last))
				}
				if now.Add(wait).Sub(began) > most && waits {
					t.Fatalf("waits for %v, %v into a burst", wait, now.Sub(began))
				}
			}
		}
	})
}
