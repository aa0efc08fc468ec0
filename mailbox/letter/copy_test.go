package letter

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-message"
	messagemail "github.com/emersion/go-message/mail"
	"pgregory.net/rapid"
)

var copyDate = time.Date(2026, 1, 5, 10, 16, 30, 0, time.FixedZone("", 3600))

func sampleCopy() Copy {
	return Copy{
		From:        Mailbox{Name: "Dr Anne Roux (CHU Caen)", Address: "bbbbbbb.m1@parcours.example.org"},
		ReplyTo:     "bbbbbbb.r2@parcours.example.org",
		To:          Mailbox{Name: "Infirmières de pédiatrie — à l'attention de Zoé", Address: "pediatrie@chg.example.org"},
		Subject:     "[PON bbbbbbb L.M.] Résultats",
		Date:        copyDate,
		MessageID:   "1.a@chu.example.org",
		InReplyTo:   "0.a@chg.example.org",
		References:  []string{"parcours.bbbbbbb@parcours.example.org", "0.a@chg.example.org"},
		ThreadTopic: "Résultats",
		ThreadIndex: NewThreadIndex("parcours.bbbbbbb@parcours.example.org", copyDate),
		NIL:         "DEV000000",
		Pathway:     "bbbbbbb",
		Rubrics:     []string{"coordination", "biologie"},
		Author:      "Dr Anne Roux",
		For:         []string{"Zoé Lemaître", "Bruno Abadie"},
		Delivery:    "01jgabc",
	}
}

// plainIndex is the index of a well-formed header, as far as rendering looks
// at it.
func plainIndex(header string) *Index {
	idx := &Index{HeaderEnd: int64(len(header)), Size: int64(len(header))}
	start := 0
	for start < len(header) {
		end := start
		for {
			n := strings.Index(header[end:], "\r\n")
			if n < 0 {
				end = len(header)
				break
			}
			end += n + 2
			if end == len(header) || header[end] != ' ' && header[end] != '\t' {
				break
			}
		}
		if name, value, ok := strings.Cut(header[start:end], ":"); ok {
			f := Field{Name: strings.TrimRight(name, " "), Start: int64(start), End: int64(end), Value: strings.TrimSpace(value)}
			idx.Fields = append(idx.Fields, f)
			if strings.EqualFold(name, "Date") && idx.Envelope.DateText == "" {
				idx.Envelope.DateText = f.Value
				idx.Envelope.Date, _ = mail.ParseDate(f.Value)
			}
		}
		start = end
	}
	return idx
}

func render(t testing.TB, header string, c Copy) string {
	t.Helper()
	out, err := RenderHeader([]byte(header), plainIndex(header), c)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestRenderHeader(t *testing.T) {
	header := "Received: from a by b; Mon, 5 Jan 2026 10:16:31 +0100\r\n" +
		"From: Anne <anne@chu.example.org>\r\n" +
		"Sender: x@chu.example.org\r\n" +
		"To: bbbbbbb@parcours.example.org\r\n" +
		"Cc: else@chu.example.org\r\n" +
		"Subject: =?utf-8?q?R=C3=A9sultats?=\r\n" +
		"date:  Mon, 5 Jan 2026\r\n 10:16:30 +0100\r\n" +
		"MIME-version:   1.0\r\n" +
		"Content-Type: multipart/mixed;\r\n\tboundary=\"b;1\"\r\n" +
		"Content-Type: text/plain\r\n" +
		"X-Priority: 1 (Highest)\r\n" +
		"X-MSS-CODECDA: 11502-2\r\n" +
		"X-MSS-NIL: FOREIGN\r\n" +
		"X-Relais-Pathway: ccccccc\r\n" +
		"Disposition-Notification-To: anne@chu.example.org\r\n" +
		"Precedence: bulk\r\n" +
		"\r\n"
	want := "From: \"Dr Anne Roux (CHU Caen)\" <bbbbbbb.m1@parcours.example.org>\r\n" +
		"Reply-To: bbbbbbb.r2@parcours.example.org\r\n" +
		"To: =?UTF-8?Q?Infirmi=C3=A8res_de_p=C3=A9diatrie_=E2=80=94_=C3=A0_l=27atte?=\r\n" +
		" =?UTF-8?Q?ntion_de_Zo=C3=A9?= <pediatrie@chg.example.org>\r\n" +
		"Subject: =?UTF-8?Q?=5BPON_bbbbbbb_L=2EM=2E=5D_R=C3=A9sultats?=\r\n" +
		"date:  Mon, 5 Jan 2026\r\n 10:16:30 +0100\r\n" +
		"Message-ID: <1.a@chu.example.org>\r\n" +
		"In-Reply-To: <0.a@chg.example.org>\r\n" +
		"References: <parcours.bbbbbbb@parcours.example.org> <0.a@chg.example.org>\r\n" +
		"Thread-Topic: =?UTF-8?Q?R=C3=A9sultats?=\r\n" +
		"Thread-Index: Adx+I/olNd5RnCwZZIadimv1c0KRBg==\r\n" +
		"MIME-version:   1.0\r\n" +
		"Content-Type: multipart/mixed;\r\n\tboundary=\"b;1\"\r\n" +
		"X-Priority: 1 (Highest)\r\n" +
		"X-MSS-CODECDA: 11502-2\r\n" +
		"X-MSS-NIL: DEV000000\r\n" +
		"X-Relais-Pathway: bbbbbbb\r\n" +
		"X-Relais-Rubric: coordination, biologie\r\n" +
		"X-Relais-Delivery: 01jgabc\r\n" +
		"X-Relais-Author: Dr Anne Roux\r\n" +
		"X-Relais-For: =?UTF-8?Q?Zo=C3=A9_Lema=C3=AEtre=2C_Bruno_Abadie?=\r\n" +
		"\r\n"
	got := render(t, header, sampleCopy())
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if again := render(t, header, sampleCopy()); again != got {
		t.Error("rendering twice gives different bytes")
	}
	idx := plainIndex(header)
	idx.Size += 1000
	if n := CopySize([]byte(got), idx); n != int64(len(got))+1000 {
		t.Errorf("CopySize is %d", n)
	}
}

func TestRenderHeaderChoices(t *testing.T) {
	for _, c := range []struct {
		name, header string
		change       func(*Copy)
		has, lacks   []string
	}{
		{
			name: "no readable date", header: "Date: yesterday\r\n",
			has: []string{"\r\nDate: Mon, 05 Jan 2026 10:16:30 +0100\r\n"}, lacks: []string{"yesterday"},
		},
		{
			name: "subject for software", header: "Subject: XDM/1.0/DDM+Bilan\r\n =?utf-8?q?L=C3=A9o?=\r\nSubject: other\r\n",
			change: func(c *Copy) { c.RawSubject = true },
			has:    []string{"\r\nSubject: XDM/1.0/DDM+Bilan\r\n =?utf-8?q?L=C3=A9o?=\r\n"}, lacks: []string{"other", "PON"},
		},
		{
			name: "no subject to pass", header: "", change: func(c *Copy) { c.RawSubject = true },
			has: []string{"\r\nSubject: =?UTF-8?Q?=5BPON_"},
		},
		{
			name: "receipt asked for", header: "", change: func(c *Copy) { c.NotifyTo = "bbbbbbb.r9@parcours.example.org" },
			has: []string{"\r\nDisposition-Notification-To: bbbbbbb.r9@parcours.example.org\r\n"},
		},
		{
			name: "raw 8-bit file name", header: "Content-Type: application/pdf; name=\"r\xe9sum\xe9.pdf\"\r\n",
			has: []string{"\r\nContent-Type: application/pdf; name=\"r\xe9sum\xe9.pdf\"\r\n"}, lacks: []string{"MIME-Version"},
		},
		{
			name: "space before the colon", header: "Content-Type : text/html\r\n",
			has: []string{"\r\nContent-Type : text/html\r\n"},
		},
		{
			name: "malformed names", header: "Content-Type x: a\r\nContent-\x80: b\r\n", lacks: []string{"a\r\n", "\x80"},
		},
		{
			name: "bare line ends inside a kept field", header: "Content-Type: a/b\rX-Evil: 1\r\nX-Priority: 2\nX-Evil: 3\r\nContent-ID: <a>\n\tb\r\n",
			has: []string{"\r\nContent-Type: a/b\r\nX-Priority: 2\r\nContent-ID: <a>\r\n\tb\r\n"}, lacks: []string{"X-Evil"},
		},
		{
			name: "bad ids of others", header: "", change: func(c *Copy) {
				c.InReplyTo = "a>\r\nX-Evil: 1"
				c.References = []string{"root@x", "b c", "d@x"}
			},
			has: []string{"\r\nReferences: <root@x> <d@x>\r\n"}, lacks: []string{"In-Reply-To", "X-Evil", "b c"},
		},
		{
			name: "dots side by side", header: "", change: func(c *Copy) { c.To.Address = "a..b@example.org" },
			has: []string{`<"a..b"@example.org>`},
		},
		{
			name: "nothing but what is due", header: "", change: func(c *Copy) {
				*c = Copy{From: c.From, To: c.To, MessageID: c.MessageID, Date: c.Date}
			},
			lacks: []string{"Subject", "Reply-To", "References", "Thread", "X-", "Disposition"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			given := sampleCopy()
			if c.change != nil {
				c.change(&given)
			}
			got := render(t, c.header, given)
			for _, s := range c.has {
				if !strings.Contains(got, s) {
					t.Errorf("%q is not in\n%s", s, got)
				}
			}
			for _, s := range c.lacks {
				if strings.Contains(got, s) {
					t.Errorf("%q is in\n%s", s, got)
				}
			}
		})
	}
}

func TestRenderHeaderRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Copy)
		want   error
	}{
		{"no id", func(c *Copy) { c.MessageID = "" }, ErrMessageID},
		{"id with a line end", func(c *Copy) { c.MessageID = "a\r\nb@x" }, ErrMessageID},
		{"no date", func(c *Copy) { c.Date = time.Time{} }, ErrNoDate},
		{"no author", func(c *Copy) { c.From.Address = "" }, ErrAddress},
		{"address with brackets", func(c *Copy) { c.To.Address = "a@b>,<c@d" }, ErrAddress},
		{"address with a line end", func(c *Copy) { c.To.Address = "a\r\nX: y@d" }, ErrAddress},
		{"address in quotes", func(c *Copy) { c.To.Address = `"a,b"@d` }, ErrAddress},
		{"address with a space", func(c *Copy) { c.ReplyTo = "a b@d" }, ErrAddress},
		{"address in UTF-8", func(c *Copy) { c.To.Address = "zoé@example.org" }, ErrAddress},
		{"domain in UTF-8", func(c *Copy) { c.To.Address = "zoe@exämple.org" }, ErrAddress},
		{"long address", func(c *Copy) { c.NotifyTo = strings.Repeat("a", 250) + "@b.fr" }, ErrAddress},
	} {
		t.Run(c.name, func(t *testing.T) {
			given := sampleCopy()
			c.change(&given)
			if _, err := RenderHeader(nil, &Index{}, given); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// anyText draws texts that try to break out of a field.
func anyText() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.String(),
		rapid.StringMatching(`[A-Za-zéèàçœ ,.;:()<>@"\\'=?_-]{0,120}`),
		rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]string{
			"a", " ", "Re: ", "é", "\r\n", "\n", "\r", "\x00", "Bcc: x@y", "=?utf-8?q?a?=", "=?", "?=", "\u202e", "\u2066", "\u2028", "𝒳", "👩‍⚕️", "\xff", `"`, `\`, "<", ",", strings.Repeat("m", 300),
		}), 0, 40), func(p []string) string { return strings.Join(p, "") }),
	)
}

// copyGen draws copies whose addresses and ids are sound and whose texts are
// anything.
func copyGen() *rapid.Generator[Copy] {
	// As they come out of reading: without separators at their ends.
	id := rapid.StringMatching(`[!-+\--:=?-~][!-;=?-~]{0,100}@[a-z0-9.-]{1,40}`)
	address := rapid.StringMatching(`[a-z0-9]{1,30}(\.[a-z0-9-]{1,20})?@[a-z0-9]{1,20}\.example\.org`)
	mailbox := rapid.Custom(func(t *rapid.T) Mailbox {
		return Mailbox{Name: anyText().Draw(t, "name"), Address: address.Draw(t, "address")}
	})
	return rapid.Custom(func(t *rapid.T) Copy {
		return Copy{
			From: mailbox.Draw(t, "from"), To: mailbox.Draw(t, "to"), ReplyTo: address.Draw(t, "reply"),
			NotifyTo: rapid.OneOf(rapid.Just(""), address).Draw(t, "notify"),
			Subject:  anyText().Draw(t, "subject"), ThreadTopic: anyText().Draw(t, "topic"),
			Date:      copyDate,
			MessageID: id.Draw(t, "id"), InReplyTo: id.Draw(t, "parent"),
			References:  References(id.Draw(t, "root"), rapid.SliceOfN(id, 0, 30).Draw(t, "chain")),
			ThreadIndex: NewThreadIndex(id.Draw(t, "conversation"), copyDate),
			NIL:         "DEV000000", Pathway: "bbbbbbb", Delivery: "01jgabc",
			Rubrics: rapid.SliceOfN(rapid.StringMatching(`[a-z-]{1,20}`), 0, 12).Draw(t, "rubrics"),
			Author:  anyText().Draw(t, "author"), For: rapid.SliceOfN(anyText(), 0, 5).Draw(t, "for"),
		}
	})
}

// Whatever the texts, the header parses back, with two independent parsers, to
// the values given, holds no other field, is ASCII, and its lines are short.
func TestRenderedHeaderReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := copyGen().Draw(t, "copy")
		original := "X-Priority: 1\r\nContent-Type: text/plain;\r\n charset=utf-8\r\nX-Dropped: 1\r\n\r\n"
		header, err := RenderHeader([]byte(original), plainIndex(original), c)
		if err != nil {
			t.Fatal(err)
		}
		checkLines(t, header)

		m, err := mail.ReadMessage(bytes.NewReader(append(header, "body"...)))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for name, values := range m.Header {
			names = append(names, name)
			if len(values) != 1 {
				t.Fatalf("%s stands %d times", name, len(values))
			}
		}
		allowed := []string{
			"From", "Reply-To", "To", "Subject", "Date", "Message-Id", "In-Reply-To", "References", "Thread-Topic", "Thread-Index", "X-Mss-Nil",
			"X-Relais-Pathway", "X-Relais-Rubric", "X-Relais-Author", "X-Relais-For", "X-Relais-Delivery", "Disposition-Notification-To", "X-Priority", "Content-Type",
		}
		for _, name := range names {
			if !slices.Contains(allowed, name) {
				t.Fatalf("a field %q came in", name)
			}
		}

		decoder := new(mime.WordDecoder)
		for name, want := range map[string]string{
			"Subject":         cleanText(c.Subject, maxSubject),
			"Thread-Topic":    cleanText(c.ThreadTopic, maxSubject),
			"X-Relais-Author": cleanText(c.Author, maxName),
			"X-Relais-For":    cleanText(strings.Join(c.For, ", "), maxSubject),
			"X-Relais-Rubric": strings.Join(c.Rubrics, ", "),
			"Message-Id":      "<" + c.MessageID + ">",
			"In-Reply-To":     "<" + c.InReplyTo + ">",
			"Content-Type":    "text/plain; charset=utf-8",
		} {
			if got, err := decoder.DecodeHeader(m.Header.Get(name)); err != nil || got != want {
				t.Fatalf("%s reads %q, %v; want %q", name, got, err, want)
			}
		}
		for name, want := range map[string]Mailbox{"From": c.From, "To": c.To, "Reply-To": {Address: c.ReplyTo}} {
			list, err := m.Header.AddressList(name)
			if err != nil || len(list) != 1 || list[0].Address != want.Address || list[0].Name != cleanText(want.Name, maxName) {
				t.Fatalf("%s reads %v, %v; want %q", name, list, err, want)
			}
		}

		e, err := message.Read(bytes.NewReader(append(header, "body"...)))
		if err != nil {
			t.Fatal(err)
		}
		h := messagemail.Header{Header: e.Header}
		if got, err := h.Subject(); err != nil || got != cleanText(c.Subject, maxSubject) {
			t.Fatalf("go-message reads the subject %q, %v", got, err)
		}
		if list, err := h.AddressList("From"); err != nil || len(list) != 1 || list[0].Address != c.From.Address || list[0].Name != cleanText(c.From.Name, maxName) {
			t.Fatalf("go-message reads From %v, %v", list, err)
		}
		if len(c.References) > 0 {
			want := "<" + strings.Join(c.References, "> <") + ">"
			if got := m.Header.Get("References"); got != want {
				t.Fatalf("References reads %q, want %q", got, want)
			}
		}
	})
}

// checkLines checks that a header is ASCII without controls, and that its lines
// are as short as what they hold allows.
func checkLines(t interface {
	Helper()
	Fatalf(string, ...any)
}, header []byte,
) {
	t.Helper()
	lines := strings.Split(string(header), "\r\n")
	if n := len(lines); n < 3 || lines[n-1] != "" || lines[n-2] != "" {
		t.Fatalf("the header does not end in a blank line")
	}
	for _, line := range lines[:len(lines)-2] {
		if strings.TrimSpace(line) == "" {
			t.Fatalf("a blank line inside the header")
		}
		for i := range len(line) {
			if c := line[i]; (c < ' ' && c != '\t') || c > '~' {
				t.Fatalf("byte %#x in %q", c, line)
			}
		}
		if len(line) > foldAt && strings.Contains(line, "=?") {
			t.Fatalf("encoded words on a line of %d", len(line))
		}
		if len(line) > 998 || len(line) > foldAt && strings.Count(line, " ") > 1 {
			t.Fatalf("a line of %d that could be folded: %q", len(line), line)
		}
	}
}

// No encoded word is cut inside a character, and none is too long.
func TestEncodedWordsHoldWholeCharacters(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w fieldWriter
		w.text("Subject", anyText().Draw(t, "text"), maxSubject)
		for word := range strings.FieldsSeq(string(w.b)) {
			if !strings.HasPrefix(word, "=?") {
				continue
			}
			text, err := new(mime.WordDecoder).Decode(word)
			if err != nil || len(word) > encodedWord || strings.ContainsRune(strings.ReplaceAll(cleanText(text, maxSubject), "\uFFFD", ""), '\uFFFD') {
				t.Fatalf("%q: %v", word, err)
			}
			if text != strings.ToValidUTF8(text, "") {
				t.Fatalf("%q is cut inside a character", word)
			}
		}
	})
}

func TestCleanText(t *testing.T) {
	for in, want := range map[string]string{
		"  a \t b\r\n c\x00d ":    "a b c d",
		"ab\u202ecd\u2066e\ufeff": "abcde",
		"👩‍⚕️":                    "👩‍⚕️",
		"a\xffb":                  "a\uFFFDb",
		"\u00a0\u2028x":           "x",
		"abcdefghijk":             "abcdefghi…",
		"abcdefghij":              "abcdefghij",
		strings.Repeat(" ", 1000): "",
	} {
		if got := cleanText(in, 10); got != want {
			t.Errorf("cleanText(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzRenderHeader(f *testing.F) {
	f.Add("Content-Type: text/plain\r\n\r\n", "Zoé", "sujet", "a@b", int64(3), int64(9))
	f.Add("Subject: a\r\n b\r\nDate: Mon, 5 Jan 2026 10:16:30 +0100\r\n\r\n", "\"a\\", "=?utf-8?q?a?=", "<a>", int64(0), int64(0))
	f.Fuzz(func(t *testing.T, header, name, subject, id string, start, end int64) {
		c := sampleCopy()
		c.From.Name, c.Subject, c.InReplyTo, c.RawSubject = name, subject, id, len(subject)%2 == 0
		c.Author, c.For, c.Rubrics = subject, []string{name, id}, []string{id, name}
		idx := plainIndex(header)
		// An index that does not fit its header must not matter either.
		idx.Fields = append(idx.Fields, Field{Name: "Content-Type", Start: start, End: end})
		out, err := RenderHeader([]byte(header), idx, c)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasSuffix(out, []byte("\r\n\r\n")) || bytes.Count(out, []byte("\r\n\r\n")) != 1 {
			t.Fatalf("the header ends early: %q", out)
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(string(out), "\r\n\r\n"), "\r\n") {
			if strings.ContainsAny(line, "\r\n") {
				t.Fatalf("a bare line end in %q", line)
			}
			field, _, ok := strings.Cut(line, ":")
			if line[0] != ' ' && line[0] != '\t' && (!ok || strings.EqualFold(field, "Bcc")) {
				t.Fatalf("not a field: %q", line)
			}
		}
	})
}

func BenchmarkRenderHeader(b *testing.B) {
	header := "Content-Type: text/plain\r\nDate: Mon, 5 Jan 2026 10:16:30 +0100\r\n" + strings.Repeat("X-Dropped: value of some length\r\n", 30) + "\r\n"
	idx, c := plainIndex(header), sampleCopy()
	b.Run("first", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := RenderHeader([]byte(header), idx, c); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("next", func(b *testing.B) {
		b.ReportAllocs()
		k := Keep([]byte(header), idx)
		for b.Loop() {
			if _, err := k.Header(c); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func ExampleReceiptSubject() {
	fmt.Println(ReceiptSubject("XDM/1.0/DDM+Bilan", UnknownPatient))
	// Output: [KO Intégration système !][902] XDM/1.0/DDM+Bilan
}
