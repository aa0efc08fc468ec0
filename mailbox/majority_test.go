package mailbox

import (
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
)

// The clock of the house begins on 23 November 2026, 9 h.

// nearlyOfAge follows an adolescent, with a coordinator and a mother who has
// her consent (m2).
func (h *house) nearlyOfAge(birth string) store.PathwayCode {
	h.t.Helper()
	code := h.include("", "Renard", "Alix", birth)
	h.member(code, "Mme Inès Moreau", "idec", "moreau@chu.test", "PER", "CHU Caen")
	h.member(code, "Mme Renard", "parent", "renard@famille.test", "PER", "")
	must[[]ConsentView](h.t)(h.RecordConsent(h.t.Context(), testActor, ConsentRequest{Pathway: string(code), Kind: "oral", From: "mère", By: "IDEC", For: "m2"}))
	return code
}

func (h *house) stateOf(code store.PathwayCode, id string) string {
	h.t.Helper()
	for _, m := range must[[]MemberView](h.t)(h.Team(h.t.Context(), testActor, string(code), true)) {
		if m.Member == id {
			return m.State
		}
	}
	return ""
}

// restart has another process take over.
func (h *house) restart() {
	h.t.Helper()
	h.Hub = New(h.o)
	if err := h.Recover(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
	if err := h.reviewAges(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

// on lets the clock come to a day, 9 h, and gives the notices of that day.
func (h *house) on(day string) string {
	h.t.Helper()
	to, err := time.ParseInLocation(time.DateOnly, day, time.Local)
	if err != nil {
		h.t.Fatal(err)
	}
	h.clock.advance(to.Add(9 * time.Hour).Sub(h.clock.now()))
	h.timers()
	return notices(h.relay())
}

func TestComingOfAge(t *testing.T) {
	h := newHouse(t)
	h.openToFamilies()
	code := h.nearlyOfAge("2009-06-15") // 18 on 15 June 2027; 90 days before: 17 March
	plan := func(id string) {
		h.post(written{
			from: "moreau@chu.test", to: string(code), id: id + "@chu.test", subject: "Plan " + id,
			content: carrying("p.xml", cdaDoc{id: id, ins: "-", family: "RENARD", given: "ALIX", birth: "2009-06-15"}.xml()),
		})
	}
	mother := func() int { return len(h.relay()["renard@famille.test"]) }

	plan("a")
	if mother() != 1 {
		t.Fatal("before, the mother got nothing")
	}
	for _, day := range []struct{ on, want string }{
		{"2027-03-16", ""},
		{"2027-03-17", "moreau:of-age-soon"},
		{"2027-03-18", ""}, // once
	} {
		if got := h.on(day.on); got != day.want {
			t.Errorf("on %s: %q, want %q", day.on, got, day.want)
		}
	}
	h.restart()
	if got := h.on("2027-06-14"); got != "" || h.stateOf(code, "m2") != "active" {
		t.Errorf("the day before: %q, %s", got, h.stateOf(code, "m2"))
	}
	plan("b") // in the queue at midnight
	if got := h.on("2027-06-15"); got != "moreau:of-age" {
		t.Errorf("on the day: %q", got)
	}
	if s := h.stateOf(code, "m2"); s != "suspended" {
		t.Errorf("the mother is %s", s)
	}
	plan("c")
	if n := mother(); n != 0 {
		t.Errorf("on the day the mother got %d mails", n)
	}
	if view := must[ThreadView](t)(h.Thread(t.Context(), testActor, string(code), "m2")); len(view.Messages) != 0 {
		t.Errorf("she sees %d messages", len(view.Messages))
	}
	if got := h.on("2027-07-01"); got != "" {
		t.Errorf("later: %q", got)
	}
	// Whose consent it takes.
	consent := func(from string) {
		t.Helper()
		must[[]ConsentView](t)(h.RecordConsent(t.Context(), testActor, ConsentRequest{Pathway: string(code), Kind: "oral", From: from, By: "IDEC", For: "m2"}))
	}
	consent("mère")
	if s := h.stateOf(code, "m2"); s != "suspended" {
		t.Errorf("after the mother's own consent she is %s", s)
	}
	consent("Patient")
	if s := h.stateOf(code, "m2"); s != "active" {
		t.Errorf("after the patient's consent she is %s", s)
	}
	plan("d")
	if mother() != 1 {
		t.Error("the patient consented, and the mother got nothing")
	}
	must[[]ConsentView](t)(h.WithdrawConsent(t.Context(), testActor, WithdrawRequest{Pathway: string(code), For: "m2", By: "patient"}))
	plan("e")
	if mother() != 0 {
		t.Error("the patient withdrew, and the mother got mail")
	}
}

func TestComingOfAgeWhen(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(*testing.T, *house)
	}{
		{"the hub was down from the warning to the day", func(t *testing.T, h *house) {
			h.nearlyOfAge("2009-06-15")
			h.restart()
			if got := h.on("2027-08-01"); got != "moreau:of-age" {
				t.Errorf("%q", got)
			}
		}},
		{"a wrong clock did it too early", func(t *testing.T, h *house) {
			code := h.nearlyOfAge("2009-06-15")
			h.on("2031-01-01")
			if got := h.on("2027-01-01"); got != "" || h.stateOf(code, "m2") != "active" {
				t.Errorf("clock put right: %q, %s", got, h.stateOf(code, "m2"))
			}
			h.restart()
			if got := h.on("2027-03-20"); got != "moreau:of-age-soon" {
				t.Errorf("warned: %q", got)
			}
			if got := h.on("2027-06-15"); got != "moreau:of-age" {
				t.Errorf("on the day: %q", got)
			}
		}},
		{"included within the ninety days", func(t *testing.T, h *house) {
			code := h.include("", "Renard", "Alix", "2009-01-10")
			h.timers()
			if got := notices(h.relay()); got != "" {
				t.Errorf("before there is a team: %q", got)
			}
			h.member(code, "Mme Inès Moreau", "idec", "moreau@chu.test", "PER", "CHU Caen")
			h.timers()
			if got := notices(h.relay()); got != "moreau:of-age-soon" {
				t.Errorf("%q", got)
			}
		}},
		{"nobody ever coordinates", func(t *testing.T, h *house) {
			h.withDesk()
			h.include("", "Renard", "Alix", "2009-01-10")
			if got := h.on("2026-11-25"); got != "" {
				t.Errorf("at once: %q", got)
			}
			if got := h.on("2026-12-02"); got != "pon:of-age-soon" {
				t.Errorf("after a week: %q", got)
			}
		}},
		{"the birth date was wrong", func(t *testing.T, h *house) {
			code := h.nearlyOfAge("2009-06-15")
			h.on("2027-03-17")
			right := "2010-06-15"
			must[PathwayView](t)(h.UpdatePathway(t.Context(), testActor, PathwayUpdate{Pathway: string(code), BirthDate: &right}))
			if got := h.on("2027-06-15"); got != "" || h.stateOf(code, "m2") != "active" {
				t.Errorf("on the wrong day: %q", got)
			}
			if got := h.on("2028-03-17"); got != "moreau:of-age-soon" {
				t.Errorf("warned for the right one: %q", got)
			}
			wrong := "2008-06-15"
			must[PathwayView](t)(h.UpdatePathway(t.Context(), testActor, PathwayUpdate{Pathway: string(code), BirthDate: &wrong}))
			h.timers()
			if got := notices(h.relay()); got != "moreau:of-age" || h.stateOf(code, "m2") != "pending" {
				t.Errorf("corrected to be of age: %q, %s", got, h.stateOf(code, "m2"))
			}
		}},
		{"of age at inclusion", func(t *testing.T, h *house) {
			code := h.nearlyOfAge("2005-06-15")
			h.timers()
			if got := notices(h.relay()); got != "" {
				t.Errorf("told: %q", got)
			}
			if s := h.stateOf(code, "m2"); s != "pending" {
				t.Errorf("the mother is %s", s)
			}
		}},
		{"closed meanwhile, and opened again", func(t *testing.T, h *house) {
			code := h.nearlyOfAge("2009-06-15")
			must[PathwayView](t)(h.ClosePathway(t.Context(), testActor, StatusChange{Pathway: string(code)}))
			if got := h.on("2027-03-20"); got != "" {
				t.Errorf("closed: %q", got)
			}
			must[PathwayView](t)(h.ReopenPathway(t.Context(), testActor, StatusChange{Pathway: string(code)}))
			if got := h.on("2027-03-21"); got != "moreau:of-age-soon" {
				t.Errorf("opened again: %q", got)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) { c.do(t, newHouse(t)) })
	}
}
