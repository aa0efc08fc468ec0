package mailbox

import (
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
)

func (h *house) deliveries(id store.MessageID) map[store.Address]*store.Delivery {
	h.t.Helper()
	all := map[store.Address]*store.Delivery{}
	m := h.message(id)
	err := h.store.View(h.t.Context(), func(v store.View) error {
		ds, err := v.Deliveries(m.Pathway, m.ID)
		for _, d := range ds {
			if d.Notice == nil {
				all[d.Mailbox] = d
			}
		}
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return all
}

func temporary(Job) Outcome {
	return Outcome{Kind: OutcomeTemporary, Code: 451, Enhanced: "4.2.0", Reason: "refused", Text: "later, Mrs Martin"}
}

// The first retry comes within 30 s, later ones by the schedule; after give-up
// the author and nobody else is told, once.
func TestRetriesAndGivingUp(t *testing.T) {
	h := newHouse(t)
	id := h.post(written{from: "roux@chu.test", to: string(h.child), id: "a1@chu.test", subject: "x", text: "x"})
	h.relayWith(temporary)
	for box, d := range h.deliveries(id) {
		if d.State != store.Queued || d.Attempts != 1 || d.LastError != "451 4.2.0 refused" {
			t.Errorf("%s: %s after %d attempts, %q", box.Domain(), d.State, d.Attempts, d.LastError)
		}
		if wait := d.Next.Sub(h.clock.now()); wait <= 0 || wait > 30*time.Second {
			t.Errorf("the first retry comes after %s", wait)
		}
	}
	if lanes, _ := h.Lanes(t.Context()); len(lanes) != 0 {
		t.Errorf("due at once again: %v", lanes)
	}
	h.clock.advance(30 * time.Second)
	h.relayWith(temporary)
	for _, d := range h.deliveries(id) {
		if wait := d.Next.Sub(h.clock.now()); d.Attempts != 2 || wait < 40*time.Second || wait > time.Minute {
			t.Errorf("attempt %d, the next after %s", d.Attempts, wait)
		}
	}
	h.clock.advance(2 * time.Hour) // give_up is one hour in these tests
	h.relayWith(temporary)
	for _, d := range h.deliveries(id) {
		if d.State != store.Failed {
			t.Errorf("%s after give-up", d.State)
		}
	}
	h.settleNotices()
	got := h.relay()
	if b := boxes(got); b != "" {
		t.Errorf("copies after give-up to %q", b)
	}
	if n := len(got["roux@chu.test"]); n != 1 {
		t.Fatalf("the author got %d notices", n)
	}
	if text := got["roux@chu.test"][0].raw; !strings.Contains(text, "Bernard") || strings.Contains(text, "Mrs Martin") {
		t.Errorf("the notice:\n%s", text)
	}
}

// Every attempt of one delivery has the same bytes, whatever changes meanwhile.
func TestAttemptsHaveTheSameBytes(t *testing.T) {
	h := newHouse(t)
	id := h.post(written{from: "cabinet@idel.test", to: string(h.child), id: "a1@idel.test", subject: "x", text: "Auteur : Paul Durand\nx"})
	first := map[store.Address]string{}
	h.relayWith(func(j Job) Outcome {
		first[j.Delivery.Mailbox] = h.read(j).raw
		return temporary(j)
	})
	name := "Mme Julie Petit-Lefort"
	if _, err := h.UpdateMember(t.Context(), testActor, MemberUpdate{Pathway: string(h.child), Member: "m5", Name: &name}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.SetAuthor(t.Context(), testActor, MessageRequest{Message: string(id), Member: "m5"}); err != nil {
		t.Fatal(err)
	}
	h.clock.advance(time.Minute)
	again := 0
	for box, ms := range h.relay() {
		for _, m := range ms {
			if m.header["x-relais-kind"] == "" {
				again++
				if m.raw != first[box] {
					t.Errorf("another attempt has other bytes:\n%s\n--- first\n%s", m.raw, first[box])
				}
			}
		}
	}
	if again != len(first) {
		t.Errorf("%d copies, %d at the first attempt", again, len(first))
	}
}

// A copy larger than the peer takes is replaced, for that box, by a text.
func TestCopyTooLarge(t *testing.T) {
	h := newHouse(t)
	id := h.post(written{
		from: "roux@chu.test", to: string(h.child), id: "a1@chu.test", subject: "Scanner",
		content: attachment("scanner.zip.pdf", "application/pdf", strings.Repeat("QUJDREVGR0hJSktM\n", 500)),
	})
	got := h.relayWith(func(j Job) Outcome {
		if j.Delivery.Mailbox == "bernard@kine.test" && len(j.Delivery.Withheld) == 0 {
			return Outcome{Kind: OutcomeTooLarge, Limit: 1000, Reason: "size"}
		}
		return Outcome{Kind: OutcomeSent}
	})
	if ms := got["bernard@kine.test"]; len(ms) != 1 || strings.Contains(ms[0].raw, "QUJDREVG") || !strings.Contains(ms[0].raw, "scanner.zip.pdf") {
		t.Errorf("in place of the copy: %v", ms)
	}
	if d := h.deliveries(id)["bernard@kine.test"]; d.State != store.Partial {
		t.Errorf("state %s", d.State)
	}
	if d := h.deliveries(id)["moreau@chu.test"]; d.State != store.Sent {
		t.Errorf("another box's copy is %s", d.State)
	}
	h.settleNotices()
	if n := notices(got) + notices(h.relay()); strings.Count(n, "roux:") != 1 {
		t.Errorf("the author was told: %q", n)
	}
}

// An attempt that the hub's own stop cut off is due within 5 s of the start and
// does not count; a worker that comes back after that records nothing.
func TestRecover(t *testing.T) {
	h := newHouse(t)
	id := h.post(written{from: "roux@chu.test", to: string(h.child), id: "a1@chu.test", subject: "x", text: "x"})
	stale, err := h.ClaimDeliveries(t.Context(), "out:kine.test", 10)
	if err != nil || len(stale) != 1 {
		t.Fatalf("%d claimed: %v", len(stale), err)
	}
	if d := h.deliveries(id)["bernard@kine.test"]; d.State != store.Sending || d.Attempts != 1 {
		t.Fatalf("while it is sent: %s, %d attempts", d.State, d.Attempts)
	}
	if again, err := h.ClaimDeliveries(t.Context(), "out:kine.test", 10); err != nil || len(again) != 0 {
		t.Fatalf("claimed twice: %d, %v", len(again), err)
	}
	if err := h.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := h.deliveries(id)["bernard@kine.test"]
	if wait := d.Next.Sub(h.clock.now()); d.State != store.Queued || d.Attempts != 0 || wait > 5*time.Second {
		t.Errorf("taken up: %s, %d attempts, due in %s", d.State, d.Attempts, wait)
	}
	// What the old worker says now is not recorded: its lease is gone.
	if err := h.Finish(t.Context(), []Result{{Job: stale[0], Outcome: Outcome{Kind: OutcomePermanent, Code: 550, Enhanced: "5.1.1"}}}); err != nil {
		t.Fatal(err)
	}
	if d := h.deliveries(id)["bernard@kine.test"]; d.State != store.Queued {
		t.Errorf("a lost lease ended the delivery: %s", d.State)
	}
	h.clock.advance(5 * time.Second)
	if b := boxes(h.relay()); b != allButRoux {
		t.Errorf("copies to %q", b)
	}
}

// A refused address marks the box; the mark warns and stops nothing.
func TestMarkedBoxStillGetsMail(t *testing.T) {
	h := newHouse(t)
	h.post(written{from: "roux@chu.test", to: string(h.child), id: "a1@chu.test", subject: "x", text: "x"})
	h.relayWith(func(j Job) Outcome {
		if j.Delivery.Mailbox == "bernard@kine.test" {
			return Outcome{Kind: OutcomePermanent, Code: 550, Enhanced: "5.1.1", Reason: "refused"}
		}
		return Outcome{Kind: OutcomeSent}
	})
	box, err := h.Box(t.Context(), testActor, "bernard@kine.test")
	if err != nil || box.MarkedCode != "5.1.1" {
		t.Fatalf("marked %q, %v", box.MarkedCode, err)
	}
	h.post(written{from: "roux@chu.test", to: string(h.child), id: "a2@chu.test", subject: "y", text: "y"})
	if b := boxes(h.relay()); b != allButRoux {
		t.Errorf("copies to %q", b)
	}
}
