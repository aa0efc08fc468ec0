package outbound

import (
	"context"
	"fmt"
	"time"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store/journal"
)

// report is what a sender tells its lane.
type report struct {
	what    event
	job     mailbox.Job
	verdict verdict  // of ended
	failure *failure // of gone: no connection could be had
	wasUp   bool     // of gone
}

type event int

const (
	ready event = iota // connected, will take copies
	ended              // the attempt of a copy ended
	back               // the copy was not tried: its connection was lost
	gone               // the sender is over
)

// sender carries the copies of a lane over one connection. It connects before
// it takes its first copy, so that none is spent on a peer that cannot be
// reached.
type sender struct {
	l    *lane
	soft context.Context // ends when the hub stops: connect no more
	hard context.Context // ends when it stops waiting: cut what goes on
	c    *conn
}

func (s *sender) run() {
	wasUp, failed := s.work()
	if s.c != nil {
		s.l.peer.up(-1)
		s.l.r.keep(s.l.peer, s.c)
	}
	s.l.r.freeSlot(s.l.peer)
	s.l.reports <- report{what: gone, failure: failed, wasUp: wasUp}
}

func (s *sender) work() (wasUp bool, failed *failure) {
	if failed := s.connect(true); failed != nil {
		return false, failed
	}
	s.l.reports <- report{what: ready}
	for job := range s.l.todo {
		v, failed := s.try(job)
		if failed != nil {
			s.l.reports <- report{what: back, job: job}
			return true, failed
		}
		s.l.reports <- report{what: ended, job: job, verdict: v}
	}
	return true, nil
}

// connect takes a pooled connection, or dials.
func (s *sender) connect(pooled bool) *failure {
	r := s.l.r
	if pooled {
		if s.c = s.l.peer.take(time.Now(), r.o.Idle); s.c != nil {
			r.metrics.connections.WithLabelValues("reused").Inc()
			s.l.peer.up(1)
			return nil
		}
	}
	c, failed := r.connect(s.soft, s.l.to)
	if failed != nil {
		r.metrics.connections.WithLabelValues("failed").Inc()
		return failed
	}
	r.metrics.connections.WithLabelValues("dialled").Inc()
	s.c = c
	s.l.peer.up(1)
	return nil
}

func (s *sender) drop() {
	s.c.cut()
	s.c = nil
	s.l.peer.up(-1)
}

// try makes one attempt. A pooled connection that turns out closed is replaced
// at once, by a fresh one; if there is none to be had the copy was not tried.
func (s *sender) try(job mailbox.Job) (v verdict, failed *failure) {
	r := s.l.r
	defer func() {
		// A mail that makes us panic must not stop the others.
		if p := recover(); p != nil {
			journal.Recovered(r.o.Log, p, "delivery", job.Delivery.ID)
			if s.c != nil {
				s.drop()
			}
			v, failed = verdict{Outcome: mailbox.Outcome{Kind: mailbox.OutcomeTemporary, Reason: reasonFault}}, nil
		}
	}()
	mail, err := r.o.Hub.Open(s.hard, job)
	if err != nil {
		f := &failure{stageBody, unreadable{fmt.Errorf("opening the mail: %w", err)}}
		return verdict{Outcome: f.outcome(), cause: f.err}, nil
	}
	defer mail.Close()
	body := newStuffed(mail)
	defer body.release()
	if s.c == nil { // the last attempt cost the connection
		if failed := s.connect(true); failed != nil {
			return verdict{}, failed
		}
	}
	for {
		start := time.Now()
		v := s.c.send(s.hard, mail, body, r.o.Timeouts)
		v.took = time.Since(start)
		switch {
		case v.broken:
			s.drop()
		case s.c.sent >= r.o.Messages:
			s.l.peer.up(-1)
			r.retire(s.c)
			s.c = nil
		}
		if !v.stale {
			r.ended(s.l, job, mail, v)
			return v, nil
		}
		r.metrics.connections.WithLabelValues("stale").Inc()
		if failed := s.connect(false); failed != nil {
			return verdict{}, failed
		}
	}
}
