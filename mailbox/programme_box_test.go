package mailbox

import (
	"testing"
)

// A mail to the programme's own address that waits for a pathway goes on with
// it, as mail to the pathway's address does.
func TestProgrammeBoxIsReleased(t *testing.T) {
	h := newHouse(t)
	h.withDesk()
	status := StatusChange{Pathway: string(h.child), Reason: "vacances"}
	if _, err := h.SuspendPathway(t.Context(), testActor, status); err != nil {
		t.Fatal(err)
	}
	r, err := h.try(written{from: "roux@chu.test", to: "pon", id: "p1@chu.test", subject: "[PON " + string(h.child) + " L.M.] Bilan", text: "Bonjour"})
	if err != nil || r.Reason != "suspended" {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, err := h.ReopenPathway(t.Context(), testActor, status); err != nil {
		t.Fatal(err)
	}
	h.settleNotices()
	if got := boxes(h.relay()); got != "bernard cabinet moreau simon" {
		t.Errorf("released to %q", got)
	}
}
