package operator

import (
	"context"
	"errors"
	"time"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

// Poller reads one box for as long as the hub runs.
type Poller struct {
	o      Options
	name   journal.Word
	box    store.Address
	health health
	renew  chan struct{}

	// Of the goroutine of Run.
	cursor mailbox.Cursor
	known  bool                // cursor has been read
	tries  map[uint32]attempts // of messages that failed for reasons of their own
}

// NewPoller returns a poller that [Poller.Run] starts.
func NewPoller(o Options) *Poller {
	o = o.withDefaults()
	p := &Poller{
		o: o, name: journal.Word(o.Settings.Name), box: store.NewAddress(o.Settings.Address),
		renew: make(chan struct{}, 1), tries: map[uint32]attempts{},
	}
	p.health.s = Status{Name: o.Settings.Name, Address: string(p.box), Since: o.Now()}
	o.Metrics.connected.WithLabelValues(o.Settings.Name).Set(0)
	for _, outcome := range []string{"taken", "duplicate", "aside"} {
		o.Metrics.messages.WithLabelValues(o.Settings.Name, outcome)
	}
	return p
}

// Status tells how the box is.
func (p *Poller) Status() Status { return p.health.get() }

// Renew has the box opened anew: certificates or authorities have changed.
func (p *Poller) Renew() {
	select {
	case p.renew <- struct{}{}:
	default:
	}
}

// Run reads the box until ctx ends.
func (p *Poller) Run(ctx context.Context) error {
	wait := p.o.FirstWait
	for ctx.Err() == nil {
		began, before := p.o.Now(), p.Status()
		err := p.converse(ctx)
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, errRenewed) {
			wait = p.o.FirstWait
			continue
		}
		// A link that drops costs little as long as something comes over it.
		after := p.Status()
		if after.Taken+after.Aside > before.Taken+before.Aside || p.o.Now().Sub(began) > time.Minute {
			wait = p.o.FirstWait
		}
		p.failed(err, wait)
		if !p.pause(ctx, wait) {
			wait = p.o.FirstWait
			continue
		}
		wait = min(2*wait, p.o.LongestWait)
	}
	return ctx.Err()
}

// failed notes why a conversation ended.
func (p *Poller) failed(err error, wait time.Duration) {
	if errors.Is(err, ErrWaiting) { // was told when it was refused
		return
	}
	fault, now := faultOf(err), p.o.Now()
	p.health.update(func(s *Status) { s.Fault, s.FaultAt = fault, now })
	p.o.Metrics.faults.WithLabelValues(string(p.name), string(fault)).Inc()
	p.o.Log.Warn("an operator's box cannot be read", "box", p.name, "fault", fault, "error", err, "again_in", wait)
}

// connected notes that the box is being read, or not any more.
func (p *Poller) connected(yes bool) {
	now := p.o.Now()
	p.health.update(func(s *Status) {
		if s.Connected != yes {
			s.Connected, s.Since = yes, now
		}
	})
	gauge := p.o.Metrics.connected.WithLabelValues(string(p.name))
	gauge.Set(0)
	if yes {
		gauge.Set(1)
		p.o.Log.Info("an operator's box is being read", "box", p.name)
	}
}

// pause waits about d, and reports false if it was woken before.
func (p *Poller) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(time.Duration(float64(d) * (0.75 + p.o.Jitter()/2)))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-p.renew:
		return false
	case <-t.C:
	}
	return true
}

const errRenewed = journal.Fault("certificates or authorities have changed")

// converse holds one conversation, from its beginning to its end.
func (p *Poller) converse(ctx context.Context) error {
	if !p.known {
		c, err := p.o.Hub.BoxCursor(ctx, p.box, p.o.Settings.Inbox)
		if err != nil {
			return fail(FaultHub, err)
		}
		p.cursor, p.known = c, true
	}
	if p.o.Access.Waiting() {
		return ErrWaiting
	}
	s, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.enter(ctx); err != nil {
		return err
	}
	p.connected(true)
	defer p.connected(false)
	for {
		later, err := s.look(ctx)
		if err != nil {
			return err
		}
		if err := s.wait(ctx, later); err != nil {
			return err
		}
	}
}
