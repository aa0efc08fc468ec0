package letter

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"mime/quotedprintable"
	"strings"
	"testing"

	"github.com/emersion/go-message"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// drawPart writes a random well-formed entity, header and body.
func drawPart(t *rapid.T, depth int, boundaries *int) string {
	kind := rapid.SampledFrom([]string{"7bit", "base64", "quoted-printable", "multipart", "message"}).Draw(t, "kind")
	if depth == 0 && (kind == "multipart" || kind == "message") {
		kind = "base64"
	}
	switch kind {
	case "multipart":
		*boundaries++
		b := fmt.Sprintf("=_%d_", *boundaries)
		var out strings.Builder
		fmt.Fprintf(&out, "Content-Type: multipart/mixed;\r\n\tboundary=\"%s\"\r\n\r\n%s", b, rapid.SampledFrom([]string{"", "preamble\r\n"}).Draw(t, "preamble"))
		for range rapid.IntRange(1, 3).Draw(t, "parts") {
			fmt.Fprintf(&out, "--%s\r\n%s\r\n", b, drawPart(t, depth-1, boundaries))
		}
		fmt.Fprintf(&out, "--%s--%s", b, rapid.SampledFrom([]string{"", "\r\n", "\r\nepilogue"}).Draw(t, "epilogue"))
		return out.String()
	case "message":
		return "Content-Type: message/rfc822\r\n\r\nSubject: x\r\n" + drawPart(t, depth-1, boundaries)
	}
	content := drawBytes(t, 600)
	var body bytes.Buffer
	switch kind {
	case "base64":
		encoded := base64.StdEncoding.EncodeToString(content)
		for len(encoded) > 0 {
			n := min(76, len(encoded))
			body.WriteString(encoded[:n] + "\r\n")
			encoded = encoded[n:]
		}
	case "quoted-printable":
		w := quotedprintable.NewWriter(&body)
		w.Write(content)
		w.Close()
	default:
		body.WriteString(rapid.StringMatching(`([ -,.-~]{0,100}\r\n){0,4}[a-z]{0,5}`).Draw(t, "text"))
	}
	typ := rapid.SampledFrom([]string{"text/plain", "application/pdf"}).Draw(t, "type")
	return fmt.Sprintf("Content-Type: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n%s", typ, kind, body.String())
}

// leaf is what both readers must agree on.
type leaf struct{ Type, Sum string }

func leavesOf(t *rapid.T, e *message.Entity) (all []leaf) {
	if mr := e.MultipartReader(); mr != nil {
		for {
			p, err := mr.NextPart()
			if err == io.EOF {
				return all
			}
			if err != nil {
				t.Fatalf("go-message: %v", err)
			}
			all = append(all, leavesOf(t, p)...)
		}
	}
	typ, _, _ := e.Header.ContentType()
	if typ == "message/rfc822" {
		inner, err := message.Read(e.Body)
		if err != nil {
			t.Fatalf("go-message: %v", err)
		}
		return leavesOf(t, inner)
	}
	h := sha256.New()
	if _, err := io.Copy(h, e.Body); err != nil {
		t.Fatalf("go-message: %v", err)
	}
	return []leaf{{typ, hex.EncodeToString(h.Sum(nil))}}
}

// TestAgainstGoMessage reads well-formed mails as the library does that mail
// programs in Go use.
func TestAgainstGoMessage(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		boundaries := 0
		mail := "From: a@x.example\r\nMIME-Version: 1.0\r\n" + drawPart(rt, 3, &boundaries)
		r := readChunks(t, []byte(mail), 0, Limits{})
		checkReading(t, []byte(mail), r)
		sameReading(t, r, readChunks(t, []byte(mail), rapid.IntRange(1, 50).Draw(rt, "chunk"), Limits{}), "it")
		if len(r.Index.Defects) > 0 {
			rt.Fatalf("defects %v in\n%s", r.Index.Defects, mail)
		}
		e, err := message.Read(strings.NewReader(mail))
		if err != nil {
			rt.Fatalf("go-message: %v", err)
		}
		want := leavesOf(rt, e)
		var got []leaf
		r.Index.Root.Walk(func(p *Part) bool {
			if p.Leaf() {
				got = append(got, leaf{p.Media(), hex.EncodeToString(p.Sum)})
			}
			return true
		})
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatalf("leaves differ (-go-message +ours):\n%s\n%s", diff, mail)
		}
	})
}

func FuzzScanner(f *testing.F) {
	for _, m := range malformedParts {
		f.Add([]byte(crlf(m.mail)), uint8(3))
	}
	for _, m := range malformedHeaders {
		f.Add([]byte(strings.TrimPrefix(m.mail, rawMark)), uint8(1))
	}
	for _, m := range malformedContent {
		f.Add([]byte(crlf(m.mail)), uint8(9))
	}
	f.Add([]byte(report("delivery-status", "Final-Recipient: rfc822;a@x\n", "Content-Type: message/rfc822\n\nMessage-ID: <1@x>\n\n")), uint8(5))
	f.Add([]byte("Subject: "+strings.Repeat("x", maxLine+3)+"\r\n\r\n"+strings.Repeat("y", maxLine)+"\r\nz"), uint8(0))
	f.Fuzz(func(t *testing.T, mail []byte, chunk uint8) {
		r := readChunks(t, mail, 0, Limits{})
		checkReading(t, mail, r)
		sameReading(t, r, readChunks(t, mail, int(chunk)+1, Limits{}), "it")
		small := Limits{HeaderBytes: 200, FieldBytes: 40, Fields: 5, Depth: 4, Parts: 6, TextBytes: 30, ReportBytes: 30}
		r = readChunks(t, mail, 0, small)
		checkReading(t, mail, r)
		sameReading(t, r, readChunks(t, mail, int(chunk)+1, small), "it, with small limits")
		if len(r.Text) > small.TextBytes || len(r.Report) > small.ReportBytes || len(r.ReturnedHeader) > small.ReportBytes || len(r.Index.Fields) > small.Fields {
			t.Error("a limit was passed")
		}
	})
}
