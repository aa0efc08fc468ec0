package mailbox

import (
	"bytes"
	"strings"
	"testing"

	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/store"
)

// A small message that was just taken is not opened for its copies; they have
// the bytes that an opening gives, and when the last one has ended nothing is
// left in memory.
func TestHandedOver(t *testing.T) {
	h, c, jobs := twoCopies(t, 1000)
	p := jobs[0].opening
	all := p.held
	if len(all) == 0 || h.openings.held != int64(len(all)) {
		t.Fatalf("%d bytes were handed over, %d counted", len(all), h.openings.held)
	}
	lanes, err := h.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, lane := range lanes {
		more, err := h.ClaimDeliveries(t.Context(), lane, 10)
		if err != nil {
			t.Fatal(err)
		}
		jobs = append(jobs, more...)
	}
	var results []Result
	for _, j := range jobs {
		handed := h.read(j).raw
		if c.opened.Load() > 0 {
			t.Fatal("the message was opened")
		}
		alone := j
		alone.opening = nil
		if h.read(alone).raw != handed {
			t.Errorf("the copy for %s has other bytes when it is opened", j.Delivery.Mailbox)
		}
		c.opened.Store(0)
		results = append(results, Result{Job: j, Outcome: Outcome{Kind: OutcomeSent}})
	}
	for i := range results {
		if h.openings.held == 0 {
			t.Errorf("wiped after %d copies of %d", i, len(results))
		}
		if err := h.Finish(t.Context(), results[i:i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if h.openings.held != 0 || len(h.openings.m) != 0 || len(bytes.Trim(all, "\x00")) != 0 {
		t.Errorf("left in memory: %d bytes of %d messages", h.openings.held, len(h.openings.m))
	}
}

// What is not filed is not kept: a message without copies, one sent twice.
func TestNotHandedOver(t *testing.T) {
	h := newHouse(t)
	m := written{from: "cabinet@idel.test", to: string(h.child), id: "a1@idel.test", subject: "Note", text: "Bonjour."}
	h.post(m)
	held, n := h.openings.held, len(h.openings.m)
	if n != 1 {
		t.Fatalf("%d messages handed over", n)
	}
	h.post(m)
	if h.openings.held != held || len(h.openings.m) != n {
		t.Errorf("%d bytes of %d messages in memory after a duplicate, %d of %d before", h.openings.held, len(h.openings.m), held, n)
	}
}

// Offers are bounded, one by one and together, and what is withdrawn is wiped.
func TestOffersAreBounded(t *testing.T) {
	var o openings
	offer := func(id string, said int64, pieces ...string) *opening {
		text, size := newHanded(said), 0
		for _, p := range pieces {
			size += len(p)
			if n, err := text.Write([]byte(p)); n != len(p) || err != nil {
				t.Fatalf("%d bytes of %d taken, %v", n, len(p), err)
			}
		}
		return o.offer(&store.Message{ID: store.MessageID(id)}, &letter.Index{Size: int64(size), HeaderEnd: 1}, text, 1)
	}
	small, most := strings.Repeat("x", unsaid), strings.Repeat("x", smallMail)
	for _, tt := range []struct {
		name   string
		said   int64
		pieces []string
		kept   bool
	}{
		{"nothing said", 0, []string{small[1:], "x"}, true},
		{"nothing said, larger", 0, []string{small, "x"}, false},
		{"larger, then less", 0, []string{small, "x", "x"}, false},
		{"as said", smallMail, []string{most}, true},
		{"more than said", smallMail, []string{most, "x"}, false},
		{"large", smallMail + 1, []string{"x"}, false},
	} {
		p := offer("one", tt.said, tt.pieces...)
		if p != nil != tt.kept {
			t.Errorf("%s: kept %v", tt.name, p != nil)
		}
		if p == nil {
			continue
		}
		all := p.held
		p.withdraw()
		if o.held != 0 || len(o.m) != 0 || len(bytes.Trim(all, "\x00")) != 0 {
			t.Errorf("%s: left in memory", tt.name)
		}
	}
	var offers []*opening
	for p := offer("0", smallMail, most); p != nil; p = offer(strings.Repeat("i", len(offers)), smallMail, most) {
		offers = append(offers, p)
	}
	if o.held > heldMost/2 || o.held+smallMail <= heldMost/2 {
		t.Errorf("%d bytes are held, of %d", o.held, heldMost/2)
	}
	for _, p := range offers {
		p.withdraw()
	}
}
