package letter

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func sampleNotice() Notice {
	return Notice{
		Kind:       "held",
		From:       Mailbox{Name: "Parcours PON", Address: "postmaster@parcours.example.org"},
		To:         Mailbox{Address: "anne@chu.example.org"},
		Subject:    "Message non transmis à ce stade",
		Text:       "Bonjour,\n\nVotre message attend une vérification. = \n--\n.\nÀ bientôt\n",
		Date:       copyDate,
		MessageID:  "n1@parcours.example.org",
		InReplyTo:  "1.a@chu.example.org",
		References: []string{"1.a@chu.example.org"},
		NIL:        "DEV000000",
		Pathway:    "bbbbbbb",
	}
}

// readMail takes a rendered mail apart: header and decoded single body.
func readMail(t testing.TB, raw []byte) (mail.Header, string) {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Header.Get("Content-Transfer-Encoding"); got != "quoted-printable" {
		t.Fatalf("encoding is %q", got)
	}
	text, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		t.Fatal(err)
	}
	return m.Header, string(text)
}

// checkWire checks what SMTP asks of a whole mail: 7-bit, CRLF only, short
// lines.
func checkWire(t testing.TB, raw []byte) {
	t.Helper()
	for line := range strings.SplitSeq(string(raw), "\r\n") {
		if strings.ContainsAny(line, "\r\n\x00") || len(line) > 998 {
			t.Errorf("line %.80q", line)
		}
		for i := range len(line) {
			if line[i] > '~' {
				t.Fatalf("8-bit byte in %q", line)
			}
		}
	}
	if !bytes.HasSuffix(raw, []byte("\r\n")) {
		t.Error("the last line is not ended")
	}
}

func TestNotice(t *testing.T) {
	n := sampleNotice()
	raw, err := n.Render()
	if err != nil {
		t.Fatal(err)
	}
	checkWire(t, raw)
	h, text := readMail(t, raw)
	for name, want := range map[string]string{
		"Auto-Submitted": "auto-generated", "X-Relais-Kind": "held", "X-Mss-Nil": "DEV000000", "X-Relais-Pathway": "bbbbbbb",
		"Mime-Version": "1.0", "Content-Type": "text/plain; charset=utf-8", "In-Reply-To": "<1.a@chu.example.org>", "References": "<1.a@chu.example.org>",
		"Message-Id": "<n1@parcours.example.org>", "Date": "Mon, 05 Jan 2026 10:16:30 +0100", "To": "anne@chu.example.org", "X-Relais-Delivery": "",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if want := strings.ReplaceAll(n.Text, "\n", "\r\n"); text != want {
		t.Errorf("text is %q, want %q", text, want)
	}
	again, _ := n.Render()
	if !bytes.Equal(raw, again) {
		t.Error("rendering twice gives different bytes")
	}
}

func TestNoticeRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Notice)
		want   error
	}{
		{"no kind", func(n *Notice) { n.Kind = "" }, ErrNoticeKind},
		{"kind with a line end", func(n *Notice) { n.Kind = "a\r\nb" }, ErrNoticeKind},
		{"unknown Auto-Submitted", func(n *Notice) { n.AutoSubmitted = "no" }, ErrNoticeKind},
		{"no id", func(n *Notice) { n.MessageID = "" }, ErrMessageID},
		{"no recipient", func(n *Notice) { n.To = Mailbox{} }, ErrAddress},
	} {
		n := sampleNotice()
		c.change(&n)
		if _, err := n.Render(); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

func TestNoticeTextReadsBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := sampleNotice()
		n.Text, n.Subject = anyText().Draw(rt, "text"), anyText().Draw(rt, "subject")
		raw, err := n.Render()
		if err != nil {
			rt.Fatal(err)
		}
		checkWire(t, raw)
		_, text := readMail(t, raw)
		want := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.ToValidUTF8(n.Text, "\uFFFD"))
		if got := strings.ReplaceAll(text, "\r\n", "\n"); got != strings.TrimRight(want, "\n")+"\n" {
			rt.Fatalf("text reads %q, want %q", got, want)
		}
	})
}

func TestPartialCopy(t *testing.T) {
	c := sampleCopy()
	idx := &Index{Envelope: Envelope{Date: copyDate.AddDate(0, 0, -1)}}
	raw, err := PartialCopy(idx, c, "Voici les résultats.\r\n", []string{"scanner.zip (31 Mo)", "a\r\nb"})
	if err != nil {
		t.Fatal(err)
	}
	checkWire(t, raw)
	h, text := readMail(t, raw)
	if want := "Voici les résultats.\r\n\r\n- scanner.zip (31 Mo)\r\n- a b\r\n"; text != want {
		t.Errorf("text is %q, want %q", text, want)
	}
	for name, want := range map[string]string{
		"Date": "Sun, 04 Jan 2026 10:16:30 +0100", "X-Relais-Kind": "partial", "Auto-Submitted": "",
		"X-Relais-Delivery": "01jgabc", "Message-Id": "<1.a@chu.example.org>", "X-Relais-Rubric": "coordination, biologie",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	full, err := RenderHeader(nil, idx, c)
	if err != nil {
		t.Fatal(err)
	}
	m, _ := mail.ReadMessage(bytes.NewReader(full))
	for _, name := range []string{"From", "Reply-To", "To", "Subject", "References", "Thread-Index", "X-Relais-For"} {
		if h.Get(name) == "" || h.Get(name) != m.Header.Get(name) {
			t.Errorf("%s is not that of the copy: %q", name, h.Get(name))
		}
	}
}

func TestReceipt(t *testing.T) {
	for _, c := range []struct {
		name  string
		error ApplicationError
		want  string
	}{
		{"filed", NoError, "Disposition: automatic-action/MDN-sent-automatically; processed\r\n"},
		{
			"unknown patient", UnknownPatient, "Disposition: automatic-action/MDN-sent-automatically; processed/error\r\n" +
				"Error: 902^Identifiant de patient inconnu^applicationErrorCondition| E^Error^errorSeverity\r\n",
		},
		{
			"accents", WrongVersion, "Disposition: automatic-action/MDN-sent-automatically; processed/error\r\n" +
				"Error: 900^Version du document erronee^applicationErrorCondition| E^Error^errorSeverity\r\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Receipt{
				Notice: sampleNotice(), OriginalID: "1.a@chu.example.org", OriginalRecipient: "bbbbbbb@parcours.example.org",
				FinalRecipient: "bbbbbbb@parcours.example.org", ReportingUA: "parcours.example.org; Relais é", Error: c.error,
			}
			r.Kind = ""
			raw, err := r.Render()
			if err != nil {
				t.Fatal(err)
			}
			checkWire(t, raw)
			m, err := mail.ReadMessage(bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			if m.Header.Get("Auto-Submitted") != "auto-replied" || m.Header.Get("X-Relais-Kind") != "receipt" {
				t.Errorf("marked %q, %q", m.Header.Get("Auto-Submitted"), m.Header.Get("X-Relais-Kind"))
			}
			media, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
			if err != nil || media != "multipart/report" || params["report-type"] != "disposition-notification" {
				t.Fatalf("%s %v %v", media, params, err)
			}
			parts := multipart.NewReader(m.Body, params["boundary"])
			p, err := parts.NextPart() // decodes quoted-printable
			if err != nil {
				t.Fatal(err)
			}
			if text, _ := io.ReadAll(p); string(text) != strings.ReplaceAll(r.Text, "\n", "\r\n") {
				t.Errorf("text is %q", text)
			}
			if p, err = parts.NextPart(); err != nil || p.Header.Get("Content-Type") != "message/disposition-notification" {
				t.Fatal(p, err)
			}
			got, _ := io.ReadAll(p)
			want := "Reporting-UA: parcours.example.org; Relais e\r\n" +
				"Original-Recipient: rfc822;bbbbbbb@parcours.example.org\r\n" +
				"Final-Recipient: rfc822;bbbbbbb@parcours.example.org\r\n" +
				"Original-Message-ID: <1.a@chu.example.org>\r\n" + c.want
			if string(got) != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if _, err := parts.NextPart(); !errors.Is(err, io.EOF) {
				t.Errorf("a third part: %v", err)
			}
		})
	}
	r := Receipt{Notice: sampleNotice()}
	if _, err := r.Render(); !errors.Is(err, ErrAddress) {
		t.Errorf("no final recipient: %v", err)
	}
}
