package letter

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// crlf writes a mail of a test with the line ends of mail.
func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// readChunks reads a mail cut into chunks of n bytes; 0 is whole.
func readChunks(t testing.TB, mail []byte, n int, limits Limits) *Reading {
	t.Helper()
	s := NewScanner(limits)
	if n == 0 {
		n = max(1, len(mail))
	}
	for chunk := range slices.Chunk(mail, n) {
		if k, err := s.Write(chunk); k != len(chunk) || err != nil {
			t.Fatalf("Write gave %d, %v", k, err)
		}
	}
	r, err := s.Close()
	if err != nil {
		t.Fatalf("Close: %v", err)
	}
	return r
}

func read(t testing.TB, mail string) *Reading {
	t.Helper()
	return readChunks(t, []byte(mail), 0, Limits{})
}

// sameReading compares readings; times by instant.
func sameReading(t testing.TB, want, got *Reading, what string) {
	t.Helper()
	if reflect.DeepEqual(want, got) {
		return // cmp is slow
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%s reads differently (-whole +chunks):\n%s", what, diff)
	}
}

// checkReading checks what must hold of the reading of any mail at all.
func checkReading(t testing.TB, mail []byte, r *Reading) {
	t.Helper()
	x := r.Index
	if x.Size != int64(len(mail)) {
		t.Fatalf("size %d, want %d", x.Size, len(mail))
	}
	if x.HeaderEnd < 0 || x.HeaderEnd > x.Size || x.Root.BodyStart != x.HeaderEnd {
		t.Fatalf("header ends at %d, root's body begins at %d, of %d", x.HeaderEnd, x.Root.BodyStart, x.Size)
	}
	sum := sha256.Sum256(mail[x.HeaderEnd:])
	if !bytes.Equal(sum[:], x.BodySum) {
		t.Fatal("body digest is wrong")
	}
	at := int64(0)
	for _, f := range x.Fields {
		if f.Start < at || f.End <= f.Start || f.End > x.HeaderEnd {
			t.Fatalf("field %q at %d to %d, after %d, header ends %d", f.Name, f.Start, f.End, at, x.HeaderEnd)
		}
		at = f.End
	}
	if want := bytes.ContainsFunc(mail[x.HeaderEnd:], func(r rune) bool { return r >= 0x80 }); want != x.EightBit {
		t.Fatalf("EightBit is %v", x.EightBit)
	}
	bare := bytes.ReplaceAll(mail, []byte("\r\n"), nil)
	if want := bytes.ContainsAny(bare, "\r\n"); want != x.BareCRLF {
		t.Fatalf("BareCRLF is %v", x.BareCRLF)
	}
	if want := bytes.HasPrefix(mail, []byte{0}) || bytes.Contains(mail, []byte("\n\x00")); want != x.NULLine {
		t.Fatalf("NULLine is %v", x.NULLine)
	}
	if want := bytes.HasSuffix(mail, []byte("\r\n")); want != x.FinalCRLF {
		t.Fatalf("FinalCRLF is %v", x.FinalCRLF)
	}
	checkPart(t, mail, &x.Root, 0, x.Size)
	encoded, err := cbor.Marshal(x)
	if err != nil {
		t.Fatalf("the index cannot be written: %v", err)
	}
	var back Index
	if err := cbor.Unmarshal(encoded, &back); err != nil {
		t.Fatalf("the index cannot be read back: %v", err)
	}
	for _, s := range []string{r.Text, x.Envelope.Subject} {
		if !utf8.ValidString(s) {
			t.Fatal("decoded text is not UTF-8")
		}
	}
	if strings.ContainsAny(x.Envelope.Subject, "\r\n\x00") {
		t.Fatal("the subject has control characters")
	}
}

func checkPart(t testing.TB, mail []byte, p *Part, from, to int64) {
	t.Helper()
	if p.HeaderStart < from || p.BodyStart < p.HeaderStart || p.BodyEnd < p.BodyStart || p.BodyEnd > to {
		t.Fatalf("part %q lies at %d, %d, %d, outside %d to %d", p.Number, p.HeaderStart, p.BodyStart, p.BodyEnd, from, to)
	}
	body := mail[p.BodyStart:p.BodyEnd]
	if n := int64(bytes.Count(body, []byte{'\n'})); n != p.Lines {
		t.Fatalf("part %q has %d lines, want %d", p.Number, p.Lines, n)
	}
	if p.Sum != nil {
		decoded, err := io.ReadAll(Decode(bytes.NewReader(body), p.Encoding))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(decoded)
		if p.Size != int64(len(decoded)) || !bytes.Equal(sum[:], p.Sum) {
			t.Fatalf("part %q: size %d and digest do not fit its body (%d decoded)", p.Number, p.Size, len(decoded))
		}
	}
	if p.Leaf() == (p.Sum == nil) && p.Type != "multipart" {
		t.Fatalf("part %q: a leaf has a digest and nothing else has", p.Number)
	}
	at := p.BodyStart
	for i := range p.Parts {
		checkPart(t, mail, &p.Parts[i], at, p.BodyEnd)
		at = p.Parts[i].BodyEnd
	}
}

// TestCorpus reads odd mails gathered elsewhere, when they lie beside the
// module, cut in several ways.
func TestCorpus(t *testing.T) {
	root := filepath.Join("..", "..", "..", "shared", "corpus")
	if _, err := os.Stat(root); errors.Is(err, os.ErrNotExist) {
		t.Skip("no corpus beside the module")
	}
	files := 0
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		mail, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		began := time.Now()
		for _, m := range [][]byte{mail, []byte(crlf(strings.ReplaceAll(string(mail), "\r\n", "\n")))} {
			whole := readChunks(t, m, 0, Limits{})
			checkReading(t, m, whole)
			for _, n := range []int{1, 7, 4096} {
				sameReading(t, whole, readChunks(t, m, n, Limits{}), d.Name())
			}
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s took %v", d.Name(), took)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Fatal("the corpus is empty")
	}
}

func TestScannerAfterClose(t *testing.T) {
	s := NewScanner(Limits{})
	if _, err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("x")); !errors.Is(err, ErrScannerClosed) {
		t.Errorf("Write after Close: %v", err)
	}
	if _, err := s.Close(); !errors.Is(err, ErrScannerClosed) {
		t.Errorf("Close after Close: %v", err)
	}
}

func TestReadPassesErrors(t *testing.T) {
	_, err := Read(iotest.ErrReader(io.ErrUnexpectedEOF), Limits{})
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
	r, err := Read(strings.NewReader(crlf("Subject: hi\n\nbody\n")), Limits{})
	if err != nil || r.Text != "body\n" || r.Index.Envelope.Subject != "hi" {
		t.Errorf("got %+v, %v", r, err)
	}
}
