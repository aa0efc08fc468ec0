package outbound

import (
	"context"
	"sync"
	"time"
)

// peer is whom mail is handed to: its connections and its circuit.
type peer struct {
	name  string
	slots chan struct{} // one token per connection in use

	mu      sync.Mutex
	circuit circuit
	idle    []*conn       // the one used last is last
	live    int           // connections in use that work
	waiting int           // lanes waiting for a slot
	pace    time.Duration // how long a mail takes, lately; 0: not known
	lanes   int           // lanes running
}

func (r *Relay) newPeer(name string) *peer {
	return &peer{
		name: name, slots: make(chan struct{}, r.o.PerPeer),
		circuit: circuit{backoff: r.o.Backoff, jitter: r.o.Jitter, yield: r.o.Yield},
	}
}

// slot waits for leave to use a connection; false when ctx ends first.
func (p *peer) slot(ctx context.Context) bool {
	p.mu.Lock()
	p.waiting++
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		p.waiting--
		p.mu.Unlock()
	}()
	select {
	case p.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// crowded reports whether other lanes wait for a slot.
func (p *peer) crowded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting > 0
}

// take gives the idle connection used last, or nil.
func (p *peer) take(now time.Time, keep time.Duration) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := len(p.idle); n > 0; n = len(p.idle) {
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		if now.Sub(c.idle) < keep {
			return c
		}
		c.cut()
	}
	return nil
}

// put keeps a connection for the next user.
func (p *peer) put(c *conn, now time.Time) {
	c.idle = now
	p.mu.Lock()
	p.idle = append(p.idle, c)
	p.mu.Unlock()
}

// expire takes out the connections that were idle for longer than keep.
func (p *peer) expire(now time.Time, keep time.Duration) []*conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.idle) && now.Sub(p.idle[n].idle) >= keep {
		n++
	}
	old := append([]*conn(nil), p.idle[:n]...)
	p.idle = append(p.idle[:0], p.idle[n:]...)
	return old
}

// forgotten reports whether there is nothing to remember about the peer.
func (p *peer) forgotten(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lanes == 0 && len(p.idle) == 0 && p.circuit.until.Add(time.Hour).Before(now)
}

// enter, leave, works, fail and strike are the circuit's, see there.

func (p *peer) enter(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	wait := p.circuit.enter(now)
	if wait == 0 {
		p.lanes++
	}
	return wait
}

func (p *peer) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lanes--
	p.circuit.leave()
}

func (p *peer) open(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.circuit.open(now)
}

func (p *peer) strike(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.circuit.strike(now)
}

// unreachable notes that no connection could be had; where another one works
// the peer just wants fewer of them.
func (p *peer) unreachable(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live > 0 {
		return false
	}
	p.circuit.fail(now)
	return true
}

func (p *peer) promised(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.circuit.promised(now)
}

// up counts a working connection in use, or one less.
func (p *peer) up(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.live += n
}

// works notes a mail that was taken, or refused, in due form, and how long
// that took.
func (p *peer) works(took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.circuit.works()
	if took == 0 {
		return
	}
	if p.pace == 0 {
		p.pace = took
	}
	p.pace += (took - p.pace) / 4
}

func (p *peer) speed() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pace
}
