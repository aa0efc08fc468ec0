package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A manifest is one line, "relais-backup 1 MAC", and then JSON, whose SHA-256 the
// MAC is over.
const manifestLine = "relais-backup 1 "

// maxManifest bounds what is read of one: some hundred thousand files.
const maxManifest = 64 << 20

// Manifest says what a generation consists of.
type Manifest struct {
	Taken    time.Time `json:"taken"`
	Hub      string    `json:"hub"`
	Line     string    `json:"line"`
	Sequence uint64    `json:"sequence"`
	Epoch    uint32    `json:"epoch"`
	Files    []Copied  `json:"files"`

	generation string
	raw        []byte // as the MAC is over
	mac        []byte
}

// Copied is a file of a generation.
type Copied struct {
	Name   string `json:"name"` // in the data folder
	File   string `json:"file"` // in the backup folder
	Size   int64  `json:"size"` // bytes that count; the file may have grown since
	SHA256 string `json:"sha256"`
}

func (m *Manifest) encode(sign func([]byte) ([]byte, error)) ([]byte, error) {
	raw, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	mac, err := sign(sum[:])
	if err != nil {
		return nil, err
	}
	m.raw, m.mac = raw, mac
	return slices.Concat([]byte(manifestLine), []byte(hex.EncodeToString(mac)), []byte{'\n'}, raw), nil
}

func decodeManifest(b []byte) (*Manifest, error) {
	head, raw, ok := bytes.Cut(b, []byte{'\n'})
	mac, found := bytes.CutPrefix(head, []byte(manifestLine))
	m := &Manifest{raw: raw}
	var err error
	if m.mac, err = hex.DecodeString(string(mac)); !ok || !found || err != nil {
		return nil, ErrDamaged
	}
	if err := json.Unmarshal(raw, m); err != nil {
		return nil, ErrDamaged
	}
	for _, f := range m.Files {
		if !sane(f.Name) || !filepath.IsLocal(f.File) || f.Size < 0 || len(f.SHA256) != 64 {
			return nil, ErrDamaged
		}
	}
	return m, nil
}

// sane tells the names that a data folder gets from a backup.
func sane(name string) bool {
	dir, base := filepath.Split(name)
	return name == indexName || name == keystoreName ||
		dir == segmentsDir+"/" && strings.HasSuffix(base, ".seg") && !strings.HasPrefix(base, ".")
}

// macUse separates the MAC of manifests from others under the same key.
const macUse = "backup manifest"

// Generation is the name of the generation.
func (m *Manifest) Generation() string { return m.generation }

func generationName(taken time.Time, sequence uint64) string {
	return fmt.Sprintf("%s-%d", taken.UTC().Format("20060102T150405Z"), sequence)
}

// Generations lists the finished generations of a backup folder, oldest first.
// broken are names of those whose manifest cannot be read.
func Generations(dest string) (list []*Manifest, broken []string, err error) {
	entries, err := os.ReadDir(filepath.Join(dest, generationsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		m, err := readManifest(filepath.Join(dest, generationsDir, e.Name(), manifestName))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, ErrDamaged):
			broken = append(broken, e.Name())
		case err != nil:
			return nil, nil, err
		default:
			m.generation = e.Name()
			list = append(list, m)
		}
	}
	slices.SortStableFunc(list, func(a, b *Manifest) int { return a.Taken.Compare(b.Taken) })
	return list, broken, nil
}

func readManifest(path string) (*Manifest, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxManifest))
	if err != nil {
		return nil, err
	}
	return decodeManifest(b)
}
