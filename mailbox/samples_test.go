package mailbox

import (
	"archive/zip"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/relais-sante/relais/mailbox/directory"
	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/store"
)

// TestEverySampleIsRead reads every file of the shared samples, which are not
// part of the project: clinical documents and archives through the hub, into the
// rubrics of pon. A file that nothing here knows is an error.
func TestEverySampleIsRead(t *testing.T) {
	root := filepath.Join("..", "..", "shared", "samples")
	if _, err := os.Stat(root); err != nil {
		t.Skip("no shared samples here")
	}
	read := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "SOURCES.md" {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		read++
		name, _ := filepath.Rel(root, path)
		t.Run(filepath.ToSlash(name), func(t *testing.T) { readSample(t, filepath.ToSlash(name), b) })
		return nil
	})
	if err != nil || read < 30 {
		t.Errorf("%d samples read (%v)", read, err)
	}
}

func readSample(t *testing.T, name string, b []byte) {
	base := filepath.Base(name)
	is := func(pattern string) bool { ok, _ := filepath.Match(pattern, name); return ok }
	switch {
	case is("ans-cda/*.xml"), base == "cda-n1-pps-fictif.xml":
		fileCDA(t, base, b)
	case is("ans-hl7v2/*.hl7"):
		// Its documents are stand-ins; whose they are and their type is said beside.
		text := string(b)
		pid := strings.Split(text[strings.Index(text, "PID|"):], "|")
		number := strings.Split(pid[3], "^")
		if _, err := identity.ParseINS(number[0], strings.Split(number[3], "&")[1]); err != nil {
			t.Error(err)
		}
		obx := strings.Split(text[strings.Index(text, "OBX|1|"):], "|")
		typesLand(t, []map[string]string{{"code": strings.Split(obx[3], "^")[0]}})
	case base == "IHE_XDM.zip":
		fileArchive(t, b)
	case is("synthetic/METADATA-*.xml"):
		var packed bytes.Buffer
		z := zip.NewWriter(&packed)
		for file, content := range map[string][]byte{"METADATA.XML": b, "DOC00001.XML": sampleFile(t, "cda-n1-pps-fictif.xml")} {
			w, err := z.Create("IHE_XDM/SUBSET01/" + file)
			if err == nil {
				_, err = w.Write(content)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		fileArchive(t, packed.Bytes())
	case is("synthetic/mail-xdm-*.eml"):
		fileMail(t, b)
	case is("synthetic/mail-mes-fin-*.eml"):
		r := readLetter(t, b)
		if mes, _ := r.Index.Value("X-MSS-MES"); !strings.EqualFold(strings.TrimSpace(mes), finWord) && !isFIN(r.Index.Envelope.Subject) {
			t.Error("nothing says that the exchange ends")
		}
	case is("synthetic/mdn-*.eml"):
		mdn, err := letter.ReadMDN(readLetter(t, b).Report)
		if err != nil || mdn.Failed() != strings.Contains(base, "erreur") || mdn.Failed() && mdn.ErrorCode == "" {
			t.Errorf("%+v, %v", mdn, err)
		}
	case is("synthetic/dsn-mes-*.eml"):
		r := readLetter(t, b)
		dsn, err := letter.ReadDSN(r.Report)
		if err != nil || len(dsn.Recipients) != 1 || citizenRefusal(dsn.Recipients[0].Status, "") != refusedClosed {
			t.Errorf("%+v, %v", dsn, err)
		}
	case is("synthetic/Extraction_*.txt"):
		d := directory.Open(directory.Options{Dir: t.TempDir()})
		defer d.Close()
		report, err := d.Import(t.Context(), bytes.NewReader(b), directory.Import{Name: base})
		if err != nil || report.Entries == 0 || report.Duplicates == 0 || len(report.Faulty) > 0 {
			t.Errorf("%+v, %v", report, err)
		}
	case base == "ins-vecteurs.csv":
		for _, r := range sampleRows(t, b) {
			ins, err := identity.ParseINS(r["matricule"], r["oid"])
			if err == nil {
				_, err = identity.CheckINS(ins, identity.Traits{})
			}
			if want := strings.HasPrefix(r["attendu"], "valide"); (err == nil) != want && !ins.Test() {
				t.Errorf("a matricule that is %s: %v", r["attendu"], err)
			}
		}
	case base == "luhn-vecteurs.csv":
		sampleRows(t, b) // judged in package identity
	case base == "typecode-classcode-extrait.csv":
		typesLand(t, sampleRows(t, b))
	case base == "nos-petites-listes.csv":
		for _, r := range sampleRows(t, b) {
			if strings.HasPrefix(r["liste"], "JDV_J110") {
				wordHides(t, r["code"])
			}
		}
	case is("ans-jdv/*.xml"), base == "listeblanche-synthetique.xml": // the white list itself is gateway/trust's to judge
		codes := 0
		x := xml.NewDecoder(bytes.NewReader(b))
		for {
			token, err := x.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if e, ok := token.(xml.StartElement); ok && (e.Name.Local == "Concept" || e.Name.Local == "concept" || e.Name.Local == "Domaine") {
				codes++
			}
		}
		if codes == 0 {
			t.Error("nothing in it")
		}
	case is("ansforge-mit/*.json"):
		if !json.Valid(b) {
			t.Error("no JSON")
		}
	case is("ansforge-mit/*.yaml"):
		if !bytes.Contains(b, []byte("openapi:")) {
			t.Error("no OpenAPI")
		}
	default:
		t.Error("no reader for this sample")
	}
}

func sampleFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "shared", "samples", "synthetic", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readLetter(t *testing.T, b []byte) *letter.Reading {
	t.Helper()
	r, err := letter.Read(bytes.NewReader(canonical(b)), letter.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func sampleRows(t *testing.T, b []byte) []map[string]string {
	t.Helper()
	r := csv.NewReader(bytes.NewReader(b))
	r.Comma = ';'
	lines, err := r.ReadAll()
	if err != nil || len(lines) < 2 {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	var rows []map[string]string
	for _, l := range lines[1:] {
		row := map[string]string{}
		for i, value := range l {
			row[lines[0][i]] = value
		}
		rows = append(rows, row)
	}
	return rows
}

// pathwayOf includes the patient of a document, followed by Dr Roux and all.
func (h *house) pathwayOf(p letter.Patient) store.PathwayCode {
	h.t.Helper()
	birth, _ := identity.ParseBirthDate(p.Traits.Birth)
	q := IncludeRequest{
		Programme: "pon", INS: p.INS.Matricule(), INSOID: p.INS.OID(), FamilyName: p.Traits.Family, GivenName: p.Traits.Given,
		BirthDate: birth, Sex: p.Traits.Sex, Consent: "oral", ConsentFrom: "mère",
	}
	view := must[PathwayView](h.t)(h.Include(h.t.Context(), testActor, q))
	code := store.PathwayCode(view.ID)
	h.member(code, "Dr Anne Roux", "oncologue", "roux@chu.test", "PER", "CHU Caen")
	return code
}

// lands checks that the first document of a message is in the rubric that pon
// has for its type.
func (h *house) lands(id store.MessageID) {
	h.t.Helper()
	m := h.message(id)
	prog := h.o.Programmes().ByID("pon")
	want := prog.Unclassed()
	if r := prog.RubricForCode(m.Documents[0].Code); r != nil {
		want = r
	}
	if m.Documents[0].Code == "" || len(m.Rubrics()) != 1 || m.Rubrics()[0] != want.ID {
		h.t.Errorf("a document of type %q is filed in %q, want %s", m.Documents[0].Code, m.Rubrics(), want.ID)
	}
}

// fileCDA posts a document to the pathway of its patient, to another child's,
// and together with that child's.
func fileCDA(t *testing.T, name string, b []byte) {
	t.Helper()
	cda, err := letter.ReadCDA(bytes.NewReader(b), letter.ArchiveLimits{})
	if err != nil || len(cda.Patients) != 1 {
		t.Fatalf("%d patients, %v", len(cda.Patients), err)
	}
	h := openHouse(t)
	code := h.pathwayOf(cda.Patients[0])
	h.child = h.include("114076300100140", "Lefèvre", "Tom", "2014-07-12")
	h.member(h.child, "Dr Anne Roux", "oncologue", "roux@chu.test", "PER", "CHU Caen")
	tom := cdaDoc{ins: "114076300100140", family: "LEFÈVRE", given: "TOM", birth: "2014-07-12"}
	post := func(to store.PathwayCode, id string, files ...string) Receipt {
		t.Helper()
		r, err := h.try(written{from: "roux@chu.test", to: string(to), id: id + "@chu.test", subject: "Document", content: carrying(files...)})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := post(code, "own", name, string(b)); r.Held != "" {
		t.Errorf("held: %s", r.Reason)
	} else if !strings.Contains(fmt.Sprint(cda.Confidentiality), "MASQUE_PS") {
		h.lands(r.Message)
	}
	if r := post(h.child, "wrong", name, string(b)); r.Reason != reasonWrongPatient {
		t.Errorf("at another child's: %+v", r)
	}
	if r := post(code, "two", name, string(b), "tom.xml", tom.xml()); r.Reason != reasonTwoPatients {
		t.Errorf("with another child's document: %+v", r)
	}
}

// fileArchive posts an archive to the pathway of its patient, and to another.
func fileArchive(t *testing.T, b []byte) {
	t.Helper()
	s, err := letter.ReadXDM(bytes.NewReader(b), int64(len(b)), letter.ArchiveLimits{})
	if err != nil || len(s.Patients()) != 1 {
		t.Fatalf("%v", err)
	}
	h := newHouse(t)
	code := h.pathwayOf(s.Patients()[0])
	w := written{from: "roux@chu.test", to: string(code), id: "x@chu.test", subject: "XDM/1.0/DDM+Document", content: carrying("IHE_XDM.ZIP", string(b))}
	h.lands(h.post(w))
	w.to = string(h.child)
	if r, err := h.try(w); err != nil || r.Reason != reasonWrongPatient {
		t.Errorf("at another child's: %+v, %v", r, err)
	}
}

// fileMail posts a whole mail, as its own sender.
func fileMail(t *testing.T, b []byte) {
	t.Helper()
	r := readLetter(t, b)
	raw := canonical(b)
	docs, err := letter.Documents(t.Context(), r.Index, func(p *letter.Part) (io.Reader, error) {
		return letter.Decode(bytes.NewReader(raw[p.BodyStart:p.BodyEnd]), p.Encoding), nil
	}, letter.ArchiveLimits{})
	if err != nil || len(docs) == 0 || len(letter.Patients(docs)) != 1 {
		t.Fatalf("%d documents, %v", len(docs), err)
	}
	h := newHouse(t)
	code := h.pathwayOf(letter.Patients(docs)[0])
	from := store.NewAddress(r.Index.Envelope.From[0].Address)
	h.member(code, "Dr Alice Martin", "oncologue", string(from), "PER", "CHU EXEMPLE")
	env := Envelope{MailFrom: from, Via: ViaSMTP, Received: h.clock.now(), Peer: Peer{SpeaksFor: func(string) bool { return true }}}
	to, err := h.Recipient(t.Context(), &env, string(code)+"@"+testDomain)
	if err != nil {
		t.Fatal(err)
	}
	env.Rcpts = []Recipient{to}
	receipt, err := h.Intake(t.Context(), env, bytes.NewReader(raw))
	if err != nil || receipt.Held != "" {
		t.Fatalf("%+v, %v", receipt, err)
	}
	h.lands(receipt.Message)
}

// typesLand posts a document of every type listed.
func typesLand(t *testing.T, rows []map[string]string) {
	t.Helper()
	h := newHouse(t)
	for i, r := range rows {
		h.lands(h.post(written{
			from: "roux@chu.test", to: string(h.child), id: fmt.Sprintf("t%d@chu.test", i), subject: "Document",
			content: carrying("d.xml", cdaDoc{id: fmt.Sprint(i), code: r["code"]}.xml()),
		}))
	}
}

// wordHides checks that a visibility word keeps a document from whom it names.
func wordHides(t *testing.T, word string) {
	t.Helper()
	h := newHouse(t)
	h.openToFamilies()
	h.family()
	r, err := h.try(written{from: "roux@chu.test", to: string(h.child), id: "w@chu.test", subject: "Plan", content: carrying("d.xml", cdaDoc{words: []string{"N", word}}.xml())})
	if err != nil {
		t.Fatal(err)
	}
	got := h.relay()
	switch word {
	case "MASQUE_PS":
		if r.Reason != reasonRule {
			t.Errorf("%s: %+v", word, r)
		}
	case "MASQUE_PSOCIAL": // no social worker in this team
	default:
		if f := toFamily(got); f != "" || !slices.Contains(h.message(r.Message).Documents[0].Confidentiality, word) {
			t.Errorf("%s: the family got %q", word, f)
		}
	}
}
