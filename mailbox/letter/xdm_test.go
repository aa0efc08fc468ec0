package letter

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ident "github.com/relais-sante/relais/mailbox/identity"
)

// entry is a file of an archive made for a test.
type entry struct {
	name, text string
	mode       fs.FileMode
}

func zipped(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		if e.mode != 0 {
			h.SetMode(e.mode)
		}
		w, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// extrinsic describes a document in ebRIM.
func extrinsic(id, uri, code, ins, more string) string {
	return `<rim:ExtrinsicObject id="` + id + `" mimeType="text/xml" objectType="urn:uuid:7edca82f-054d-47f2-a032-9b2a5b5186c1">
 <rim:Slot name="hash"><rim:ValueList><rim:Value>0000</rim:Value></rim:ValueList></rim:Slot>
 <rim:Slot name="size"><rim:ValueList><rim:Value>99999999999</rim:Value></rim:ValueList></rim:Slot>
 <rim:Slot name="URI"><rim:ValueList><rim:Value>` + uri + `</rim:Value></rim:ValueList></rim:Slot>
 <rim:Slot name="sourcePatientInfo"><rim:ValueList><rim:Value>PID-5|LE GOFF^ZOE^^^^^L~LEGENDRE^MIMI^^^^^D</rim:Value><rim:Value>PID-7|20150302</rim:Value><rim:Value>PID-8|F</rim:Value></rim:ValueList></rim:Slot>` + more + `
 <rim:Name><rim:LocalizedString value="Titre"/></rim:Name>
 <rim:Classification classificationScheme="urn:uuid:93606bcf-9494-43ec-9b4e-a7748d1a838d" nodeRepresentation="">
  <rim:Slot name="authorPerson"><rim:ValueList><rim:Value>899900000011^ROUX^ANNE^^^^^^&amp;1.2.250.1.71.4.2.1&amp;ISO^D^^^IDNPS</rim:Value></rim:ValueList></rim:Slot>
  <rim:Slot name="authorInstitution"><rim:ValueList><rim:Value>CHU FICTIF^^^^^&amp;1.2.250.1.71.4.2.2&amp;ISO^IDNST^^^1990000002</rim:Value></rim:ValueList></rim:Slot>
 </rim:Classification>
 <rim:Classification classificationScheme="urn:uuid:41a5887f-8865-4c09-adf7-e362475b143a" nodeRepresentation="31"/>
 <rim:Classification classificationScheme="urn:uuid:f4f85eac-e6cb-4883-b524-f2705394840f" nodeRepresentation="INVISIBLE_REPRESENTANTS_LEGAUX"/>
 <rim:Classification classificationScheme="urn:uuid:f0306f51-975f-434e-a61c-c59651d33983" nodeRepresentation="` + code + `"/>
 <rim:ExternalIdentifier identificationScheme="urn:uuid:58a6f841-87b3-4a3e-92fd-a8ffeff98427" value="` + ins + `^^^&amp;` + ident.OIDTestNIR + `&amp;ISO^NH"><rim:Name><rim:LocalizedString value="XDSDocumentEntry.patientId"/></rim:Name></rim:ExternalIdentifier>
 <rim:ExternalIdentifier identificationScheme="urn:uuid:2e82c1f6-a085-4c72-9da3-8640a32e42ab" value="1.2.250.1.999.7.` + id + `"/>
</rim:ExtrinsicObject>`
}

func metadataText(setINS string, objects ...string) string {
	return `<?xml version="1.0" encoding="UTF-8"?>
<lcm:SubmitObjectsRequest xmlns:lcm="urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0" xmlns:rim="urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"><rim:RegistryObjectList>
<rim:RegistryPackage id="set"><rim:ExternalIdentifier identificationScheme="urn:uuid:6b5aea1a-874d-4603-a4bc-96a0a7b38446" value="` + setINS + `^^^&amp;` + ident.OIDTestNIR + `&amp;ISO^NH"/>
<rim:ExternalIdentifier identificationScheme="urn:uuid:96fdda7c-d067-4183-912e-bf5ee74998a8" value="1.2.250.1.999.9"/></rim:RegistryPackage>
` + strings.Join(objects, "\n") + `</rim:RegistryObjectList></lcm:SubmitObjectsRequest>`
}

const (
	folder = "IHE_XDM/SUBSET01/"
	onePDF = "%PDF-1.4 invented"
)

// soundXDM has a CDA document, a PDF of its own, and the usual wrapping.
func soundXDM(t testing.TB) []byte {
	return zipped(t,
		entry{name: "README.TXT", text: "who sent this"},
		entry{name: "INDEX.HTM", text: "<html></html>"},
		entry{name: "IHE_XDM/"},
		entry{name: folder + "METADATA.XML", text: metadataText(zoeINS,
			extrinsic("d1", "DOC00001.XML", "11502-2", zoeINS, ""),
			strings.Replace(extrinsic("d2", "DOC00002.PDF", "83901-9", zoeINS, ""), "text/xml", "application/pdf", 1),
			`<rim:Association associationType="urn:ihe:iti:2007:AssociationType:RPLC" sourceObject="d2" targetObject="urn:uuid:00000000-0000-4000-8000-000000000002"/>`)},
		entry{name: folder + "DOC00001.XML", text: cdaText("18748-4", zoeINS, "ZOÉ", "")},
		entry{name: folder + "DOC00002.PDF", text: onePDF},
		entry{name: folder + "STYLE.XSL", text: "<xsl/>"},
	)
}

func readXDM(b []byte) (*Submission, error) {
	return ReadXDM(bytes.NewReader(b), int64(len(b)), ArchiveLimits{})
}

func TestReadXDM(t *testing.T) {
	s, err := readXDM(soundXDM(t))
	if err != nil {
		t.Fatal(err)
	}
	if s.UniqueID != "1.2.250.1.999.9" || len(s.Documents) != 2 || len(s.Patients()) != 1 {
		t.Fatalf("set %q, %d documents, %d patients", s.UniqueID, len(s.Documents), len(s.Patients()))
	}
	d := s.Documents[0]
	sum := sha256.Sum256([]byte(cdaText("18748-4", zoeINS, "ZOÉ", "")))
	for name, pair := range map[string][2]string{
		"entry":           {d.Entry, folder + "DOC00001.XML"},
		"file name":       {d.Filename, "DOC00001.XML"},
		"title":           {d.Title, "Compte rendu d’imagerie"}, // the header's
		"media":           {d.Media, "text/xml"},
		"code":            {d.Code, "18748-4"}, // the header's: metadata disagree
		"class":           {d.Class, "31"},
		"confidentiality": {strings.Join(d.Confidentiality, " "), "INVISIBLE_REPRESENTANTS_LEGAUX N MASQUE_PSOCIAL"},
		"author":          {d.Author, "DR ANNE ROUX"},
		"institution":     {d.InstitutionID, "1990000002"},
		"unique id":       {d.UniqueID, "1.2.250.1.999.7^D1"},
		"version":         {d.Version, "2"},
		"digest":          {string(d.Sum), string(sum[:])},
		"size":            {fmt.Sprint(d.Size), fmt.Sprint(len(cdaText("18748-4", zoeINS, "ZOÉ", "")))},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s is %q, want %q", name, pair[0], pair[1])
		}
	}
	p := s.Documents[1]
	if p.Code != "83901-9" || p.Title != "Titre" || p.Author != "ANNE ROUX" || p.AuthorID != "899900000011" || p.Media != "application/pdf" ||
		p.UniqueID != "1.2.250.1.999.7.d2" || p.Replaces != "urn:uuid:00000000-0000-4000-8000-000000000002" || !p.Structured {
		t.Errorf("metadata are read wrong: %+v", p)
	}
	if len(p.Patients) != 1 || p.Patients[0].Traits != (ident.Traits{Family: "LE GOFF", Used: "LEGENDRE", Given: "ZOE", Birth: "20150302", Sex: "F"}) {
		t.Error("sourcePatientInfo is read wrong")
	}
}

func TestReadXDMLeniently(t *testing.T) {
	doc := entry{name: folder + "DOC00001.XML", text: cdaText("18748-4", zoeINS, "ZOÉ", "")}
	meta := func(objects ...string) entry {
		return entry{name: folder + "METADATA.XML", text: metadataText(zoeINS, objects...)}
	}
	for _, c := range []struct {
		name     string
		entries  []entry
		docs     int
		patients int
		check    func(d Document) bool
	}{
		{"lower case and other folder", []entry{{name: "ihe_xdm/sub/metadata.xml", text: metadataText(zoeINS, extrinsic("d", " doc.xml ", "1", zoeINS, ""))}, {name: "ihe_xdm/sub/DOC.XML", text: doc.text}}, 1, 1, nil},
		{"backslashes", []entry{{name: `IHE_XDM\S\METADATA.XML`, text: metadataText(zoeINS, extrinsic("d", "DOC.XML", "1", zoeINS, ""))}, {name: `IHE_XDM\S\DOC.XML`, text: doc.text}}, 1, 1, nil},
		{"renamed document", []entry{meta(extrinsic("d", "OTHER.XML", "1", zoeINS, "")), doc}, 1, 1, nil},
		{"document elsewhere", []entry{meta(extrinsic("d", "DOC00001.XML", "1", zoeINS, "")), {name: "IHE_XDM/DOC00001.XML", text: doc.text}}, 1, 1, nil},
		{"no document at all", []entry{meta()}, 0, 0, nil},
		{
			"capitals and blanks",
			[]entry{{name: doc.name, text: "no CDA"}, {name: folder + "METADATA.XML", text: strings.NewReplacer(
				"rim:Classification", "rim:classification", "rim:Slot", "rim:SLOT", `"urn:uuid:f03`, `" URN:UUID:f03`, "DOC00001.XML", "\n doc00001.xml\n").Replace(metadataText(zoeINS, extrinsic("d", "DOC00001.XML", "34794-8", zoeINS, "")))}},
			1, 1,
			func(d Document) bool {
				return d.Code == "34794-8" && d.Author == "ANNE ROUX" && d.Filename == "DOC00001.XML"
			},
		},
		{
			"classification beside",
			[]entry{
				{name: doc.name, text: "no CDA"},
				meta(extrinsic("d", "DOC00001.XML", "", zoeINS, ""), `<Classification classifiedObject="d" classificationScheme="urn:uuid:f0306f51-975f-434e-a61c-c59651d33983" nodeRepresentation="28653-4"/>`),
			},
			1, 1, func(d Document) bool { return d.Code == "28653-4" },
		},
		{
			"deletion",
			[]entry{doc, meta(extrinsic("d", "DOC00001.XML", "1", zoeINS, `<Slot name="urn:x:Action"><ValueList><Value>d</Value></ValueList></Slot>`))},
			1, 1, func(d Document) bool { return d.Action == "D" },
		},
		{
			"forgotten file",
			[]entry{doc, meta(extrinsic("d", "DOC00001.XML", "1", zoeINS, "")), {name: folder + "X.PDF", text: onePDF}},
			2, 1, nil,
		},
		{"forgotten file of somebody else", []entry{doc, meta(extrinsic("d", "DOC00001.XML", "1", zoeINS, "")), {name: "Y.XML", text: cdaText("1", leoINS, "LÉO", "")}}, 2, 2, nil},
		{"metadata and header name two people", []entry{doc, meta(extrinsic("d", "DOC00001.XML", "1", leoINS, ""))}, 1, 2, nil},
		{"submission of somebody else", []entry{doc, {name: folder + "METADATA.XML", text: metadataText(leoINS, extrinsic("d", "DOC00001.XML", "1", zoeINS, ""))}}, 1, 2, nil},
		{"desktop system", []entry{doc, meta(extrinsic("d", "DOC00001.XML", "1", zoeINS, "")), {name: "__MACOSX/._x", text: "x"}, {name: "Thumbs.db", text: "x"}}, 1, 1, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := readXDM(zipped(t, c.entries...))
			if err != nil {
				t.Fatal(err)
			}
			if len(s.Documents) != c.docs || len(s.Patients()) != c.patients {
				t.Fatalf("%d documents, %d patients", len(s.Documents), len(s.Patients()))
			}
			if c.check != nil && !c.check(s.Documents[0]) {
				t.Errorf("got %+v", s.Documents[0])
			}
		})
	}
}

// liar sets the announced sizes of the last entry of a zip to one byte.
func liar(b []byte) []byte {
	b = bytes.Clone(b)
	i := bytes.LastIndex(b, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(b[i+24:], 1)
	return b
}

// encrypted sets the flag of an encrypted entry on the last one.
func encrypted(b []byte) []byte {
	b = bytes.Clone(b)
	b[bytes.LastIndex(b, []byte("PK\x01\x02"))+8] |= 1
	return b
}

// overlapping repeats the last entry of a zip in its directory, under other
// names: one body that is unpacked again and again.
func overlapping(b []byte, entries int) []byte {
	last := bytes.LastIndex(b, []byte("PK\x01\x02"))
	end := bytes.LastIndex(b, []byte("PK\x05\x06"))
	out := bytes.Clone(b[:end])
	for i := range entries {
		h := bytes.Clone(b[last:end])
		h[46] = 'A' + byte(i)
		out = append(out, h...)
	}
	tail := bytes.Clone(b[end:])
	for _, at := range []int{8, 10} {
		binary.LittleEndian.PutUint16(tail[at:], binary.LittleEndian.Uint16(tail[at:])+uint16(entries))
	}
	binary.LittleEndian.PutUint32(tail[12:], binary.LittleEndian.Uint32(tail[12:])+uint32(entries*(end-last)))
	return append(out, tail...)
}

// hostile is an archive and where reading it must stop.
type hostile struct {
	archive []byte
	step    string
}

func hostileArchives(t testing.TB) map[string]hostile {
	cda := cdaText("18748-4", zoeINS, "ZOÉ", "")
	meta := entry{name: folder + "METADATA.XML", text: metadataText(zoeINS, extrinsic("d", "DOC00001.XML", "1", zoeINS, ""))}
	doc := entry{name: folder + "DOC00001.XML", text: cda}
	many := []entry{meta, doc}
	for i := range 10_000 {
		many = append(many, entry{name: fmt.Sprintf("%sE%05d.TXT", folder, i)})
	}
	sound := soundXDM(t)
	doctype := "<?xml version=\"1.0\"?>\n<!DOCTYPE lolz [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;\">]>\n"
	with := func(more ...entry) []byte { return zipped(t, append([]entry{meta, doc}, more...)...) }
	return map[string]hostile{
		"empty":                  {nil, "opening"},
		"no zip":                 {[]byte("this is no archive"), "opening"},
		"cut short":              {sound[:len(sound)/2], "opening"},
		"no metadata":            {zipped(t, doc), "finding METADATA.XML"},
		"document missing":       {zipped(t, meta), "finding a document"},
		"two documents missing":  {zipped(t, entry{name: folder + "METADATA.XML", text: metadataText(zoeINS, extrinsic("d", "A.XML", "1", zoeINS, ""), extrinsic("e", "B.XML", "1", zoeINS, ""))}, doc), "finding a document"},
		"traversal":              {with(entry{name: "../../etc/cron.d/x", text: "x"}), "opening"},
		"traversal with \\":      {with(entry{name: `..\x`, text: "x"}), "opening"},
		"traversal inside":       {with(entry{name: "IHE_XDM/../../x", text: "x"}), "opening"},
		"absolute":               {with(entry{name: "/etc/passwd", text: "x"}), "opening"},
		"drive":                  {with(entry{name: "C:/x", text: "x"}), "opening"},
		"no name":                {with(entry{name: "\x00", text: "x"}), "opening"},
		"deep":                   {with(entry{name: strings.Repeat("a/", 20) + "x", text: "x"}), "opening"},
		"symlink":                {with(entry{name: folder + "L.XML", text: "/etc/passwd", mode: fs.ModeSymlink | 0o777}), "opening"},
		"device":                 {with(entry{name: folder + "L.XML", mode: fs.ModeDevice | 0o777}), "opening"},
		"same name twice":        {with(entry{name: strings.ToLower(folder) + "doc00001.xml", text: cdaText("1", leoINS, "LÉO", "")}), "opening"},
		"nested archive":         {with(entry{name: folder + "INNER.ZIP", text: string(sound)}), "inside an archive"},
		"10,000 entries":         {zipped(t, many...), "opening"},
		"bomb":                   {with(entry{name: folder + "B.BIN", text: strings.Repeat("\x00", 30<<20)}), "reading an entry"},
		"overlapping bomb":       {overlapping(with(entry{name: "Z.BIN", text: strings.Repeat("\x00", 900<<10)}), 20), "reading an entry"},
		"bomb as metadata":       {zipped(t, entry{name: folder + "METADATA.XML", text: metadataText(zoeINS) + strings.Repeat(" ", 4<<20)}), "reading METADATA.XML"},
		"lying size":             {liar(with(entry{name: folder + "B.BIN", text: strings.Repeat("\x00", 2<<20)})), "reading an entry"},
		"encrypted":              {encrypted(sound), "opening"},
		"entities in metadata":   {zipped(t, entry{name: meta.name, text: doctype + strings.TrimPrefix(meta.text, `<?xml version="1.0" encoding="UTF-8"?>`)}, doc), "reading METADATA.XML"},
		"entities in a document": {zipped(t, meta, entry{name: doc.name, text: doctype + cda[strings.Index(cda, "<ClinicalDocument"):]}), "reading a CDA"},
		"deep metadata":          {zipped(t, entry{name: meta.name, text: strings.Repeat("<a>", 1000) + strings.Repeat("</a>", 1000)}, doc), "reading METADATA.XML"},
		"broken document":        {zipped(t, meta, entry{name: doc.name, text: "<ClinicalDocument><id></ClinicalDocument>"}), "reading a CDA"},
		"wrong checksum":         {bytes.Replace(sound, binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(onePDF))), []byte{1, 2, 3, 4}, 2), "reading an entry"},
	}
}

// Whatever is wrong, the archive is refused with the same fault, after at most
// its bounds were unpacked.
func TestHostileArchives(t *testing.T) {
	for name, h := range hostileArchives(t) {
		b := h.archive
		t.Run(name, func(t *testing.T) {
			var spent int64
			lim := ArchiveLimits{}.orDefault()
			_, err := func() (*Submission, error) {
				a, err := openArchive(bytes.NewReader(b), int64(len(b)), lim, &spent)
				if err != nil {
					return nil, err
				}
				return a.submission(lim)
			}()
			if !errors.Is(err, ErrUnreadableArchive) {
				t.Errorf("got %v", err)
			}
			if bound := max(ratioFloor, lim.Ratio*int64(len(b))); spent > min(bound, lim.Unpacked)+64<<10 {
				t.Errorf("%d bytes unpacked of an archive of %d", spent, len(b))
			}
			if _, err := readXDM(b); !errors.Is(err, ErrUnreadableArchive) || !strings.Contains(err.Error(), h.step) {
				t.Errorf("ReadXDM gave %v, not while %s", err, h.step)
			}
		})
	}
}

// A sound archive with any byte changed gives an answer or the fault.
func TestDamagedArchives(t *testing.T) {
	sound := soundXDM(t)
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		b := bytes.Clone(sound)
		for range 1 + random.IntN(3) {
			b[random.IntN(len(b))] ^= byte(1 + random.IntN(255))
		}
		if _, err := readXDM(b); err != nil && !errors.Is(err, ErrUnreadableArchive) {
			t.Fatal(err)
		}
	}
}

func FuzzReadXDM(f *testing.F) {
	f.Add(soundXDM(f))
	f.Add([]byte("PK\x05\x06" + strings.Repeat("\x00", 18)))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ReadXDM(bytes.NewReader(b), int64(len(b)), ArchiveLimits{Unpacked: 1 << 20, HeaderBytes: 1 << 16, MetadataBytes: 1 << 16})
		switch {
		case err != nil && !errors.Is(err, ErrUnreadableArchive):
			t.Error(err)
		case err == nil && len(s.Patients()) > 2*len(s.Documents)+1:
			t.Error("more patients than anybody named")
		}
	})
}

// FuzzReadMetadata looks for trouble behind the zip, which a fuzzer seldom
// gets past.
func FuzzReadMetadata(f *testing.F) {
	f.Add([]byte(metadataText(zoeINS, extrinsic("d", "A.XML", "1", zoeINS, ""))))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := readMetadata(bytes.NewReader(b), ArchiveLimits{}.orDefault()); err == nil {
			for _, d := range m.docs {
				if d.Code != "" && code(d.Code) != d.Code {
					t.Errorf("code %q", d.Code)
				}
			}
		}
	})
}

func BenchmarkReadXDM(b *testing.B) {
	archive := soundXDM(b)
	b.SetBytes(int64(len(archive)))
	for b.Loop() {
		if _, err := readXDM(archive); err != nil {
			b.Fatal(err)
		}
	}
}

// sample reads a file of the shared samples, which are not part of the
// project, and skips the test where they are not there.
func sample(t *testing.T, name ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{"..", "..", "..", "shared", "samples"}, name...)...))
	if err != nil {
		t.Skip("no shared samples here")
	}
	return b
}

func TestSampleXDM(t *testing.T) {
	s, err := readXDM(sample(t, "synthetic", "IHE_XDM.zip"))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Documents) != 1 || len(s.Patients()) != 1 || s.Patients()[0].INS.IsZero() || s.Documents[0].Code != "18776-5" {
		t.Errorf("read wrong: %+v", s.Documents)
	}
	for _, name := range []string{"METADATA-conforme.xml", "METADATA-remplacement.xml", "METADATA-generateur-naif.xml"} {
		m, err := readMetadata(bytes.NewReader(sample(t, "synthetic", name)), ArchiveLimits{}.orDefault())
		if err != nil || len(m.docs) != 1 {
			t.Errorf("%s: %v", name, err)
			continue
		}
		d := m.docs[0]
		if d.Code != "18776-5" || !strings.EqualFold(d.Entry, "DOC00001.XML") || d.Author != "ALICE MARTIN" || d.UniqueID == "" || m.patient.INS.IsZero() ||
			len(d.Patients) != 1 || d.Patients[0].Traits.Family != "ESSAI" {
			t.Errorf("%s is read wrong: %+v", name, d)
		}
		if (d.Action == "C") != strings.Contains(name, "remplacement") || (d.Replaces != "") != strings.Contains(name, "remplacement") {
			t.Errorf("%s: action %q, replaces %q", name, d.Action, d.Replaces)
		}
	}
}

func TestSampleCDA(t *testing.T) {
	sample(t, "SOURCES.md")
	files, err := filepath.Glob(filepath.Join("..", "..", "..", "shared", "samples", "*", "*.xml"))
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		c, err := ReadCDA(bytes.NewReader(b), ArchiveLimits{})
		if errors.Is(err, ErrNotCDA) && !bytes.Contains(b, []byte("<ClinicalDocument")) {
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(name), err)
			continue
		}
		read++
		if c.Code == "" || c.Title == "" || c.ID == "" || c.SetID == "" || c.Author == "" || len(c.Patients) != 1 || c.Patients[0].INS.IsZero() || c.Patients[0].Traits.Birth == "" {
			t.Errorf("%s is read wrong: %+v", filepath.Base(name), c)
		}
	}
	if read < 7 {
		t.Errorf("only %d samples are CDA", read)
	}
}

// Visibility comes as a classification, or as the flag of a transmission that a
// generator copied into a slot, of the document or of the whole submission.
func TestVisibilityWords(t *testing.T) {
	flag := func(name, value string) string {
		return `<rim:Slot name="` + name + `"><rim:ValueList><rim:Value>` + value + `</rim:Value></rim:ValueList></rim:Slot>`
	}
	for _, c := range []struct{ name, document, set, want string }{
		{"none but the class's", "", "", "INVISIBLE_REPRESENTANTS_LEGAUX"},
		{"a flag of the document", flag("MASQUE_PSOCIAL", "Y"), "", "MASQUE_PSOCIAL INVISIBLE_REPRESENTANTS_LEGAUX"},
		{"in another spelling", flag("masque_pt", " oui "), "", "MASQUE_PT INVISIBLE_REPRESENTANTS_LEGAUX"},
		{"one that says no", flag("MASQUE_PS", "N"), "", "INVISIBLE_REPRESENTANTS_LEGAUX"},
		{"the short name, not twice", flag("INVISIBLE_REP_LEGAUX", "Y"), "", "INVISIBLE_REPRESENTANTS_LEGAUX"},
		{"of the submission", "", flag("INVISIBLE_PATIENT", "1"), "INVISIBLE_REPRESENTANTS_LEGAUX INVISIBLE_PATIENT"},
		{"a slot that is no word", flag("INVISIBLE_TOUS", "Y"), "", "INVISIBLE_REPRESENTANTS_LEGAUX"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := metadataText(zoeINS, extrinsic("D1", "DOC.PDF", "18748-4", zoeINS, c.document))
			text = strings.Replace(text, `<rim:RegistryPackage id="set">`, `<rim:RegistryPackage id="set">`+c.set, 1)
			b := zipped(t, entry{name: folder + "METADATA.XML", text: text}, entry{name: folder + "DOC.PDF", text: "%PDF-1.4"})
			s, err := ReadXDM(bytes.NewReader(b), int64(len(b)), ArchiveLimits{})
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(s.Documents[0].Confidentiality, " "); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}
