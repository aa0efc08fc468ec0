package mailbox

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store"
)

const citizen = "279035121518989@patient.mssante.fr"

// erasable has a child with everything an erasure has to reach: another pathway
// merged into hers, copies that went and that wait, a message that was held and
// assigned, one that still is, one of the family's box, one that came from
// another child's pathway.
func erasable(t *testing.T) (h *house, other store.PathwayCode, merged store.PathwayCode) {
	t.Helper()
	h = newHouse(t)
	other = h.second()
	merged = h.include("", "Martin", "Léa", "2015-03-02")
	h.member(merged, "Dr Jean Colin", "pediatre", "colin@ville.test", "PER", "")
	h.post(written{from: "colin@ville.test", to: string(merged), id: "e0@ville.test", subject: "Avant", text: "x"})
	must[PathwayView](t)(h.MergePathways(t.Context(), testActor, string(merged), string(h.child)))
	h.timers()
	h.member(h.child, "Mme Sophie Martin", "parent", citizen, "", "")
	moved := h.post(written{from: "roux@chu.test", to: string(other), id: "e1@chu.test", subject: "Bilan", text: "Léa va bien."})
	must[MessageView](t)(h.MoveMessage(t.Context(), testActor, MessageRequest{Message: string(moved), Pathway: string(h.child)}))
	assigned := h.holdOne()
	must[Receipt](t)(h.Assign(t.Context(), testActor, TriageRequest{ID: string(assigned), Member: "m1"}))
	h.relay()
	h.post(written{from: "roux@chu.test", to: string(other), id: "e2@chu.test", subject: "Autre", text: "Tom va bien."})
	h.post(written{from: "roux@chu.test", to: string(h.child), id: "e3@chu.test", subject: "Attend", text: "y"})
	h.clock.advance(1e9)
	h.holdOne()
	return h, other, merged
}

func TestErase(t *testing.T) {
	h, other, merged := erasable(t)
	ctx := t.Context()
	code := string(h.child)
	thread := must[ThreadView](t)(h.Thread(ctx, testActor, string(other), ""))
	_, err := h.ErasePathway(ctx, testActor, ErasureRequest{Pathway: code, Reason: "à la demande de Mme MARTIN"})
	wantFailure(t, err, "erase-reason")
	_, err = h.ErasePathway(ctx, testActor, ErasureRequest{Pathway: code, Reason: "INS 2 79 03 51 215 189 89"})
	wantFailure(t, err, "erase-reason")

	// Asked for by the pathway that was merged: they go together.
	v := must[ErasureView](t)(h.ErasePathway(ctx, testActor, ErasureRequest{Pathway: string(merged), Reason: "demande écrite"}))
	if v.State != "erased" || v.Erased == nil || v.Pathway != code || !slices.Equal(v.With, []string{string(merged)}) {
		t.Fatalf("%+v", v)
	}
	if got := strings.Join(v.Boxes, " "); got != "bernard@kine.test cabinet@idel.test colin@ville.test moreau@chu.test simon@chu.test" {
		t.Errorf("boxes: %s", got)
	}
	if v.HeldRemoved != 1 || v.EpochAfter != v.EpochBefore+1 || !v.Authentic || v.HubRotated {
		t.Errorf("%+v", v)
	}
	if !slices.Equal(v.Remains, []string{string(other)}) {
		t.Errorf("remains: %v", v.Remains)
	}
	for _, asked := range []string{code, string(merged)} {
		p := must[PathwayView](t)(h.Pathway(ctx, testActor, asked))
		if p.Status != "erased" || p.Erasure == nil || p.Erasure.Seal != v.Seal || p.FamilyName != "" {
			t.Errorf("%+v", p)
		}
		_, err = h.Thread(ctx, testActor, asked, "")
		wantFailure(t, err, "pathway-erased")
		for _, to := range []string{asked, asked + ".imagerie", asked + ".m1"} {
			var refusal *Refusal
			if _, err := h.try(written{from: "roux@chu.test", to: to, subject: "x", text: "x"}); !errors.As(err, &refusal) || refusal.Reason != RefuseUnknown {
				t.Errorf("mail to %s: %v", to, err)
			}
		}
	}
	if list := must[[]PathwayView](t)(h.Pathways(ctx, testActor, PathwayFilter{Status: "erased"})); len(list) != 1 || list[0].ID != code {
		t.Errorf("listed: %+v", list)
	}
	if list := must[[]PathwayView](t)(h.Pathways(ctx, testActor, PathwayFilter{})); len(list) != 1 || list[0].ID != string(other) {
		t.Errorf("listed: %+v", list)
	}
	again := must[ErasureView](t)(h.ErasePathway(ctx, testActor, ErasureRequest{Pathway: code}))
	if again.Seal != v.Seal {
		t.Error("erased twice")
	}
	for _, l := range texts.Locales() {
		if text := v.Text(l); strings.Contains(text, "<no value>") || !strings.Contains(text, code) || !strings.Contains(text, v.Seal) {
			t.Errorf("%s: %s", l, text)
		}
	}

	// The other child loses nothing; the copy for her team did not leave, that
	// for his does; the sender of what was held is told.
	after := must[ThreadView](t)(h.Thread(ctx, testActor, string(other), ""))
	if a, b := asJSON(t, thread), asJSON(t, after); a != b {
		t.Errorf("the other thread changed:\n%s\n%s", a, b)
	}
	got := h.relay()
	if boxes(got) != "picard" || notices(got) != "inconnu:not-transmitted" {
		t.Errorf("copies %q, notices %q", boxes(got), notices(got))
	}
	h.restart()
	h.clock.advance(48 * 3600 * 1e9)
	h.timers()

	// Traces are there, and name nobody.
	actions := h.traced(h.child)
	if len(actions) < 10 || !slices.Contains(actions, "pathway.erased") {
		t.Errorf("traces: %v", actions)
	}
	h.namesNobody("martin", "léa", "279035121518989", "mere@famille", "2015-03-02", "sophie")
	if failed := must[KeyView](t)(h.Keys(ctx, testActor)); len(failed.Erasures) != 0 {
		t.Errorf("%+v", failed)
	}
	// The child may be included again, under another code.
	if again := h.include("279035121518989", "Martin", "Léa", "2015-03-02"); again == h.child {
		t.Error("the code was drawn again")
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// namesNobody searches what is kept under the hub's own keys.
func (h *house) namesNobody(words ...string) {
	h.t.Helper()
	var kept []any
	err := h.store.View(context.Background(), func(v store.View) error {
		for _, f := range store.Families {
			traces, err := v.Traces(f, 0, 0)
			if err != nil {
				return err
			}
			kept = append(kept, traces)
		}
		erasures, err := v.Erasures("", 0)
		if err != nil {
			return err
		}
		live, err := v.DeliveryList("", 0)
		if err != nil {
			return err
		}
		boxes, err := v.Boxes("", 0)
		kept = append(kept, erasures, live, boxes)
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	b, err := json.Marshal(kept)
	if err != nil {
		h.t.Fatal(err)
	}
	text := strings.ToLower(string(b))
	for _, w := range words {
		if strings.Contains(text, w) {
			h.t.Errorf("%q is still kept", w)
		}
	}
}

// TestEraseWaitsForPlace: everything but the end of the old epoch is done; the
// timer ends it when the place is back, whoever asked being gone.
func TestEraseWaitsForPlace(t *testing.T) {
	h, _, _ := erasable(t)
	ctx := t.Context()
	place := filepath.Join(h.dir, "..", "copies")
	v := must[ErasureView](t)(h.ErasePathway(ctx, testActor, ErasureRequest{Pathway: string(h.second2())}))
	if v.State != "erased" || len(v.Places) != 1 { // the place is known now
		t.Fatalf("%+v", v)
	}
	if err := os.Rename(place, place+"-away"); err != nil {
		t.Fatal(err)
	}
	v = must[ErasureView](t)(h.ErasePathway(ctx, testActor, ErasureRequest{Pathway: string(h.child)}))
	if v.State != "erasing" || v.WaitsFor != filepath.Clean(place) || v.Erased != nil || v.Seal != "" {
		t.Fatalf("%+v", v)
	}
	if text := v.Text("en"); !strings.Contains(text, "erasing (waits for "+filepath.Clean(place)+")") {
		t.Errorf("said: %s", text)
	}
	keys := must[KeyView](t)(h.Keys(ctx, testActor))
	if len(keys.OldEpochs) != 1 || len(keys.Erasures) != 1 || keys.Erasures[0].WaitsFor != filepath.Clean(place) {
		t.Errorf("%+v", keys)
	}
	var refusal *Refusal
	if _, err := h.try(written{from: "roux@chu.test", to: string(h.child), subject: "x", text: "x"}); !errors.As(err, &refusal) || refusal.Reason != RefuseUnknown {
		t.Errorf("mail meanwhile: %v", err)
	}
	h.restart()
	h.clock.advance(2 * eraseAgain)
	h.timers() // still away
	if p := must[PathwayView](t)(h.Pathway(ctx, testActor, string(h.child))); p.Status != "erasing" {
		t.Errorf("%+v", p)
	}
	if err := os.Rename(place+"-away", place); err != nil {
		t.Fatal(err)
	}
	h.clock.advance(2 * eraseAgain)
	h.timers()
	p := must[PathwayView](t)(h.Pathway(ctx, testActor, string(h.child)))
	if p.Status != "erased" || p.Erasure.WaitsFor != "" || !p.Erasure.Authentic {
		t.Errorf("%+v %+v", p, p.Erasure)
	}
	if waited := slices.Index(h.traced(h.child), "pathway.erased"); waited < 0 {
		t.Error("not traced")
	}
}

// second2 includes a child of no importance.
func (h *house) second2() store.PathwayCode {
	return h.include("", "Essai", "Zoé", "2016-01-01")
}

func TestEraseUnknown(t *testing.T) {
	h := openHouse(t)
	for code, want := range map[string]string{"": "pathway-missing", "abc": "pathway-code", "bcdfghj": ""} {
		_, err := h.ErasePathway(t.Context(), testActor, ErasureRequest{Pathway: code})
		if err == nil || want != "" && failureCode(err) != want {
			t.Errorf("%q: %v", code, err)
		}
	}
}

// TestProofIsSealed: a proof that was changed shows.
func TestProofIsSealed(t *testing.T) {
	h := newHouse(t)
	v := must[ErasureView](t)(h.ErasePathway(t.Context(), testActor, ErasureRequest{Pathway: string(h.child)}))
	if !v.Authentic {
		t.Fatal("not authentic")
	}
	err := h.store.Commit(t.Context(), func(tx store.Tx) error {
		e, err := tx.Erasure(h.child)
		if err != nil {
			return err
		}
		e.Boxes = nil
		e.Messages++
		return tx.PutErasure(e)
	})
	if err != nil {
		t.Fatal(err)
	}
	p := must[PathwayView](t)(h.Pathway(t.Context(), testActor, string(h.child)))
	if p.Erasure.Authentic || !strings.Contains(p.Erasure.Text("en"), "does not fit") {
		t.Errorf("%+v", p.Erasure)
	}
}

// TestProofTellsOfRotations: the proof says whether the keys that could open
// what storage kept were changed since.
func TestProofTellsOfRotations(t *testing.T) {
	h := newHouse(t)
	must[ErasureView](t)(h.ErasePathway(t.Context(), testActor, ErasureRequest{Pathway: string(h.child)}))
	must[KeyView](t)(h.RotateKey(t.Context(), testActor, KeyRotation{Key: "hub"}))
	p := must[PathwayView](t)(h.Pathway(t.Context(), testActor, string(h.child)))
	if !p.Erasure.HubRotated || !p.Erasure.Authentic {
		t.Errorf("%+v", p.Erasure)
	}
	for key, want := range map[string]string{"hub": "key-file", "recovery": "key-file", "epoch2": "key-which"} {
		_, err := h.RotateKey(t.Context(), testActor, KeyRotation{Key: key, New: "file:/nowhere/at/all"})
		wantFailure(t, err, want)
	}
	_, err := h.ForgetPlace(t.Context(), testActor, "/nowhere")
	wantFailure(t, err, "key-place-unknown")
}
