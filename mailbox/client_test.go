package mailbox

import (
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/store"
)

const clientBox = "parcours-pon@grades.test"

// newClient is newHouse as the client of an operator, with one box for pon and
// one for every other programme.
func newClient(t *testing.T) *house {
	t.Helper()
	h := newHouse(t)
	h.withDesk()
	h.o.Client = true
	h.o.Boxes = []OperatorBox{
		{Name: "autres", Address: "parcours@grades.test"},
		{Name: "pon", Address: clientBox, Programme: "pon"},
	}
	return h
}

// fetch takes a mail as the poller brings it from the operator's box: path is
// what Return-Path says, "" for none.
func (h *house) fetch(w written, path string) (Receipt, error) {
	h.t.Helper()
	if path != "" {
		w.header = append([]string{"Return-Path: " + path}, w.header...)
	}
	env := Envelope{Via: ViaOperator, Received: h.clock.now()}
	to := w.to
	if to == "" {
		to = clientBox
	}
	r, err := h.Recipient(h.t.Context(), &env, to)
	if err != nil {
		return Receipt{}, err
	}
	env.Rcpts = append(env.Rcpts, r)
	return h.Intake(h.t.Context(), env, strings.NewReader(w.bytes()))
}

// fetched takes one that must be filed.
func (h *house) fetched(w written) *store.Message {
	h.t.Helper()
	r, err := h.fetch(w, "<"+w.from+">")
	if err != nil || r.Message == "" {
		h.t.Fatalf("%+v, %v", r, err)
	}
	return h.message(r.Message)
}

func (h *house) tag() string { return "[PON " + string(h.child) + "]" }

// Everything leaves from the operator's box in the author's name, and an answer
// is found by its thread, by its tag alone, or by its document's INS alone.
func TestClientMode(t *testing.T) {
	h := newClient(t)
	first := h.fetched(written{from: "roux@chu.test", id: "a1@chu.test", subject: h.tag() + " Bilan", text: "Voici."})
	if first.Author.Member != "m1" || first.Author.Certainty != store.Sure || first.Subject != "Bilan" {
		t.Errorf("filed as %q of %+v", first.Subject, first.Author)
	}
	got := h.relay()
	if boxes(got) != allButRoux {
		t.Fatalf("copies to %q", boxes(got))
	}
	c := got["bernard@kine.test"][0]
	for field, want := range map[string]string{
		"from": `"Dr Anne Roux (CHU Caen)" <` + clientBox + `>`, "reply-to": clientBox,
		"to": `"M. Luc Bernard" <bernard@kine.test>`, "message-id": "<a1@chu.test>",
		"references": "<parcours." + string(h.child) + "@" + testDomain + ">", "x-mss-nil": "DEV000000",
	} {
		if c.header[field] != want {
			t.Errorf("%s: %q, want %q", field, c.header[field], want)
		}
	}
	if d := c.delivery; d.Sender != clientBox || d.Operator != "pon" || !strings.HasPrefix(c.header["subject"], "[PON "+string(h.child)+" ") {
		t.Errorf("envelope sender %q by %q, subject %q", d.Sender, d.Operator, c.header["subject"])
	}
	second := h.fetched(answer(c, "bernard@kine.test", "b1@kine.test", "Vu."))
	if second.Parent != first.ID || second.Author.Member != "m4" {
		t.Errorf("the answer hangs on %q, by %+v", second.Parent, second.Author)
	}
	h.relay()
	byTag := answer(c, "bernard@kine.test", "b2@kine.test", "Encore.")
	byTag.header = nil
	if third := h.fetched(byTag); third.Parent != second.ID {
		t.Errorf("by its tag alone it hangs on %q", third.Parent)
	}
	byINS := h.fetched(written{
		from: "moreau@chu.test", id: "c1@chu.test", subject: "IRM",
		content: attachment("IHE_XDM.ZIP", "application/zip", recordArchive(t)),
	})
	if byINS.Pathway != h.child || byINS.Parent != "" || strings.Join(byINS.Rubrics(), " ") != "imagerie" {
		t.Errorf("by its INS alone: %s, parent %q, %v", byINS.Pathway, byINS.Parent, byINS.Rubrics())
	}
	if r, err := h.fetch(written{from: "moreau@chu.test", id: "c2@chu.test", subject: "Bonjour", text: "x"}, "<moreau@chu.test>"); err != nil || r.Reason != reasonNoPathway {
		t.Errorf("nothing says what it is for: %+v, %v", r, err)
	}
	view := must[PathwayView](t)(h.Pathway(t.Context(), testActor, string(h.child)))
	if view.Address != clientBox || view.Tag != h.tag() {
		t.Errorf("people are told to write to %q with %q", view.Address, view.Tag)
	}
}

// Every attempt has the same bytes, though the settings change in between.
func TestClientCopiesAreFixedWhenQueued(t *testing.T) {
	h := newClient(t)
	h.fetched(written{from: "roux@chu.test", id: "a1@chu.test", subject: h.tag() + " x", text: "x"})
	before := map[store.Address]string{}
	h.relayWith(func(j Job) Outcome {
		out, err := h.Open(t.Context(), j)
		if err != nil {
			t.Fatal(err)
		}
		out.Close()
		before[j.Delivery.Mailbox] = string(out.MailFrom) + h.read(j).raw
		return temporary(j)
	})
	h.o.Client, h.o.Boxes[1].Address = false, "autre@grades.test"
	h.clock.advance(time.Minute)
	n := 0
	for box, ms := range h.relay() {
		n++
		if after := string(ms[0].delivery.Sender) + ms[0].raw; after != before[box] {
			t.Errorf("first\n%s\n--- then\n%s", before[box], after)
		}
	}
	if n != 4 {
		t.Errorf("%d copies", n)
	}
}

// The person is never surer than the envelope: without a Return-Path, or with
// another one, the author is likely at most; from outside the trusted space a
// mail is nobody's.
func TestClientAuthor(t *testing.T) {
	for _, c := range []struct {
		name, from, path string
		want             store.Certainty
		held             string
	}{
		{"path and From agree", "roux@chu.test", "<roux@chu.test>", store.Sure, ""},
		{"written otherwise", "roux@chu.test", " Roux@CHU.test ", store.Sure, ""},
		{"no path", "roux@chu.test", "", store.Likely, ""},
		{"another box", "roux@chu.test", "<bernard@kine.test>", store.Likely, ""},
		{"another address of the operator", "roux@chu.test", "<retours+17@chu.test>", store.Likely, ""},
		{"not an address", "roux@chu.test", "<<>", store.Likely, ""},
		{"a stranger", "inconnu@chg.test", "<inconnu@chg.test>", "", reasonUnknownSender},
		{"a stranger's envelope from elsewhere", "roux@chu.test", "<x@perso.outside>", "", reasonUnknownSender},
		{"the box itself, by hand", clientBox, "<" + clientBox + ">", "", reasonUnknownSender},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newClient(t)
			r, err := h.fetch(written{from: c.from, id: "a1@chu.test", subject: h.tag() + " x", text: "x", header: []string{"Disposition-Notification-To: <" + c.from + ">"}}, c.path)
			if err != nil || r.Reason != c.held {
				t.Fatalf("%+v, %v", r, err)
			}
			got := h.relay()
			if c.held == "" {
				if a := h.message(r.Message).Author; a.Member != "m1" || a.Certainty != c.want {
					t.Errorf("by %q, %s", a.Member, a.Certainty)
				}
				// RFC 8098 §2.1: no receipt unless the envelope's sender asks for it.
				if receipt := strings.Contains(notices(got), "roux:receipt"); receipt != (c.want == store.Sure) {
					t.Errorf("notices %q", notices(got))
				}
			}
			if len(got[clientBox]) > 0 {
				t.Error("the hub wrote to its own box")
			}
		})
	}
}

// A record's box sends for a child by the document's INS; the author is the
// document's.
func TestClientHoldsAndReleases(t *testing.T) {
	h := newClient(t)
	r, err := h.fetch(written{from: "inconnu@chg.test", id: "x1@chg.test", subject: h.tag() + " x", text: "x"}, "<inconnu@chg.test>")
	if err != nil || r.Reason != reasonUnknownSender {
		t.Fatalf("%+v, %v", r, err)
	}
	got := h.relay()
	if notices(got) != "inconnu:held moreau:held" {
		t.Fatalf("notices %q", notices(got))
	}
	n := got["inconnu@chg.test"][0]
	if n.delivery.Sender != clientBox || n.delivery.Operator != "pon" || !strings.Contains(n.header["from"], "<"+clientBox+">") || n.header["reply-to"] != clientBox {
		t.Errorf("a notice from %q, envelope %q, answers to %q", n.header["from"], n.delivery.Sender, n.header["reply-to"])
	}
	if text := n.text(t); !strings.Contains(text, "écrivez à pon@reseau.test") {
		t.Errorf("says not where to write:\n%s", text)
	}
	// An answer to a notice, whether a machine's or a person's, makes no other.
	ids := []string{"In-Reply-To: " + n.header["message-id"]}
	if r, err := h.fetch(written{from: "inconnu@chg.test", id: "x2@chg.test", subject: "Re: Votre message", text: "Ah ?", header: ids}, "<inconnu@chg.test>"); err != nil || r.Reason != reasonNoPathway {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := h.fetch(written{from: "inconnu@chg.test", id: "x3@chg.test", subject: "Absence", text: "x", header: append(ids, "Auto-Submitted: auto-replied")}, "<>"); err != nil || r != (Receipt{}) {
		t.Errorf("an absence answer to a notice: %+v, %v", r, err)
	}
	if got := h.relay(); len(got) != 0 {
		t.Errorf("notices %q", notices(got))
	}
	// The tag named the pathway: it can be let through as if addressed.
	receipt := must[Receipt](t)(h.Assign(t.Context(), testActor, TriageRequest{ID: string(r.Held), Member: "m4"}))
	if m := h.message(receipt.Message); m.Pathway != h.child || m.Author.Member != "m4" {
		t.Errorf("assigned to %s, by %+v", m.Pathway, m.Author)
	}
}

// A stranger with the INS of a child is not told that the child is followed.
func TestClientINSOfAStranger(t *testing.T) {
	h := newClient(t)
	r, err := h.fetch(written{from: "inconnu@chg.test", id: "x1@chg.test", subject: "IRM", content: attachment("IHE_XDM.ZIP", "application/zip", recordArchive(t))}, "<inconnu@chg.test>")
	if err != nil || r.Reason != reasonUnknownSender {
		t.Fatalf("%+v, %v", r, err)
	}
	got := h.relay()
	if notices(got) != "inconnu:held pon:held" || strings.Contains(got["inconnu@chg.test"][0].raw, string(h.child)) {
		t.Errorf("notices %q", notices(got))
	}
}

// Consent and suspension release by themselves what they held.
func TestClientHeldForThePathway(t *testing.T) {
	h := newClient(t)
	must[PathwayView](t)(h.SuspendPathway(t.Context(), testActor, StatusChange{Pathway: string(h.child), Reason: "pause"}))
	if r, err := h.fetch(written{from: "roux@chu.test", id: "a1@chu.test", subject: h.tag() + " x", text: "x"}, "<roux@chu.test>"); err != nil || r.Reason != reasonSuspended {
		t.Fatalf("%+v, %v", r, err)
	}
	must[PathwayView](t)(h.ReopenPathway(t.Context(), testActor, StatusChange{Pathway: string(h.child)}))
	h.settleNotices()
	if b := boxes(h.relay()); b != allButRoux {
		t.Errorf("after reopening, copies to %q", b)
	}
}

// What SMTP would have refused, the hub tells the sender itself, once.
func TestClientRefusals(t *testing.T) {
	h := newClient(t)
	must[PathwayView](t)(h.ClosePathway(t.Context(), testActor, StatusChange{Pathway: string(h.child), Reason: "fin"}))
	w := written{from: "roux@chu.test", id: "a1@chu.test", subject: h.tag() + " x", text: "x"}
	for range 2 { // the poller was stopped before it could move the mail
		_, err := h.fetch(w, "<roux@chu.test>")
		var no *Refusal
		if !errors.As(err, &no) || no.Reason != RefuseClosed {
			t.Fatal(err)
		}
	}
	got := h.relay()
	if notices(got) != "roux:not-transmitted" || !strings.Contains(got["roux@chu.test"][0].text(t), "clos") {
		t.Errorf("notices %q", notices(got))
	}
	w.id, w.header = "a2@chu.test", []string{"Auto-Submitted: auto-generated"}
	if _, err := h.fetch(w, "<roux@chu.test>"); err == nil || len(h.relay()) != 0 {
		t.Errorf("a machine was told (%v)", err)
	}
	// The message is then set aside in the box; the desk hears of what is wrong
	// with a message, not of a pathway that is over.
	for reason, want := range map[RefusalReason]string{RefuseClosed: "", RefuseWithdrawn: "", RefuseLoop: "", RefuseTooBig: "pon:set-aside"} {
		a := Aside{Reason: reason, Programme: "pon", Arrived: h.clock.now(), Folder: "INBOX"}
		a.Next.Box, a.Digest = clientBox, func() [32]byte { return sha256.Sum256([]byte(reason)) }
		if err := h.SetAside(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		if got := notices(h.relay()); got != want {
			t.Errorf("set aside (%s): notices %q", reason, got)
		}
	}
	env := Envelope{Via: ViaSubmit, MailFrom: "roux@chu.test"}
	if r, err := h.Recipient(t.Context(), &env, clientBox); err != nil || r.Kind != ToBox {
		t.Errorf("the box's address from one of the hub's own accounts: %+v, %v", r, err)
	}
	var no *Refusal
	if _, err := h.try(written{from: "roux@chu.test", to: clientBox}); !errors.As(err, &no) || no.Reason != RefuseForeign {
		t.Errorf("the box's address over SMTP: %v", err)
	}
}

// The hub's own mail that comes back to its box stops there.
func TestClientLoops(t *testing.T) {
	h := newClient(t)
	h.fetched(written{from: "roux@chu.test", id: "a1@chu.test", subject: h.tag() + " x", text: "x"})
	got := h.relay()
	c := got["bernard@kine.test"][0]
	for name, mail := range map[string]string{"copy": c.raw, "forwarded by a machine": strings.Replace(c.raw, "From: ", "From: <bernard@kine.test>\r\nX-Was: ", 1)} {
		env := Envelope{Via: ViaOperator, Received: h.clock.now()}
		r, err := h.Recipient(t.Context(), &env, clientBox)
		if err != nil {
			t.Fatal(err)
		}
		env.Rcpts = []Recipient{r}
		receipt, err := h.Intake(t.Context(), env, strings.NewReader("Return-Path: <bernard@kine.test>\r\n"+mail))
		var no *Refusal
		if looped := errors.As(err, &no) && no.Reason == RefuseLoop; !looped && !receipt.Duplicate {
			t.Errorf("%s: %+v, %v", name, receipt, err)
		}
	}
	if got := h.relay(); len(got) != 0 {
		t.Errorf("copies %q, notices %q", boxes(got), notices(got))
	}
	if _, err := h.AddMember(t.Context(), testActor, MemberRequest{Pathway: string(h.child), Name: "X", Role: "idec", Mailbox: clientBox}); failureCode(err) != "mailbox-own" {
		t.Errorf("the hub's own box as a member: %v", err)
	}
}

const (
	dsnOf = "MIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary=\"=_d\"\n\n--=_d\nContent-Type: text/plain\n\nNon remis.\n--=_d\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.kine.test\n\nFinal-Recipient: rfc822; BOX\nAction: failed\nStatus: 5.1.1\n\n--=_d\nContent-Type: text/rfc822-headers\n\nRETURNED\n\n--=_d--\n"
	mdnOf = "MIME-Version: 1.0\nContent-Type: multipart/report; report-type=disposition-notification; boundary=\"=_d\"\n\n--=_d\nContent-Type: text/plain\n\nLu.\n--=_d\nContent-Type: message/disposition-notification\n\nFinal-Recipient: rfc822; BOX\nOriginal-Message-ID: <ID>\nDisposition: manual-action/MDN-sent-manually; displayed\n\n--=_d--\n"
)

// Reports come back to the box without any address that tells of what: the
// returned header does, or the id of the message and the box that speaks.
func TestClientReports(t *testing.T) {
	h := newClient(t)
	first := h.fetched(written{from: "roux@chu.test", id: "a1@chu.test", subject: h.tag() + " x", text: "x"})
	got := h.relay()
	report := func(form, box, id, returned string) *store.Message {
		t.Helper()
		content := strings.NewReplacer("BOX", box, "<ID>", "<a1@chu.test>", "RETURNED", returned).Replace(form)
		r, err := h.fetch(written{from: "mailer-daemon@grades.test", id: id, subject: "Rapport", content: content}, "<>")
		if err != nil || r.Message == "" {
			t.Fatalf("%s: %+v, %v", id, r, err)
		}
		return h.message(r.Message)
	}
	delivery := "Message-ID: <other@x>\nX-Relais-Delivery: " + string(got["bernard@kine.test"][0].delivery.ID)
	if m := report(dsnOf, "bernard@kine.test", "d1@grades.test", delivery); m.Kind != store.KindDSN || m.About.Message != first.ID || m.AboutBox != "bernard@kine.test" {
		t.Errorf("by X-Relais-Delivery: %s about %+v", m.Kind, m.About)
	}
	if m := report(dsnOf, "simon@chu.test", "d2@grades.test", "Message-ID: <a1@chu.test>"); m.About.Message != first.ID || m.AboutBox != "simon@chu.test" {
		t.Errorf("by Message-ID: about %+v", m.About)
	}
	if m := report(mdnOf, "moreau@chu.test", "d3@grades.test", ""); m.Kind != store.KindMDN || m.AboutBox != "moreau@chu.test" {
		t.Errorf("a receipt: %s about %+v", m.Kind, m.About)
	}
	ds := h.deliveries(first.ID)
	if ds["bernard@kine.test"].State != store.Failed || ds["simon@chu.test"].State != store.Failed || ds["moreau@chu.test"].Seen[0].State != "read" {
		t.Errorf("bernard %s, simon %s, moreau seen %s", ds["bernard@kine.test"].State, ds["simon@chu.test"].State, ds["moreau@chu.test"].Seen[0].State)
	}
	h.settleNotices()
	told := h.relay()
	if n := notices(told); n != "pon:not-delivered pon:not-delivered roux:not-delivered roux:not-delivered" {
		t.Errorf("notices %q", n)
	}
	// The bounce of a notice ends with it.
	content := strings.NewReplacer("BOX", "pon@reseau.test", "RETURNED", "X-Relais-Delivery: "+string(told["pon@reseau.test"][0].delivery.ID)).Replace(dsnOf)
	if _, err := h.fetch(written{from: "mailer-daemon@grades.test", id: "d4@grades.test", subject: "Rapport", content: content}, "<>"); err != nil {
		t.Error(err)
	}
	// One that says of nothing what it is about waits for a human.
	content = strings.NewReplacer("BOX", "x@chu.test", "RETURNED", "Message-ID: <unknown@x>").Replace(dsnOf)
	if r, err := h.fetch(written{from: "mailer-daemon@grades.test", id: "d5@grades.test", subject: "Rapport", content: content}, "<>"); err != nil || r.Reason != reasonNoPathway {
		t.Errorf("%+v, %v", r, err)
	}
	if got := notices(h.relay()); got != "pon:held" {
		t.Errorf("notices %q", got)
	}
}

// A box is one programme's, or everybody's whose programme has none.
func TestBoxesOfProgrammes(t *testing.T) {
	h := newClient(t)
	for programme, want := range map[string]string{"pon": "pon", "nutripac": "autres", "parsac": "autres"} {
		if b := h.boxOf(h.o.Programmes().ByID(programme)); b.Name != want {
			t.Errorf("%s leaves by %s", programme, b.Name)
		}
	}
	var env Envelope
	env.Via = ViaOperator
	for box, want := range map[string]string{clientBox: "pon", "parcours@grades.test": ""} {
		if r := must[Recipient](t)(h.Recipient(t.Context(), &env, box)); r.Programme != want || r.Kind != ToBox {
			t.Errorf("%s is %s of %q", box, r.Kind, r.Programme)
		}
	}
	r, err := h.fetch(written{to: "parcours@grades.test", from: "moreau@chu.test", id: "c1@chu.test", subject: "IRM", content: attachment("IHE_XDM.ZIP", "application/zip", recordArchive(t))}, "<moreau@chu.test>")
	if err != nil || r.Reason != reasonNoPathway {
		t.Errorf("a child of another box's programme: %+v, %v", r, err)
	}
	h.o.Client = false // boxes are read, the hub sends by itself
	h.fetched(written{from: "roux@chu.test", id: "a1@chu.test", subject: h.tag() + " x", text: "x"})
	if c := h.relay()["bernard@kine.test"][0]; c.delivery.Operator != "" || !strings.HasSuffix(c.header["reply-to"], "@"+testDomain) {
		t.Errorf("%q, answers to %q", c.delivery.Operator, c.header["reply-to"])
	}
}
