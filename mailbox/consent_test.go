package mailbox

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
)

func TestConsentRecords(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	code := string(h.child)
	for _, c := range []struct {
		r    ConsentRequest
		code string
	}{
		{ConsentRequest{Pathway: code, Kind: "tacit", From: "mère"}, "consent-kind"},
		{ConsentRequest{Pathway: code, Kind: "oral"}, "consent-from"},
		{ConsentRequest{Pathway: code, Kind: "oral", From: "mère", For: "m12"}, "member-unknown"},
		{ConsentRequest{Pathway: "", Kind: "oral", From: "mère"}, "pathway-missing"},
	} {
		_, err := h.RecordConsent(ctx, testActor, c.r)
		wantFailure(t, err, c.code)
	}
	all := must[[]ConsentView](t)(h.RecordConsent(ctx, testActor, ConsentRequest{Pathway: code, Kind: "Written", From: "mère", For: "M7", Notice: "v2"}))
	if last := all[len(all)-1]; last.For != "m7" || last.Kind != "written" || last.By != testActor.Name || last.Notice != "v2" {
		t.Errorf("%+v", last)
	}
	must[[]ConsentView](t)(h.WithdrawConsent(ctx, testActor, WithdrawRequest{Pathway: code, For: "m7", By: "mère"}))
	_, err := h.WithdrawConsent(ctx, testActor, WithdrawRequest{Pathway: code, For: "m7"})
	wantFailure(t, err, "consent-none")
	all = must[[]ConsentView](t)(h.Consents(ctx, testActor, code))
	if len(all) != 2 || all[1].Withdrawn == nil || all[1].WithdrawnBy != "mère" {
		t.Errorf("%+v", all)
	}
	if p := must[PathwayView](t)(h.Pathway(ctx, testActor, code)); p.Consent != "recorded" {
		t.Errorf("a member's withdrawal made the pathway's %s", p.Consent)
	}
}

// Withdrawing takes what is queued with it, in the same commit.
func TestWithdrawalCancelsCopies(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	h.post(written{from: "roux@chu.test", to: string(h.child), id: "c1@chu.test", subject: "Bilan", text: "x"})
	// A member of the care team may be opposed alone: theirs, and only theirs.
	must[[]ConsentView](t)(h.WithdrawConsent(ctx, testActor, WithdrawRequest{Pathway: string(h.child), For: "m4", By: "mère"}))
	if q := must[[]QueueView](t)(h.Queue(ctx, testActor, QueueFilter{})); len(q) != 3 {
		t.Errorf("%d copies queued", len(q))
	}
	must[[]ConsentView](t)(h.WithdrawConsent(ctx, testActor, WithdrawRequest{Pathway: string(h.child), By: "mère"}))
	for _, q := range must[[]QueueView](t)(h.Queue(ctx, testActor, QueueFilter{})) {
		if q.Kind == "copy" {
			t.Errorf("still queued: %+v", q)
		}
	}
	if got := h.relay(); boxes(got) != "" || notices(got) != "roux:not-delivered" {
		t.Errorf("copies %q, notices %q", boxes(got), notices(got))
	}
	_, err := h.try(written{from: "roux@chu.test", to: string(h.child), id: "c2@chu.test", subject: "Bilan", text: "x"})
	if r := new(Refusal); !asRefusal(err, &r) || r.Reason != RefuseWithdrawn {
		t.Errorf("posting: %v", err)
	}
}

// Mail held for want of consent goes by itself once it is recorded.
func TestConsentReleasesHeldMail(t *testing.T) {
	h := openHouse(t)
	ctx := context.Background()
	r := includeRequest()
	r.Consent = ""
	code := must[PathwayView](t)(h.Include(ctx, testActor, r)).ID
	h.member(store.PathwayCode(code), "Dr Anne Roux", "oncologue", "roux@chu.test", "PER", "")
	h.member(store.PathwayCode(code), "Mme Inès Moreau", "idec", "moreau@chu.test", "PER", "")
	receipt, err := h.try(written{from: "roux@chu.test", to: code, id: "w1@chu.test", subject: "Bilan", text: "x"})
	if err != nil || receipt.Reason != reasonConsent {
		t.Fatalf("%+v, %v", receipt, err)
	}
	if got := h.relay(); boxes(got) != "" || notices(got) != "moreau:held roux:held" {
		t.Errorf("copies %q, notices %q", boxes(got), notices(got))
	}
	_, err = h.Release(ctx, testActor, TriageRequest{ID: string(receipt.Held)})
	wantFailure(t, err, "still-held-consent")
	must[[]ConsentView](t)(h.RecordConsent(ctx, testActor, ConsentRequest{Pathway: code, Kind: "oral", From: "mère"}))
	h.timers()
	if got := boxes(h.relay()); got != "moreau" {
		t.Errorf("copies to %q", got)
	}
	if held := must[[]HeldView](t)(h.TriageList(ctx, testActor)); len(held) != 0 {
		t.Errorf("still held: %+v", held)
	}
	if all := h.traced(store.PathwayCode(code)); !slices.Contains(all, "triage.released") {
		t.Errorf("traces %q", all)
	}
}

// Whatever consents come and go, whoever joins and leaves, nothing is mailed to
// a member the rights function does not allow at the moment of claiming.
func TestNothingWithoutConsent(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	code := string(h.child)
	rnd := rand.New(rand.NewPCG(1, 2))
	sent := 0
	for i := range 60 {
		h.clock.advance(time.Minute)
		m := fmt.Sprintf("m%d", 1+rnd.IntN(7))
		var err error
		switch rnd.IntN(10) {
		case 0, 1, 2:
			_, err = h.RecordConsent(ctx, testActor, ConsentRequest{Pathway: code, Kind: "oral", From: "mère", For: m})
		case 3:
			_, err = h.WithdrawConsent(ctx, testActor, WithdrawRequest{Pathway: code, For: m})
		case 4:
			if _, err = h.WithdrawConsent(ctx, testActor, WithdrawRequest{Pathway: code}); err == nil {
				h.mailsAreEntitled(&sent)
				_, err = h.RecordConsent(ctx, testActor, ConsentRequest{Pathway: code, Kind: "oral", From: "mère"})
			}
		case 5:
			_, err = h.RemoveMember(ctx, testActor, MemberRemoval{Pathway: code, Member: m})
		case 6:
			p := member(h.pathway(h.child), store.MemberID(m))
			_, err = h.AddMember(ctx, testActor, MemberRequest{Pathway: code, Name: p.Name, Role: p.Role, Mailbox: string(p.Mailbox)})
		default:
			_, err = h.try(written{from: "roux@chu.test", to: code, id: fmt.Sprintf("n%d@chu.test", i), subject: "Bilan", text: "x"})
		}
		if c := failureCode(err); len(c) > 5 && c[:5] == "fault" {
			t.Fatal(c)
		}
		if rnd.IntN(3) == 0 {
			h.mailsAreEntitled(&sent)
		}
	}
	h.mailsAreEntitled(&sent)
	if sent < 20 {
		t.Errorf("only %d copies sent: nothing was shown", sent)
	}
}

// mailsAreEntitled relays what is due and checks each copy against the rights
// function.
func (h *house) mailsAreEntitled(sent *int) {
	h.t.Helper()
	p := h.pathway(h.child)
	prog, err := h.programme(p.Programme)
	if err != nil {
		h.t.Fatal(err)
	}
	for box, mails := range h.relay() {
		for _, mail := range mails {
			if mail.delivery.Notice != nil {
				continue
			}
			*sent++
			ok := false
			for _, id := range mail.delivery.Members {
				mem := member(p, id)
				ok = ok || mem.Mailbox == box && consentFor(p, prog, mem) == consentRecorded && mem.ActiveAt(h.clock.now())
			}
			if !ok {
				h.t.Errorf("a copy went to %s without consent or membership", box)
			}
		}
	}
}
