package mailbox

import (
	"testing"

	"github.com/relais-sante/relais/store"
)

// Twins share a family name and a birth date: of the two only the given name
// says that the other one is meant.
func TestNamesOfTwins(t *testing.T) {
	for _, c := range []struct{ subject, reason string }{
		{"Caron Zoé, née le 09/03/2016", ""},
		{"CARON 09/03/2016", ""},
		{"Zélie Caron", reasonConflicting},
		{"Zoé et Zélie Caron", reasonConflicting},
		{"Zélie, 09/03/2016", ""}, // no family name
		{"Caron Paul 01/02/2012", reasonConflicting},
		{"Caron 01/02/2012", reasonConflicting},
	} {
		t.Run(c.subject, func(t *testing.T) {
			h := newHouse(t)
			zoe := h.include("", "Caron", "Zoé", "2016-03-09")
			h.member(zoe, "Dr Anne Roux", "oncologue", "roux@chu.test", "PER", "CHU Caen")
			for _, other := range [][2]string{{"Zélie", "2016-03-09"}, {"Paul", "2012-02-01"}} {
				h.member(h.include("", "CARON", other[0], other[1]), "Dr Anne Roux", "oncologue", "roux@chu.test", "PER", "CHU Caen")
			}
			r, err := h.try(written{from: "roux@chu.test", to: string(zoe), id: "n1@chu.test", subject: c.subject, text: "x"})
			if err != nil || r.Reason != c.reason || (r.Message == store.MessageID("")) != (c.reason != "") {
				t.Errorf("%+v, %v, want %q", r, err, c.reason)
			}
		})
	}
}

// An answer to a copy of what was moved to another child's pathway, which it
// may quote, is nobody's to file but a human's.
func TestAnswerToWhatWasMoved(t *testing.T) {
	h := newHouse(t)
	other := h.second()
	h.relay()
	id := h.post(written{from: "roux@chu.test", to: string(h.child), id: "m1@chu.test", subject: "Compte rendu", text: "Tom va bien."})
	first := h.relay()["moreau@chu.test"][0]
	must[MessageView](t)(h.MoveMessage(t.Context(), testActor, MessageRequest{Message: string(id), Pathway: string(other)}))
	r, err := h.try(answer(first, "moreau@chu.test", "b1@chu.test", "Merci."))
	if err != nil || r.Reason != reasonConflicting {
		t.Errorf("to the old pathway: %+v, %v", r, err)
	}
	h.post(written{from: "roux@chu.test", to: string(other), id: "b2@chu.test", subject: "Re: Compte rendu", text: "Merci.", header: []string{"In-Reply-To: <m1@chu.test>"}})
}
