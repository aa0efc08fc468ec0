package mailbox

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
)

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// keeping is a house with retention as the law has it.
func keeping(t *testing.T) *house {
	h := newHouse(t)
	h.o.Retention = RetentionTimes{Technical: year, Record: 20 * year, UntilAge: 28}
	h.days(4)
	return h
}

// days lets days pass, with the timers of each.
func (h *house) days(n int) {
	h.t.Helper()
	for range n {
		h.clock.advance(day)
		if err := h.planRetention(h.t.Context()); err != nil {
			h.t.Fatal(err)
		}
		h.timers()
	}
}

// jump lets much time pass at once: a stop, or a clock that went wrong.
func (h *house) jump(d time.Duration) {
	h.t.Helper()
	h.clock.advance(d - day)
	h.days(1)
}

func (h *house) count(f store.Family, action string) int {
	h.t.Helper()
	n := 0
	for _, v := range must[AuditPage](h.t)(h.Audit(h.t.Context(), Actor{Name: "test", Where: "test"}, AuditQuery{Family: string(f), Action: action})).Traces {
		if v.Family == string(f) {
			n++
		}
	}
	return n
}

func (h *house) technical(n int) {
	h.t.Helper()
	for range n {
		must[[]BoxView](h.t)(h.Boxes(h.t.Context(), testActor, "", 0))
	}
}

// Technical traces go after their year, each purge is traced, and the chain
// still verifies; those of a pathway stay as long as it does.
func TestTechnicalTracesGo(t *testing.T) {
	h := keeping(t)
	h.technical(3)
	h.jump(200 * day)
	h.technical(2)
	before := h.count(store.Application, "")
	h.jump(170 * day)
	h.days(4)
	if n := h.count(store.Technical, "mailbox.listed"); n != 2 {
		t.Errorf("%d are left", n)
	}
	if n := h.count(store.Technical, "audit.purged"); n != 1 {
		t.Errorf("%d purges are traced", n)
	}
	// But for one about who is of age, and the two questions of this test.
	if after := h.count(store.Application, ""); after < before {
		t.Errorf("%d application traces of %d are left", after, before)
	}
	v := must[RetentionView](t)(h.Retention(t.Context()))
	if gone := v.Purged["technical"]; gone.Count != 3 || v.PausedUntil != nil || v.OldestTechnical == nil || v.OldestApplication == nil {
		t.Errorf("%+v", v)
	}
	// Many go in batches, one run after the other, each traced.
	if err := h.change(t.Context(), func(tx store.Tx) error {
		for range 2*purgeBatch + 7 {
			if err := h.trace(tx, testActor, "mailbox.listed", "", "", outcomeDone, nil); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	h.jump(2 * year)
	h.days(4)
	if n := h.count(store.Technical, "mailbox.listed"); n != 0 {
		t.Errorf("%d are left", n)
	}
	if n := h.count(store.Technical, "audit.purged"); n != 3 {
		t.Errorf("%d purges are traced", n)
	}
}

// Nothing is purged by a clock that jumped, until it has gone on for days; one
// put right again loses nothing.
func TestNothingGoesByAWrongClock(t *testing.T) {
	h := keeping(t)
	h.technical(3)
	h.jump(30 * year)
	h.days(2)
	if n := h.count(store.Technical, "mailbox.listed"); n != 3 {
		t.Fatalf("%d are left after a jump", n)
	}
	if v := must[RetentionView](t)(h.Retention(t.Context())); v.PausedUntil == nil {
		t.Error("nobody is told that purges pause")
	}
	h.clock.advance(-30*year - 2*day)
	h.days(10) // the daily look, put off by 30 years, comes all the same
	if n := h.count(store.Technical, "mailbox.listed"); n != 3 {
		t.Fatalf("%d are left once the clock was put right", n)
	}
	h.jump(2 * year)
	h.days(4)
	if n := h.count(store.Technical, "mailbox.listed"); n != 0 {
		t.Errorf("%d are left after two years", n)
	}
}

// Application traces follow the record: those about a pathway that is here stay,
// those about one that is erased go after their time.
func TestApplicationTracesFollowTheRecord(t *testing.T) {
	h := keeping(t)
	if err := h.change(t.Context(), func(tx store.Tx) error {
		return h.trace(tx, testActor, "account.listed", "", "", outcomeDone, nil)
	}); err != nil {
		t.Fatal(err)
	}
	h.jump(21 * year)
	h.days(4)
	if n := h.count(store.Application, "pathway.included"); n != 1 {
		t.Errorf("%d inclusions are left while the pathway is here", n)
	}
	if err := h.store.DropKey(t.Context(), store.Owner{Kind: store.OwnedByPathway, ID: string(h.child)}); err != nil {
		t.Fatal(err)
	}
	h.days(1)
	if n := h.count(store.Application, "pathway.included") + h.count(store.Application, "account.listed"); n != 0 {
		t.Errorf("%d are left after the erasure", n)
	}
	if n := h.count(store.Application, "audit.purged"); n != 1 {
		t.Errorf("%d purges are traced", n)
	}
}

// A closed pathway is kept for 20 years, a child's until the 28th birthday; then
// people are asked, each year again, and reopening ends it.
func TestClosedPathwayIsAskedAbout(t *testing.T) {
	for _, c := range []struct {
		name, birth string
		until       time.Duration // from the closing
	}{
		{"a child", "2024-11-27", 26 * year}, // 28 in 2052
		{"a grown child", "2009-01-01", 20 * year},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := openHouse(t)
			h.o.Retention = RetentionTimes{Technical: year, Record: 20 * year, UntilAge: 28}
			code := h.include("", "Martin", "Léa", c.birth)
			h.member(code, "Mme Inès Moreau", "idec", "moreau@chu.test", "PER", "CHU Caen")
			h.days(4)
			must[PathwayView](t)(h.ClosePathway(t.Context(), testActor, StatusChange{Pathway: string(code)}))
			asked := func() int {
				n := 0
				for _, m := range h.relay()["moreau@chu.test"] {
					if m.header["x-relais-kind"] == noticeKept {
						n++
						if !strings.Contains(m.raw, string(code)) || strings.Contains(m.raw, "Martin") {
							t.Errorf("notice: %s", m.raw)
						}
					}
				}
				return n
			}
			h.jump(c.until - 20*day)
			h.days(5)
			if n := asked(); n != 0 {
				t.Fatalf("asked %d times too early", n)
			}
			h.days(30)
			if n := asked(); n != 1 {
				t.Fatalf("asked %d times", n)
			}
			if !slices.Contains(h.traced(code), "retention.over") {
				t.Error("not traced")
			}
			h.jump(year)
			h.days(5)
			if n := asked(); n != 1 {
				t.Errorf("a year later asked %d times", n)
			}
			must[PathwayView](t)(h.ReopenPathway(t.Context(), testActor, StatusChange{Pathway: string(code)}))
			if err := h.view(t.Context(), func(v store.View) error { _, err := v.Item(keptItem(code)); return err }); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("after reopening: %v", err)
			}
		})
	}
}

// Notices about no pathway go with the technical traces; those of a pathway
// stay with it.
func TestOldNoticesGo(t *testing.T) {
	h := keeping(t)
	r, err := h.try(written{from: "inconnu@chu.test", to: string(h.child), subject: "x", text: "y"})
	if err != nil || r.Held == "" {
		t.Fatal(r, err)
	}
	programme, err := h.try(written{from: "inconnu@chu.test", to: "pon", subject: "x2", text: "y2"})
	if err != nil || programme.Held == "" {
		t.Fatal(programme, err)
	}
	h.settleNotices()
	h.relay()
	h.days(5)
	h.relay()
	h.jump(2 * year)
	h.days(4)
	if gone := must[RetentionView](t)(h.Retention(t.Context())).Purged["notices"]; gone.Count == 0 {
		t.Errorf("no notice went: %+v", gone)
	}
	if n := h.count(store.Technical, "retention.removed"); n != 1 {
		t.Errorf("%d purges are traced", n)
	}
}

// What was taken from an operator's box is known as long as the box may show it
// again: counted from when it was last seen there.
func TestTakenIsForgotten(t *testing.T) {
	h := keeping(t)
	h.o.Retention.Taken = 400 * day
	w := func(n string) written {
		return written{from: "roux@chu.test", to: string(h.child), id: n + "@chu.test", subject: "Sortie", text: n}
	}
	take := func(c Cursor, w written) {
		t.Helper()
		if _, err := h.collect(c, w); err != nil {
			t.Fatal(err)
		}
	}
	known := func(w written) bool {
		t.Helper()
		var known bool
		if err := h.view(t.Context(), func(v store.View) (err error) {
			known, err = v.Taken(string(operatorBox), fetched(Cursor{}, w.bytes()).Digest())
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return known
	}
	old, still := w("ancien"), w("encore")
	take(Cursor{Validity: 1, UID: 1}, old)
	take(Cursor{Validity: 1, UID: 2}, still)
	h.jump(300 * day)
	take(Cursor{Validity: 2, UID: 1}, still) // the box counts anew
	h.days(4)
	if !known(old) || !known(still) {
		t.Fatal("forgotten too early")
	}
	h.jump(97 * day)
	h.days(4)
	if known(old) || !known(still) {
		t.Errorf("after 400 days: known %t, the one that was seen again %t", known(old), known(still))
	}
	if gone := must[RetentionView](t)(h.Retention(t.Context())).Purged["taken"]; gone.Count != 1 {
		t.Errorf("%+v", gone)
	}
	if n := h.count(store.Technical, "retention.removed"); n != 1 {
		t.Errorf("%d purges are traced", n)
	}
}
