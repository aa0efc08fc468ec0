package mailbox

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/relais-sante/relais/store"
)

func asRefusal(err error, r **Refusal) bool { return errors.As(err, r) }

// copyState gives the state of the copies of a message by box, notices apart.
func copyState(m MessageView) map[string]string {
	states := map[string]string{}
	for _, d := range m.Deliveries {
		if d.Kind == "copy" {
			states[d.Mailbox] = d.State
		}
	}
	return states
}

func TestThreadView(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	code := string(h.child)
	first := h.post(written{from: "roux@chu.test", to: code, id: "v1@chu.test", subject: "Retour à domicile", text: "x"})
	h.relay()
	second := h.post(written{
		from: "simon@chu.test", to: code, id: "v2@chu.test", subject: "RE: Retour à domicile", text: "y",
		header: []string{"In-Reply-To: <v1@chu.test>"},
	})
	third := h.post(written{from: "simon@chu.test", to: code + ".psychologie", id: "v3@chu.test", subject: "Entretien", text: "z"})
	view := must[ThreadView](t)(h.Thread(ctx, testActor, code, ""))
	if len(view.Messages) != 3 || view.Pathway != code {
		t.Fatalf("%+v", view)
	}
	m := view.Messages[0]
	if m.ID != string(first) || m.MessageID != "v1@chu.test" || m.Author.Name != "Dr Anne Roux" || m.Author.Certainty != "sure" ||
		!slices.Equal(m.Rubrics, []string{"coordination"}) || len(m.Deliveries) != 4 {
		t.Errorf("%+v", m)
	}
	d := m.Deliveries[slices.IndexFunc(m.Deliveries, func(d DeliveryView) bool { return d.Mailbox == "cabinet@idel.test" })]
	if d.State != "sent" || d.Attempts != 1 || d.Kind != "copy" || !slices.Equal(d.Members, []string{"m5", "m6"}) || len(d.Seen) != 2 || d.Seen[0].State != "no" {
		t.Errorf("%+v", d)
	}
	if got := view.Messages[1]; got.ID != string(second) || got.Parent != string(first) {
		t.Errorf("the answer %s is to %q", got.ID, got.Parent)
	}
	// The same story for everybody who may see it, and only for those.
	for member, want := range map[string]string{
		"m1": string(first + " " + second + " " + third), "m3": string(first + " " + second + " " + third),
		"m4": string(first + " " + second), "m7": "",
	} {
		var ids []string
		for _, m := range must[ThreadView](t)(h.Thread(ctx, testActor, code, member)).Messages {
			ids = append(ids, m.ID)
		}
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("%s sees %q, want %q", member, got, want)
		}
	}
	_, err := h.Thread(ctx, testActor, code, "m99")
	wantFailure(t, err, "member-unknown")
	raw := must[io.ReadCloser](t)(h.RawMessage(ctx, testActor, string(first)))
	defer raw.Close()
	if b, err := io.ReadAll(raw); err != nil || !strings.HasSuffix(string(b), "\r\n\r\nx\r\n") {
		t.Errorf("raw: %q, %v", b, err)
	}
}

func TestRetract(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	code := string(h.child)
	id := string(h.post(written{from: "roux@chu.test", to: code, id: "r1@chu.test", subject: "Bilan secret", text: "x"}))
	h.relayWith(func(j Job) Outcome {
		if j.Delivery.Mailbox == "moreau@chu.test" {
			return Outcome{Kind: OutcomeTemporary, Code: 451}
		}
		return Outcome{Kind: OutcomeSent}
	})
	m := must[MessageView](t)(h.Retract(ctx, testActor, MessageRequest{Message: id, Reason: "mauvais enfant"}))
	if m.Retracted == nil || m.Reason != "mauvais enfant" || !slices.Equal(m.Rubrics, []string{"coordination"}) {
		t.Errorf("%+v", m)
	}
	if s := copyState(m); s["moreau@chu.test"] != "cancelled" || s["simon@chu.test"] != "sent" {
		t.Errorf("copies %v", s)
	}
	err := h.store.View(ctx, func(v store.View) error {
		filed, err := v.Filed(h.child, "coordination", 0, 0)
		if len(filed) != 0 {
			t.Error("still in its rubric")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	got := h.relay()
	if boxes(got) != "" || notices(got) != "bernard:retracted cabinet:retracted simon:retracted" {
		t.Errorf("copies %q, notices %q", boxes(got), notices(got))
	}
	if n := got["simon@chu.test"][0]; n.header["in-reply-to"] != "<r1@chu.test>" || n.delivery.Members[0] != "m3" {
		t.Errorf("%+v", n.header)
	}
	_, err = h.Retract(ctx, testActor, MessageRequest{Message: id})
	wantFailure(t, err, "message-retracted")
	_, err = h.Resend(ctx, testActor, MessageRequest{Message: id})
	wantFailure(t, err, "message-retracted")
	for _, m := range must[ThreadView](t)(h.Thread(ctx, testActor, code, "m4")).Messages {
		if m.Subject != "" || m.Retracted == nil {
			t.Errorf("m4 still reads %q", m.Subject)
		}
	}
}

// What answers a withdrawn message goes no further than it did.
func TestAnswerToRetracted(t *testing.T) {
	h := newHouse(t)
	code := string(h.child)
	id := string(h.post(written{from: "simon@chu.test", to: code + ".psychologie", id: "p1@chu.test", subject: "Entretien", text: "x"}))
	h.relay()
	must[MessageView](t)(h.Retract(context.Background(), testActor, MessageRequest{Message: id}))
	h.relay()
	h.post(written{from: "roux@chu.test", to: code, id: "p2@chu.test", subject: "RE: Entretien", text: "y", header: []string{"In-Reply-To: <p1@chu.test>"}})
	if got := boxes(h.relay()); got != "moreau simon" {
		t.Errorf("the answer went to %q", got)
	}
}

func TestRefile(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	code := string(h.child)
	id := string(h.post(written{from: "roux@chu.test", to: code + ".psychologie", id: "f1@chu.test", subject: "Bilan", text: "x"}))
	if got := boxes(h.relay()); got != "moreau simon" {
		t.Fatalf("copies to %q", got)
	}
	for _, c := range []struct {
		rubrics []string
		code    string
	}{{nil, "rubric-missing"}, {[]string{"nope"}, "rubric-unknown"}, {[]string{"psychologie"}, "nothing-to-change"}} {
		_, err := h.Refile(ctx, testActor, MessageRequest{Message: id, Rubrics: c.rubrics})
		wantFailure(t, err, c.code)
	}
	// Wider: only newcomers are mailed.
	m := must[MessageView](t)(h.Refile(ctx, testActor, MessageRequest{Message: id, Rubrics: []string{"Imagerie"}}))
	if !slices.Equal(m.Rubrics, []string{"imagerie"}) {
		t.Errorf("filed in %q", m.Rubrics)
	}
	if got := h.relay(); boxes(got) != "bernard cabinet" || notices(got) != "" {
		t.Errorf("copies %q, notices %q", boxes(got), notices(got))
	}
	// Narrower: those who lose it are asked to delete it.
	must[MessageView](t)(h.Refile(ctx, testActor, MessageRequest{Message: id, Rubrics: []string{"psychologie", "imagerie"}}))
	if got := h.relay(); boxes(got) != "" || notices(got) != "bernard:retracted cabinet:retracted" {
		t.Errorf("copies %q, notices %q", boxes(got), notices(got))
	}
}

func TestResend(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	code := string(h.child)
	id := string(h.post(written{from: "simon@chu.test", to: code + ".psychologie", id: "s1@chu.test", subject: "Entretien", text: "x"}))
	h.relay()
	_, err := h.Resend(ctx, testActor, MessageRequest{Message: id})
	wantFailure(t, err, "nobody-to-send-to")
	_, err = h.Resend(ctx, testActor, MessageRequest{Message: id, Members: []string{"m1", "m4"}})
	wantFailure(t, err, "member-not-entitled")
	must[MessageView](t)(h.Resend(ctx, testActor, MessageRequest{Message: id, Members: []string{"m1"}}))
	got := h.relay()
	if boxes(got) != "roux" {
		t.Errorf("copies to %q", boxes(got))
	}
	// A client drops a second mail under an id it knows.
	again := got["roux@chu.test"][0]
	if again.header["message-id"] == "<s1@chu.test>" || !strings.Contains(again.header["references"], "<s1@chu.test>") {
		t.Errorf("sent again as %q, references %q", again.header["message-id"], again.header["references"])
	}
	// An answer to the second copy finds its way.
	answer := h.post(written{from: "roux@chu.test", to: code, id: "s2@chu.test", subject: "RE: Entretien", text: "y", header: []string{"In-Reply-To: " + again.header["message-id"]}})
	if m := h.message(answer); m.Parent != store.MessageID(id) {
		t.Errorf("answers %q", m.Parent)
	}
	h.relay()
	// Somebody who joins later gets it when it is sent to all who should have it.
	h.member(h.child, "Mme Ana Costa", "assistante-sociale", "costa@chu.test", "PER", "")
	must[MessageView](t)(h.Resend(ctx, testActor, MessageRequest{Message: id}))
	if got := boxes(h.relay()); got != "costa" {
		t.Errorf("copies to %q", got)
	}
	must[PathwayView](t)(h.SuspendPathway(ctx, testActor, StatusChange{Pathway: code}))
	_, err = h.Resend(ctx, testActor, MessageRequest{Message: id, Members: []string{"m1"}})
	wantFailure(t, err, "pathway-status-suspended")
}

func TestSetAuthor(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	code := string(h.child)
	id := string(h.post(written{from: "cabinet@idel.test", to: code, id: "u1@idel.test", subject: "Pansement", text: "x"}))
	if m := h.message(store.MessageID(id)); m.Author.Member != "" {
		t.Fatalf("attributed to %s", m.Author.Member)
	}
	answer := h.post(written{from: "roux@chu.test", to: code + ".psychologie", id: "u2@chu.test", subject: "RE: Pansement", text: "y", header: []string{"In-Reply-To: <u1@idel.test>"}})
	m := must[MessageView](t)(h.SetAuthor(ctx, testActor, MessageRequest{Message: id, Member: "m6"}))
	want := AuthorView{
		Name: "M. Paul Durand", Role: "infirmier", Mailbox: "cabinet@idel.test", Certainty: "sure", Member: "m6",
		Clue: "corrected", CorrectedBy: testActor.Name,
	}
	if m.Author != want {
		t.Errorf("%+v", m.Author)
	}
	if a := h.message(answer); !slices.Contains(a.Audience.Answered, "m6") {
		t.Errorf("the author may not see the answer: %+v", a.Audience)
	}
	_, err := h.SetAuthor(ctx, testActor, MessageRequest{Message: id, Member: "m60"})
	wantFailure(t, err, "member-unknown")
	_, err = h.SetAuthor(ctx, testActor, MessageRequest{Message: "nope", Member: "m6"})
	wantFailure(t, err, "message-unknown")
}

// second includes another child, followed by Dr Roux and a coordinator.
func (h *house) second() store.PathwayCode {
	h.t.Helper()
	code := h.include("255069900100132", "Lefort", "Tom", "2012-07-09")
	h.member(code, "Dr Anne Roux", "oncologue", "roux@chu.test", "PER", "CHU Caen")
	h.member(code, "Mme Rose Picard", "idec", "picard@chu.test", "PER", "CHU Caen")
	return code
}

func TestMove(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	other := h.second()
	w := written{from: "roux@chu.test", to: string(h.child), id: "m1@chu.test", subject: "Compte rendu", text: "Tom va bien."}
	id := string(h.post(w))
	h.relayWith(func(j Job) Outcome {
		if j.Delivery.Mailbox == "moreau@chu.test" {
			return Outcome{Kind: OutcomeTemporary, Code: 451}
		}
		return Outcome{Kind: OutcomeSent}
	})
	_, err := h.MoveMessage(ctx, testActor, MessageRequest{Message: id, Pathway: string(h.child)})
	wantFailure(t, err, "move-same")
	m := must[MessageView](t)(h.MoveMessage(ctx, testActor, MessageRequest{Message: id, Pathway: string(other)}))
	if m.Pathway != string(other) || m.ID == id || m.MessageID != "m1@chu.test" || m.HeldAs != "" {
		t.Fatalf("%+v", m)
	}
	got := h.relay()
	if boxes(got) != "picard" || notices(got) != "bernard:retracted cabinet:retracted simon:retracted" {
		t.Errorf("copies %q, notices %q", boxes(got), notices(got))
	}
	if c := got["picard@chu.test"][0]; c.body != "Tom va bien.\r\n" || !strings.Contains(c.header["from"], string(other)+".m1@") {
		t.Errorf("%q %q", c.header["from"], c.body)
	}
	old := must[MessageView](t)(h.Message(ctx, testActor, id))
	if old.Retracted == nil || old.MovedTo != m.ID || copyState(old)["moreau@chu.test"] != "cancelled" {
		t.Errorf("%+v", old)
	}
	raw := must[io.ReadCloser](t)(h.RawMessage(ctx, testActor, m.ID))
	defer raw.Close()
	if b, _ := io.ReadAll(raw); string(b) != w.bytes() {
		t.Errorf("bytes changed on the way: %q", b)
	}
	if n := len(h.heldNow()); n != 0 {
		t.Errorf("%d messages left in triage", n)
	}
}

// A move the other pathway does not take leaves the message in triage, not
// lost, and nobody there gets it.
func TestMoveHeld(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	other := h.second()
	id := string(h.post(written{from: "bernard@kine.test", to: string(h.child), id: "m2@kine.test", subject: "Séance", text: "x"}))
	m := must[MessageView](t)(h.MoveMessage(ctx, testActor, MessageRequest{Message: id, Pathway: string(other)}))
	if m.ID != id || m.Retracted == nil || m.HeldAs == "" {
		t.Fatalf("%+v", m)
	}
	held := h.heldNow()
	if len(held) != 1 || held[0].ID != m.HeldAs || held[0].Reason != reasonUnknownSender {
		t.Fatalf("%+v", held)
	}
	if got := boxes(h.relay()); got != "" {
		t.Errorf("copies to %q", got)
	}
	must[PathwayView](t)(h.ClosePathway(ctx, testActor, StatusChange{Pathway: string(other)}))
	_, err := h.MoveMessage(ctx, testActor, MessageRequest{Message: id, Pathway: string(other)})
	wantFailure(t, err, "message-retracted")
	next := string(h.post(written{from: "bernard@kine.test", to: string(h.child), id: "m3@kine.test", subject: "Séance", text: "x"}))
	_, err = h.MoveMessage(ctx, testActor, MessageRequest{Message: next, Pathway: string(other)})
	wantFailure(t, err, "pathway-status-closed")
	if m := h.message(store.MessageID(next)); m.Retracted != nil {
		t.Error("withdrawn although it could not be moved")
	}
}

func (h *house) heldNow() []HeldView {
	h.t.Helper()
	return must[[]HeldView](h.t)(h.TriageList(context.Background(), testActor))
}

// One child, two pathways: everything ends up in one, nothing is mailed twice,
// and every address ever given still works.
func TestMerge(t *testing.T) {
	h := newHouse(t)
	ctx := context.Background()
	r := includeRequest()
	r.INS, r.FamilyName, r.BirthDate = "", "MARTIN", "2015-03-02"
	from := must[PathwayView](t)(h.Include(ctx, testActor, r)).ID
	h.member(store.PathwayCode(from), "Mme Inès Moreau", "idec", "moreau@chu.test", "PER", "CHU Caen")
	h.member(store.PathwayCode(from), "Mme Rose Picard", "pediatre", "picard@chg.test", "PER", "CHG Lisieux")
	h.member(store.PathwayCode(from), "M. Éric Faure", "enseignant", "faure@ecole.test", "PER", "")
	must[[]ConsentView](t)(h.RecordConsent(ctx, testActor, ConsentRequest{Pathway: from, Kind: "oral", From: "mère", For: "m3"}))
	first := h.post(written{from: "picard@chg.test", to: from, id: "g1@chg.test", subject: "Bilan", text: "un"})
	h.relay()
	second := h.post(written{from: "moreau@chu.test", to: from, id: "g2@chu.test", subject: "RE: Bilan", text: "deux", header: []string{"In-Reply-To: <g1@chg.test>"}})
	reply := h.replyAddress(store.PathwayCode(from), "picard@chg.test")

	other := string(h.second())
	_, err := h.MergePathways(ctx, testActor, other, string(h.child))
	wantFailure(t, err, "merge-child")
	_, err = h.MergePathways(ctx, testActor, from, from)
	wantFailure(t, err, "merge-same")
	into := must[PathwayView](t)(h.MergePathways(ctx, testActor, from, string(h.child)))
	if into.ID != string(h.child) || into.Members != 9 {
		t.Errorf("%+v", into)
	}
	if got := boxes(h.relay()); got != "" {
		t.Errorf("copies went from the closed pathway to %q", got)
	}
	h.timers()
	if got := boxes(h.relay()); got != "picard" { // the copy of the second that waited
		t.Errorf("copies to %q", got)
	}
	var subjects []string
	view := must[ThreadView](t)(h.Thread(ctx, testActor, string(h.child), ""))
	for _, m := range view.Messages {
		subjects = append(subjects, m.Subject)
	}
	if len(view.Messages) != 2 || view.Messages[1].Parent != view.Messages[0].ID || copyState(view.Messages[0])["moreau@chu.test"] != "sent" {
		t.Fatalf("%q %+v", subjects, view.Messages)
	}
	// Cut off at its end and done again, nothing comes twice.
	err = h.store.Commit(ctx, func(tx store.Tx) error {
		return tx.PutItem(store.Item{ID: "again", Lane: laneMerge, Due: h.clock.now(), Pathway: store.PathwayCode(from)})
	})
	h.timers()
	if again := must[ThreadView](t)(h.Thread(ctx, testActor, string(h.child), "")); err != nil || len(again.Messages) != 2 {
		t.Errorf("%d messages after a second run, %v", len(again.Messages), err)
	}
	if a := view.Messages[0].Author; a.Member != "m8" || a.Name != "Mme Rose Picard" {
		t.Errorf("%+v", a)
	}
	for _, id := range []store.MessageID{first, second} {
		if m := h.message(id); m.Retracted == nil || m.Retracted.To == nil || len(m.Filings) > 0 {
			t.Errorf("the old %s: %+v", id, m.Retracted)
		}
	}
	if m := must[[]MemberView](t)(h.Team(ctx, testActor, string(h.child), false)); m[8].Name != "M. Éric Faure" || m[8].State != "active" {
		t.Errorf("%+v", m[8])
	}
	old := must[PathwayView](t)(h.Pathway(ctx, testActor, from))
	if old.Status != "closed" || old.MergedInto != string(h.child) || old.FamilyName != "" {
		t.Errorf("%+v", old)
	}
	_, err = h.ReopenPathway(ctx, testActor, StatusChange{Pathway: from})
	wantFailure(t, err, "pathway-merged")
	// The same mail again is a duplicate; an answer to the old address is taken.
	again, err := h.try(written{from: "picard@chg.test", to: from, id: "g1@chg.test", subject: "Bilan", text: "un"})
	if err != nil || !again.Duplicate {
		t.Errorf("%+v, %v", again, err)
	}
	answer := h.post(written{from: "picard@chg.test", to: reply, id: "g3@chg.test", subject: "RE: Bilan", text: "trois", header: []string{"In-Reply-To: <g2@chu.test>"}})
	if m := h.message(answer); m.Pathway != h.child || string(m.Parent) != view.Messages[1].ID {
		t.Errorf("the answer is in %s, to %s", m.Pathway, m.Parent)
	}
	if p := h.pathway(store.PathwayCode(from)); p.Patient != (store.Patient{}) {
		t.Error("the merged pathway keeps an identity")
	}
}
