package letter

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// shownBytes puts a mail together as shown.
func shownBytes(s *Shown, mail []byte) []byte {
	out := []byte(s.Line)
	for _, p := range s.Spans {
		out = append(out, mail[p.Start:p.End]...)
	}
	return out
}

// checkShown compares the index of a mail as shown with what reading the shown
// bytes gives.
func checkShown(t *testing.T, mail []byte) {
	t.Helper()
	before := read(t, string(mail)).Index
	s := Show(before, "bcdfghj@parcours.test")
	bytesShown := shownBytes(&s, mail)
	if int64(len(bytesShown)) != s.Size {
		t.Fatalf("%d bytes, announced %d", len(bytesShown), s.Size)
	}
	if !bytes.HasPrefix(bytesShown, []byte("Reply-To: <bcdfghj@parcours.test>\r\n")) {
		t.Fatal("the line is missing")
	}
	if !bytes.HasSuffix(bytesShown, mail[before.HeaderEnd:]) {
		t.Fatal("the body is another")
	}
	if slices.ContainsFunc(before.Defects, func(d Defect) bool {
		// What a line in front heals, breaks, or counts in: a fold without a
		// field, a mailbox line that stands first, limits, doubles.
		return slices.Contains([]string{DefectLeadingFold, DefectMboxFrom, DefectHeaderSize, DefectFields, DefectRepeated, DefectHeaderLine, DefectHeaderEnd}, d.Kind)
	}) {
		return
	}
	again := read(t, string(bytesShown)).Index
	if d := cmp.Diff(again, s.IndexOf(before), cmpopts.EquateEmpty(), cmpopts.IgnoreFields(Index{}, "LongLine", "Defects")); d != "" {
		t.Errorf("index of the shown bytes (-read +moved):\n%s", d)
	}
}

func TestShown(t *testing.T) {
	mail := crlf("From: anne@chu.example\nReply-To: elsewhere@chu.example\nSubject: essai\nreply-to: again@chu.example,\n more@chu.example\n\ntexte\n")
	s := Show(read(t, mail).Index, "bcdfghj@parcours.test")
	want := crlf("Reply-To: <bcdfghj@parcours.test>\nFrom: anne@chu.example\nSubject: essai\n\ntexte\n")
	if got := string(shownBytes(&s, []byte(mail))); got != want {
		t.Errorf("shown as\n%s", got)
	}
	if plain := Show(read(t, mail).Index, ""); string(shownBytes(&plain, []byte(mail))) != mail {
		t.Error("a private mail is not shown as received")
	}
}

func TestShownIndex(t *testing.T) {
	for _, c := range slices.Concat(malformedHeaders, malformedParts, malformedContent) {
		t.Run(c.name, func(t *testing.T) {
			mail, isRaw := strings.CutPrefix(c.mail, rawMark)
			if !isRaw {
				mail = crlf(mail)
			}
			checkShown(t, []byte(mail))
		})
	}
}

func TestShownCorpus(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join("..", "..", "..", "shared", "corpus", "mime", "*", "*"))
	if len(files) == 0 {
		t.Skip("no shared corpus here")
	}
	for _, name := range files {
		if b, err := os.ReadFile(name); err == nil {
			t.Run(filepath.Base(name), func(t *testing.T) { checkShown(t, b) })
		}
	}
}
