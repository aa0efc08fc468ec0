package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/relais-sante/relais/gateway/admin"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/texts"
)

func TestEncode(t *testing.T) {
	v := mailbox.ThreadView{Pathway: "x", Messages: []mailbox.MessageView{{Subject: "a\x1b[31m\u009b\u202e<é>\n\U000e0041"}}}
	b, err := encode(v)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"documents": []`, `"deliveries": []`, `"rubrics": []`, `a\u001b[31m\u009b\u202e<é>\n\ufffd`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s in %s", want, b)
		}
	}
	if v.Messages[0].Documents == nil && strings.Contains(string(b), "null") {
		t.Errorf("null in %s", b)
	}
	b, err = encode([]mailbox.HeldView(nil))
	if err != nil || string(b) != "[]\n" {
		t.Errorf("no list: %q, %v", b, err)
	}
}

// Whatever a mail's subject holds, what is written is JSON with the same text.
func TestEncodeKeepsText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		subject := rapid.String().Draw(t, "subject")
		b, err := encode(mailbox.MessageView{Subject: subject})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range string(b) {
			if r != '\n' && unprintable(r) {
				t.Fatalf("%q is not safe on a terminal", b)
			}
		}
		var back mailbox.MessageView
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		plain := func(s string) string {
			return strings.Map(func(r rune) rune {
				if r > 0xffff && unprintable(r) {
					return utf8.RuneError
				}
				return r
			}, s)
		}
		if back.Subject != plain(subject) {
			t.Fatalf("%q became %q", subject, back.Subject)
		}
	})
}

func TestTable(t *testing.T) {
	c, out := newCLI(texts.French)
	heads := []texts.ID{"cli.col-delivery", "cli.col-mailbox", "cli.col-last-error"}
	c.table(heads, [][]string{{"01abc", "boite@chu.example", "serveur \x1b[2Jinjoignable"}})
	want := "Envoi  Boîte              Dernière erreur\n" + strings.Repeat("─", 48) + "\n" +
		"01abc  boite@chu.example  serveur [2Jinjoignable\n"
	if got := out.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	// What does not fit becomes paragraphs; ids stay whole.
	out.Reset()
	id := strings.Repeat("0123456789", 4)
	c.table(heads, [][]string{{id, id + "@chu.example", "serveur injoignable"}})
	if got := out.String(); !strings.HasPrefix(got, id+"\n  Boîte") || strings.Count(got, id) != 2 {
		t.Errorf("got\n%s", got)
	}
}

// A table is as wide as the page at most, or its words alone are wider.
func TestFit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		row := rapid.SliceOfN(rapid.StringMatching(`([a-zé]{1,12} ?){1,12}`), 1, 6).Draw(t, "row")
		total := rapid.IntRange(20, 120).Draw(t, "total")
		widths, ok := fit([][]string{row}, total)
		sum := gap * (len(widths) - 1)
		for i, w := range widths {
			sum += w
			for _, word := range strings.Fields(row[i]) {
				if utf8.RuneCountInString(word) > w {
					t.Fatalf("%q is broken at %d", word, w)
				}
			}
		}
		if ok != (sum <= total) {
			t.Fatalf("%d wide of %d, but ok is %v", sum, total, ok)
		}
	})
}

func TestCitizensBoxIsMasked(t *testing.T) {
	c, _ := newCLI(texts.French)
	if got := c.box("215037511800149@patient.mssante.fr"); strings.Contains(got, "2150") || !strings.Contains(got, "149") {
		t.Errorf("shown as %q", got)
	}
	if got := c.box("roux@chu.example"); got != "roux@chu.example" {
		t.Errorf("shown as %q", got)
	}
}

func TestTold(t *testing.T) {
	c, _ := newCLI(texts.English)
	for _, tc := range []struct {
		err  error
		text string
		code int
	}{
		{failed("no"), "no", 1},
		{misused("how"), "how", 2},
		{fmt.Errorf("asking: %w", &admin.Error{TextEN: "refused", TextFR: "refusé", Exit: 1}), "refused", 1},
		{&admin.Error{TextEN: "usage", Exit: 2}, "usage", 2},
		{errors.New("odd"), "Failed: odd", 1},
	} {
		if text, code := c.told(tc.err); text != tc.text || code != tc.code {
			t.Errorf("%v: %q, %d", tc.err, text, code)
		}
	}
}

func TestDates(t *testing.T) {
	at := time.Date(2026, 3, 2, 14, 5, 0, 0, time.Local)
	fr, _ := newCLI(texts.French)
	en, _ := newCLI(texts.English)
	if got := fr.minute(at); got != "02/03/2026 14:05" {
		t.Error(got)
	}
	if got := en.minute(at); got != "2 Mar 2026 14:05" {
		t.Error(got)
	}
	if got := fr.birth("2015-03-02"); got != "02/03/2015" {
		t.Error(got)
	}
	if got := fr.minute(time.Time{}); got != "" {
		t.Error(got)
	}
}

func TestConfirm(t *testing.T) {
	for answer, want := range map[string]bool{"o\n": true, "Oui\n": true, "y\n": true, "\n": false, "non\n": false, "o": false} {
		var out bytes.Buffer
		c := &cli{in: strings.NewReader(answer), errs: &out}
		if got, _ := c.confirm("Sûr ?"); got != want {
			t.Errorf("%q is taken for %v", answer, got)
		}
	}
}

// What came back about a post is one line, and beside each copy in words.
func TestReceiptsInWords(t *testing.T) {
	m := mailbox.MessageView{
		Kind: "post", Summary: &mailbox.SummaryView{Boxes: 8, Delivered: 7, Read: 3, Refused: 1},
		Deliveries: []mailbox.DeliveryView{
			{Mailbox: "a@b.example", State: "sent", Receipt: &mailbox.ReceiptView{Disposition: "processed/error", Code: "902"}},
			{Mailbox: "c@b.example", State: "sent", Receipt: &mailbox.ReceiptView{Disposition: "processed"}},
		},
	}
	for l, want := range map[texts.Locale][]string{
		texts.French:  {"remis à 7 boîtes sur 8, lu par 3, refusé par 1", "refusé par le logiciel du destinataire : le patient n'est pas connu (902)", "remis · intégré par le logiciel du destinataire"},
		texts.English: {"delivered to 7 of 8 boxes, read by 3, refused by 1", "refused by the recipient's software: the patient is not known (902)", "integrated by the recipient's software"},
	} {
		c, out := newCLI(l)
		c.getenv = func(name string) string { return map[string]string{"COLUMNS": "200"}[name] }
		c.message(m, nil)
		for _, w := range want {
			if !strings.Contains(out.String(), w) {
				t.Errorf("no %q in\n%s", w, out)
			}
		}
		for _, outcome := range []string{"displayed", "processed/error", "processed/error 101", "failed", "relayed", "auto"} {
			if got := c.outcome(outcome); strings.Contains(got, "cli.") || strings.Contains(got, "receipts.") || got == outcome {
				t.Errorf("%s: %q is %q", l, outcome, got)
			}
		}
		if got := c.summary(&mailbox.SummaryView{Boxes: 1, Partial: 0, Waiting: 1}); strings.Contains(got, "{{") {
			t.Error(got)
		}
	}
}
