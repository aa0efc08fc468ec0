package e2e

import (
	"fmt"
	"strings"
)

// operatorAway: one operator stops; the other's boxes get their mail at once,
// its own when it is back, each once.
func operatorAway(w *world) {
	const posts = 4
	m := w.newTeam(3, "panne")
	w.town.Stop()
	for i := range posts {
		w.swaks(m.doctor, m.address(), letter(m.doctor, m.address(), fmt.Sprintf("Panne %d", i), "", "Bonjour.", ""))
	}
	eventually(w.t, patience, "the operator that is there has its copies", func() bool { return len(w.box(m.coordinator)) == posts })
	eventually(w.t, patience, "the others were tried", func() bool {
		a, _ := w.hub.delivery(m.code, m.ward)
		b, _ := w.hub.delivery(m.code, m.practice)
		return a.LastError != "" && b.LastError != ""
	})
	if d, _ := w.hub.delivery(m.code, m.ward); d.State == "sent" || d.State == "failed" {
		w.t.Errorf("a copy for the operator that is away is %s", d.State)
	}
	w.town.Start()
	eventually(w.t, patience, "its copies arrive", func() bool { return len(w.box(m.ward)) >= posts && len(w.box(m.practice)) >= posts })
	w.settled()
	for _, box := range []string{m.coordinator, m.ward, m.practice} {
		seen := map[string]int{}
		for _, c := range w.box(box) {
			seen[c.Get("X-Relais-Delivery")]++
		}
		if len(seen) != posts || len(w.box(box)) != posts {
			w.t.Errorf("%d copies of %d posts at %s", len(w.box(box)), posts, box)
		}
	}
}

// boxesThatAreNot: one the operator does not know, refused at RCPT; one that it
// takes mail for and its store does not have, so that it sends a bounce
// afterwards. Both are told to the author, once each, and marked.
func boxesThatAreNot(w *world) {
	m := w.newTeam(4, "retour")
	unknown, mute := "inconnue@"+atBocage, "muette@"+atBocage
	w.hub.member(m.code, "Mme Odile Faure", "infirmier", unknown, "PER")
	w.hub.member(m.code, "M. Luc Bernard", "kinesitherapeute", mute, "PER")
	w.swaks(m.doctor, m.address(), letter(m.doctor, m.address(), "Bilan", "", "Bonjour.", ""))
	names := map[string]string{unknown: "Faure", mute: "Bernard"}
	for box, name := range names {
		notice := w.awaitMail(m.doctor, "the author is told of "+name, notReached(name))
		if got := notice.Get("Return-Path"); got != "<>" {
			w.t.Errorf("a notice with sender %s", got)
		}
		var marked struct {
			Code string `json:"marked_code"`
		}
		w.hub.ask(&marked, "mailbox", "show", box)
		if marked.Code != "5.1.1" {
			w.t.Errorf("the box %s is marked %q", box, marked.Code)
		}
		if d, _ := w.hub.delivery(m.code, box); d.State != "failed" {
			w.t.Errorf("the copy for %s is %s", box, d.State)
		}
	}
	w.settled()
	for _, name := range names {
		n := 0
		for _, a := range w.box(m.doctor) {
			if notReached(name)(a) {
				n++
			}
		}
		if n != 1 {
			w.t.Errorf("the author is told %d times of %s", n, name)
		}
	}
	for _, box := range []string{m.coordinator, m.ward, m.practice} {
		if n := len(w.box(box)); n != 1 {
			w.t.Errorf("%d copies at %s", n, box)
		}
	}
	// The bounce came by mutual TLS, with an empty sender.
	if !strings.Contains(w.town.Log(), "status=bounced") || !strings.Contains(w.town.Log(), "sender non-delivery notification") {
		w.t.Error("the operator sent no bounce")
	}
}

// notReached tells a notice that a person was not reached.
func notReached(name string) func(arrived) bool {
	return func(a arrived) bool {
		return a.Get("X-Relais-Kind") == "not-delivered" && strings.Contains(string(a.body), name)
	}
}

// delivered is the state of a copy.
type delivered struct {
	State, LastError string
	Attempts         int
}

// delivery is the last one for a box in a pathway.
func (h *hub) delivery(code, box string) (d delivered, ok bool) {
	h.t.Helper()
	for _, m := range h.thread(code).Messages {
		for _, one := range m.Deliveries {
			if one.Mailbox == box {
				d, ok = delivered{one.State, one.LastError, one.Attempts}, true
			}
		}
	}
	return d, ok
}
