package letter

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"math/rand/v2"
	"mime/quotedprintable"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// drawBytes draws up to n bytes, evenly: binary, or of a text with long runs.
func drawBytes(t *rapid.T, n int) []byte {
	b := make([]byte, rapid.IntRange(0, n).Draw(t, "length"))
	random := rand.NewChaCha8([32]byte{byte(rapid.IntRange(0, 255).Draw(t, "seed"))})
	random.Read(b)
	if rapid.Bool().Draw(t, "text") {
		for i := range b {
			b[i] = "aé =\r\n\t. "[int(b[i])%10]
		}
	}
	return b
}

// What the standard library encodes is decoded to the same bytes, however it
// is read.
func TestDecode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		content := drawBytes(t, 20_000)
		var qp bytes.Buffer
		w := quotedprintable.NewWriter(&qp)
		w.Binary = true
		w.Write(content)
		w.Close()
		b64 := base64.StdEncoding.EncodeToString(content)
		width := rapid.IntRange(1, 200).Draw(t, "width")
		var lines strings.Builder
		for i := 0; i < len(b64); i += width {
			lines.WriteString(b64[i:min(i+width, len(b64))] + "\r\n")
		}
		slow := rapid.Bool().Draw(t, "slow")
		for encoding, encoded := range map[string]string{
			"quoted-printable": qp.String(), "base64": lines.String(), "8bit": string(content), "x-unknown": string(content),
		} {
			var source io.Reader = strings.NewReader(encoded)
			if slow {
				source = iotest.OneByteReader(source)
			}
			got, err := io.ReadAll(Decode(source, encoding))
			if err != nil || !bytes.Equal(got, content) {
				t.Fatalf("%s: %v, %q decodes to %q", encoding, err, encoded, got)
			}
		}
	})
}

func TestDecodePassesErrors(t *testing.T) {
	broken := errors.New("broken")
	r := Decode(io.MultiReader(strings.NewReader("aGk="), iotest.ErrReader(broken)), "base64")
	got, err := io.ReadAll(r)
	if string(got) != "hi" || !errors.Is(err, broken) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestLimits(t *testing.T) {
	mail := crlf("Subject: " + strings.Repeat("x", 100) + "\nContent-Type: multipart/mixed; boundary=b\n\n" +
		"--b\n\n" + strings.Repeat("é", 50) + "\n--b\nContent-Type: application/pdf\n\nx\n--b--\n")
	r := readChunks(t, []byte(mail), 0, Limits{FieldBytes: 50, TextBytes: 31, Parts: 2})
	if n := len(r.Index.Envelope.Subject); n != 50 {
		t.Errorf("subject of %d bytes", n)
	}
	if r.Text != strings.Repeat("é", 15) {
		t.Errorf("text %q", r.Text)
	}
	if got := kinds(r.Index); got != "field-size parts text unclosed" && got != "field-size parts text" {
		t.Errorf("defects %s", got)
	}
	if n := len(r.Index.Root.Parts); n != 1 {
		t.Errorf("%d parts", n)
	}
	r = readChunks(t, []byte(mail), 0, Limits{Depth: 1})
	if !r.Index.Root.Leaf() || !r.Index.Has(DefectDepth) || r.Index.Root.Number != "1" {
		t.Error("depth is not limited")
	}
}
