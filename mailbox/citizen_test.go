package mailbox

import (
	"strings"
	"testing"

	"github.com/relais-sante/relais/store"
)

// toCitizen posts a plan that goes to the child's own box alone of the family,
// and gives the copy it got.
func (h *house) toCitizen(w written) arrived {
	h.t.Helper()
	h.openToFamilies()
	h.member(h.child, "Famille Martin", "parent", childBox, "", "")
	must[[]ConsentView](h.t)(h.RecordConsent(h.t.Context(), testActor, ConsentRequest{Pathway: string(h.child), Kind: "oral", From: "mère", By: "IDEC", For: "m8"}))
	w.from, w.to, w.id, w.subject = "roux@chu.test", string(h.child), "c1@chu.test", "Plan"
	if w.content == "" {
		w.content = carrying("plan.xml", cdaDoc{}.xml())
	}
	h.post(w)
	got := h.relayed(childBox)
	if len(got) != 1 {
		h.t.Fatalf("%d copies", len(got))
	}
	return got[0]
}

// A refusal of Mon espace santé, in whatever form, is told in plain words.
func TestRefusalsOfMonEspaceSante(t *testing.T) {
	report := func(words, status, diagnostic string) string {
		return "MIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary=\"=_r\"\n\n--=_r\nContent-Type: text/plain; charset=utf-8\n\n" +
			words + "\n--=_r\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.patient.mssante.fr\n\nFinal-Recipient: rfc822; " + childBox +
			"\nAction: failed\nStatus: " + status + "\nDiagnostic-Code: smtp; " + diagnostic + "\n--=_r--\n"
	}
	for _, c := range []struct {
		name, from, subject, content, text string
		lastError, says, mark              string
	}{
		{"closed, by its status", "", "Undelivered Mail Returned to Sender", report("x", "5.2.1", "550 5.2.1"), "", "5.2.1 mes-closed", "messagerie de l'enfant est fermée", "5.2.1"},
		{"closed, by the server's words", "", "Undelivered Mail Returned to Sender", report("x", "5.0.0", "550 messagerie fermee"), "", "5.0.0 mes-closed", "fermée", ""},
		{"patient not found", "", "Undelivered Mail Returned to Sender", report("Patient non trouvé.", "5.0.0", "550"), "", "5.0.0 mes-unknown", "ne connaît pas ce patient", ""},
		{"a bad address", "", "Message non distribué", report("x", "5.1.3", "553"), "", "5.1.3 mes-address", "mal formée", "5.1.3"},
		{"too large", "", "Message non distribué", report("x", "5.3.4", "552"), "", "5.3.4 mes-too-large", "trop volumineux", ""},
		{"in words alone", "", "Message non distribué", "", "Message non distribué : messagerie fermée.", "5.2.1 mes-closed", "fermée", "5.2.1"},
		{"in words alone, from a machine with a name", "ne-pas-repondre@patient.mssante.fr", "Message non distribué", "", "Patient inconnu.", "5.1.1 mes-unknown", "ne connaît pas", "5.1.1"},
		{"for a reason of which we know nothing", "", "Undelivered Mail Returned to Sender", report("x", "5.7.1", "550 politique"), "", "5.7.1 dsn", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t)
			sent := h.toCitizen(written{})
			from := c.from
			if from == "" {
				from = "MAILER-DAEMON@patient.mssante.fr"
			}
			w := written{
				from: c.from, to: string(sent.delivery.Sender), id: "b1@patient.mssante.fr", subject: c.subject, content: c.content, text: c.text,
				header: []string{"From: <" + from + ">", "In-Reply-To: " + sent.header["message-id"]},
			}
			if _, err := h.try(w); err != nil {
				t.Fatal(err)
			}
			h.settleNotices()
			d := must[QueueView](t)(h.QueueEntry(t.Context(), testActor, string(sent.delivery.ID)))
			if d.State != string(store.Failed) || d.LastError != c.lastError {
				t.Errorf("%s, %q", d.State, d.LastError)
			}
			got := h.relay()["roux@chu.test"]
			if len(got) != 1 || got[0].header["x-relais-kind"] != noticeNotDelivered {
				t.Fatalf("the author got %d mails", len(got))
			}
			if text := got[0].text(t); !strings.Contains(text, c.says) || strings.Contains(text, "279035121518989") {
				t.Errorf("the author is told:\n%s", text)
			}
			mark := must[BoxView](t)(h.Box(t.Context(), testActor, childBox)).MarkedCode
			if mark != c.mark {
				t.Errorf("marked %q, want %q", mark, c.mark)
			}
		})
	}
}

// Refused at once, in the dialogue.
func TestMonEspaceSanteRefusesAtOnce(t *testing.T) {
	h := newHouse(t)
	h.openToFamilies()
	h.family()
	h.post(written{from: "roux@chu.test", to: string(h.child), id: "c1@chu.test", subject: "Plan", content: carrying("p.xml", cdaDoc{}.xml())})
	got := h.relayWith(func(j Job) Outcome {
		if j.Delivery.Mailbox.Citizen() {
			return Outcome{Kind: OutcomePermanent, Code: 550, Enhanced: "5.1.1", Text: "5.1.1 user unknown", Reason: "refused"}
		}
		return Outcome{Kind: OutcomeSent}
	})
	if told := got["roux@chu.test"]; len(told) != 1 || !strings.Contains(told[0].text(t), "ne connaît pas ce patient") {
		t.Errorf("the author got %+v", told)
	}
}

// Mon espace santé takes 25 MB in all: a larger copy goes as its text.
func TestTooLargeForMonEspaceSante(t *testing.T) {
	h := newHouse(t)
	h.o.CitizenMax = 20 << 10
	large := carrying("plan.xml", cdaDoc{text: strings.Repeat("texte ", 5000)}.xml())
	got := h.toCitizen(written{content: large})
	if len(got.raw) > 20<<10 || !strings.Contains(got.text(t), "plan.xml") {
		t.Errorf("%d bytes:\n%.600s", len(got.raw), got.raw)
	}
	h.clock.advance(tellStep) // other copies may not have been over yet
	h.timers()
	notice := h.relayed("roux@chu.test")
	if len(notice) != 1 || notice[0].header["x-relais-kind"] != noticePartial {
		t.Errorf("the author got %+v", notice)
	}
	// Others got all of it, and so does the box with a smaller mail.
	h.post(written{from: "roux@chu.test", to: string(h.child), id: "c2@chu.test", subject: "Plan", content: carrying("p.xml", cdaDoc{id: "p"}.xml())})
	if c := h.relay()[childBox]; len(c) != 1 || c[0].delivery.Withheld != nil {
		t.Errorf("a small one: %+v", c)
	}
}
