package letter

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// relay makes the copy of a mail as it is sent, and reads it as whoever gets
// it would.
func relay(t interface {
	Helper()
	Fatal(...any)
}, original []byte, c Copy,
) (before, after *Index, copied []byte) {
	t.Helper()
	r, err := Read(bytes.NewReader(original), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	before = r.Index
	header, err := RenderHeader(original[:before.HeaderEnd], before, c)
	if err != nil {
		t.Fatal(err)
	}
	copied = slices.Concat(header, original[before.HeaderEnd:])
	if n := CopySize(header, before); n != int64(len(copied)) {
		t.Fatal("CopySize", n, "for a copy of", len(copied))
	}
	if r, err = Read(bytes.NewReader(copied), Limits{}); err != nil {
		t.Fatal(err)
	}
	if r.Index.HeaderEnd != int64(len(header)) {
		t.Fatal("the header of the copy ends at", r.Index.HeaderEnd, "of", len(header))
	}
	return before, r.Index, copied
}

// mailText draws mails whose header and body are anything that SMTP lets
// through: lines end in CRLF, and nothing else is sure.
func mailText() *rapid.Generator[[]byte] {
	line := rapid.OneOf(
		rapid.SampledFrom([]string{
			"", " ", "\t", "Date: Mon, 5 Jan 2026 10:16:30 +0100", "Date: soon", "MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8",
			"Content-Type: multipart/mixed; boundary=b", "--b", "--b--", "Content-Transfer-Encoding: base64", "X-Priority: 1", " folded: x", "no field",
			"Subject: =?utf-8?q?a?=", "From: a@b", "Bcc: c@d", "X-Relais-Pathway: zzzzzzz", "Content-Type : text/html", "content-TYPE: a/b", ".", "From x y",
		}),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 60), func(b []byte) string {
			return strings.NewReplacer("\r", "", "\n", "").Replace(string(b))
		}),
	)
	return rapid.Map(rapid.SliceOfN(line, 0, 25), func(lines []string) []byte {
		return []byte(strings.Join(append(lines, ""), "\r\n"))
	})
}

// The body is sacred (design rule 5), it is read as before, and the header says
// what the copy was to say.
func TestRelayedCopy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		original, c := mailText().Draw(t, "mail"), copyGen().Draw(t, "copy")
		before, after, copied := relay(t, original, c)
		if !bytes.HasSuffix(copied, original[before.HeaderEnd:]) || !bytes.Equal(before.BodySum, after.BodySum) {
			t.Fatalf("the body is another")
		}
		checkRelayed(t, before, after, c)
	})
}

func checkRelayed(t interface {
	Helper()
	Errorf(string, ...any)
}, before, after *Index, c Copy,
) {
	t.Helper()
	if before.Root.Media() != after.Root.Media() || !maps.Equal(before.Root.Params, after.Root.Params) || before.Root.Encoding != after.Root.Encoding {
		t.Errorf("the body is read as %s %v, was %s %v", after.Root.Media(), after.Root.Params, before.Root.Media(), before.Root.Params)
	}
	env := after.Envelope
	if got, want := env.Subject, cleanText(c.Subject, maxSubject); got != want {
		t.Errorf("subject reads %q, want %q", got, want)
	}
	for name, pair := range map[string][2]Mailbox{"From": {one(env.From), c.From}, "To": {one(env.To), c.To}} {
		// Reading takes the quotes off that Outlook puts around addresses.
		if pair[0].Address != pair[1].Address || pair[0].Name != withoutOutlookQuotes(cleanText(pair[1].Name, maxName)) {
			t.Errorf("%s reads %q, want %q", name, pair[0], pair[1])
		}
	}
	if env.MessageID != c.MessageID || !slices.Equal(env.References, c.References) {
		t.Errorf("ids read %q, %q; want %q, %q", env.MessageID, env.References, c.MessageID, c.References)
	}
	if want := before.Envelope.Date; !want.IsZero() && !env.Date.Equal(want) || env.Date.IsZero() {
		t.Errorf("date reads %v, was %v", env.Date, want)
	}
	for _, f := range after.Fields {
		if n := len(after.Values(f.Name)); n != 1 {
			t.Errorf("%s stands %d times", f.Name, n)
		}
		if slices.ContainsFunc([]string{"Bcc", "Cc", "Sender", "Received", "Return-Path"}, func(s string) bool { return strings.EqualFold(s, f.Name) }) {
			t.Errorf("%s passed", f.Name)
		}
	}
	if v, _ := after.Value("X-Relais-Pathway"); v != c.Pathway {
		t.Errorf("X-Relais-Pathway reads %q", v)
	}
}

func withoutOutlookQuotes(name string) string {
	if n := len(name); n > 1 && name[0] == '\'' && name[n-1] == '\'' {
		return strings.TrimSpace(name[1 : n-1])
	}
	return name
}

func one(list []Mailbox) Mailbox {
	if len(list) != 1 {
		return Mailbox{}
	}
	return list[0]
}

// Mails of the world's test sets, which are not part of the project.
func TestRelayCorpus(t *testing.T) {
	root := filepath.Join("..", "..", "..", "shared", "corpus", "mime")
	files, _ := filepath.Glob(filepath.Join(root, "*", "*"))
	if len(files) == 0 {
		t.Skip("no shared corpus here")
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // a folder
		}
		// As SMTP brings it: lines end in CRLF.
		b = bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\r"), nil), []byte("\n"), []byte("\r\n"))
		t.Run(filepath.Base(name), func(t *testing.T) {
			c := sampleCopy()
			before, after, _ := relay(t, b, c)
			if !bytes.Equal(before.BodySum, after.BodySum) {
				t.Error("the body is another")
			}
			checkRelayed(t, before, after, c)
		})
	}
}
