package mailbox

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// withDesk gives the programme a desk.
func (h *house) withDesk() {
	set := *h.o.Programmes()
	set.Programmes = append([]*rules.Programme(nil), set.Programmes...)
	for i, p := range set.Programmes {
		if p.ID == "pon" {
			with := *p
			with.Desk = []string{"pon@reseau.test"}
			set.Programmes[i] = &with
		}
	}
	h.o.Programmes = func() *rules.Set { return &set }
}

// holdOne sends a mail from somebody unknown.
func (h *house) holdOne(header ...string) store.HeldID {
	h.t.Helper()
	r, err := h.try(written{from: "inconnu@chg.test", to: string(h.child), id: "x" + h.clock.now().Format("150405") + "@chg.test", subject: "Bilan", text: "Bonjour", header: header})
	if err != nil || r.Reason != reasonUnknownSender {
		h.t.Fatalf("%+v, %v", r, err)
	}
	return r.Held
}

// What waits is announced at once, again after a while, then hourly to the
// desk, and given up in the end.
func TestHeldMailIsEscalated(t *testing.T) {
	h := newHouse(t)
	h.withDesk()
	id := h.holdOne()
	step := func(wait time.Duration, want string) map[store.Address][]arrived {
		t.Helper()
		h.clock.advance(wait)
		h.timers()
		got := h.relay()
		if n := notices(got); n != want {
			t.Errorf("notices %q, want %q", n, want)
		}
		return got
	}
	first := step(0, "inconnu:held moreau:held")
	n := first["inconnu@chg.test"][0]
	if n.header["auto-submitted"] != "auto-generated" || n.header["reply-to"] != "pon@reseau.test" || n.delivery.Sender != "" || n.header["in-reply-to"] == "" {
		t.Errorf("%+v", n.header)
	}
	if strings.Contains(n.raw, "Bilan") || strings.Contains(n.raw, "Martin") || strings.Contains(n.raw, "Bonjour\r\n\r\nBonjour") {
		t.Errorf("says too much:\n%s", n.raw)
	}
	if !strings.Contains(first["moreau@chu.test"][0].raw, string(id)) {
		t.Error("the coordinator is not told which message")
	}
	step(29*time.Minute, "")
	step(time.Minute, "inconnu:held moreau:held pon:held")
	step(59*time.Minute, "")
	step(time.Minute, "pon:held")
	step(time.Hour, "pon:held")
	step(45*time.Hour+29*time.Minute, "pon:held") // late: one reminder, not forty
	step(time.Minute, "inconnu:not-transmitted pon:not-transmitted")
	if held := h.heldNow(); len(held) != 0 {
		t.Errorf("still held: %+v", held)
	}
	step(48*time.Hour, "")
	if _, err := h.Release(context.Background(), testActor, TriageRequest{ID: string(id)}); failureCode(err) != "held-unknown" {
		t.Error(err)
	}
	if all := strings.Join(h.traced(h.child), " "); !strings.Contains(all, "triage.announced") || !strings.Contains(all, "triage.expired") {
		t.Errorf("traces %s", all)
	}
}

func TestUrgentHeldMailIsEscalatedSooner(t *testing.T) {
	h := newHouse(t)
	h.withDesk()
	h.holdOne("X-Priority: 1")
	h.relay()
	h.clock.advance(10 * time.Minute)
	h.timers()
	if got := notices(h.relay()); got != "inconnu:held moreau:held pon:held" {
		t.Errorf("notices %q", got)
	}
}

// A machine is told nothing, its mail is the desk's; nor is anybody outside the
// trusted space told more than that something waits.
func TestWhoIsNotTold(t *testing.T) {
	h := newHouse(t)
	h.withDesk()
	h.holdOne("Auto-Submitted: auto-generated")
	if got := notices(h.relay()); got != "moreau:held pon:held" {
		t.Errorf("notices %q", got)
	}
	box := "moreau@perso.outside"
	must[MemberView](t)(h.UpdateMember(context.Background(), testActor, MemberUpdate{Pathway: string(h.child), Member: "m2", Mailbox: &box}))
	h.clock.advance(time.Second)
	id := h.holdOne()
	n := h.relay()["moreau@perso.outside"][0]
	for _, secret := range []string{string(h.child), string(id), "chg.test", "décision", "23"} {
		if strings.Contains(n.body, secret) {
			t.Errorf("a notice outside the trusted space says %q:\n%s", secret, n.body)
		}
	}
	if n.header["x-relais-pathway"] != "" || n.header["in-reply-to"] != "" {
		t.Errorf("%+v", n.header)
	}
}

// An answer to a notice makes no other, and stays until somebody looks.
func TestAnswerToNotice(t *testing.T) {
	h := newHouse(t)
	h.withDesk()
	h.holdOne()
	notice := h.relay()["inconnu@chg.test"][0].header["message-id"]
	h.clock.advance(time.Second)
	h.holdOne("In-Reply-To: " + notice)
	if got := notices(h.relay()); got != "" {
		t.Errorf("notices %q", got)
	}
	h.clock.advance(100 * time.Hour)
	h.timers()
	if held := h.heldNow(); len(held) != 1 {
		t.Errorf("%d held", len(held))
	}
}

func TestAssign(t *testing.T) {
	h := newHouse(t)
	h.withDesk()
	ctx := context.Background()
	id := string(h.holdOne())
	h.relay()
	view := must[HeldView](t)(h.Hub.Held(ctx, testActor, id))
	if view.Reason != reasonUnknownSender || view.From != "inconnu@chg.test" || !strings.HasPrefix(view.Text, "Bonjour") || view.Addressed != string(h.child) {
		t.Errorf("%+v", view)
	}
	raw := must[io.ReadCloser](t)(h.RawHeld(ctx, testActor, id))
	raw.Close()
	for _, c := range []struct {
		r    TriageRequest
		code string
	}{
		{TriageRequest{ID: "nope"}, "held-unknown"},
		{TriageRequest{ID: id}, "still-held-unknown-sender"},
		{TriageRequest{ID: id, Member: "m77"}, "member-unknown"},
		{TriageRequest{ID: id, Member: "m4", Rubrics: []string{"nope"}}, "rubric-unknown"},
	} {
		_, err := h.Assign(ctx, testActor, c.r)
		wantFailure(t, err, c.code)
	}
	r := must[Receipt](t)(h.Assign(ctx, testActor, TriageRequest{ID: id, Member: "m4", Rubrics: []string{"imagerie"}}))
	if r.Held != "" || r.Pathway != h.child {
		t.Fatalf("%+v", r)
	}
	m := h.message(r.Message)
	if m.Author.Member != "m4" || m.Author.Certainty != store.Sure || m.Author.CorrectedBy != testActor.Name || strings.Join(m.Rubrics(), " ") != "imagerie" {
		t.Errorf("%+v in %q", m.Author, m.Rubrics())
	}
	if got := h.relay(); boxes(got) != "cabinet moreau roux simon" || notices(got) != "" {
		t.Errorf("copies %q, notices %q", boxes(got), notices(got))
	}
	// Its timer is gone with it.
	h.clock.advance(72 * time.Hour)
	h.timers()
	if got := notices(h.relay()); got != "" {
		t.Errorf("notices %q", got)
	}
}

// Assigning asks what mail that was never held is asked.
func TestAssignIsRefused(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	other := h.second()
	id := string(h.holdOne())
	must[PathwayView](t)(h.ClosePathway(ctx, testActor, StatusChange{Pathway: string(other)}))
	_, err := h.Assign(ctx, testActor, TriageRequest{ID: id, Pathway: string(other), Member: "m1"})
	wantFailure(t, err, "pathway-status-closed")
	must[PathwayView](t)(h.ReopenPathway(ctx, testActor, StatusChange{Pathway: string(other)}))
	must[[]ConsentView](t)(h.WithdrawConsent(ctx, testActor, WithdrawRequest{Pathway: string(other)}))
	_, err = h.Assign(ctx, testActor, TriageRequest{ID: id, Pathway: string(other), Member: "m1"})
	wantFailure(t, err, "pathway-consent-withdrawn")
	if len(h.heldNow()) != 1 {
		t.Error("lost")
	}
}

// A decision for a pathway that cannot take mail now is not half taken.
func TestAssignWaitsForPathway(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	id := string(h.holdOne())
	must[PathwayView](t)(h.SuspendPathway(ctx, testActor, StatusChange{Pathway: string(h.child)}))
	_, err := h.Assign(ctx, testActor, TriageRequest{ID: id, Member: "m4"})
	wantFailure(t, err, "pathway-status-suspended")
	if held := h.heldNow(); len(held) != 1 || held[0].Reason != reasonUnknownSender {
		t.Errorf("%+v", held)
	}
	must[PathwayView](t)(h.ReopenPathway(ctx, testActor, StatusChange{Pathway: string(h.child)}))
	h.timers()
	if held := h.heldNow(); len(held) != 1 {
		t.Errorf("%+v", held)
	}
	must[Receipt](t)(h.Assign(ctx, testActor, TriageRequest{ID: id, Member: "m4"}))
}

// Whose the documents are was judged for the pathway the mail was sent to only.
func TestWhatADecisionSettles(t *testing.T) {
	held := &store.Held{Reason: reasonWrongPatient, Addressed: "aaa"}
	if s := settledBy(held, "aaa"); !slices.Contains(s, reasonWrongPatient) {
		t.Errorf("released where it was sent: %q", s)
	}
	if s := settledBy(held, "bbb"); slices.Contains(s, reasonWrongPatient) {
		t.Errorf("given to another pathway: %q", s)
	}
	for _, reason := range []string{reasonConsent, reasonSuspended, reasonUnknownSender} {
		held.Reason = reason
		if s := settledBy(held, "aaa"); slices.Contains(s, reason) {
			t.Errorf("%s is not a matter of opinion", reason)
		}
	}
}

func TestReject(t *testing.T) {
	h := newHouse(t)
	h.withDesk()
	ctx := context.Background()
	id := h.holdOne()
	h.relay()
	var blob store.Blob
	if err := h.store.View(ctx, func(v store.View) error {
		held, err := v.Held(id)
		if err == nil {
			blob = *held.Blob
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := h.Reject(ctx, testActor, TriageRequest{ID: string(id), Reason: "à envoyer au secrétariat"}); err != nil {
		t.Fatal(err)
	}
	got := h.relay()
	if notices(got) != "inconnu:not-transmitted" {
		t.Errorf("notices %q", notices(got))
	}
	if n := got["inconnu@chg.test"][0]; !strings.Contains(n.raw, "secr=C3=A9tariat") {
		t.Errorf("the reason is not told:\n%s", n.body)
	}
	if _, err := h.store.Open(ctx, blob); !errors.Is(err, store.ErrErased) {
		t.Errorf("its key was kept: %v", err)
	}
	wantFailure(t, h.Reject(ctx, testActor, TriageRequest{ID: string(id)}), "held-unknown")
	h.clock.advance(72 * time.Hour)
	h.timers()
	if got := notices(h.relay()); got != "" {
		t.Errorf("notices %q", got)
	}
}

// While suspended, mail waits; reopened, it goes by itself; closed, it is given
// up and its sender told.
func TestSuspendedMailFollowsItsPathway(t *testing.T) {
	for _, c := range []struct {
		name    string
		change  func(*house) error
		copies  string
		notices string
		why     string // for the sender
	}{
		{"reopened", func(h *house) error {
			_, err := h.ReopenPathway(context.Background(), testActor, StatusChange{Pathway: string(h.child)})
			return err
		}, allButRoux, "", ""},
		{"closed", func(h *house) error {
			_, err := h.ClosePathway(context.Background(), testActor, StatusChange{Pathway: string(h.child)})
			return err
		}, "", "pon:not-transmitted roux:not-transmitted", "est clos"},
		{"withdrawn", func(h *house) error {
			_, err := h.WithdrawConsent(context.Background(), testActor, WithdrawRequest{Pathway: string(h.child)})
			return err
		}, "", "pon:not-transmitted roux:not-transmitted", "a été retiré"},
	} {
		h := newHouse(t)
		h.withDesk()
		must[PathwayView](t)(h.SuspendPathway(context.Background(), testActor, StatusChange{Pathway: string(h.child)}))
		r, err := h.try(written{from: "roux@chu.test", to: string(h.child), id: "s1@chu.test", subject: "Bilan", text: "x"})
		if err != nil || r.Reason != reasonSuspended {
			t.Fatalf("%s: %+v, %v", c.name, r, err)
		}
		_, err = h.Release(context.Background(), testActor, TriageRequest{ID: string(r.Held)})
		wantFailure(t, err, "still-held-suspended")
		h.relay()
		if err := c.change(h); err != nil {
			t.Fatal(err)
		}
		h.timers()
		got := h.relay()
		if boxes(got) != c.copies || notices(got) != c.notices {
			t.Errorf("%s: copies %q, notices %q", c.name, boxes(got), notices(got))
		}
		if c.why != "" {
			if text := got["roux@chu.test"][0].text(t); !strings.Contains(text, c.why) || strings.Contains(text, "suspendu") {
				t.Errorf("%s: the sender reads\n%s", c.name, text)
			}
		}
		if held := h.heldNow(); len(held) != 0 {
			t.Errorf("%s: still held", c.name)
		}
	}
}

// RunTimers does by itself what is due, and ends with its context.
func TestRunTimers(t *testing.T) {
	h := newHouse(t)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- h.RunTimers(ctx) }()
	must[PathwayView](t)(h.SuspendPathway(ctx, testActor, StatusChange{Pathway: string(h.child)}))
	if _, err := h.try(written{from: "roux@chu.test", to: string(h.child), id: "s1@chu.test", subject: "Bilan", text: "x"}); err != nil {
		t.Fatal(err)
	}
	must[PathwayView](t)(h.ReopenPathway(ctx, testActor, StatusChange{Pathway: string(h.child)}))
	for deadline := time.Now().Add(20 * time.Second); len(h.heldNow()) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing was released")
		}
	}
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
