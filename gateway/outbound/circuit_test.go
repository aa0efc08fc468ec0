package outbound

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/relais-sante/relais/mailbox"
)

// distant is a peer behind a network that a test switches on and off, for tests
// in a bubble of time: connections are pipes.
type distant struct {
	op    *remote
	up    atomic.Bool
	dials atomic.Int32
}

func newDistant(m func(conn, mail int) manners) *distant {
	if m == nil {
		m = func(int, int) manners { return manners{} }
	}
	return &distant{op: &remote{manners: m, quit: make(chan struct{})}}
}

func (d *distant) dial(context.Context, string, string) (net.Conn, error) {
	n := int(d.dials.Add(1))
	if !d.up.Load() {
		return nil, errors.New("no route to host")
	}
	here, there := net.Pipe()
	go func() {
		defer there.Close()
		(&dialogue{o: d.op, c: there, n: n, in: bufio.NewReader(there)}).talk()
	}()
	return here, nil
}

// oneHost is the route to it, for all domains.
type oneHost struct{ toward }

func (oneHost) Peer(Target) string { return "host" }

func (oneHost) Hops(context.Context, Target) ([]Hop, error) {
	return []Hop{{Host: "host", Address: "127.0.0.1:25"}}, nil
}

// bubble runs fn with a relay that reaches d, in its own time.
func bubble(t *testing.T, d *distant, q func() *queue, fn func(t *testing.T, q *queue), more ...func(*Options)) {
	synctest.Test(t, func(t *testing.T) {
		d.op.quit = make(chan struct{})
		q := q()
		o := Options{
			Hub: q, Route: oneHost{}, Trust: everybody{}, TLS: TLSNone,
			Dial: d.dial, Grace: time.Second,
		}
		for _, set := range more {
			set(&o)
		}
		r, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = r.Run(ctx)
		}()
		defer func() {
			cancel()
			close(d.op.quit)
			<-done
		}()
		fn(t, q)
	})
}

// hubSchedule is like mailbox's: up to 25 s, then minutes.
func hubSchedule(attempt int) time.Duration {
	return []time.Duration{25 * time.Second, 2 * time.Minute, 5 * time.Minute, 15 * time.Minute}[min(attempt, 4)-1]
}

// TestPeerDown: 100 copies for a peer that is down for ten minutes.
func TestPeerDown(t *testing.T) {
	d := newDistant(nil)
	bubble(t, d, func() *queue {
		q := newQueue()
		q.retry = hubSchedule
		for i := range 100 {
			q.add(fmt.Sprintf("box%d@chu.example", i))
		}
		return q
	}, func(t *testing.T, q *queue) {
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		// At most one dial for as many copies as fell due together.
		if n := d.dials.Load(); n > 20 {
			t.Errorf("dialled %d times for 100 copies in ten minutes", n)
		}
		for _, id := range q.order {
			e := q.get(id)
			if len(e.claimed) < 2 {
				t.Fatalf("%s was tried %d times", id, len(e.claimed))
			}
			if wait := e.claimed[1].Sub(e.claimed[0]); wait > 30*time.Second {
				t.Errorf("the first retry of %s came after %v", id, wait)
			}
			for _, out := range e.results {
				if out.Kind != mailbox.OutcomeTemporary || out.Reason != "dial" {
					t.Errorf("%s: %+v", id, out)
				}
			}
		}
		d.up.Store(true)
		time.Sleep(15*time.Minute + 30*time.Second)
		synctest.Wait()
		if n := len(d.op.taken()); n != 100 {
			t.Errorf("%d of 100 copies arrived after the peer was back", n)
		}
	})
}

// TestFreshCopyAfterOutage: a copy that comes while the circuit is open is not
// charged an attempt, and leaves soon after the peer is back.
func TestFreshCopyAfterOutage(t *testing.T) {
	d := newDistant(nil)
	bubble(t, d, newQueue, func(t *testing.T, q *queue) {
		q.mu.Lock()
		q.retry = func(int) time.Duration { return time.Second } // keeps the peer under test
		q.mu.Unlock()
		q.add("old@chu.example")
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n := d.dials.Load(); n < 12 || n > 40 {
			t.Errorf("%d dials in five minutes: an open circuit tries every 20 s or so", n)
		}
		d.up.Store(true)
		id := q.add("new@chu.example")
		time.Sleep(25 * time.Second)
		synctest.Wait()
		if e := q.get(id); !e.ended || e.attempts != 1 {
			t.Errorf("25 s after the peer was back: %+v", e)
		}
	})
}

// TestStalledPeer: a peer that takes connections and then stalls has its
// circuit opened too, after three conversations.
func TestStalledPeer(t *testing.T) {
	d := newDistant(func(int, int) manners { return manners{stall: "MAIL"} })
	d.up.Store(true)
	bubble(t, d, func() *queue {
		q := newQueue()
		q.retry = func(int) time.Duration { return time.Hour }
		for i := range 50 {
			q.add(fmt.Sprintf("box%d@chu.example", i))
		}
		return q
	}, func(t *testing.T, q *queue) {
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		tried := 0
		for _, id := range q.order {
			for _, out := range q.get(id).results {
				if out.Kind == mailbox.OutcomeTemporary {
					tried++
				}
			}
		}
		// Four connections of five minutes each, less what the circuit saves.
		if tried == 0 || tried > 16 {
			t.Errorf("%d attempts in 20 minutes", tried)
		}
	})
}

// TestRefusalsMoveNoCircuit: a greylisting peer is healthy.
func TestRefusalsMoveNoCircuit(t *testing.T) {
	d := newDistant(func(_, mail int) manners {
		return manners{reply: map[string]string{"RCPT": "450 4.2.0 greylisted"}}
	})
	d.up.Store(true)
	bubble(t, d, func() *queue {
		q := newQueue()
		q.retry = func(int) time.Duration { return time.Hour }
		for i := range 20 {
			q.add(fmt.Sprintf("box%d@chu.example", i))
		}
		return q
	}, func(t *testing.T, q *queue) {
		time.Sleep(time.Second)
		synctest.Wait()
		for _, id := range q.order {
			if e := q.get(id); len(e.results) != 1 || e.results[0].Code != 450 {
				t.Errorf("%s: %+v", id, e.results)
			}
		}
	})
}

// TestRetriesOnTime: a copy is tried again when it is due, though nothing
// wakes the relay.
func TestRetriesOnTime(t *testing.T) {
	d := newDistant(func(_, mail int) manners { return on(mail == 1, "RCPT", "450 4.2.0 greylisted") })
	d.up.Store(true)
	bubble(t, d, func() *queue {
		q := newQueue()
		q.retry = func(int) time.Duration { return time.Second } // sooner than the relay looks by itself
		q.add("a@chu.example")
		return q
	}, func(t *testing.T, q *queue) {
		time.Sleep(time.Minute)
		synctest.Wait()
		e := q.get(q.order[0])
		if !e.ended || len(e.claimed) != 2 || e.claimed[1].Sub(e.claimed[0]) > 1100*time.Millisecond {
			t.Errorf("%+v", e)
		}
	})
}

// TestLanesTakeTurns: behind one smarthost, a domain with much to send leaves
// room to one with little.
func TestLanesTakeTurns(t *testing.T) {
	d := newDistant(func(int, int) manners { return manners{delay: 100 * time.Millisecond} })
	d.up.Store(true)
	bubble(t, d, newQueue, func(t *testing.T, q *queue) {
		for i := range 600 {
			q.add(fmt.Sprintf("box%d@much.example", i))
		}
		time.Sleep(500 * time.Millisecond)
		id := q.add("box@little.example")
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if !q.get(id).ended {
			t.Error("the other domain is still waiting after four seconds")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(d.op.taken()); n != 601 {
			t.Errorf("%d mails of 601", n)
		}
	})
}

// TestSlots: half of all connections are kept for first ones.
func TestSlots(t *testing.T) {
	o := quick(newQueue(), toward{})
	o.Total, o.PerPeer = 4, 3
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	busy, quiet := r.peer("busy"), r.peer("quiet")
	if !r.slot(ctx, busy) || !r.trySlot(busy) {
		t.Fatal("the first two are refused")
	}
	if r.trySlot(busy) {
		t.Error("a third connection comes from the half kept for others")
	}
	if !r.slot(ctx, quiet) {
		t.Error("a quiet peer has none")
	}
	r.freeSlot(busy)
	r.freeSlot(busy)
	if !r.trySlot(quiet) {
		t.Error("what was given back is not there")
	}
}

// TestCircuitKeepsPromise: whatever happens, it is never open past Most and a
// quarter, nor past 28 s after a first failure.
func TestCircuitKeepsPromise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &circuit{
			backoff: Backoff{First: time.Second, Most: time.Minute},
			jitter:  func() float64 { return rapid.Float64Range(0, 0.999).Draw(t, "jitter") },
		}
		now := time.Unix(1e9, 0)
		var failed time.Time // an unfulfilled promise
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 40000).Draw(t, "ms")) * time.Millisecond)
			switch rapid.SampledFrom([]string{"fail", "strike", "works", "first", "probe"}).Draw(t, "what") {
			case "fail":
				c.fail(now)
			case "strike":
				c.strike(now)
			case "works":
				c.works()
			case "first":
				c.promised(now)
				if failed.IsZero() || now.Sub(failed) >= firstRetryBy {
					failed = now
				}
			case "probe":
				if c.enter(now) == 0 {
					c.leave()
				}
			}
			if left := c.until.Sub(now); left > 75*time.Second {
				t.Fatalf("open for %v", left)
			}
			if !failed.IsZero() && now.Sub(failed) < firstRetryBy && c.until.Sub(failed) > firstRetryBy {
				t.Fatalf("open until %v after a first failure", c.until.Sub(failed))
			}
		}
	})
}

// TestFewerConnections: a peer that refuses one more connection while another
// works is not down.
func TestFewerConnections(t *testing.T) {
	r, err := New(quick(newQueue(), toward{}))
	if err != nil {
		t.Fatal(err)
	}
	p, now := r.peer("chu.example"), time.Now()
	p.up(1)
	if p.unreachable(now) || p.open(now) {
		t.Error("given up although a connection works")
	}
	p.up(-1)
	if !p.unreachable(now) || !p.open(now) {
		t.Error("not given up although nothing works")
	}
}

func TestOneProbeAtATime(t *testing.T) {
	c := &circuit{backoff: Backoff{First: time.Second, Most: time.Minute}, jitter: func() float64 { return 0.5 }}
	now := time.Unix(1e9, 0)
	if w := c.enter(now); w != 0 {
		t.Fatal("a closed circuit holds back", w)
	}
	c.leave()
	c.fail(now)
	if w := c.enter(now); w != time.Second {
		t.Fatal("an open one should hold for a second, not", w)
	}
	now = now.Add(time.Second)
	if w := c.enter(now); w != 0 {
		t.Fatal("one may try, but waits", w)
	}
	if w := c.enter(now); w == 0 {
		t.Fatal("two try at once")
	}
	c.leave()
	c.fail(now)
	if w := c.enter(now); w != 2*time.Second {
		t.Fatal("the second time it should hold twice as long, not", w)
	}
	c.works()
	if w := c.enter(now); w != 0 {
		t.Fatal("it works and still holds", w)
	}
}
