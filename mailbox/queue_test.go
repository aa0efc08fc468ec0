package mailbox

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
)

// refusing gives an outcome by box: permanent for those named, else sent.
func refusing(local ...string) func(Job) Outcome {
	return func(j Job) Outcome {
		if slices.Contains(local, j.Delivery.Mailbox.Local()) {
			return Outcome{Kind: OutcomePermanent, Code: 550, Enhanced: "5.1.1", Reason: "refused"}
		}
		return Outcome{Kind: OutcomeSent}
	}
}

// Author and desk get one notice per post, whoever and however many were not
// reached.
func TestOneNoticePerPost(t *testing.T) {
	h := newHouse(t)
	h.withDesk()
	h.post(written{from: "roux@chu.test", to: string(h.child), id: "n1@chu.test", subject: "Bilan", text: "x"})
	first := h.relayWith(refusing("bernard", "cabinet"))
	h.clock.advance(tellStep)
	h.timers()
	got := h.relay()
	for box, mails := range first { // told at once if the last to be over failed
		got[box] = append(got[box], mails...)
	}
	if n := notices(got); n != "pon:not-delivered roux:not-delivered" {
		t.Fatalf("notices %q", n)
	}
	body := got["roux@chu.test"][0].body
	for _, name := range []string{"Bernard", "Petit", "Durand"} {
		if !strings.Contains(body, name) {
			t.Errorf("%s is not named:\n%s", name, body)
		}
	}
	if got["roux@chu.test"][0].header["in-reply-to"] != "<n1@chu.test>" {
		t.Error("the notice does not say which post")
	}
	h.clock.advance(time.Hour)
	h.timers()
	if n := notices(h.relay()); n != "" {
		t.Errorf("notices %q", n)
	}
}

// A refusal is told within the minute even if another copy is tried for long;
// when that is given up too, it is told as well.
func TestLateFailureIsToldToo(t *testing.T) {
	h := newHouse(t)
	h.withDesk()
	h.post(written{from: "roux@chu.test", to: string(h.child), id: "n1@chu.test", subject: "Bilan", text: "x"})
	peers := func(j Job) Outcome {
		switch j.Delivery.Mailbox.Local() {
		case "bernard":
			return Outcome{Kind: OutcomePermanent, Code: 550, Reason: "refused"}
		case "cabinet":
			return Outcome{Kind: OutcomeTemporary, Code: 451, Reason: "refused"}
		}
		return Outcome{Kind: OutcomeSent}
	}
	var all []string
	for range 200 {
		all = append(all, strings.Fields(notices(h.relayWith(peers)))...)
		h.clock.advance(30 * time.Second)
		h.timers()
		if len(all) == 2 && h.clock.now().Sub(time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)) < 2*time.Minute {
			all = append(all, "in-time")
		}
	}
	if got := strings.Join(all, " "); got != "pon:not-delivered roux:not-delivered in-time pon:not-delivered roux:not-delivered" {
		t.Errorf("notices %q", got)
	}
}

func TestQueueByHand(t *testing.T) {
	h := newHouse(t)
	h.withDesk()
	ctx := context.Background()
	h.post(written{from: "roux@chu.test", to: string(h.child), id: "n1@chu.test", subject: "Bilan", text: "x"})
	entry := func(box string) QueueView {
		t.Helper()
		q := must[[]QueueView](t)(h.Queue(ctx, testActor, QueueFilter{Mailbox: box}))
		if len(q) != 1 {
			t.Fatalf("%d deliveries for %s", len(q), box)
		}
		return q[0]
	}
	q := entry("bernard@kine.test")
	if q.State != "queued" || q.Kind != "copy" || q.Pathway != string(h.child) || q.NextAttempt == nil {
		t.Errorf("%+v", q)
	}
	if held := must[QueueView](t)(h.HoldDelivery(ctx, testActor, QueueRequest{ID: q.ID})); held.State != "held" || held.NextAttempt != nil {
		t.Errorf("%+v", held)
	}
	_, err := h.HoldDelivery(ctx, testActor, QueueRequest{ID: q.ID})
	wantFailure(t, err, "delivery-state")
	if got := boxes(h.relayWith(refusing("simon"))); got != "cabinet moreau" {
		t.Errorf("copies to %q", got)
	}
	// On hold is not over: the refusal is told all the same.
	h.clock.advance(tellStep)
	h.timers()
	if got := notices(h.relay()); got != "pon:not-delivered roux:not-delivered" {
		t.Errorf("notices %q", got)
	}
	must[QueueView](t)(h.RetryDelivery(ctx, testActor, QueueRequest{ID: q.ID}))
	failed := entry("simon@chu.test")
	if failed.State != "failed" || failed.LastError != "550 5.1.1 refused" {
		t.Errorf("%+v", failed)
	}
	must[QueueView](t)(h.RetryDelivery(ctx, testActor, QueueRequest{ID: failed.ID}))
	if got := boxes(h.relay()); got != "bernard simon" {
		t.Errorf("copies to %q", got)
	}
	_, err = h.RetryDelivery(ctx, testActor, QueueRequest{ID: failed.ID})
	wantFailure(t, err, "delivery-state")
	_, err = h.DropDelivery(ctx, testActor, QueueRequest{ID: "nope"})
	wantFailure(t, err, "delivery-unknown")
	if left := must[[]QueueView](t)(h.Queue(ctx, testActor, QueueFilter{Pathway: string(h.child)})); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
}

// What somebody drops is told to its author, once.
func TestDropTellsTheAuthor(t *testing.T) {
	h := newHouse(t)
	h.withDesk()
	ctx := context.Background()
	h.post(written{from: "roux@chu.test", to: string(h.child), id: "n1@chu.test", subject: "Bilan", text: "x"})
	h.relayWith(func(j Job) Outcome {
		if j.Delivery.Mailbox.Local() == "bernard" {
			return Outcome{Kind: OutcomeTemporary, Code: 451}
		}
		return Outcome{Kind: OutcomeSent}
	})
	q := must[[]QueueView](t)(h.Queue(ctx, testActor, QueueFilter{State: "queued"}))
	if d := must[QueueView](t)(h.DropDelivery(ctx, testActor, QueueRequest{ID: q[0].ID})); d.State != "cancelled" {
		t.Errorf("%+v", d)
	}
	got := h.relay()
	if boxes(got) != "" || notices(got) != "pon:not-delivered roux:not-delivered" {
		t.Errorf("copies %q, notices %q", boxes(got), notices(got))
	}
	// A failed one that the author knows of is dropped without a word.
	h.post(written{from: "roux@chu.test", to: string(h.child), id: "n2@chu.test", subject: "Bilan", text: "y"})
	h.relayWith(refusing("bernard"))
	h.clock.advance(tellStep)
	h.timers()
	h.relay()
	failed := must[[]QueueView](t)(h.Queue(ctx, testActor, QueueFilter{State: "failed"}))
	must[QueueView](t)(h.DropDelivery(ctx, testActor, QueueRequest{ID: failed[0].ID}))
	if got := notices(h.relay()); got != "" {
		t.Errorf("notices %q", got)
	}
	if s := must[StatusView](t)(h.Status(ctx)); s.Queue.Failed != 0 || s.Queue.Queued != 0 || s.Pathways != 1 || s.Messages != 2 {
		t.Errorf("%+v", s)
	}
}

// A copy being sent this moment is nobody else's to change.
func TestSendingIsLeftAlone(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	h.post(written{from: "roux@chu.test", to: string(h.child), id: "n1@chu.test", subject: "Bilan", text: "x"})
	jobs, err := h.ClaimDeliveries(ctx, "out:kine.test", 1)
	if err != nil || len(jobs) != 1 {
		t.Fatal(jobs, err)
	}
	r := QueueRequest{ID: string(jobs[0].Delivery.ID)}
	for _, do := range []func(context.Context, Actor, QueueRequest) (QueueView, error){h.RetryDelivery, h.HoldDelivery, h.DropDelivery} {
		_, err := do(ctx, testActor, r)
		wantFailure(t, err, "delivery-sending")
	}
	// Withdrawn meanwhile, it is not tried again and the box is asked to delete.
	must[MessageView](t)(h.Retract(ctx, testActor, MessageRequest{Message: string(jobs[0].Delivery.Message)}))
	if err := h.Finish(ctx, []Result{{Job: jobs[0], Outcome: Outcome{Kind: OutcomeTemporary, Code: 451}}}); err != nil {
		t.Fatal(err)
	}
	h.clock.advance(time.Hour)
	if got := h.relay(); boxes(got) != "" || notices(got) != "bernard:retracted" {
		t.Errorf("copies %q, notices %q", boxes(got), notices(got))
	}
	var d *store.Delivery
	if err := h.store.View(ctx, func(v store.View) (err error) {
		d, err = v.Delivery(jobs[0].Delivery.ID)
		return err
	}); err != nil || d.State != store.Cancelled {
		t.Errorf("%+v %v", d, err)
	}
}
