package outbound

import (
	"context"
	"time"

	"github.com/relais-sante/relais/mailbox"
)

// horizon is how much work of a fast peer is claimed ahead.
const horizon = 2 * time.Second

// turn is how long a lane may go on claiming while others wait for the peer.
const turn = time.Second

// lane carries the copies of one recipient domain, from the claim to the
// outcome. One goroutine, run, owns everything in it; senders talk to it by
// channels. It ends when nothing is due any more, the circuit opens, its turn
// is over or the hub stops.
type lane struct {
	r    *Relay
	name string // in the store
	to   Target
	peer *peer

	kicked  chan struct{} // something may be due
	todo    chan mailbox.Job
	reports chan report
	claims  chan claim

	started  time.Time
	pending  []mailbox.Job // claimed, not started
	moved    time.Time     // when pending last got shorter or was empty
	claiming bool
	drained  bool // the last claim took all there was
	closing  bool // claim no more
	idle     bool // nothing was claimed so far
	slow     bool // copies had to be handed back for want of speed

	dialling, up, busy int // senders
}

type claim struct {
	jobs []mailbox.Job
	all  bool // there was no more
	err  error
}

func (r *Relay) newLane(name string, to Target, p *peer) *lane {
	return &lane{
		r: r, name: name, to: to, peer: p, idle: true,
		kicked: make(chan struct{}, 1), todo: make(chan mailbox.Job), reports: make(chan report), claims: make(chan claim, 1),
	}
}

// kick says that something may have become due.
func (l *lane) kick() {
	select {
	case l.kicked <- struct{}{}:
	default:
	}
}

func (l *lane) run(soft, hard context.Context) {
	if !l.r.slot(soft, l.peer) {
		return
	}
	l.started = time.Now()
	l.moved = l.started
	spare := true // the slot taken is for the first sender
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	stop := soft.Done()
	for {
		if want := l.room(); want > 0 {
			l.claim(hard, want)
		}
		if len(l.pending) > 0 && l.grow() && (spare || l.r.trySlot(l.peer)) {
			spare = false
			l.dialling++
			go (&sender{l: l, soft: soft, hard: hard}).run()
		}
		if !l.claiming && len(l.pending) == 0 && l.busy == 0 {
			break
		}
		var out chan mailbox.Job
		var next mailbox.Job
		if len(l.pending) > 0 && l.up > l.busy {
			out, next = l.todo, l.pending[0]
		}
		select {
		case out <- next:
			l.pending = l.pending[1:]
			l.moved = time.Now()
			l.busy++
		case rep := <-l.reports:
			l.take(soft, rep)
		case c := <-l.claims:
			l.claimed(c)
		case <-tick.C:
			l.unstick()
		case <-l.kicked:
			l.drained = false
		case <-stop:
			l.closing, stop = true, nil
			l.handBack()
		}
	}
	close(l.todo)
	for l.dialling+l.up > 0 {
		l.take(soft, <-l.reports)
	}
	l.handBack() // a copy whose connection was lost meanwhile
	if spare {
		l.r.freeSlot(l.peer)
	}
}

// room is how many copies to claim now.
func (l *lane) room() int {
	if l.claiming || l.closing || l.drained || l.peer.open(time.Now()) {
		return 0
	}
	if l.r.yield.wait(time.Now()) > 0 {
		l.idle = false // it is not for want of work
		return 0
	}
	if time.Since(l.started) > turn && l.peer.crowded() {
		l.closing = true
		return 0
	}
	most, pace := l.r.o.Claim, l.peer.speed()
	if l.slow || pace > horizon {
		// One for each sender that could start it.
		free := l.up - l.busy - len(l.pending)
		if l.dialling+l.up < l.r.o.PerPeer {
			free++
		}
		return max(0, min(free, most))
	}
	if pace > 0 {
		most = min(most, max(l.r.o.PerPeer, int(horizon/pace)*max(1, l.up)))
	}
	if len(l.pending) > most/2 {
		return 0
	}
	return most - len(l.pending)
}

// claim asks the hub; the answer comes as a claim.
func (l *lane) claim(ctx context.Context, want int) {
	l.claiming = true
	go func() {
		jobs, err := l.r.o.Hub.ClaimDeliveries(ctx, l.name, want)
		l.claims <- claim{jobs, len(jobs) < want, err}
	}()
}

func (l *lane) claimed(c claim) {
	l.claiming = false
	l.drained = c.all
	l.idle = l.idle && len(c.jobs) == 0
	if c.err != nil {
		l.r.o.Log.Warn("claiming deliveries failed", "domain", domainName(l.to.Domain), "error", c.err)
		l.closing = true
		return
	}
	if len(l.pending) == 0 {
		l.moved = time.Now()
	}
	l.pending = append(l.pending, c.jobs...)
	switch {
	case len(c.jobs) == 0:
	case l.closing, l.peer.open(time.Now()):
		l.handBack()
	case !l.r.o.Trust.Listed(l.to.Domain):
		l.share(mailbox.Outcome{
			Kind: mailbox.OutcomePermanent, Reason: reasonUnlisted,
			Text: "the recipient's domain is not in the white list of the trusted space",
		}, nil)
	}
}

// grow reports whether another sender should be started: the first at once,
// others one by one, while copies wait for them and the peer keeps up.
func (l *lane) grow() bool {
	switch {
	case l.closing || l.dialling > 0 || l.up > l.busy:
		return false
	case l.up == 0:
		return true
	}
	return l.up < l.r.o.PerPeer && (l.peer.speed() > 0 || time.Since(l.moved) > time.Second)
}

// unstick hands copies back that nobody could start: the peer is slower than
// it looked, and a lease should not be spent on waiting.
func (l *lane) unstick() {
	if len(l.pending) > 0 && l.dialling == 0 && time.Since(l.moved) > l.r.o.Patience {
		l.slow = true
		l.handBack()
	}
}

// take does what a sender's report asks for.
func (l *lane) take(soft context.Context, rep report) {
	switch rep.what {
	case ready:
		l.dialling--
		l.up++
	case ended:
		l.busy--
		l.slow = false
		l.record(rep.job, rep.verdict.Outcome)
		if rep.verdict.strike && l.peer.strike(time.Now()) {
			l.r.opened(l, rep.verdict.Outcome, rep.verdict.cause)
			l.handBack()
		}
	case back:
		l.busy--
		l.pending = append(l.pending, rep.job)
	case gone:
		if rep.wasUp {
			l.up--
		} else {
			l.dialling--
		}
		if rep.failure != nil {
			l.lost(soft, rep.failure)
		}
	}
}

// lost deals with a connection that could not be had. While others work it is
// just one less; else its failure stands for all copies claimed.
func (l *lane) lost(soft context.Context, f *failure) {
	switch {
	case soft.Err() != nil:
		l.handBack()
		return
	case l.up+l.dialling > 0:
		return
	}
	out := f.outcome()
	if out.Kind == mailbox.OutcomeTemporary {
		l.closing = true
		if l.peer.unreachable(time.Now()) {
			l.r.opened(l, out, f.err)
		}
	}
	l.share(out, f.err)
}

// share gives all copies claimed and not started the same outcome.
func (l *lane) share(o mailbox.Outcome, cause error) {
	for _, job := range l.pending {
		l.r.log(l, job, verdict{Outcome: o, cause: cause})
		l.record(job, o)
	}
	l.pending = nil
}

// handBack returns the copies claimed and not started.
func (l *lane) handBack() {
	l.share(mailbox.Outcome{Kind: mailbox.OutcomeNoAttempt, Reason: reasonNotStarted}, nil)
}

func (l *lane) record(job mailbox.Job, o mailbox.Outcome) {
	if o.Kind == mailbox.OutcomeTemporary && job.Attempt == 1 {
		l.peer.promised(time.Now())
	}
	l.r.metrics.ended(o)
	l.r.ledger.record(job, o)
}
