package demo

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/mailbox/letter"
)

// TestRecord reads the archive back as the hub does.
func TestRecord(t *testing.T) {
	odd := child{lea.INS, lea.OID, "O'Neil & <Fils>", "Zoé", lea.Birth, "F"}
	for _, c := range []child{lea, tom, odd} {
		r, err := newReport(c, "IRM « cérébrale » & suivi", []string{"Une ligne (entre parenthèses)."})
		if err != nil {
			t.Fatal(err)
		}
		archive, err := r.export()
		if err != nil {
			t.Fatal(err)
		}
		s, err := letter.ReadXDM(bytes.NewReader(archive), int64(len(archive)), letter.ArchiveLimits{})
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Documents) != 1 || len(s.Patients()) != 1 || s.UniqueID != r.SubmissionID {
			t.Fatalf("%d documents of %d patients, set %q", len(s.Documents), len(s.Patients()), s.UniqueID)
		}
		d, p := s.Documents[0], s.Patients()[0]
		got := []string{d.Code, d.Class, d.Title, d.Author, d.AuthorID, d.Institution, d.UniqueID, strings.Join(d.Confidentiality, " ")}
		want := []string{"18748-4", "31", "IRM « cérébrale » & suivi", radiologist, radiologistRPPS, chu, r.DocumentID, "N"}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("read back %q, want %q", got, want)
		}
		traits := identity.Traits{Family: c.Family, Given: c.Given, Birth: strings.ReplaceAll(c.Birth, "-", ""), Sex: c.Sex}
		if p.INS.Matricule() != c.INS || p.INS.OID() != c.OID || !p.INS.KeyOK() || p.Traits != traits {
			t.Errorf("another patient is read back: %+v", p.Traits)
		}
	}
}

// TestPDF: the table at the end points at every object.
func TestPDF(t *testing.T) {
	page, err := pdf(`Été (1) \ fin`, []string{"d’ailleurs"})
	if err != nil {
		t.Fatal(err)
	}
	entries := regexp.MustCompile(`(\d{10}) 00000 n `).FindAllSubmatch(page, -1)
	if len(entries) != 5 {
		t.Fatalf("%d objects", len(entries))
	}
	for i, e := range entries {
		at, _ := strconv.Atoi(string(e[1]))
		if !bytes.HasPrefix(page[at:], fmt.Appendf(nil, "%d 0 obj\n", i+1)) {
			t.Errorf("object %d is not at %d", i+1, at)
		}
	}
	start := regexp.MustCompile(`startxref\n(\d+)\n%%EOF\n$`).FindSubmatch(page)
	if start == nil {
		t.Fatal("no end")
	}
	if at, _ := strconv.Atoi(string(start[1])); !bytes.HasPrefix(page[at:], []byte("xref\n")) {
		t.Error("startxref is wrong")
	}
	if !bytes.Contains(page, []byte("(\xc9t\xe9 \\(1\\) \\\\ fin) Tj")) || !bytes.Contains(page, []byte("d\x92ailleurs")) {
		t.Error("the text is not written in its encoding")
	}
	if _, err := pdf("漢", nil); err == nil {
		t.Error("a text that the font cannot show was taken")
	}
}
