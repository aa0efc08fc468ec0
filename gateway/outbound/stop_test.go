package outbound

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store"
)

// TestStop: what is under way when the hub stops is recorded as what it was.
func TestStop(t *testing.T) {
	for name, tt := range map[string]struct {
		m    manners
		kind mailbox.OutcomeKind
	}{
		"ends within the grace":    {manners{delay: 100 * time.Millisecond}, mailbox.OutcomeSent},
		"stalled before MAIL":      {manners{stall: "MAIL"}, mailbox.OutcomeNoAttempt},
		"stalled in the mail":      {manners{stall: "BODY"}, mailbox.OutcomeNoAttempt},
		"stalled after the mail":   {manners{stall: "DOT"}, mailbox.OutcomeTemporary},
		"stalled at the greeting":  {manners{stall: "GREETING"}, mailbox.OutcomeNoAttempt},
		"stalled at the recipient": {manners{stall: "RCPT"}, mailbox.OutcomeNoAttempt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reached := make(chan struct{}, 10)
			op := newOperator(t, func(_, mail int) manners {
				reached <- struct{}{}
				return tt.m
			})
			q := newQueue()
			q.retry = func(int) time.Duration { return time.Hour }
			body := plain
			if tt.m.stall == "BODY" { // more than buffers hold, or the final dot would be out
				body = strings.Repeat(strings.Repeat("x", 998)+"\r\n", 20_000)
			}
			id := q.addMail(mailbox.Outgoing{RcptTo: "a@chu.example"}, body)
			o := quick(q, toward{"chu.example": op.addr()})
			o.Timeouts.Command, o.Timeouts.Block, o.Timeouts.End = time.Minute, time.Minute, time.Minute
			o.Grace = 300 * time.Millisecond
			_, stop := start(t, o)
			<-reached
			if tt.m.stall != "GREETING" {
				<-reached
			}
			if tt.m.stall == "DOT" {
				for len(op.taken()) == 0 {
					time.Sleep(time.Millisecond)
				}
			}
			begun := time.Now()
			stop()
			if took := time.Since(begun); took > 2*time.Second {
				t.Errorf("stopped after %v", took)
			}
			e := q.get(id)
			if len(e.results) != 1 || e.results[0].Kind != tt.kind {
				t.Errorf("outcomes %+v", e.results)
			}
		})
	}
}

// TestStopClaimsNoMore: copies that wait are given back without an attempt.
func TestStopClaimsNoMore(t *testing.T) {
	op := newOperator(t, func(int, int) manners { return manners{delay: 50 * time.Millisecond} })
	q := newQueue()
	for i := range 100 {
		q.add(fmt.Sprintf("box%d@chu.example", i))
	}
	_, stop := start(t, quick(q, toward{"chu.example": op.addr()}))
	q.until(t, "some are sent", func() bool { return q.entries[q.order[0]].ended })
	stop()
	sent := len(op.taken())
	for _, id := range q.order {
		e := q.get(id)
		if e.leased {
			t.Fatalf("%s is still claimed", id)
		}
		if !e.ended && e.attempts != 0 {
			t.Errorf("%s was charged %d attempts", id, e.attempts)
		}
		if e.ended {
			sent--
		}
	}
	if sent != 0 {
		t.Errorf("%d mails sent and not recorded", sent)
	}
}

// TestLedgerPrompt: a result is recorded within 50 ms of the peer's answer; no
// result waits for company.
func TestLedgerPrompt(t *testing.T) {
	d := newDistant(nil)
	d.up.Store(true)
	var slowest time.Duration
	bubble(t, d, func() *queue {
		q := newQueue()
		q.finish = func(rs []mailbox.Result) error {
			for _, r := range rs {
				for _, m := range d.op.taken() {
					if strings.HasSuffix(m.mail, string(r.Job.Delivery.ID)) {
						slowest = max(slowest, time.Since(m.at)+time.Nanosecond)
					}
				}
			}
			time.Sleep(20 * time.Millisecond) // a slow disk
			return nil
		}
		for i := range 100 {
			q.add(fmt.Sprintf("box%d@chu.example", i))
		}
		return q
	}, func(t *testing.T, q *queue) {
		time.Sleep(time.Minute)
		synctest.Wait()
	})
	if slowest == 0 || slowest > 50*time.Millisecond {
		t.Errorf("the slowest result was recorded after %v", slowest)
	}
}

// TestLedgerBatches: while a commit is slow, results gather for the next.
func TestLedgerBatches(t *testing.T) {
	op := newOperator(t, nil)
	q := newQueue()
	q.finish = func([]mailbox.Result) error {
		time.Sleep(10 * time.Millisecond)
		return nil
	}
	for i := range 300 {
		q.add(fmt.Sprintf("box%d@chu.example", i))
	}
	start(t, quick(q, toward{"chu.example": op.addr()}))
	q.all(t)
	if q.commits > 150 {
		t.Errorf("%d commits for 300 results", q.commits)
	}
}

// TestLedgerPersists: a store that cannot write for a while loses nothing, and
// one bad result does not take the others with it.
func TestLedgerPersists(t *testing.T) {
	op := newOperator(t, nil)
	q := newQueue()
	fails := 3
	q.finish = func(rs []mailbox.Result) error {
		if fails--; fails >= 0 {
			return fmt.Errorf("recording: %w", store.ErrFull)
		}
		for _, r := range rs {
			if r.Job.Delivery.ID == "d00003" {
				return fmt.Errorf("recording: %w", store.ErrLeaseLost)
			}
		}
		return nil
	}
	for i := range 10 {
		q.add(fmt.Sprintf("box%d@chu.example", i))
	}
	start(t, quick(q, toward{"chu.example": op.addr()}))
	q.until(t, "all but one are recorded", func() bool {
		n := 0
		for _, e := range q.entries {
			if e.ended {
				n++
			}
		}
		return n == 9
	})
	if n := len(op.taken()); n != 10 {
		t.Errorf("%d mails sent, of 10", n)
	}
}

// TestStoreAway: nothing can be claimed; the relay waits and does not spin.
func TestStoreAway(t *testing.T) {
	q := &away{queue: newQueue()}
	q.add("a@chu.example")
	op := newOperator(t, nil)
	o := quick(q.queue, toward{"chu.example": op.addr()})
	o.Hub = q
	_, stop := start(t, o)
	time.Sleep(300 * time.Millisecond)
	stop()
	if q.claims > 3 {
		t.Errorf("claimed %d times in 300 ms", q.claims)
	}
	if q.claims == 0 {
		t.Error("never claimed")
	}
}
