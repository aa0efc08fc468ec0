package letter

import (
	"archive/zip"
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	ident "github.com/relais-sante/relais/mailbox/identity"
	catalogue "github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store/journal"
)

// Export is an IHE_XDM archive to be written: documents about one patient.
type Export struct {
	ID       string // OID of the submission set; no two archives have the same
	SourceID string // OID of who sends
	Time     time.Time
	Locale   catalogue.Locale // of README.TXT and INDEX.HTM; French if empty
	Title    string
	Software string // name and version, for people
	Patient  Patient
	LocalID  string // the patient's number at SourceID
	Author   Writer // of the submission
	Codes    XDMCodes
	// Dev: an INS under a test OID is the same as under the real one.
	Dev       bool
	Documents []ExportDocument
}

// ExportDocument is a document of an archive. What its CDA header says, if it
// has one, goes before what stands here.
type ExportDocument struct {
	ID              string // OID, for a document that has none of its own
	SetID           string // OID common to its versions, likewise
	Title           string
	Filename        string
	Media           string // type/subtype
	Code            string // national type code; empty: untyped
	Confidentiality []string
	Written         time.Time
	Author          Writer
	// Open gives its bytes; it is called once, and the reader closed.
	Open func() (io.ReadCloser, error)
}

// MaxExport is how many documents an archive may have: ReadXDM, and receivers,
// bound the entries of one.
const MaxExport = 900

// subsetDocuments bounds one METADATA.XML; further documents go to a further
// submission set (IHE allows several in an archive).
const subsetDocuments = 200

// ErrNothingToExport says that no document could go into an archive.
const ErrNothingToExport journal.Fault = "no document to export"

// ErrUnnamedPatient says that nothing would tell a receiver whose documents
// they are: neither an INS nor a number of the sender's.
const ErrUnnamedPatient journal.Fault = "no identifier of the patient"

// ErrExportTooLarge says that an archive would have more than [MaxExport].
const ErrExportTooLarge journal.Fault = "too many documents for one archive"

// WriteXDM writes an IHE_XDM archive that software of a hospital takes in, and
// [ReadXDM] reads back (IHE ITI volet 3.32; mssante reference, §4.2). CDA
// documents go as they are; a PDF is wrapped as CDA level 1; any other file is
// an entry of its own type. An archive, and a document that names another
// patient, are left out and listed in INDEX.HTM.
//
// Documents are read once, each while it is written, none is held in memory;
// the same Export gives the same bytes. An error leaves a broken archive behind:
// throw it away. What Open says comes back as it is.
func WriteXDM(w io.Writer, e Export) error {
	if n := len(e.Documents); n > MaxExport {
		return fmt.Errorf("writing an archive of %d documents: %w", n, ErrExportTooLarge)
	}
	if e.Patient.INS.IsZero() && e.LocalID == "" {
		return ErrUnnamedPatient
	}
	e.Codes = e.Codes.orDefault()
	x := &xdmWriter{Export: e, zip: zip.NewWriter(w), used: make(map[string]bool)}
	for i := range e.Documents {
		if err := x.document(&e.Documents[i]); err != nil {
			return fmt.Errorf("writing document %d of an archive: %w", i+1, err)
		}
		if len(x.entries) == subsetDocuments {
			if err := x.endSubset(); err != nil {
				return err
			}
		}
	}
	if err := x.endSubset(); err != nil {
		return err
	}
	if len(x.listed) == 0 {
		return ErrNothingToExport
	}
	if err := x.pages(); err != nil {
		return err
	}
	if err := x.zip.Close(); err != nil {
		return fmt.Errorf("ending an archive: %w", err)
	}
	return nil
}

// xdmWriter is an archive while it is written.
type xdmWriter struct {
	Export
	zip     *zip.Writer
	subset  int             // ended so far
	entries []xdmEntry      // of the subset under way
	listed  []xdmEntry      // of all
	left    []xdmLeft       // documents left out
	used    map[string]bool // identifiers of documents
}

// xdmEntry is what metadata say of a document.
type xdmEntry struct {
	name, media, uniqueID, title, hash, language string
	size                                         int64
	created, start, stop                         string // DTM
	author, legal                                Writer
	kind, format, facility, practice             Coded
	secrecy                                      []string
}

type xdmLeft struct {
	title string
	why   catalogue.ID
}

func (x *xdmWriter) folder() string { return fmt.Sprintf("IHE_XDM/SUBSET%02d/", x.subset+1) }

func (x *xdmWriter) create(name string) (io.Writer, error) {
	w, err := x.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: x.Time.UTC()})
	if err != nil {
		return nil, fmt.Errorf("beginning an entry: %w", err)
	}
	return w, nil
}

// endSubset writes the metadata of the documents so far.
func (x *xdmWriter) endSubset() error {
	if len(x.entries) == 0 {
		return nil
	}
	id := x.ID
	if x.subset > 0 {
		id = fmt.Sprintf("%s.%d", id, x.subset+1)
	}
	w, err := x.create(x.folder() + "METADATA.XML")
	if err != nil {
		return err
	}
	if err := x.writeMetadata(w, id, x.entries); err != nil {
		return fmt.Errorf("writing METADATA.XML: %w", err)
	}
	x.entries = nil
	x.subset++
	return nil
}

// document writes one document and notes what metadata will say of it.
func (x *xdmWriter) document(d *ExportDocument) error {
	r, err := d.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	source := &faultReader{r: r}
	entry := x.plainEntry(d)
	// head is what was read to know the document; the rest is still to come.
	var head bytes.Buffer
	const magic = "%PDF-"
	_, _ = io.CopyN(&head, source, int64(len(magic)))
	write := func(w io.Writer) error { _, err := io.Copy(w, io.MultiReader(&head, source)); return err }
	if head.String() == magic {
		h := x.wrapping(d, &entry)
		write = func(w io.Writer) error { return wrap(w, h, io.MultiReader(&head, source)) }
	} else {
		begun := bytes.NewReader(bytes.Clone(head.Bytes()))
		root, err := readCDAHeader(io.MultiReader(begun, io.TeeReader(source, &head)), ArchiveLimits{})
		switch {
		case source.err != nil:
			return source.err
		case err == nil && !x.concerns(cdaOf(root).Patients):
			x.left = append(x.left, xdmLeft{entry.title, catalogue.ID("export.left-patient")})
			return nil
		case err == nil:
			entry.fromCDA(root)
		case !errors.Is(err, ErrNotCDA):
			return err
		}
	}
	if isPacked(d.Filename, d.Media) {
		x.left = append(x.left, xdmLeft{entry.title, catalogue.ID("export.left-archive")})
		return nil
	}
	if entry.uniqueID == "" || x.used[entry.uniqueID] {
		entry.uniqueID = d.ID
	}
	x.used[entry.uniqueID] = true
	entry.name = fmt.Sprintf("DOC%05d.%s", len(x.listed)+1, shortExt(d.Filename, entry.media))
	w, err := x.create(x.folder() + entry.name)
	if err != nil {
		return err
	}
	sum, size := sha1.New(), new(counter)
	if err := write(io.MultiWriter(w, sum, size)); err != nil {
		return err
	}
	entry.hash, entry.size = hex.EncodeToString(sum.Sum(nil)), int64(*size)
	x.entries, x.listed = append(x.entries, entry), append(x.listed, entry)
	return nil
}

// plainEntry is what is known of a document before it is looked into.
func (x *xdmWriter) plainEntry(d *ExportDocument) xdmEntry {
	kind := code(d.Code)
	setOnce(&kind, x.Codes.Untyped)
	e := xdmEntry{
		media: cleanText(strings.ToLower(d.Media), maxCode), uniqueID: d.ID, title: cleanText(d.Title, maxName),
		language: languageOfDocuments, author: d.Author, kind: typeCoded(kind, ""), format: formatCoded(nil),
		facility: x.Codes.Facility, practice: x.Codes.Practice, secrecy: d.Confidentiality, created: dtm(d.Written),
	}
	setOnce(&e.media, "application/octet-stream")
	setOnce(&e.title, cleanText(d.Filename, maxName))
	setOnce(&e.title, e.kind.Label)
	return e
}

// concerns reports whether nobody but the patient of the archive is named.
func (x *xdmWriter) concerns(people []Patient) bool {
	for _, p := range people {
		switch {
		case p.BadINS:
			return false
		case !p.INS.IsZero() && !x.Patient.INS.IsZero():
			if !ident.SameINS(p.INS, x.Patient.INS, x.Dev) {
				return false
			}
		case ident.Agree(p.Traits, x.Patient.Traits) == ident.Different:
			return false
		}
	}
	return true
}

// isPacked reports whether a file is an archive: nobody could say what it
// holds, and readers refuse one inside another.
func isPacked(name, media string) bool {
	return slices.Contains(packed, strings.ToLower(path.Ext(name))) || strings.Contains(strings.ToLower(media), "zip")
}

var shortName = regexp.MustCompile(`^\.[A-Z0-9]{1,3}$`)

// shortExt gives the extension of an entry: names in an archive are of eight
// and three capitals (ISO 9660 level 1, as IHE XDM asks).
func shortExt(name, media string) string {
	switch media {
	case "text/xml":
		return "XML"
	case "application/pdf":
		return "PDF"
	case "image/jpeg":
		return "JPG"
	case "image/png":
		return "PNG"
	case "text/plain":
		return "TXT"
	}
	if ext := strings.ToUpper(path.Ext(name)); shortName.MatchString(ext) && !trimming("X"+ext) {
		return ext[1:]
	}
	return "BIN"
}
