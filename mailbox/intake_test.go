package mailbox

import (
	"errors"
	"strings"
	"testing"

	"github.com/relais-sante/relais/store"
)

// The team of newHouse, by local part of the box.
const (
	careTeam = "bernard cabinet moreau roux simon"
	// without the box that wrote
	allButRoux = "bernard cabinet moreau simon"
)

func TestPlainMailGoesToTheCareTeam(t *testing.T) {
	h := newHouse(t)
	id := h.post(written{from: "roux@chu.test", to: string(h.child), id: "a1@chu.test", subject: "Retour à domicile", text: "Bonjour"})
	m := h.message(id)
	if got := strings.Join(m.Rubrics(), " "); got != "coordination" {
		t.Errorf("filed in %q", got)
	}
	if m.Author.Member != "m1" || m.Author.Certainty != store.Sure {
		t.Errorf("author %s (%s)", m.Author.Member, m.Author.Certainty)
	}
	got := h.relay()
	if b := boxes(got); b != allButRoux {
		t.Errorf("copies to %q, want %q", b, allButRoux)
	}
	if n := notices(got); n != "" {
		t.Errorf("notices %q", n)
	}
}

func TestCopyHeader(t *testing.T) {
	h := newHouse(t)
	w := written{
		from: "roux@chu.test", to: string(h.child), id: "a1@chu.test", subject: "=?utf-8?q?R=C3=A9sultats?=", text: "Voilà.",
		header: []string{"From: \"Dr Anne Roux\" <roux@chu.test>", "Cc: x@chu.test", "X-Relais-For: forged", "List-Id: <x>", "Importance: high"},
	}
	h.post(w)
	got := h.relay()
	c := got["cabinet@idel.test"][0]
	code := string(h.child)
	for name, want := range map[string]string{
		"from":             `"Dr Anne Roux (CHU Caen)" <` + code + `.m1@parcours.test>`,
		"message-id":       "<a1@chu.test>",
		"references":       "<parcours." + code + "@parcours.test>",
		"x-mss-nil":        "DEV000000",
		"x-relais-pathway": code,
		"x-relais-rubric":  "coordination",
		"importance":       "high",
		"cc":               "", "list-id": "", "precedence": "", "in-reply-to": "",
		"x-relais-delivery": string(c.delivery.ID),
	} {
		if c.header[name] != want {
			t.Errorf("%s: %q, want %q", name, c.header[name], want)
		}
	}
	if !strings.HasSuffix(c.header["to"], "<cabinet@idel.test>") || !strings.Contains(c.header["to"], "Petit") || !strings.Contains(c.header["to"], "Durand") {
		t.Errorf("To: %q", c.header["to"])
	}
	if !strings.HasPrefix(c.header["reply-to"], "<"+code+".r-") && !strings.HasPrefix(c.header["reply-to"], code+".r-") {
		t.Errorf("Reply-To: %q", c.header["reply-to"])
	}
	if c.header["x-relais-for"] == "forged" {
		t.Error("a foreign X-Relais-For went through")
	}
	if want := c.delivery.Subject; want != "[PON "+code+" L.M. pour Mme Julie Petit et M. Paul Durand] Résultats" {
		t.Errorf("subject %q", want)
	}
	if want := "Voilà.\r\n"; c.body != want {
		t.Errorf("body %q", c.body)
	}
	if again := h.replyAddress(h.child, "cabinet@idel.test"); !strings.Contains(c.header["reply-to"], again) {
		t.Errorf("the reply address is not stable: %q, %q", c.header["reply-to"], again)
	}
}

// answer is an answer of a box to a copy it got.
func answer(c arrived, from, id, text string) written {
	to := strings.Trim(c.header["reply-to"], "<>")
	return written{
		from: from, to: to, id: id, subject: "Re: " + c.header["subject"], text: text,
		header: []string{"In-Reply-To: " + c.header["message-id"], "References: " + c.header["references"] + " " + c.header["message-id"]},
	}
}

func TestAnswersOfASharedBox(t *testing.T) {
	const quoted = "\n\nLe lun. 23 nov. 2026, Dr Anne Roux a écrit :\n> Auteur : Mme Julie Petit\n> Bonjour"
	for _, c := range []struct {
		name, header, text string
		member             store.MemberID
		certainty          store.Certainty
	}{
		{"line", "", "Auteur : Paul Durand\nVu ce matin." + quoted, "m6", store.Sure},
		{"line with title", "", "auteur: Mme Petit\nVu.", "m5", store.Sure},
		{"display name", "From: \"Julie PETIT\" <cabinet@idel.test>", "Vu." + quoted, "m5", store.Likely},
		{"display name in the national form", "From: \"Mme_Julie_PETIT_Cabinet Paul Durand\" <cabinet@idel.test>", "Vu.", "m5", store.Likely},
		{"signature", "", "Vu ce matin.\n\nPaul Durand\nInfirmier" + quoted, "m6", store.Likely},
		{"nothing", "From: \"Cabinet du Port\" <cabinet@idel.test>", "Vu ce matin." + quoted, "", store.ByBox},
		{"line with the family name alone", "", "Auteur : DURAND\nVu.", "m6", store.Sure},
		{"line with a given name alone", "", "Auteur : Paul\nVu.", "", store.ByBox},
		{"line naming nobody of the box", "", "Auteur : Mme Lefort\nVu.\n\nPaul Durand", "", store.ByBox},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t)
			h.post(written{from: "roux@chu.test", to: string(h.child), id: "a1@chu.test", subject: "Surveillance", text: "Bonjour"})
			first := h.relay()["cabinet@idel.test"][0]
			w := answer(first, "cabinet@idel.test", "b1@idel.test", c.text)
			if c.header != "" {
				w.header = append(w.header, c.header)
			}
			m := h.message(h.post(w))
			if m.Author.Member != c.member || m.Author.Certainty != c.certainty {
				t.Errorf("author %q (%s), want %q (%s)", m.Author.Member, m.Author.Certainty, c.member, c.certainty)
			}
			got := h.relay()
			// The colleagues who share the box get their copy there.
			if b := boxes(got); b != careTeam {
				t.Errorf("copies to %q, want %q", b, careTeam)
			}
			back := got["roux@chu.test"][0]
			if want := "<a1@chu.test>"; back.header["in-reply-to"] != want {
				t.Errorf("In-Reply-To %q", back.header["in-reply-to"])
			}
			from := back.header["from"]
			if c.member == "" && strings.Contains(from, ".m") {
				t.Errorf("a guessed author: %q", from)
			}
			if c.member != "" && !strings.Contains(from, "."+string(c.member)+"@") {
				t.Errorf("From %q", from)
			}
			if n := strings.Count(back.header["subject"], "[PON"); n != 1 {
				t.Errorf("%d tags: %q", n, back.header["subject"])
			}
		})
	}
}

// An answer to a Psychologie message never reaches a role without it, whichever
// address it was sent to.
func TestAnswerToPsychologyStaysThere(t *testing.T) {
	for _, address := range []string{"reply", "CODE", "CODE.coordination", "CODE.m4", "CODE.pps"} {
		t.Run(address, func(t *testing.T) {
			h := newHouse(t)
			pdf := attachment("entretien.pdf", "application/pdf", "JVBERi0xLjQK")
			h.post(written{from: "simon@chu.test", to: string(h.child), id: "p1@chu.test", subject: "Entretien", content: pdf})
			got := h.relay()
			if b := boxes(got); b != "moreau roux" {
				t.Fatalf("a psychologist's plain PDF went to %q, want only the roles of Psychologie", b)
			}
			w := answer(got["roux@chu.test"][0], "roux@chu.test", "p2@chu.test", "Merci, on en parle demain.")
			if address != "reply" {
				w.to = strings.ReplaceAll(address, "CODE", string(h.child))
			}
			m := h.message(h.post(w))
			if b := boxes(h.relay()); b != "moreau simon" {
				t.Errorf("the answer, filed in %v, went to %q", m.Rubrics(), b)
			}
		})
	}
}

func attachment(name, media, base64 string) string {
	return "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"=_b\"\n\n--=_b\nContent-Type: text/plain; charset=utf-8\n\nCi-joint.\n--=_b\n" +
		"Content-Type: " + media + "; name=\"" + name + "\"\nContent-Disposition: attachment; filename=\"" + name + "\"\nContent-Transfer-Encoding: base64\n\n" +
		base64 + "\n--=_b--\n"
}

// A parent gets nothing but what a rule names them for and document-free
// answers to their own posts.
func TestParent(t *testing.T) {
	h := newHouse(t)
	const mother = "mere@famille.test"
	h.post(written{from: "roux@chu.test", to: string(h.child), id: "a1@chu.test", subject: "Avant le consentement", text: "x"})
	if got := h.relay(); len(got[mother]) != 0 {
		t.Error("a pending parent got mail")
	}
	if _, err := h.RecordConsent(t.Context(), testActor, ConsentRequest{Pathway: string(h.child), Kind: "oral", From: "mère", By: "IDEC", For: "m7"}); err != nil {
		t.Fatal(err)
	}
	h.post(written{from: "roux@chu.test", to: string(h.child), id: "a2@chu.test", subject: "Après", text: "x"})
	if got := h.relay(); len(got[mother]) != 0 {
		t.Error("a parent got a plain mail that no rule names them for")
	}
	h.post(written{from: mother, to: string(h.child), id: "q1@famille.test", subject: "Question", text: "Peut-elle aller à l'école ?"})
	got := h.relay()
	if b := boxes(got); b != careTeam {
		t.Errorf("the parent's post went to %q", b)
	}
	copyOf := got["roux@chu.test"][0]
	h.post(answer(copyOf, "roux@chu.test", "r1@chu.test", "Oui."))
	if got := h.relay(); len(got[mother]) != 1 {
		t.Error("the parent did not get the answer to her own post")
	}
	w := answer(copyOf, "roux@chu.test", "r2@chu.test", "")
	w.content = attachment("compte-rendu.pdf", "application/pdf", "JVBERi0xLjQK")
	h.post(w)
	if got := h.relay(); len(got[mother]) != 0 {
		t.Error("the parent got an answer with a document")
	}
}

func TestHeld(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		mail         func(h *house, other store.PathwayCode) written
	}{
		{"unknown sender", reasonUnknownSender, func(h *house, _ store.PathwayCode) written {
			return written{from: "stranger@chu.test", to: string(h.child), subject: "Bonjour"}
		}},
		{"another tag", reasonConflicting, func(h *house, other store.PathwayCode) written {
			return written{from: "roux@chu.test", to: string(h.child), subject: "Re: [PON " + string(other) + " T.L.] Bilan"}
		}},
		{"another child's name", reasonConflicting, func(h *house, _ store.PathwayCode) written {
			return written{from: "roux@chu.test", to: string(h.child), subject: "Bilan de Tom Lefèvre"}
		}},
		{"another child's birth date", reasonConflicting, func(h *house, _ store.PathwayCode) written {
			return written{from: "roux@chu.test", to: string(h.child), subject: "LEFEVRE 12/07/2014"}
		}},
		{"another child's name in a file name", reasonConflicting, func(h *house, _ store.PathwayCode) written {
			return written{from: "roux@chu.test", to: string(h.child), subject: "Bilan", content: attachment("CR_LEFEVRE_Tom.pdf", "application/pdf", "JVBERi0xLjQK")}
		}},
		{"another thread", reasonConflicting, func(h *house, other store.PathwayCode) written {
			return written{from: "roux@chu.test", to: string(h.child), subject: "Re: Bilan", header: []string{"In-Reply-To: <parcours." + string(other) + "@parcours.test>"}}
		}},
		{"another reply address among the recipients", reasonConflicting, func(h *house, other store.PathwayCode) written {
			return written{from: "roux@chu.test", to: string(h.child), subject: "Bilan", header: []string{"To: <" + h.replyAddress(other, "roux@chu.test") + ">"}}
		}},
		{"nobody named", reasonNoPathway, func(*house, store.PathwayCode) written {
			return written{from: "roux@chu.test", to: "pon", subject: "Bonjour"}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t)
			other := h.include("114076300100140", "Lefèvre", "Tom", "2014-07-12")
			h.member(other, "Dr Anne Roux", "oncologue", "roux@chu.test", "PER", "CHU Caen")
			h.member(other, "M. Hugo Blanc", "idec", "blanc@autre.test", "PER", "CHU Rouen")
			w := c.mail(h, other)
			w.id, w.text = "h1@chu.test", "Texte confidentiel."
			r, err := h.try(w)
			if err != nil {
				t.Fatal(err)
			}
			if r.Held == "" || r.Reason != c.reason {
				t.Fatalf("held %q for %q, want %q", r.Held, r.Reason, c.reason)
			}
			got := h.relay()
			if b := boxes(got); b != "" {
				t.Errorf("copies to %q", b)
			}
			for addr, ms := range got {
				for _, m := range ms {
					if strings.Contains(m.raw, string(other)) || strings.Contains(m.raw, "confidentiel") {
						t.Errorf("the notice to %s says too much:\n%s", addr, m.raw)
					}
					if addr == "blanc@autre.test" {
						t.Error("the other child's team was told")
					}
				}
			}
			if len(got[store.Address(w.from)]) != 1 {
				t.Errorf("the sender got %d notices", len(got[store.Address(w.from)]))
			}
			if w.to == string(h.child) && len(got["moreau@chu.test"]) != 1 {
				t.Error("the coordinator was not told")
			}
			// Sent again by an operator that lost the answer: held once.
			again, err := h.try(w)
			if err != nil || again.Held != r.Held {
				t.Errorf("held again as %q (%v)", again.Held, err)
			}
			if got := h.relay(); len(got) != 0 {
				t.Errorf("told again: %s", notices(got))
			}
		})
	}
}

// Siblings, homonyms and the child's own name are no reason to hold.
func TestOwnNameIsNoConflict(t *testing.T) {
	h := newHouse(t)
	h.include("114076300100140", "Martin", "Tom", "2014-07-12")
	h.include("215036300100177", "Martin", "Léa", "2016-03-09") // another Léa Martin
	for i, subject := range []string{"Léa Martin", "MARTIN 02/03/2015", "M. Martin a appelé", "PPS MARTIN Léa 02/03/2015"} {
		h.post(written{from: "roux@chu.test", to: string(h.child), id: string(rune('a'+i)) + "@chu.test", subject: subject, text: "x"})
	}
	r, err := h.try(written{from: "roux@chu.test", to: string(h.child), subject: "Tom Martin", text: "x"})
	if err != nil || r.Reason != reasonConflicting {
		t.Errorf("a sibling's mail: %+v, %v", r, err)
	}
	r, err = h.try(written{from: "roux@chu.test", to: string(h.child), subject: "Léa Martin, née le 09/03/2016", text: "x"})
	if err != nil || r.Reason != reasonConflicting {
		t.Errorf("a homonym's mail: %+v, %v", r, err)
	}
}

func TestRefusals(t *testing.T) {
	h := newHouse(t)
	closed := h.include("114076300100140", "Lefèvre", "Tom", "2014-07-12")
	if _, err := h.ClosePathway(t.Context(), testActor, StatusChange{Pathway: string(closed)}); err != nil {
		t.Fatal(err)
	}
	withdrawn := h.include("215036300100177", "Caron", "Zoé", "2016-03-09")
	h.member(withdrawn, "Dr Anne Roux", "oncologue", "roux@chu.test", "PER", "CHU Caen")
	if _, err := h.WithdrawConsent(t.Context(), testActor, WithdrawRequest{Pathway: string(withdrawn), By: "père"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		w      written
		reason RefusalReason
	}{
		{"unknown code", written{from: "roux@chu.test", to: "bcdfghj"}, RefuseUnknown},
		{"unknown rubric", written{from: "roux@chu.test", to: string(h.child) + ".nowhere"}, RefuseUnknown},
		{"unknown member", written{from: "roux@chu.test", to: string(h.child) + ".m99"}, RefuseUnknown},
		{"forged reply address", written{from: "roux@chu.test", to: string(h.child) + ".r-aaaaaaaaaa"}, RefuseUnknown},
		{"foreign", written{from: "roux@chu.test", to: "x@elsewhere.test"}, RefuseForeign},
		{"closed", written{from: "roux@chu.test", to: string(closed)}, RefuseClosed},
		{"consent withdrawn", written{from: "roux@chu.test", to: string(withdrawn)}, RefuseWithdrawn},
		{"null sender to a pathway", written{from: "", to: string(h.child)}, RefuseNullSender},
		{"a NUL in front of a dot", written{from: "roux@chu.test", to: string(h.child), text: "x\n\x00.\nMAIL FROM:<a@b.test>"}, RefuseNULLine},
		{"bare newline", written{from: "roux@chu.test", to: string(h.child), text: "x", header: []string{"X: a\nb"}}, RefuseBareNewline},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := h.try(c.w)
			var no *Refusal
			if !errors.As(err, &no) || no.Reason != c.reason {
				t.Errorf("%v, want %s", err, c.reason)
			}
		})
	}
	if got := h.relay(); len(got) != 0 {
		t.Errorf("something was sent: %s", boxes(got))
	}
}

func TestSeenAgain(t *testing.T) {
	h := newHouse(t)
	w := written{from: "roux@chu.test", to: string(h.child), id: "a1@chu.test", subject: "Une fois", text: "x"}
	first := h.post(w)
	r, err := h.try(w)
	if err != nil || !r.Duplicate || r.Message != first {
		t.Fatalf("%+v, %v", r, err)
	}
	got := h.relay()
	if b := boxes(got); b != allButRoux {
		t.Errorf("copies to %q", b)
	}
	// A box that forwards its copies back to the pathway.
	c := got["moreau@chu.test"][0]
	w2 := written{from: "moreau@chu.test", to: string(h.child), id: "a1@chu.test", subject: "Fwd", text: "x", header: []string{"X-Relais-Delivery: " + string(c.delivery.ID)}}
	if r, err := h.try(w2); err != nil || !r.Duplicate {
		t.Errorf("a loop: %+v, %v", r, err)
	}
	if got := h.relay(); len(got) != 0 {
		t.Errorf("relayed again to %s", boxes(got))
	}
	// The same id for other content gets a new one on the way out.
	h.post(written{from: "moreau@chu.test", to: string(h.child), id: "a1@chu.test", subject: "Autre", text: "y"})
	c = h.relay()["roux@chu.test"][0]
	if c.header["message-id"] == "<a1@chu.test>" || !strings.Contains(c.header["references"], "<a1@chu.test>") {
		t.Errorf("Message-ID %q, References %q", c.header["message-id"], c.header["references"])
	}
}

// One mail sent to two pathways: a box that is in both teams gets two copies
// under two ids, or its client would show one.
func TestOneMailToTwoPathways(t *testing.T) {
	h := newHouse(t)
	other := h.include("114076300100140", "Lefèvre", "Tom", "2014-07-12")
	h.member(other, "Dr Anne Roux", "oncologue", "roux@chu.test", "PER", "CHU Caen")
	h.member(other, "Mme Inès Moreau", "idec", "moreau@chu.test", "PER", "CHU Caen")
	h.member(other, "M. Hugo Blanc", "pediatre", "blanc@autre.test", "PER", "CHU Rouen")
	w := written{from: "roux@chu.test", to: string(h.child), id: "a1@chu.test", subject: "Congés", text: "Je suis absente jeudi."}
	h.post(w)
	first := h.relay()
	w.to = string(other)
	h.post(w)
	second := h.relay()
	for box, want := range map[store.Address]bool{"moreau@chu.test": false, "blanc@autre.test": true} {
		id := second[box][0].header["message-id"]
		if (id == "<a1@chu.test>") != want {
			t.Errorf("%s got the second copy as %s", box.Local(), id)
		}
		if !want && !strings.Contains(second[box][0].header["references"], "<a1@chu.test>") {
			t.Errorf("the first id is not among the references: %q", second[box][0].header["references"])
		}
	}
	if first["moreau@chu.test"][0].header["message-id"] != "<a1@chu.test>" {
		t.Error("the first copy has not the post's id")
	}
}

func TestAutomaticMailIsRecordedOnly(t *testing.T) {
	const dsn = "MIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary=\"=_d\"\n\n--=_d\nContent-Type: text/plain\n\nNon remis.\n--=_d\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.kine.test\nOriginal-Envelope-Id: ENVID\n\nFinal-Recipient: rfc822; bernard@kine.test\nAction: failed\nStatus: 5.1.1\n\n--=_d--\n"
	const mdn = "MIME-Version: 1.0\nContent-Type: multipart/report; report-type=disposition-notification; boundary=\"=_d\"\n\n--=_d\nContent-Type: text/plain\n\nLu.\n--=_d\nContent-Type: message/disposition-notification\n\nFinal-Recipient: rfc822; bernard@kine.test\nOriginal-Message-ID: <a1@chu.test>\nDisposition: manual-action/MDN-sent-manually; displayed\n\n--=_d--\n"
	h := newHouse(t)
	post := h.post(written{from: "roux@chu.test", to: string(h.child), id: "a1@chu.test", subject: "x", text: "x"})
	c := h.relay()["bernard@kine.test"][0]
	bounce := string(h.bounceAddress(h.child, "bernard@kine.test"))

	// An absence answer.
	w := answer(c, "bernard@kine.test", "v1@kine.test", "Je suis absent.")
	w.header = append(w.header, "Auto-Submitted: auto-replied")
	auto := h.message(h.post(w))
	if auto.Kind != store.KindAuto || auto.About == nil || auto.About.Message != post {
		t.Errorf("absence: %s about %v", auto.Kind, auto.About)
	}
	// A receipt.
	r := h.message(h.post(written{from: "", to: bounce, id: "v2@kine.test", subject: "Lu", content: mdn, header: []string{"From: <bernard@kine.test>"}}))
	if r.Kind != store.KindMDN {
		t.Errorf("receipt: %s", r.Kind)
	}
	if got := h.relay(); len(got) != 0 {
		t.Errorf("something was sent: %s%s", boxes(got), notices(got))
	}
	view, err := h.Thread(t.Context(), testActor, string(h.child), "")
	if err != nil {
		t.Fatal(err)
	}
	seen := ""
	for _, d := range view.Messages[0].Deliveries {
		if d.Mailbox == "bernard@kine.test" && d.Kind != "notice" && len(d.Seen) > 0 {
			seen = d.Seen[0].State
		}
	}
	if seen != "read" {
		t.Errorf("seen %q after a receipt", seen)
	}
	// A bounce: the author and the desk are told, the box is marked.
	b := h.message(h.post(written{from: "", to: bounce, id: "v3@kine.test", subject: "Undelivered", content: strings.Replace(dsn, "ENVID", string(c.delivery.ID), 1), header: []string{"From: <mailer-daemon@mx.kine.test>"}}))
	if b.Kind != store.KindDSN || b.Outcome != "failed" {
		t.Errorf("bounce: %s %s", b.Kind, b.Outcome)
	}
	h.settleNotices()
	got := h.relay()
	if n := len(got["roux@chu.test"]); n != 1 || got["roux@chu.test"][0].header["x-relais-kind"] != "not-delivered" {
		t.Errorf("the author got %s", notices(got))
	}
	box, err := h.Box(t.Context(), testActor, "bernard@kine.test")
	if err != nil || box.MarkedCode != "5.1.1" {
		t.Errorf("the box is marked %q (%v)", box.MarkedCode, err)
	}
	// A second, late bounce of the same copy changes nothing more.
	h.post(written{from: "", to: bounce, id: "v4@kine.test", subject: "Undelivered", content: strings.Replace(dsn, "ENVID", string(c.delivery.ID), 1), header: []string{"From: <mailer-daemon@mx.kine.test>"}})
	h.settleNotices()
	if got := h.relay(); len(got) != 0 {
		t.Errorf("told again: %s", notices(got))
	}
}

func TestThreadOfAnswers(t *testing.T) {
	h := newHouse(t)
	h.post(written{from: "roux@chu.test", to: string(h.child), id: "a0@chu.test", subject: "Fil", text: "0"})
	last := h.relay()["moreau@chu.test"][0]
	who := []string{"moreau@chu.test", "roux@chu.test"}
	root := "<parcours." + string(h.child) + "@parcours.test>"
	for i := range 30 {
		from, to := who[i%2], who[(i+1)%2]
		w := answer(last, from, "a"+string(rune('A'+i))+"@chu.test", "x")
		switch i % 5 {
		case 1: // an operator that rewrote the id on the way: unknown to the hub
			w.header = []string{"In-Reply-To: <rewritten@operator.test>", "References: <rewritten@operator.test>"}
		case 3: // a client that sends none at all
			w.header = nil
		}
		m := h.message(h.post(w))
		if m.Parent == "" {
			t.Fatalf("answer %d hangs on nothing", i)
		}
		last = h.relay()[store.Address(to)][0]
		refs := strings.Fields(last.header["references"])
		if refs[0] != root || len(refs) > 21 {
			t.Fatalf("answer %d: %d references from %s", i, len(refs), refs[0])
		}
		if n := strings.Count(last.header["subject"], "[PON"); n != 1 {
			t.Fatalf("answer %d: subject %q", i, last.header["subject"])
		}
	}
}

func TestConsentComesFirst(t *testing.T) {
	h := newHouse(t)
	p, err := h.Include(t.Context(), testActor, IncludeRequest{Programme: "pon", FamilyName: "Caron", GivenName: "Zoé", BirthDate: "2016-03-09", Sex: "F"})
	if err != nil {
		t.Fatal(err)
	}
	code := store.PathwayCode(p.ID)
	h.member(code, "Dr Anne Roux", "oncologue", "roux@chu.test", "PER", "CHU Caen")
	h.member(code, "Mme Inès Moreau", "idec", "moreau@chu.test", "PER", "CHU Caen")
	r, err := h.try(written{from: "roux@chu.test", to: string(code), id: "a1@chu.test", subject: "x", text: "x"})
	if err != nil || r.Reason != reasonConsent {
		t.Fatalf("%+v, %v", r, err)
	}
	if b := boxes(h.relay()); b != "" {
		t.Fatalf("relayed to %q without consent", b)
	}
	if _, err := h.RecordConsent(t.Context(), testActor, ConsentRequest{Pathway: string(code), Kind: "oral", From: "père", By: "IDEC"}); err != nil {
		t.Fatal(err)
	}
	h.settleNotices()
	if b := boxes(h.relay()); b != "moreau" {
		t.Errorf("after consent, copies to %q", b)
	}
}

// Rights are asked again when a copy is claimed.
func TestRightsAtTheLastMoment(t *testing.T) {
	h := newHouse(t)
	h.post(written{from: "roux@chu.test", to: string(h.child), id: "a1@chu.test", subject: "x", text: "x"})
	if _, err := h.RemoveMember(t.Context(), testActor, MemberRemoval{Pathway: string(h.child), Member: "m4", Reason: "mutation"}); err != nil {
		t.Fatal(err)
	}
	if b := boxes(h.relay()); b != "cabinet moreau simon" {
		t.Errorf("copies to %q", b)
	}
}
