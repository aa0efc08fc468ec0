package letter

import (
	"archive/zip"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/relais-sante/relais/store/journal"
)

// ErrUnreadableArchive says that an IHE_XDM archive, or a clinical document,
// cannot be read, or not within its limits: nobody can tell whose documents it
// holds. The mail is held for that reason.
const ErrUnreadableArchive journal.Fault = "unreadable archive"

// ArchiveLimits bound what looking into the attachments of one mail may cost. A
// field that is zero or less stands for its default.
type ArchiveLimits struct {
	Archives      int   // archives looked into, default 20
	Packed        int64 // bytes of one archive, held in memory, default 64 MiB
	Entries       int   // entries of one archive, default 1000
	Unpacked      int64 // bytes unpacked of all archives together, default 256 MiB
	Ratio         int64 // bytes unpacked for each byte of an archive, default 200
	MetadataBytes int64 // one METADATA.XML, default 2 MiB
	HeaderBytes   int64 // header of one CDA document, default 1 MiB
}

func (l ArchiveLimits) orDefault() ArchiveLimits {
	for _, f := range []struct {
		limit *int64
		def   int64
	}{
		{&l.Packed, 64 << 20},
		{&l.Unpacked, 256 << 20},
		{&l.Ratio, 200},
		{&l.MetadataBytes, 2 << 20},
		{&l.HeaderBytes, 1 << 20},
	} {
		if *f.limit <= 0 {
			*f.limit = f.def
		}
	}
	if l.Archives <= 0 {
		l.Archives = 20
	}
	if l.Entries <= 0 {
		l.Entries = 1000
	}
	return l
}

const (
	maxEntryName  = 512
	maxEntryDepth = 8
	directoryRoom = 128 << 10 // for the end of the directory, and a comment
	entryRoom     = 1 << 10   // for one entry of the directory
	ratioFloor    = 1 << 20   // unpacked whatever the ratio: small texts pack well
)

// archive is a zip whose directory was read and found sound.
type archive struct {
	files []archiveFile // regular files, in the order of the directory
	left  int64         // bytes that may still be unpacked
	spent *int64        // bytes unpacked, of all archives of the mail
}

// archiveFile is an entry under its checked name.
type archiveFile struct {
	name string // slashes between folders, as written otherwise
	zip  *zip.File
}

// openArchive reads the directory of a zip. Nothing is unpacked.
func openArchive(r io.ReaderAt, size int64, lim ArchiveLimits, spent *int64) (*archive, error) {
	// archive/zip reads on while entries follow one another, whatever number
	// is announced, so that the bound is put on the bytes.
	bounded := &boundedReaderAt{r: r, left: directoryRoom + int64(lim.Entries)*entryRoom}
	z, err := zip.NewReader(bounded, size)
	if err != nil || len(z.File) > lim.Entries {
		return nil, ErrUnreadableArchive
	}
	bounded.left = -1
	a := &archive{left: min(lim.Unpacked-*spent, max(ratioFloor, lim.Ratio*size)), spent: spent}
	seen := make(map[string]bool, len(z.File))
	for _, f := range z.File {
		name, ok := safeEntry(f.Name)
		if !ok || f.Flags&1 != 0 { // encrypted
			return nil, ErrUnreadableArchive
		}
		mode := f.Mode()
		if mode.IsDir() || strings.HasSuffix(name, "/") {
			continue
		}
		// Two entries of one name are read differently by different programs.
		key := strings.ToUpper(name)
		if mode&fs.ModeType != 0 || seen[key] {
			return nil, ErrUnreadableArchive
		}
		seen[key] = true
		a.files = append(a.files, archiveFile{name, f})
	}
	return a, nil
}

// safeEntry gives the name of an entry with slashes, and whether it stays
// within the folder that it would be unpacked in.
func safeEntry(name string) (string, bool) {
	name = strings.ToValidUTF8(strings.ReplaceAll(name, `\`, "/"), "\uFFFD")
	name = strings.TrimPrefix(name, "./")
	clean := strings.TrimSuffix(name, "/")
	if clean == "" || len(name) > maxEntryName || strings.ContainsAny(name, "\x00:") ||
		!fs.ValidPath(clean) || strings.Count(clean, "/") > maxEntryDepth {
		return "", false
	}
	return name, true
}

// find gives the entry of that name, case ignored, or nil.
func (a *archive) find(name string) *archiveFile {
	for i := range a.files {
		if strings.EqualFold(a.files[i].name, name) {
			return &a.files[i]
		}
	}
	return nil
}

// hasXDM reports whether the archive has the folder that makes it an IHE_XDM
// one, or its metadata.
func (a *archive) hasXDM() bool {
	for _, f := range a.files {
		first, _, _ := strings.Cut(f.name, "/")
		if strings.EqualFold(first, "IHE_XDM") || isMetadata(f.name) {
			return true
		}
	}
	return false
}

func isMetadata(name string) bool { return strings.EqualFold(path.Base(name), "METADATA.XML") }

// open gives the bytes of an entry, as far as the limits go: beyond them,
// reading fails, whatever size the archive announces.
func (a *archive) open(f *archiveFile) (io.ReadCloser, error) {
	r, err := f.zip.Open()
	if err != nil {
		return nil, ErrUnreadableArchive
	}
	return &entryReader{ReadCloser: r, archive: a}, nil
}

// entryReader counts what is unpacked.
type entryReader struct {
	io.ReadCloser
	archive *archive
}

func (e *entryReader) Read(p []byte) (int, error) {
	n, err := e.ReadCloser.Read(p)
	e.archive.left -= int64(n)
	*e.archive.spent += int64(n)
	switch {
	case e.archive.left < 0:
		return 0, ErrUnreadableArchive
	case err != nil && err != io.EOF:
		return n, ErrUnreadableArchive
	}
	return n, err
}

// boundedReaderAt fails after so many bytes; less than none is no bound.
type boundedReaderAt struct {
	r    io.ReaderAt
	left int64
}

func (b *boundedReaderAt) ReadAt(p []byte, off int64) (int, error) {
	if b.left >= 0 {
		if b.left -= int64(len(p)); b.left < 0 {
			b.left = 0
			return 0, ErrUnreadableArchive
		}
	}
	return b.r.ReadAt(p, off)
}

// OpenEntry gives one file of an archive that [Documents] read, by the name
// that [Document.Entry] has.
func OpenEntry(r io.ReaderAt, size int64, name string, lim ArchiveLimits) (io.ReadCloser, error) {
	a, err := openArchive(r, size, lim.orDefault(), new(int64))
	if err != nil {
		return nil, fmt.Errorf("opening an archive: %w", err)
	}
	f := a.find(name)
	if f == nil {
		return nil, fmt.Errorf("finding an entry: %w", ErrUnreadableArchive)
	}
	return a.open(f)
}
