package mailbox

import (
	"context"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store"
)

// text decodes the text of a notice.
func (a arrived) text(t *testing.T) string {
	t.Helper()
	b, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(a.body)))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), "\u00a0", " ")
}

// inCommit runs something that writes notices about the message posted.
func (h *house) inCommit(id store.MessageID, fn func(store.Tx, *store.Pathway, *store.Message) error) map[store.Address][]arrived {
	h.t.Helper()
	err := h.store.Commit(context.Background(), func(tx store.Tx) error {
		p, err := tx.Pathway(h.child)
		if err != nil {
			return err
		}
		m, err := tx.Message(h.child, id)
		if err != nil {
			return err
		}
		return fn(tx, p, m)
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return h.relay()
}

func TestNarrowedNotice(t *testing.T) {
	for locale, want := range map[texts.Locale][]string{
		texts.French:  {"Bonjour,", "- M. Luc Bernard : scanner.pdf", "« Bilan »", "sans le document réservé"},
		texts.English: {"Hello,", "- M. Luc Bernard: scanner.pdf", `"Bilan"`, "without the restricted one"},
	} {
		h := newHouse(t)
		h.o.Locale = locale
		id := h.post(written{from: "roux@chu.test", to: string(h.child), id: "n1@chu.test", subject: "Bilan", text: "x"})
		h.relay()
		got := h.inCommit(id, func(tx store.Tx, p *store.Pathway, m *store.Message) error {
			m.Documents = []store.Document{{Filename: "psy.pdf"}, {Filename: "scanner.pdf"}}
			return h.tellNarrowed(tx, p, m, []missedDocument{{member: "m4", documents: []int{1}}})
		})
		if notices(got) != "roux:narrowed" {
			t.Fatalf("notices %q", notices(got))
		}
		text := got["roux@chu.test"][0].text(t)
		for _, w := range append(want, h.pathwayAddress(h.child)) {
			if !strings.Contains(text, w) {
				t.Errorf("%s: %q is not in\n%s", locale, w, text)
			}
		}
		if strings.Contains(text, "no value") || strings.Contains(text, "psy.pdf") {
			t.Errorf("%s:\n%s", locale, text)
		}
	}
}

// A rule's notify tells without content, and never who has no consent.
func TestActivityNotice(t *testing.T) {
	for rubric, want := range map[string]string{"": "envoyé à part", ".psychologie": "ne vous est pas envoyé ici"} {
		t.Run(want, func(t *testing.T) { tellsActivity(t, rubric, want) })
	}
}

func tellsActivity(t *testing.T, rubric, want string) {
	h := newHouse(t)
	id := h.post(written{from: "roux@chu.test", to: string(h.child) + rubric, id: "n1@chu.test", subject: "Bilan", text: "x"})
	h.relay()
	got := h.inCommit(id, func(tx store.Tx, p *store.Pathway, m *store.Message) error {
		prog, err := h.programme(p.Programme)
		if err != nil {
			return err
		}
		return h.tellActivity(tx, p, prog, m, []string{"infirmier", "oncologue", "parent"})
	})
	if notices(got) != "cabinet:activity" {
		t.Fatalf("notices %q", notices(got))
	}
	if text := got["cabinet@idel.test"][0].text(t); strings.Contains(text, "Bilan") || strings.Contains(text, "Martin") || strings.Contains(text, "Roux") {
		t.Errorf("says too much:\n%s", text)
	} else if !strings.Contains(text, want) {
		t.Errorf("no %q in:\n%s", want, text)
	}
}

func TestPartialNotice(t *testing.T) {
	h := newHouse(t)
	h.post(written{from: "roux@chu.test", to: string(h.child), id: "n1@chu.test", subject: "Bilan", text: "x"})
	h.relayWith(func(j Job) Outcome {
		if j.Delivery.Mailbox.Local() == "bernard" && len(j.Delivery.Withheld) == 0 {
			return Outcome{Kind: OutcomeTooLarge, Limit: 10}
		}
		return Outcome{Kind: OutcomeSent}
	})
	h.clock.advance(tellStep)
	h.timers()
	view := must[ThreadView](t)(h.Thread(context.Background(), testActor, string(h.child), ""))
	var kinds []string
	for _, d := range view.Messages[0].Deliveries {
		kinds = append(kinds, d.Kind+" "+d.State)
	}
	if got := strings.Join(kinds, ", "); !strings.Contains(got, "copy partial") || !strings.Contains(got, "partial sent") && !strings.Contains(got, "partial queued") {
		t.Errorf("deliveries: %s", got)
	}
}

// A post that asks its own envelope sender to be notified gets one receipt,
// with nothing of the post in it but what its sender wrote.
func TestReceiptIsAnsweredOnce(t *testing.T) {
	h := newHouse(t)
	w := written{
		from: "roux@chu.test", to: string(h.child), id: "n1@chu.test", subject: "Bilan", text: "corps du message",
		header: []string{"Disposition-Notification-To: <roux@chu.test>"},
	}
	id := h.post(w)
	got := h.relay()
	if notices(got) != "roux:receipt" {
		t.Fatalf("notices %q", notices(got))
	}
	r := got["roux@chu.test"][0]
	if r.header["auto-submitted"] != "auto-replied" || r.delivery.Sender != "" ||
		!strings.Contains(r.header["content-type"], "disposition-notification") ||
		!strings.Contains(r.raw, "Original-Message-ID: <n1@chu.test>") || strings.Contains(r.raw, "corps du message") {
		t.Errorf("%s", r.raw)
	}
	h.inCommit(id, func(tx store.Tx, p *store.Pathway, m *store.Message) error { return h.answerReceipt(tx, p, m, "") })
	if _, err := h.try(w); err != nil {
		t.Fatal(err)
	}
	h.clock.advance(time.Hour)
	if got := notices(h.relay()); got != "" {
		t.Errorf("notices %q", got)
	}
	w.id, w.header = "n2@chu.test", []string{"Disposition-Notification-To: <autre@chu.test>"}
	h.post(w)
	if got := notices(h.relay()); got != "" {
		t.Errorf("notices %q", got)
	}
}

// A notice that cannot be delivered makes no other.
func TestNoticesMakeNoNotices(t *testing.T) {
	h := newHouse(t)
	h.withDesk()
	h.holdOne()
	h.relayWith(func(Job) Outcome { return Outcome{Kind: OutcomePermanent, Code: 550} })
	h.clock.advance(time.Minute)
	h.timers()
	if got := notices(h.relay()); got != "" {
		t.Errorf("notices %q", got)
	}
	ctx := context.Background()
	for _, q := range must[[]QueueView](t)(h.Queue(ctx, testActor, QueueFilter{State: "failed"})) {
		must[QueueView](t)(h.DropDelivery(ctx, testActor, QueueRequest{ID: q.ID}))
	}
	h.timers()
	if got := notices(h.relay()); got != "" {
		t.Errorf("notices %q", got)
	}
}
