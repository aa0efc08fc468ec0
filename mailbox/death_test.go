package mailbox

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
)

// busy has everything in the queue that could leave by itself: a held message
// and its notices, an activity notice, a receipt, a failure yet to be told, and
// a plan for family and team.
func (h *house) busy() {
	h.t.Helper()
	h.openToFamilies()
	h.family()
	h.withDesk()
	code := string(h.child)
	h.post(written{from: "roux@chu.test", to: code, id: "f1@chu.test", subject: "Échec", text: "x"})
	h.relayWith(func(j Job) Outcome {
		if j.Delivery.Mailbox == "bernard@kine.test" {
			return Outcome{Kind: OutcomePermanent, Code: 550, Enhanced: "5.7.1"}
		}
		return Outcome{Kind: OutcomeTemporary, Code: 451}
	})
	h.holdOne()
	h.post(written{
		from: "roux@chu.test", to: code, id: "p1@chu.test", subject: "Plan", content: carrying("p.xml", cdaDoc{id: "p"}.xml()),
		header: []string{"Disposition-Notification-To: <roux@chu.test>"},
	})
}

func TestClosingForDeath(t *testing.T) {
	for _, q := range []StatusChange{{Deceased: true}, {Reason: "décès"}, {Reason: "Death"}, {Reason: "Décès de l'enfant"}} {
		t.Run(q.Reason, func(t *testing.T) {
			h := newHouse(t)
			h.busy()
			q.Pathway = string(h.child)
			view := must[PathwayView](t)(h.ClosePathway(t.Context(), testActor, q))
			if !view.Deceased || view.Status != "closed" {
				t.Errorf("%+v", view)
			}
			// At once, and whatever time passes or process takes over.
			for range 3 {
				got := h.relay()
				if n := notices(got); n != "" {
					t.Errorf("notices %q", n)
				}
				if f := toFamily(got); f != "" {
					t.Errorf("the family got mail: %q", f)
				}
				h.clock.advance(30 * time.Hour)
				h.restart()
				h.timers()
			}
			if _, err := h.try(written{from: "mere@famille.test", to: string(h.child), subject: "x", text: "x"}); err == nil {
				t.Error("mail is taken")
			}
			if got := h.heldNow(); len(got) != 1 {
				t.Errorf("%d messages held, want the one to stay for a human", len(got))
			}
		})
	}
}

// What professionals wrote to each other before still arrives.
func TestAfterADeath(t *testing.T) {
	h := newHouse(t)
	h.busy()
	id := h.post(written{from: "moreau@chu.test", to: string(h.child), id: "l1@chu.test", subject: "Lettre", text: "x"})
	must[PathwayView](t)(h.ClosePathway(t.Context(), testActor, StatusChange{Pathway: string(h.child), Deceased: true}))
	h.clock.advance(time.Minute)
	got := h.relay()
	if len(got["roux@chu.test"]) == 0 || len(got["simon@chu.test"]) < 2 {
		t.Errorf("professionals got %s", boxes(got))
	}
	// By hand nothing reaches the family either.
	for _, d := range must[[]QueueView](t)(h.Queue(t.Context(), testActor, QueueFilter{})) {
		_, _ = h.RetryDelivery(t.Context(), testActor, QueueRequest{ID: d.ID})
	}
	must[MessageView](t)(h.Retract(t.Context(), testActor, MessageRequest{Message: string(id)}))
	got = h.relay()
	if f := toFamily(got); f != "" {
		t.Errorf("the family got mail: %q", f)
	}
	if !strings.Contains(notices(got), "roux:retracted") {
		t.Errorf("a person withdrew a message, and %q", notices(got))
	}
	// Opened again, closed for death by mistake: what waits is announced.
	must[PathwayView](t)(h.ReopenPathway(t.Context(), testActor, StatusChange{Pathway: string(h.child), Reason: "erreur"}))
	h.clock.advance(time.Hour)
	h.timers()
	if n := notices(h.relay()); !strings.Contains(n, "pon:held") {
		t.Errorf("opened again: %q", n)
	}
}

func TestDeathElsewhere(t *testing.T) {
	h := newHouse(t)
	other := must[PathwayView](t)(h.Include(t.Context(), testActor, IncludeRequest{
		Programme: "nutripac", INS: "279035121518989", INSOID: "1.2.250.1.213.1.4.10", FamilyName: "Martin", GivenName: "Léa",
		BirthDate: "2015-03-02", Sex: "F", Consent: "oral", ConsentFrom: "mère",
	}))
	view := must[PathwayView](t)(h.ClosePathway(t.Context(), testActor, StatusChange{Pathway: string(h.child), Deceased: true}))
	if !slices.Contains(view.Warnings, warnElsewhere+" "+other.ID) {
		t.Errorf("warnings %q", view.Warnings)
	}
	_, err := h.ClosePathway(t.Context(), testActor, StatusChange{Pathway: other.ID, Deceased: true, FIN: true})
	wantFailure(t, err, "close-fin-death")
}

// The last mail to a citizen has the two signs of its end, and comes from where
// the exchange came from.
func TestEndOfExchange(t *testing.T) {
	check := func(t *testing.T, h *house, ms []arrived) {
		t.Helper()
		if len(ms) != 1 {
			t.Fatalf("%d mails", len(ms))
		}
		m := ms[0]
		for field, want := range map[string]string{
			"subject": "[FIN]", "x-mss-mes": "FIN", "reply-to": h.replyAddress(h.child, childBox), "auto-submitted": "auto-generated",
		} {
			if m.header[field] != want {
				t.Errorf("%s: %q, want %q", field, m.header[field], want)
			}
		}
		if !strings.Contains(m.header["from"], "<"+string(h.child)+"@"+testDomain+">") || m.delivery.Sender != h.bounceAddress(h.child, childBox) {
			t.Errorf("from %q, envelope %q", m.header["from"], m.delivery.Sender)
		}
	}
	t.Run("close", func(t *testing.T) {
		h := newHouse(t)
		h.family()
		view := must[PathwayView](t)(h.ClosePathway(t.Context(), testActor, StatusChange{Pathway: string(h.child), FIN: true}))
		if len(view.Warnings) != 0 {
			t.Errorf("warnings %q", view.Warnings)
		}
		got := h.relay()
		check(t, h, got[childBox])
		if n := notices(got); n != strings.TrimSuffix(childBox, "@patient.mssante.fr")+":fin" {
			t.Errorf("notices %q", n)
		}
	})
	t.Run("remove", func(t *testing.T) {
		h := newHouse(t)
		h.family()
		_, err := h.RemoveMember(t.Context(), testActor, MemberRemoval{Pathway: string(h.child), Member: "m8", FIN: true})
		wantFailure(t, err, "fin-no-citizen")
		must[MemberView](t)(h.RemoveMember(t.Context(), testActor, MemberRemoval{Pathway: string(h.child), Member: "m9", FIN: true}))
		check(t, h, h.relay()[childBox])
	})
	t.Run("nobody to tell", func(t *testing.T) {
		h := newHouse(t)
		view := must[PathwayView](t)(h.ClosePathway(t.Context(), testActor, StatusChange{Pathway: string(h.child), FIN: true}))
		if !slices.Contains(view.Warnings, warnNoCitizen) {
			t.Errorf("warnings %q", view.Warnings)
		}
	})
	// What a professional writes keeps its meaning.
	t.Run("by a professional", func(t *testing.T) {
		h := newHouse(t)
		h.openToFamilies()
		h.family()
		h.post(written{
			from: "roux@chu.test", to: string(h.child), id: "f1@chu.test", subject: "[FIN]", header: []string{"X-MSS-MES: FIN"},
			content: carrying("p.xml", cdaDoc{}.xml()),
		})
		got := h.relay()
		for box, subject := range map[store.Address]string{childBox: "[FIN]", "moreau@chu.test": "[PON " + string(h.child) + " L.M.] [FIN]"} {
			if len(got[box]) != 1 || got[box][0].header["subject"] != subject || got[box][0].header["x-mss-mes"] != "FIN" {
				t.Errorf("%s…: %d mails, %+v", box[:4], len(got[box]), got[box])
			}
		}
	})
}
