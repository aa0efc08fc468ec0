package letter

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	ident "github.com/relais-sante/relais/mailbox/identity"
)

const exportOID = "2.25.310000000000000000000000000000000001"

func content(s string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }
}

func zoe(t testing.TB) Patient {
	t.Helper()
	ins, err := ident.ParseINS(zoeINS, ident.OIDTestNIR)
	if err != nil {
		t.Fatal(err)
	}
	return Patient{INS: ins, Traits: ident.Traits{Family: "LE GOFF", Given: "ZOÉ", Birth: "2015-03-02", Sex: "F"}}
}

// soundExport has a CDA document, a PDF and a picture.
func soundExport(t testing.TB) Export {
	written := time.Date(2026, 3, 12, 14, 5, 0, 0, time.FixedZone("", 3600))
	roux := NewWriter("Dr Anne Le Roux")
	roux.ID, roux.Institution, roux.InstitutionID = "899900000011", "CHU Exemple", "1990000002"
	return Export{
		ID: exportOID + ".1", SourceID: exportOID, Time: written.Add(time.Hour), Title: "Documents du parcours", Software: "Relais essai",
		Patient: zoe(t), LocalID: "bcdfghj", Author: Writer{Institution: "Réseau fictif"},
		Documents: []ExportDocument{
			{ID: exportOID + ".2", Filename: "cr.xml", Media: "text/xml", Written: written, Open: content(cdaText("18748-4", zoeINS, "ZOÉ", ""))},
			{
				ID: exportOID + ".3", SetID: exportOID + ".4", Title: "Bilan", Filename: "bilan.pdf", Media: "application/pdf", Code: "83901-9",
				Confidentiality: []string{"INVISIBLE_REPRESENTANTS_LEGAUX"}, Written: written, Author: roux, Open: content(onePDF),
			},
			{ID: exportOID + ".5", Title: "Photo", Filename: "plaie.jpeg", Media: "image/jpeg", Written: written, Author: roux, Open: content("\xff\xd8\xff picture")},
		},
	}
}

func written(t testing.TB, e Export) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteXDM(&b, e); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestWriteXDM(t *testing.T) {
	archive := written(t, soundExport(t))
	s, err := readXDM(archive)
	if err != nil {
		t.Fatal(err)
	}
	if s.UniqueID != exportOID+".1" || len(s.Documents) != 3 || len(s.Patients()) != 1 {
		t.Fatalf("set %q, %d documents, %d patients", s.UniqueID, len(s.Documents), len(s.Patients()))
	}
	var got []string
	for _, d := range s.Documents {
		got = append(got, strings.Join([]string{
			d.Filename, d.Media, d.Title, d.Code, d.Class, d.Author, d.AuthorID, d.Institution, d.InstitutionID, d.UniqueID, d.SetID, strings.Join(d.Confidentiality, " "),
		}, "|"))
	}
	want := []string{
		"DOC00001.XML|text/xml|Compte rendu d’imagerie|18748-4|31|DR ANNE ROUX|899900000011|CHU FICTIF|1990000002|1.2.250.1.999.7^D1|1.2.250.1.999.7.1|N MASQUE_PSOCIAL",
		"DOC00002.XML|text/xml|Bilan|83901-9|11|Dr Anne Le Roux|899900000011|CHU Exemple|1990000002|" + exportOID + ".3|" + exportOID + ".4|N INVISIBLE_REPRESENTANTS_LEGAUX",
		"DOC00003.JPG|image/jpeg|Photo|34120-6|10|Anne Le Roux|899900000011|CHU Exemple|1990000002|" + exportOID + ".5||N",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	p := s.Patients()[0]
	if !ident.SameINS(p.INS, zoe(t).INS, false) || ident.Agree(p.Traits, zoe(t).Traits) == ident.Different {
		t.Error("another patient is read back")
	}
	files := unzipped(t, archive)
	if files[folder+"DOC00001.XML"] != cdaText("18748-4", zoeINS, "ZOÉ", "") {
		t.Error("a CDA document was changed")
	}
	var cda struct {
		Text string `xml:"component>nonXMLBody>text"`
	}
	if err := xml.Unmarshal([]byte(files[folder+"DOC00002.XML"]), &cda); err != nil {
		t.Fatal(err)
	}
	if pdf, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(cda.Text), "")); err != nil || string(pdf) != onePDF {
		t.Errorf("the PDF comes out as %q, %v", pdf, err)
	}
	for _, page := range []string{"README.TXT", "INDEX.HTM"} {
		if text := files[page]; !strings.Contains(text, folder+"DOC00003.JPG") || !strings.Contains(text, "Réseau fictif") || strings.Contains(text, "GOFF") {
			t.Errorf("%s: %s", page, text)
		}
	}
	if !bytes.Equal(archive, written(t, soundExport(t))) {
		t.Error("the same export gives other bytes")
	}
}

// A written archive must hold for readers that are not ours.
func TestWriteXDMUnzip(t *testing.T) {
	unzip, err := exec.LookPath("unzip")
	if err != nil {
		t.Skip("unzip is not installed")
	}
	name := filepath.Join(t.TempDir(), "IHE_XDM.ZIP")
	if err := os.WriteFile(name, written(t, soundExport(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.Command(unzip, "-t", name).CombinedOutput(); err != nil || !strings.Contains(string(said), "No errors") {
		t.Errorf("unzip: %v\n%s", err, said)
	}
}

func TestWriteXDMLeavesOut(t *testing.T) {
	e := soundExport(t)
	e.Documents = append(e.Documents,
		ExportDocument{ID: exportOID + ".6", Title: "Autre enfant", Media: "text/xml", Open: content(cdaText("18748-4", leoINS, "LÉO", ""))},
		ExportDocument{ID: exportOID + ".7", Title: "Dossier <zip>", Filename: "tout.ZIP", Media: "application/octet-stream", Open: content("PK")},
		ExportDocument{ID: exportOID + ".8", Filename: "cr.xml", Media: "text/xml", Open: content(cdaText("18748-4", zoeINS, "ZOÉ", "<!-- again -->"))})
	archive := written(t, e)
	checkXDM(t, archive)
	s, err := readXDM(archive)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Documents) != 4 || len(s.Patients()) != 1 {
		t.Errorf("%d documents of %d patients", len(s.Documents), len(s.Patients()))
	}
	index := unzipped(t, archive)["INDEX.HTM"]
	for _, want := range []string{"Autre enfant", "Dossier &lt;zip&gt;", "un autre patient"} {
		if !strings.Contains(index, want) {
			t.Errorf("INDEX.HTM does not say %q:\n%s", want, index)
		}
	}

	broken := journalFault("gone")
	for name, c := range map[string]struct {
		docs []ExportDocument
		want error
	}{
		"nothing":        {nil, ErrNothingToExport},
		"only left out":  {e.Documents[3:5], ErrNothingToExport},
		"too many":       {make([]ExportDocument, MaxExport+1), ErrExportTooLarge},
		"cannot open":    {[]ExportDocument{{ID: exportOID, Open: func() (io.ReadCloser, error) { return nil, broken }}}, broken},
		"breaks off":     {[]ExportDocument{{ID: exportOID, Open: breaking("<ClinicalDocument><id", broken)}}, broken},
		"breaks later":   {[]ExportDocument{{ID: exportOID, Open: breaking("%PDF-1.4 half", broken)}}, broken},
		"malformed CDA":  {[]ExportDocument{{ID: exportOID, Open: content("<ClinicalDocument><id></ClinicalDocument>")}}, errXML},
		"nested too far": {[]ExportDocument{{ID: exportOID, Open: content("<ClinicalDocument>" + strings.Repeat("<a>", 100))}}, errXML},
	} {
		e.Documents = c.docs
		if err := WriteXDM(io.Discard, e); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	e = soundExport(t)
	e.Patient.INS, e.LocalID = ident.INS{}, ""
	if err := WriteXDM(io.Discard, e); !errors.Is(err, ErrUnnamedPatient) {
		t.Errorf("a patient without number: %v", err)
	}
}

type journalFault string

func (f journalFault) Error() string { return string(f) }

func breaking(s string, err error) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() { _, _ = io.WriteString(w, s); w.CloseWithError(err) }()
		return r, nil
	}
}

// More documents than one METADATA.XML takes go into several.
func TestWriteXDMManyDocuments(t *testing.T) {
	e := soundExport(t)
	pdf := e.Documents[1]
	e.Documents = nil
	for i := range 2*subsetDocuments + 1 {
		d := pdf
		d.ID, d.SetID = fmt.Sprintf("%s.9.%d", exportOID, i), fmt.Sprintf("%s.8.%d", exportOID, i)
		e.Documents = append(e.Documents, d)
	}
	archive := written(t, e)
	checkXDM(t, archive)
	if _, there := unzipped(t, archive)["IHE_XDM/SUBSET03/DOC00401.XML"]; !there {
		t.Error("the last document is not where it should be")
	}
	s, err := readXDM(archive)
	if err != nil || len(s.Documents) != 2*subsetDocuments+1 || len(s.Patients()) != 1 {
		t.Errorf("read back: %d documents, %v", len(s.Documents), err)
	}
}

// Whatever people call things, what is written is sound and reads back equal.
func TestWriteXDMAnyText(t *testing.T) {
	hostile := rapid.OneOf(
		rapid.StringMatching(`[A-Za-zéÉ' -]{0,40}`),
		rapid.SampledFrom([]string{
			`]]>`, `"><a b='`, "&amp;&#0;", `A^B&C~D|E\F\`, "\x00\x1b[31m\x7f", "\xff\xfe", "\u202emot", "<!DOCTYPE x>", "\ufffe\uffff", "a\r\nb", `\E\T\`,
		}),
		rapid.StringN(0, 400, -1),
		rapid.Map(rapid.StringMatching(`[&^\\]{1,3}`), func(s string) string { return strings.Repeat(s, 200) }),
	)
	rapid.Check(t, func(t *rapid.T) {
		text := func(label string) string { return hostile.Draw(t, label) }
		e := Export{
			ID: exportOID + ".1", SourceID: exportOID, Time: time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "time"), 0),
			Title: text("title"), Software: text("software"), LocalID: "1" + text("local"), Author: Writer{Institution: text("sender")},
			Patient: Patient{Traits: ident.Traits{Family: "X" + text("family"), Given: text("given"), Birth: "2015-03-02", Sex: "F"}},
		}
		if rapid.Bool().Draw(t, "ins") {
			e.Patient.INS, _ = ident.ParseINS(zoeINS, ident.OIDTestNIR)
		}
		type doc struct {
			Code, Author, ID, Where, WhereID, UniqueID, Title string
			Sum                                               [32]byte
		}
		var want []doc
		for i := range rapid.IntRange(1, 4).Draw(t, "documents") {
			pdf := rapid.Bool().Draw(t, "pdf")
			bytes := string(rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "bytes"))
			if pdf {
				bytes = onePDF + bytes
			} else {
				bytes = "not " + bytes
			}
			w := Writer{
				Family: text("writer"), Given: text("first"), Institution: text("where"),
				ID: rapid.SampledFrom([]string{"", "899900000011", "499999999/12"}).Draw(t, "number"), InstitutionID: "1990000002",
			}
			d := ExportDocument{
				ID: fmt.Sprintf("%s.7.%d", exportOID, i), SetID: fmt.Sprintf("%s.6.%d", exportOID, i), Title: text("document"), Filename: "a" + text("file") + ".dat",
				Media: rapid.SampledFrom([]string{"", "application/pdf", "text/plain", "image/png"}).Draw(t, "media"),
				Code:  rapid.SampledFrom([]string{"", "18748-4", "PRESC-KINE", "99999-9"}).Draw(t, "code"), Author: w, Written: e.Time, Open: content(bytes),
				Confidentiality: rapid.SliceOfN(rapid.SampledFrom(append([]string{"N", "R", "V", "OTHER"}, visibility...)), 0, 6).Draw(t, "words"),
			}
			e.Documents = append(e.Documents, d)
			code := d.Code
			setOnce(&code, "34120-6")
			wanted := doc{Code: code, ID: w.ID, UniqueID: d.ID, Sum: sha256.Sum256([]byte(bytes))}
			if pdf {
				wanted.Sum = [32]byte{} // of what is around it
			}
			want = append(want, wanted)
		}
		var b bytes.Buffer
		if err := WriteXDM(&b, e); err != nil {
			t.Fatal(err)
		}
		checkXDM(t, b.Bytes())
		s, err := readXDM(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		var got []doc
		for i, d := range s.Documents {
			read := doc{Code: d.Code, ID: d.AuthorID, UniqueID: d.UniqueID}
			if want[i].Sum != [32]byte{} {
				read.Sum = [32]byte(d.Sum)
			}
			got = append(got, read)
			where := inXML.Replace(e.Documents[i].Author.clean().Institution)
			if len(hl7Escapes.Replace(where)) < 100 && d.Institution != where {
				t.Errorf("institution %q is read as %q", where, d.Institution)
			}
			if title := inXML.Replace(cleanText(e.Documents[i].Title, maxName)); title != "" && len(title) < 100 && d.Title != title {
				t.Errorf("title %q is read as %q", title, d.Title)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("read back (-want +got):\n%s", diff)
		}
		if p := s.Patients(); len(p) != 1 || p[0].INS != e.Patient.INS {
			t.Errorf("%d patients are read back", len(p))
		}
	})
}

// inXML replaces what XML has no way to write, control characters apart.
var inXML = strings.NewReplacer("\ufffe", "\ufffd", "\uffff", "\ufffd")

func unzipped(t require, archive []byte) map[string]string {
	z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatalf("opening: %v", err)
	}
	files := make(map[string]string)
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatalf("opening %s: %v", path.Base(f.Name), err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatalf("reading %s: %v", path.Base(f.Name), err)
		}
		files[f.Name] = string(b)
	}
	return files
}

// require is what testing.T and rapid.T share.
type require interface {
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}
