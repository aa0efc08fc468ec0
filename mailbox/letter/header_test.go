package letter

import (
	"strings"
	"testing"
)

// A flood of other fields does not push out what structure and envelope hang
// on, nor does a long one.
func TestHeaderFlood(t *testing.T) {
	wanted := "From: a@x.example\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b--\n"
	for name, flood := range map[string]string{
		"fields": strings.Repeat("X-A: b\n", 5000),
		"bytes":  strings.Repeat("X-A: "+strings.Repeat("b", 60_000)+"\n", 40),
	} {
		x := read(t, crlf(flood+wanted)).Index
		if len(x.Envelope.From) != 1 || len(x.Root.Parts) != 1 {
			t.Errorf("%s: From or parts are lost", name)
		}
		if !x.Has(DefectFields) && !x.Has(DefectHeaderSize) {
			t.Errorf("%s: no defect", name)
		}
	}
}

func TestRepeatedContentType(t *testing.T) {
	x := read(t, crlf("Content-Type: text/html\nContent-Type: text/plain\n\nx\n")).Index
	if x.Root.Subtype != "html" || !x.Has(DefectRepeated) {
		t.Errorf("%s, %v", x.Root.Media(), x.Defects)
	}
}

// A value that is cut off in a character is cut before it.
func TestFieldCutInCharacter(t *testing.T) {
	r := readChunks(t, []byte("Subject: aé\r\n\r\n"), 0, Limits{FieldBytes: 2})
	if got := r.Index.Fields[0].Value; got != "a" || r.Index.Has(DefectRawHeader) {
		t.Errorf("got %q", got)
	}
}

// Only the header of what came back is given, not those of its parts.
func TestReturnedHeader(t *testing.T) {
	r := read(t, report("delivery-status", "Final-Recipient: rfc822;a@x.example\n",
		"Content-Type: message/rfc822\n\nMessage-ID: <1@x.example>\nContent-Type: multipart/mixed; boundary=i\n\n--i\nMessage-ID: <2@x.example>\n\nx\n--i--"))
	if got, want := string(r.ReturnedHeader), crlf("Message-ID: <1@x.example>\nContent-Type: multipart/mixed; boundary=i\n"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
