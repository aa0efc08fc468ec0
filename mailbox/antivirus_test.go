package mailbox

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

// scanner objects to "harmful", and is away when told.
type scanner struct {
	fault error
	seen  []string
}

func (s *scanner) Scan(_ context.Context, r io.Reader) (bool, string, error) {
	b, err := io.ReadAll(r)
	if err != nil || s.fault != nil {
		return false, "", errors.Join(err, s.fault)
	}
	s.seen = append(s.seen, string(b))
	return strings.Contains(string(b), "harmful"), "Test.Harmful-1", nil
}

// kept counts what the store holds.
func (h *house) kept() (messages, held, queued int64) {
	h.t.Helper()
	s, err := h.store.Stats(context.Background())
	if err != nil {
		h.t.Fatal(err)
	}
	return s.Messages, s.Held, s.Queued
}

// infected lists the traces of refused mail.
func (h *house) infected() (found []*store.Trace) {
	h.t.Helper()
	err := h.store.View(context.Background(), func(v store.View) error {
		all, err := v.Traces(store.Application, 0, 0)
		for _, t := range all {
			if t.Action == "message.infected" {
				found = append(found, t)
			}
		}
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return found
}

func refusedFor(err error) RefusalReason {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.Reason
	}
	return ""
}

// Infected mail is refused and traced, and leaves nothing else behind.
func TestInfected(t *testing.T) {
	h := newHouse(t)
	s := &scanner{}
	h.o.Scanner = s
	to := string(h.child)
	_, err := h.try(written{from: "roux@chu.test", to: to, id: "1@chu.test", subject: "Objet tenu secret", text: "harmful"})
	if refusedFor(err) != RefuseInfected {
		t.Fatalf("got %v", err)
	}
	if messages, held, queued := h.kept(); messages+held+queued != 0 {
		t.Errorf("kept: %d messages, %d held, %d copies", messages, held, queued)
	}
	traces := h.infected()
	if len(traces) != 1 || traces[0].Pathway != h.child || traces[0].Outcome != "refused" || traces[0].Detail["signature"] != "Test.Harmful-1" {
		t.Errorf("traces %+v", traces)
	}
	// The same mail, cleaned, is a new one.
	clean := written{from: "roux@chu.test", to: to, id: "1@chu.test", subject: "Objet", text: "bonjour"}
	h.post(clean)
	if last := s.seen[len(s.seen)-1]; last != clean.bytes() {
		t.Errorf("scanned %q, not what was sent", last)
	}
}

// While the antivirus is away nothing is taken and nothing is lost: the sender's
// server tries again.
func TestAntivirusAway(t *testing.T) {
	h := newHouse(t)
	const away = journal.Fault("away")
	s := &scanner{fault: away}
	h.o.Scanner = s
	mail := written{from: "roux@chu.test", to: string(h.child), id: "1@chu.test", subject: "Essai", text: "bonjour"}
	_, err := h.try(mail)
	if refusedFor(err) != RefuseUnscanned || !errors.Is(err, away) {
		t.Errorf("got %v", err)
	}
	s.fault = &Refusal{Reason: RefuseTooBig} // for good, says the scanner
	if _, err := h.try(mail); refusedFor(err) != RefuseTooBig {
		t.Errorf("got %v", err)
	}
	if messages, held, queued := h.kept(); messages+held+queued != 0 {
		t.Errorf("kept: %d messages, %d held, %d copies", messages, held, queued)
	}
	s.fault = nil
	r, err := h.try(mail)
	if err != nil || r.Duplicate || r.Message == "" {
		t.Errorf("tried again: %+v, %v", r, err)
	}
}

// A mail that is not taken anyway is not scanned, and a held one only once.
func TestScannedOnce(t *testing.T) {
	h := newHouse(t)
	s := &scanner{}
	h.o.Scanner = s
	r, err := h.try(written{from: "inconnu@chu.test", to: string(h.child), id: "1@chu.test", subject: "Essai", text: "bonjour"})
	if err != nil || r.Held == "" {
		t.Fatalf("not held: %+v, %v", r, err)
	}
	s.fault = errors.New("nobody to ask")
	if _, err := h.Assign(context.Background(), testActor, TriageRequest{ID: string(r.Held), Pathway: string(h.child), Member: "m1"}); err != nil {
		t.Fatal(err)
	}
	if messages, held, _ := h.kept(); messages != 1 || held != 0 || len(s.seen) != 1 {
		t.Errorf("%d messages, %d held, %d scans", messages, held, len(s.seen))
	}
}
