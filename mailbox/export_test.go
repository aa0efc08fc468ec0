package mailbox

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/store"
)

const examination = "%PDF-1.4 invented examination of a child"

// recordArchive is what a hospital record sends about Léa.
func recordArchive(t *testing.T) string {
	t.Helper()
	ins, err := identity.ParseINS("279035121518989", identity.OIDTestNIR)
	if err != nil {
		t.Fatal(err)
	}
	author := letter.NewWriter("Dr Anne Roux")
	author.ID, author.Institution = "899900000011", "CHU Caen"
	var b bytes.Buffer
	err = letter.WriteXDM(&b, letter.Export{
		ID: "2.25.1", SourceID: "2.25.2", Time: time.Unix(1.7e9, 0), Title: "IRM", Author: author,
		Patient: letter.Patient{INS: ins, Traits: identity.Traits{Family: "MARTIN", Given: "LÉA", Birth: "2015-03-02", Sex: "F"}},
		Documents: []letter.ExportDocument{{
			ID: "2.25.3", SetID: "2.25.4", Title: "IRM cérébrale", Media: "application/pdf", Code: "18748-4", Author: author, Written: time.Unix(1.7e9, 0),
			Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(examination)), nil },
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes())
}

// exported reads an export back as a receiver would.
func (h *house) exported(q ExportRequest) (*letter.Submission, []byte) {
	h.t.Helper()
	q.Pathway = string(h.child)
	r, err := h.Export(h.t.Context(), testActor, q)
	if err != nil {
		h.t.Fatalf("%v (%s)", err, failureCode(err))
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		h.t.Fatal(err)
	}
	s, err := letter.ReadXDM(bytes.NewReader(b), int64(len(b)), letter.ArchiveLimits{})
	if err != nil {
		h.t.Fatal(err)
	}
	return s, b
}

func TestExport(t *testing.T) {
	h := newHouse(t)
	imaging := h.post(written{
		from: "roux@chu.test", to: string(h.child), id: "x1@chu.test", subject: "XDM/1.0/DDM+IRM MARTIN Léa 02/03/2015",
		content: attachment("IHE_XDM.ZIP", "application/zip", recordArchive(t)),
	})
	psychology := h.post(written{
		from: "simon@chu.test", to: string(h.child), id: "x2@chu.test", subject: "Bilan",
		content: attachment("bilan.pdf", "application/pdf", base64.StdEncoding.EncodeToString([]byte("%PDF-1.4 invented report"))),
	})
	h.post(written{from: "roux@chu.test", to: string(h.child), id: "x3@chu.test", subject: "Sans document", text: "x"})
	// Sent twice, exported once.
	h.post(written{
		from: "simon@chu.test", to: string(h.child), id: "x4@chu.test", subject: "Bilan, à nouveau",
		content: attachment("bilan.pdf", "application/pdf", base64.StdEncoding.EncodeToString([]byte("%PDF-1.4 invented report"))),
	})

	titles := func(q ExportRequest) string {
		s, _ := h.exported(q)
		var all []string
		for _, d := range s.Documents {
			all = append(all, d.Title+"/"+d.Code+"/"+d.Author)
		}
		return strings.Join(all, " ")
	}
	const irm, bilan = "IRM cérébrale/18748-4/Dr Anne Roux", "bilan.pdf/34120-6/Mme Claire Simon"
	for _, c := range []struct {
		name string
		q    ExportRequest
		want string
	}{
		{"everything", ExportRequest{}, irm + " " + bilan},
		{"as somebody who does not see psychology", ExportRequest{As: "m4"}, irm},
		{"as the coordinator", ExportRequest{As: "M2"}, irm + " " + bilan},
		{"a rubric", ExportRequest{Rubrics: []string{"Psychologie"}}, bilan},
		{"a message", ExportRequest{Documents: []string{string(psychology)}}, bilan},
		{"a document", ExportRequest{Documents: []string{strings.ToUpper(string(imaging)) + "/1"}}, irm},
	} {
		if got := titles(c.q); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	for code, q := range map[string]ExportRequest{
		"document-unknown": {Documents: []string{string(imaging) + "/2"}},
		"rubric-unknown":   {Rubrics: []string{"radio"}},
		"member-unknown":   {As: "m99"},
		"export-empty":     {Rubrics: []string{"biologie"}},
	} {
		q.Pathway = string(h.child)
		_, err := h.Export(t.Context(), testActor, q)
		wantFailure(t, err, code)
	}
	_, err := h.Export(t.Context(), testActor, ExportRequest{Pathway: string(h.child), As: "m4", Documents: []string{string(psychology)}})
	wantFailure(t, err, "document-unknown") // not even that it is there

	s, archive := h.exported(ExportRequest{})
	if p := s.Patients(); len(p) != 1 || p[0].INS.Matricule() != "279035121518989" {
		t.Errorf("the export is about %d patients", len(p))
	}
	h.o.XDM.Untyped = "11490-0" // as the software that takes it expects
	if got := titles(ExportRequest{}); got != irm+" bilan.pdf/11490-0/Mme Claire Simon" {
		t.Errorf("with another type for what has none: %q", got)
	}
	h.o.XDM.Untyped = ""
	again, _ := h.exported(ExportRequest{})
	if s.UniqueID == again.UniqueID {
		t.Error("two exports are one submission set")
	}
	for i, d := range s.Documents {
		if d.UniqueID != again.Documents[i].UniqueID || !bytes.Equal(d.Sum, again.Documents[i].Sum) {
			t.Errorf("document %d is another in the second export", i+1)
		}
	}
	if n := len(h.traced(h.child)); h.traced(h.child)[n-1] != "pathway.exported" {
		t.Error("an export is not traced")
	}
	if _, err := h.Retract(t.Context(), testActor, MessageRequest{Message: string(imaging), Reason: "essai"}); err != nil {
		t.Fatal(err)
	}
	if got := titles(ExportRequest{}); got != bilan {
		t.Errorf("with a message withdrawn: %q", got)
	}
	// The hub takes in what it exported.
	back := h.message(h.post(written{
		from: "moreau@chu.test", to: string(h.child), id: "x5@chu.test", subject: "Export",
		content: attachment("IHE_XDM.ZIP", "application/zip", base64.StdEncoding.EncodeToString(archive)),
	}))
	if len(back.Documents) != 2 || back.Documents[0].Code != "18748-4" {
		t.Errorf("taken back: %d documents", len(back.Documents))
	}
	nothingInClear(t, h.dir, examination, base64.StdEncoding.EncodeToString([]byte(examination))[:40])
}

// An export that nobody reads to its end leaves nothing running.
func TestExportBrokenOff(t *testing.T) {
	h := newHouse(t)
	large := base64.StdEncoding.EncodeToString([]byte("%PDF-1.4 " + strings.Repeat("invented ", 1<<17)))
	var lines strings.Builder
	for chunk := range slices.Chunk([]byte(large), 76) {
		lines.Write(append(chunk[:len(chunk):len(chunk)], '\n'))
	}
	h.post(written{from: "roux@chu.test", to: string(h.child), id: "x1@chu.test", subject: "CR", content: attachment("cr.pdf", "application/pdf", lines.String())})
	r, err := h.Export(t.Context(), testActor, ExportRequest{Pathway: string(h.child)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	stream := r.(*exportStream)
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	select {
	case <-stream.done:
	default:
		t.Error("its writer goes on")
	}

	// A message that cannot be read must not end an archive as if it were whole.
	x := &export{h: h.Hub, wanted: map[string]bool{}, seen: map[string]bool{}}
	if err := x.choose(t.Context(), testActor, ExportRequest{Pathway: string(h.child)}); err != nil {
		t.Fatal(err)
	}
	x.found[0].m.Blob.Sum, x.found[0].m.Blob.Offset = []byte("other"), x.found[0].m.Blob.Offset+1
	if r, err = x.stream(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadAll(r); err == nil || errors.Is(err, io.EOF) || !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("a broken message: %v", err)
	}
}

func nothingInClear(t *testing.T, dir string, words ...string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		for _, w := range words {
			if bytes.Contains(b, []byte(w)) {
				t.Errorf("%s is in clear in %s", w, filepath.Base(name))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What keeps a document from somebody here is said in the archive in the words
// that other systems understand.
func TestExportSaysWhoMustNotSee(t *testing.T) {
	for _, c := range []struct {
		name, to, subject string
		doc               cdaDoc
		want              string
	}{
		{"for the whole team", "", "Plan", cdaDoc{words: []string{"N"}}, "N"},
		{"its own words stay", "", "Plan", cdaDoc{words: []string{"V", "INVISIBLE_PATIENT"}}, "V INVISIBLE_REPRESENTANTS_LEGAUX INVISIBLE_PATIENT MASQUE_PSOCIAL"},
		{"of a narrow rubric", ".psychologie", "Bilan", cdaDoc{words: []string{"N"}}, "R MASQUE_PT N"},
		{"secret for parents by a word", "", "Secret parents", cdaDoc{}, "N INVISIBLE_REPRESENTANTS_LEGAUX"},
		{"of a rubric the social worker has not", ".a-classer", "Autre", cdaDoc{code: "X-1"}, "R MASQUE_PSOCIAL MASQUE_PT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHouse(t)
			h.post(written{from: "roux@chu.test", to: string(h.child) + c.to, id: "w1@chu.test", subject: c.subject, content: carrying("d.xml", c.doc.xml())})
			s, _ := h.exported(ExportRequest{})
			if got := strings.Join(s.Documents[0].Confidentiality, " "); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}
