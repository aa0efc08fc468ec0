package mailbox

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
)

// The clock of a machine may jump, either way: at a start without network time, by
// hand, by a mistake of the time server. Nothing may be lost, or sent twice; the
// order of a thread is that of its filing.
func TestClockJumps(t *testing.T) {
	for _, jump := range []time.Duration{-48 * time.Hour, -time.Minute, time.Minute, 24 * time.Hour, 400 * 24 * time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			h := newHouse(t)
			// A member is one from when they were added: of a team made an hour ago a
			// clock two days back knows nobody, and holds what they write.
			h.clock.advance(30 * 24 * time.Hour)
			got := map[string]int{} // box and message → copies
			count := func(all map[store.Address][]arrived) {
				for box, list := range all {
					for _, m := range list {
						if m.delivery.Notice == nil {
							got[string(box)+" "+string(m.delivery.Message)]++
						}
					}
				}
			}
			var posts []store.MessageID
			post := func() {
				n := len(posts)
				posts = append(posts, h.post(written{
					from: "roux@chu.test", to: string(h.child), id: fmt.Sprintf("jump%d@chu.test", n), subject: "Suivi", text: fmt.Sprintf("Message %d", n),
				}))
			}
			post()
			count(h.relay())
			post() // waits in the queue
			post() // put off by its peers…
			count(h.relayWith(func(j Job) Outcome {
				if j.Delivery.Message == posts[2] {
					return Outcome{Kind: OutcomeTemporary, Code: 451}
				}
				return Outcome{Kind: OutcomeSent}
			}))
			post() // …and under a lease as the clock jumps
			lanes, err := h.Lanes(context.Background())
			if err != nil || len(lanes) == 0 {
				t.Fatalf("lanes %v, %v", lanes, err)
			}
			jobs, err := h.ClaimDeliveries(context.Background(), lanes[0], 100)
			if err != nil || len(jobs) == 0 {
				t.Fatalf("%d jobs, %v", len(jobs), err)
			}
			h.clock.advance(jump)
			var results []Result
			for _, j := range jobs {
				got[string(j.Delivery.Mailbox)+" "+string(j.Delivery.Message)]++
				results = append(results, Result{Job: j, Outcome: Outcome{Kind: OutcomeSent}})
			}
			if err := h.Finish(context.Background(), results); err != nil {
				t.Fatal(err)
			}
			post() // goes at once, whatever time it is
			fresh := len(got)
			count(h.relay())
			if len(got) == fresh {
				t.Error("what was posted after the jump does not go out")
			}
			// Time goes on from there, and is put right at last.
			for range 3 {
				h.clock.advance(time.Hour)
				count(h.relay())
			}
			if jump < 0 {
				h.clock.advance(-jump)
				count(h.relay())
			}
			ids := map[store.MessageID]bool{}
			for i, id := range posts {
				m := h.message(id)
				if ids[id] || m.Seq < uint64(i+1) {
					t.Errorf("message %d is number %d of the thread", i, m.Seq)
				}
				ids[id] = true
				var copies []*store.Delivery
				if err := h.store.View(context.Background(), func(v store.View) (err error) {
					copies, err = v.Deliveries(m.Pathway, id)
					return err
				}); err != nil {
					t.Fatal(err)
				}
				for _, d := range copies {
					n := got[string(d.Mailbox)+" "+string(id)]
					switch {
					case d.State == store.Sent && n == 1:
					case d.State == store.Failed && n == 0 && jump > 48*time.Hour: // given up, and told
					default:
						t.Errorf("message %d: a copy is %s and went out %d times", i, d.State, n)
					}
				}
			}
		})
	}
}
