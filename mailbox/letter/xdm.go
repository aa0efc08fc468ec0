package letter

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// Submission is what an IHE_XDM archive carries (IHE ITI, volet 3.32; MSSanté
// ECO.2.1.1).
type Submission struct {
	UniqueID  string // of the submission set; the first if there are several
	Documents []Document
}

// Patients gives the different people that the documents name. An archive is
// about one.
func (s *Submission) Patients() []Patient { return Patients(s.Documents) }

// ReadXDM reads an IHE_XDM archive of size bytes: its metadata, the header of
// its CDA documents, and the digests of all. Files that the metadata forget
// are documents too, since whoever gets the archive gets them. Any error is
// [ErrUnreadableArchive]: not a zip, no metadata, a document missing, a limit
// passed, an entry that is encrypted, twice there, an archive itself, or would
// be unpacked outside its folder, XML that is malformed or declares entities.
func ReadXDM(r io.ReaderAt, size int64, lim ArchiveLimits) (*Submission, error) {
	lim = lim.orDefault()
	a, err := openArchive(r, size, lim, new(int64))
	if err != nil {
		return nil, fmt.Errorf("opening an IHE_XDM archive: %w", err)
	}
	return a.submission(lim)
}

func (a *archive) submission(lim ArchiveLimits) (*Submission, error) {
	s := new(Submission)
	claimed := make(map[string]bool) // entries that metadata describe
	for i := range a.files {
		f := &a.files[i]
		if !isMetadata(f.name) {
			continue
		}
		m, err := a.metadata(f, lim)
		if err != nil {
			return nil, fmt.Errorf("reading METADATA.XML: %w", ErrUnreadableArchive)
		}
		claimed[f.name] = true
		setOnce(&s.UniqueID, m.uniqueID)
		for _, d := range m.docs {
			entry := a.locate(path.Dir(f.name), d.Entry, len(m.docs))
			if entry == nil || claimed[entry.name] {
				return nil, fmt.Errorf("finding a document that METADATA.XML names: %w", ErrUnreadableArchive)
			}
			claimed[entry.name] = true
			d.Patients = addPatient(d.Patients, m.patient)
			setOnce(&d.Action, m.action)
			for _, label := range m.labels {
				d.Confidentiality = addLabel(d.Confidentiality, label)
			}
			s.Documents = append(s.Documents, d.Document)
			if err := a.read(entry, &s.Documents[len(s.Documents)-1], lim); err != nil {
				return nil, err
			}
		}
	}
	if len(claimed) == 0 {
		return nil, fmt.Errorf("finding METADATA.XML: %w", ErrUnreadableArchive)
	}
	for i := range a.files {
		if f := &a.files[i]; !claimed[f.name] && !trimming(f.name) {
			var d Document
			if err := a.read(f, &d, lim); err != nil {
				return nil, err
			}
			s.Documents = append(s.Documents, d)
		}
	}
	return s, nil
}

func (a *archive) metadata(f *archiveFile, lim ArchiveLimits) (*metadata, error) {
	r, err := a.open(f)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readMetadata(r, lim)
}

// locate finds the entry that a URI names: relative to the metadata's folder,
// in any case; else, since generators rename files and forget it, the only
// entry of that base name, or the only file there for the only document.
func (a *archive) locate(folder, uri string, docs int) *archiveFile {
	uri = strings.ReplaceAll(uri, `\`, "/")
	if f := a.find(path.Join(folder, uri)); uri != "" && f != nil {
		return f
	}
	var named, others []*archiveFile
	for i := range a.files {
		f := &a.files[i]
		if uri != "" && strings.EqualFold(path.Base(f.name), path.Base(uri)) {
			named = append(named, f)
		}
		if path.Dir(f.name) == folder && !isMetadata(f.name) && !trimming(f.name) {
			others = append(others, f)
		}
	}
	switch {
	case len(named) == 1:
		return named[0]
	case len(named) == 0 && docs == 1 && len(others) == 1:
		return others[0]
	}
	return nil
}

// trimming reports whether an entry belongs to the wrapping of an archive and
// is no document: what IHE XDM puts at its root, stylesheets, and what desktop
// systems add.
func trimming(name string) bool {
	name = strings.ToLower(name)
	base := path.Base(name)
	return strings.HasPrefix(name, "__macosx/") ||
		slices.Contains([]string{"readme.txt", "readme.htm", "readme.html", "index.htm", "index.html", "autorun.inf", ".ds_store", "thumbs.db"}, base) ||
		slices.Contains([]string{".xsl", ".xslt", ".css"}, path.Ext(base))
}

// packed are the extensions of archives. One inside another is not opened, and
// nobody could say what it holds.
var packed = []string{".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz"}

// read unpacks an entry into nothing but its size, its digest and its CDA
// header.
func (a *archive) read(f *archiveFile, d *Document, lim ArchiveLimits) error {
	d.Entry, d.Filename = f.name, path.Base(f.name)
	ext := strings.ToLower(path.Ext(f.name))
	if d.Media == "" {
		d.Media = mediaOf(ext)
	}
	if slices.Contains(packed, ext) || strings.Contains(d.Media, "zip") {
		return fmt.Errorf("looking into an archive inside an archive: %w", ErrUnreadableArchive)
	}
	r, err := a.open(f)
	if err != nil {
		return fmt.Errorf("opening an entry: %w", err)
	}
	defer r.Close()
	if err := d.readFrom(r, lim); err != nil {
		return fmt.Errorf("reading an entry: %w", err)
	}
	return nil
}

// readFrom reads a document to its end. Every kind of file is tried as CDA: a
// program that is told a wrong type shows it as CDA all the same.
func (d *Document) readFrom(r io.Reader, lim ArchiveLimits) error {
	sum, size := sha256.New(), new(counter)
	tee := io.TeeReader(r, io.MultiWriter(sum, size))
	cda, err := ReadCDA(tee, lim)
	switch {
	case err == nil:
		d.withCDA(cda)
	case !errors.Is(err, ErrNotCDA):
		return fmt.Errorf("reading a CDA document: %w", ErrUnreadableArchive)
	}
	if _, err := io.Copy(io.Discard, tee); err != nil {
		return err
	}
	d.Size, d.Sum = int64(*size), sum.Sum(nil)
	return nil
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// mediaOf tells the type of an entry that metadata do not describe.
func mediaOf(ext string) string {
	switch ext {
	case ".xml":
		return "text/xml"
	case ".pdf":
		return "application/pdf"
	case ".txt":
		return "text/plain"
	case ".jpg", ".jpeg":
		return "image/jpeg"
	case ".png":
		return "image/png"
	}
	return "application/octet-stream"
}
