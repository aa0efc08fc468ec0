package mailbox

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"github.com/relais-sante/relais/store"
)

const operatorBox = store.Address("coordination@gradeclic.test")

// collect takes a mail as the poller of an operator's box does.
func (h *house) collect(next Cursor, w written) (Receipt, error) {
	h.t.Helper()
	env := Envelope{
		MailFrom: store.NewAddress(w.from), Via: ViaOperator, Received: h.clock.now(),
		Peer: Peer{Where: "127.0.0.1:993", SpeaksFor: func(string) bool { return true }},
	}
	r, err := h.Recipient(context.Background(), &env, w.to+"@"+testDomain)
	if err != nil {
		return Receipt{}, err
	}
	env.Rcpts = append(env.Rcpts, r)
	env.Fetched = fetched(next, w.bytes())
	return h.Intake(context.Background(), env, strings.NewReader(w.bytes()))
}

func fetched(next Cursor, text string) *Fetched {
	next.Box, next.Folder = operatorBox, "INBOX"
	return &Fetched{Next: next, Digest: func() [32]byte { return sha256.Sum256([]byte(text)) }}
}

func (h *house) cursor() Cursor {
	h.t.Helper()
	c, err := h.BoxCursor(context.Background(), operatorBox, "INBOX")
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

// Whatever becomes of a mail, the cursor moves in the same commit; where nothing
// is kept it stays.
func TestCursorMovesWithTheMail(t *testing.T) {
	h := newHouse(t)
	if c := h.cursor(); c.Validity != 0 || c.UID != 0 {
		t.Fatalf("before anything: %+v", c)
	}
	code := string(h.child)
	uid := uint32(0)
	take := func(w written) Receipt {
		t.Helper()
		uid++
		r, err := h.collect(Cursor{Validity: 7, UID: uid, Pending: []PendingMark{{UID: uid}}}, w)
		if err != nil {
			t.Fatal(err)
		}
		if c := h.cursor(); c.Validity != 7 || c.UID != uid || len(c.Pending) != 1 || c.Pending[0].UID != uid {
			t.Errorf("after mail %d: %+v", uid, c)
		}
		return r
	}
	first := written{from: "roux@chu.test", to: code, id: "un@chu.test", subject: "Sortie", text: "Qui passe mardi ?"}
	if r := take(first); r.Message == "" || r.Duplicate {
		t.Errorf("filed: %+v", r)
	}
	again := first
	again.header = []string{"Received: by mx2.chu.test; Mon, 23 Nov 2026 09:01:00 +0100"}
	if r := take(again); !r.Duplicate { // other bytes, the same mail
		t.Errorf("again: %+v", r)
	}
	if r := take(written{from: "inconnu@chu.test", to: code, id: "deux@chu.test", subject: "Sortie", text: "Bonjour"}); r.Held == "" {
		t.Errorf("held: %+v", r)
	}
	if r := take(written{from: "moreau@chu.test", to: code, id: "trois@chu.test", subject: "Absence", header: []string{"Auto-Submitted: auto-replied"}, text: "Absente"}); r.Message == "" {
		t.Errorf("recorded: %+v", r)
	}
	if err := h.SaveCursor(context.Background(), Cursor{Box: operatorBox, Folder: "INBOX", Validity: 7, UID: uid}); err != nil {
		t.Fatal(err)
	}
	if c := h.cursor(); c.UID != uid || len(c.Pending) != 0 {
		t.Errorf("after marking: %+v", c)
	}
	bare := written{from: "roux@chu.test", to: code, id: "quatre@chu.test", subject: "Sortie", text: "une\x0d ligne"}
	var no *Refusal
	if _, err := h.collect(Cursor{Validity: 7, UID: 99}, bare); !errors.As(err, &no) || h.cursor().UID != uid {
		t.Errorf("refused with %v, cursor %+v", err, h.cursor())
	}
}

// A box that counts anew shows everything again: the very bytes are known,
// though they have neither Message-ID nor date.
func TestTakenOnceThoughTheBoxCountsAnew(t *testing.T) {
	h := newHouse(t)
	w := written{from: "roux@chu.test", to: string(h.child), content: "From: <roux@chu.test>\nSubject: Vu\n\nVu, merci.\n"}
	text := strings.ReplaceAll(w.content, "\n", "\r\n")
	take := func(next Cursor, text string) Receipt {
		t.Helper()
		env := Envelope{
			MailFrom: "roux@chu.test", Via: ViaOperator, Fetched: fetched(next, text),
			Peer: Peer{SpeaksFor: func(string) bool { return true }},
		}
		r, err := h.Recipient(context.Background(), &env, string(h.child)+"@"+testDomain)
		if err != nil {
			t.Fatal(err)
		}
		env.Rcpts = append(env.Rcpts, r)
		receipt, err := h.Intake(context.Background(), env, strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return receipt
	}
	if r := take(Cursor{Validity: 1, UID: 4}, text); r.Duplicate || r.Message == "" {
		t.Fatalf("first: %+v", r)
	}
	if r := take(Cursor{Validity: 2, UID: 1}, text); !r.Duplicate {
		t.Errorf("after the box counts anew: %+v", r)
	}
	if c := h.cursor(); c.Validity != 2 || c.UID != 1 {
		t.Errorf("cursor %+v", c)
	}
	if r := take(Cursor{Validity: 2, UID: 2}, "Received: by mx2\r\n"+text); r.Duplicate {
		t.Errorf("a mail that says the same, but is another: %+v", r)
	}
}

// The desk hears once of what could not be taken.
func TestSetAsideIsToldOnce(t *testing.T) {
	h := newHouse(t)
	h.o.Programmes().ByID("pon").Desk = []string{"bureau@reseau.test"}
	aside := func(next Cursor, reason RefusalReason, text string) {
		t.Helper()
		err := h.SetAside(context.Background(), Aside{
			Fetched: *fetched(next, text), Reason: reason, Programme: "pon", Arrived: h.clock.now(), Size: 41 << 20, Folder: "Non pris",
		})
		if err != nil {
			t.Fatal(err)
		}
		if c := h.cursor(); c.UID != next.UID || c.Validity != next.Validity {
			t.Errorf("cursor %+v", c)
		}
	}
	aside(Cursor{Validity: 1, UID: 9, Pending: []PendingMark{{UID: 9, Aside: true}}}, RefuseTooBig, "a")
	got := h.relay()
	if n := notices(got); n != "bureau:set-aside" {
		t.Fatalf("told %q", n)
	}
	text := got["bureau@reseau.test"][0].raw
	for _, want := range []string{"coordination@gradeclic.test", "Non pris", "41"} {
		if !strings.Contains(text, want) {
			t.Errorf("the notice does not say %q:\n%s", want, text)
		}
	}
	aside(Cursor{Validity: 2, UID: 1}, RefuseTooBig, "a") // the box counts anew
	aside(Cursor{Validity: 2, UID: 2}, RefuseLoop, "b")   // the hub's own
	if n := notices(h.relay()); n != "" {
		t.Errorf("told again: %q", n)
	}
	aside(Cursor{Validity: 2, UID: 3}, "", "c")
	if n := notices(h.relay()); n != "bureau:set-aside" {
		t.Errorf("of a fault of the hub: %q", n)
	}
}
