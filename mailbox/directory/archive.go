package directory

import (
	"archive/zip"
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"
)

// The extract is published as an archive (zip) of one text.

// Bounds of an archive. The extract's has 20 MB and holds 89.
const (
	maxArchive  = 64 << 20
	maxUnpacked = 1 << 30
	maxMembers  = 64
)

// source is an extract as it came.
type source struct {
	io.Reader
	name string // of the extract, where the archive tells it
	file *os.File
}

// unpack gives the text of an extract: r itself, or what the archive holds
// that r turns out to be. An archive is read from its end, so that it has to
// be kept meanwhile, in dir.
func unpack(r io.Reader, dir string) (*source, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	if mark, err := in.Peek(4); err != nil || string(mark) != "PK\x03\x04" {
		return &source{Reader: &bounded{in, maxUnpacked}}, nil
	}
	f, err := scratch(dir)
	if err != nil {
		return nil, err
	}
	s := &source{file: f}
	if err := s.open(in); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// open finds the extract in the archive.
func (s *source) open(in io.Reader) error {
	size, err := io.Copy(s.file, &bounded{in, maxArchive})
	if err != nil {
		return fmt.Errorf("keeping the archive: %w", err)
	}
	archive, err := zip.NewReader(s.file, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // no name of it is ever used as a path
		return fmt.Errorf("opening the archive: %w", ErrNotExtract)
	}
	var found *zip.File
	for _, f := range archive.File[:min(len(archive.File), maxMembers)] {
		name := strings.ToLower(path.Base(f.Name))
		if !strings.HasSuffix(name, ".txt") && !strings.HasSuffix(name, ".csv") {
			continue
		}
		if found == nil || strings.HasPrefix(name, "extraction_correspondance_mssante") {
			found = f
		}
	}
	if found == nil {
		return fmt.Errorf("looking through the archive: %w", ErrNotExtract)
	}
	text, err := found.Open()
	if err != nil {
		return fmt.Errorf("opening the archive: %w", ErrNotExtract)
	}
	s.Reader, s.name = &bounded{text, maxUnpacked}, path.Base(found.Name)
	return nil
}

func (s *source) Close() error {
	if s.file == nil {
		return nil
	}
	return errors.Join(s.file.Close(), os.Remove(s.file.Name()))
}

// bounded fails where io.LimitReader would pass off a part for the whole.
type bounded struct {
	io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, ErrTooLarge
	}
	if errors.Is(err, zip.ErrChecksum) || errors.Is(err, zip.ErrFormat) {
		err = fmt.Errorf("unpacking: %w", ErrNotExtract)
	}
	return n, err
}

// scratch makes a file for the time of an import.
func scratch(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "*"+part) // mode 0600
	if err != nil {
		return nil, fmt.Errorf("making a file of the directory: %w", err)
	}
	return f, nil
}

// issued reads the date in the name of an extract:
// Extraction_Correspondance_MSSante_AAAAMMJJhhmm.txt, Paris time.
func issued(name string) time.Time {
	name = strings.TrimSuffix(name, path.Ext(name))
	stamp := name[strings.LastIndexByte(name, '_')+1:]
	zone, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		zone = time.UTC
	}
	for _, layout := range []string{"200601021504", "20060102150405", "20060102"} {
		if t, err := time.ParseInLocation(layout, stamp, zone); err == nil {
			return t
		}
	}
	return time.Time{}
}
