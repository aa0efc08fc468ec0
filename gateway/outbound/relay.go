package outbound

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/relais-sante/relais/mailbox"
)

const (
	lanePrefix = "out:"
	// lookAgain is how long nothing may happen before the queue is looked at
	// anyway: Wake and NextDue are hints.
	lookAgain = 5 * time.Second
	// rest is how long a lane that could not be claimed from is left alone.
	rest = 500 * time.Millisecond
	// lastCommits is how long, after the grace, outcomes may take to be kept.
	lastCommits = 2 * time.Second
)

// Relay delivers what the hub has queued.
type Relay struct {
	o       Options
	metrics *metrics
	ledger  *ledger
	total   chan struct{} // one token per connection in use
	client  *Submission   // the route, if it is one by operators; else nil
	yield   *yield
	// trusts counts calls of Renew: connections made under another trust than
	// today's are not kept.
	trusts atomic.Int64

	mu    sync.Mutex
	peers map[string]*peer

	// Of Run's goroutine.
	running map[string]*lane
	resting map[string]time.Time
	over    chan *lane
	leaving sync.WaitGroup // connections taking leave
	stopped atomic.Bool
}

// New returns a relay; Run makes it work.
func New(o Options) (*Relay, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, fmt.Errorf("registering metrics of outbound: %w", err)
	}
	r := &Relay{
		o: o, metrics: m, total: make(chan struct{}, o.Total),
		peers: map[string]*peer{}, running: map[string]*lane{}, resting: map[string]time.Time{}, over: make(chan *lane),
	}
	r.yield = &yield{most: o.Yield, rush: o.Rush, spent: m.yielding}
	r.client, _ = o.Route.(*Submission)
	return r, nil
}

// Renew uses new connections from now on: certificates, authorities or the
// white list have changed. Mails under way are not cut.
func (r *Relay) Renew() {
	r.trusts.Add(1)
	r.expire(0)
}

// Run delivers until ctx ends. Then nothing more is claimed; transactions under
// way have Options.Grace to end, and what is known of the others is recorded.
// Run is called once.
func (r *Relay) Run(ctx context.Context) error {
	always := context.WithoutCancel(ctx)
	hard, cut := context.WithCancel(always)
	defer cut()
	books, shut := context.WithCancel(always)
	defer shut()
	defer context.AfterFunc(ctx, func() {
		time.AfterFunc(r.o.Grace, cut)
		time.AfterFunc(r.o.Grace+lastCommits, shut)
	})()
	r.ledger = newLedger(r)
	go r.ledger.run(books)

	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		timer.Reset(r.round(ctx, hard))
		select {
		case <-ctx.Done():
		case <-r.o.Hub.Wake():
		case <-r.ledger.nudge:
		case <-timer.C:
		case l := <-r.over:
			r.end(l)
		}
	}
	for len(r.running) > 0 {
		r.end(<-r.over)
	}
	r.ledger.close()
	r.stopped.Store(true)
	r.expire(0)
	r.leaving.Wait()
	return nil
}

// round starts the lanes that have something due, and returns when to look
// again.
func (r *Relay) round(ctx, hard context.Context) time.Duration {
	if wait := r.yield.wait(time.Now()); wait > 0 {
		return wait
	}
	r.expire(r.o.Idle)
	due, err := r.o.Hub.Lanes(ctx)
	if err != nil {
		if ctx.Err() == nil {
			r.o.Log.Warn("listing what is due failed", "error", err)
		}
		return rest
	}
	now := time.Now()
	wait := lookAgain
	for _, name := range due {
		if l := r.running[name]; l != nil {
			l.kick()
			continue
		}
		if until := r.resting[name]; now.Before(until) {
			wait = min(wait, until.Sub(now))
			continue
		}
		to := targetOf(name)
		p := r.peer(r.o.Route.Peer(to))
		if w := p.enter(now); w > 0 {
			wait = min(wait, w)
			continue
		}
		l := r.newLane(name, to, p)
		r.running[name] = l
		go func() {
			l.run(ctx, hard)
			r.over <- l
		}()
	}
	if len(due) > 0 {
		// What is due already either runs or waits for its peer; that it is first
		// in line must not hide what becomes due after it.
		return min(wait, rest)
	}
	next, err := r.o.Hub.NextDue(ctx)
	if err != nil || next.IsZero() {
		return wait
	}
	if ahead := next.Sub(now); ahead > 0 {
		return min(wait, ahead)
	}
	return min(wait, rest)
}

func (r *Relay) end(l *lane) {
	l.peer.leave()
	delete(r.running, l.name)
	delete(r.resting, l.name)
	if l.idle { // nothing to claim, or the store said no: do not spin
		r.resting[l.name] = time.Now().Add(rest)
	}
}

func (r *Relay) peer(name string) *peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.peers[name]
	if p == nil {
		p = r.newPeer(name)
		r.peers[name] = p
	}
	return p
}

// expire closes connections unused for keep, and forgets quiet peers.
func (r *Relay) expire(keep time.Duration) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, p := range r.peers {
		for _, c := range p.expire(now, keep) {
			r.retire(c)
		}
		if p.forgotten(now) {
			delete(r.peers, name)
		}
	}
}

// keep returns a connection to its peer's pool, unless it is past use.
func (r *Relay) keep(p *peer, c *conn) {
	if r.stopped.Load() || c.trust != r.trusts.Load() {
		r.retire(c)
		return
	}
	p.put(c, time.Now())
}

// retire takes leave of a peer, without waiting for it.
func (r *Relay) retire(c *conn) { r.leaving.Go(c.quit) }

// slot waits for leave to open a lane's first connection.
func (r *Relay) slot(ctx context.Context, p *peer) bool {
	if !p.slot(ctx) {
		return false
	}
	select {
	case r.total <- struct{}{}:
		return true
	case <-ctx.Done():
		<-p.slots
		return false
	}
}

// trySlot asks for one more, from the half of the total that is not kept for
// first connections.
func (r *Relay) trySlot(p *peer) bool {
	if len(r.total) >= cap(r.total)/2 {
		return false
	}
	select {
	case p.slots <- struct{}{}:
	default:
		return false
	}
	select {
	case r.total <- struct{}{}:
		return true
	default:
		<-p.slots
		return false
	}
}

func (r *Relay) freeSlot(p *peer) {
	<-p.slots
	<-r.total
}

// ended takes note of an attempt that reached the peer.
func (r *Relay) ended(l *lane, job mailbox.Job, mail *mailbox.Outgoing, v verdict) {
	r.metrics.took(v.Outcome, v.took)
	if r.client != nil {
		r.client.ended(l.to, v)
	}
	switch {
	case v.Kind == mailbox.OutcomeSent:
		r.metrics.bytes.Add(float64(mail.Size))
		l.peer.works(v.took)
	case v.Code != 0 && !v.strike: // it answers in due form
		l.peer.works(0)
	}
	r.log(l, job, v)
}
