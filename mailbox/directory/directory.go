// Package directory is the national health directory as the hub keeps it: the
// boxes (BAL) of the public extract "Extraction_Correspondance_MSSante", found
// by name, place, RPPS, structure, profession or address.
//
// An import reads the extract once, as it comes, and writes a file of its own
// that is never changed afterwards; see format.go. The next import writes
// another one and takes its place by renaming, so that a search always sees
// one extract whole.
//
// Rules that hold here:
//
//   - The old directory stays until the new one is complete and synced. An
//     import that is interrupted, refused or broken off leaves no trace.
//   - The extract is public, but it is of persons: files have mode 0600, and
//     neither errors nor reports quote it.
//   - A line that cannot be used is counted with its reason. Only a file of
//     many such lines is refused, and one with suddenly far fewer boxes.
//   - The directory is a help: hubs work without one. A file that cannot be
//     used is reported and counts as none.
package directory

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

// Faults of an import and of reading.
const (
	// ErrNone: nothing was imported yet.
	ErrNone = journal.Fault("no directory imported")
	// ErrBusy: another import is under way.
	ErrBusy = journal.Fault("another import is under way")
	// ErrNotExtract: the file is not the national extract: a needed column is
	// missing, or the archive holds none.
	ErrNotExtract = journal.Fault("not an extract of the directory")
	// ErrEmpty: no line of the extract could be used.
	ErrEmpty = journal.Fault("no box in the extract")
	// ErrFaulty: too many lines could not be used.
	ErrFaulty = journal.Fault("too many faulty lines")
	// ErrShrunk: the extract has far fewer boxes than the directory in use.
	ErrShrunk = journal.Fault("far fewer boxes than before")
	// ErrTooLarge: the extract is beyond all bounds.
	ErrTooLarge = journal.Fault("extract too large")
	// ErrCorrupt: the directory's own file is not what was written.
	ErrCorrupt = journal.Fault("directory file damaged")
	// ErrTooManyWords: a search of more than [MaxWords] words.
	ErrTooManyWords = journal.Fault("too many words")
)

// Options are what a directory is made of.
type Options struct {
	// Dir is the folder of its files; made by the first import.
	Dir string
	// MaxShrink is the share of boxes, in per cent, that may be missing in a
	// new extract before it is refused; 0: none may.
	MaxShrink int
	Log       *slog.Logger
	Now       func() time.Time // default time.Now
}

// current is the name of the directory in use; what ends in part is an import
// under way or broken off.
const (
	current = "boxes.dir"
	part    = ".part"
)

// Directory answers from the last extract imported. Safe for concurrent use;
// an import does not hinder searches.
type Directory struct {
	o         Options
	importing sync.Mutex

	mu sync.RWMutex // held while reading in; written to swap it
	in *index       // nil: none
}

// Open opens the directory in o.Dir, if there is one. A file that cannot be
// used is told to the log and counts as none: the next import replaces it.
func Open(o Options) *Directory {
	if o.Log == nil {
		o.Log = journal.Discard()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	d := &Directory{o: o}
	in, err := openIndex(filepath.Join(o.Dir, current))
	switch {
	case err == nil:
		d.in = in
	case !errors.Is(err, fs.ErrNotExist):
		o.Log.Error("the directory cannot be used; import it again", "error", err)
	}
	d.sweep()
	return d
}

// sweep removes what an import that was broken off left behind.
func (d *Directory) sweep() {
	left, _ := filepath.Glob(filepath.Join(d.o.Dir, "*"+part))
	for _, name := range left {
		_ = os.Remove(name)
	}
}

// Close gives back the file. Searches afterwards find [ErrNone].
func (d *Directory) Close() error {
	d.importing.Lock()
	defer d.importing.Unlock()
	return d.swap(nil)
}

// swap puts another index in use, once nobody reads the old one.
func (d *Directory) swap(in *index) error {
	d.mu.Lock()
	old := d.in
	d.in = in
	d.mu.Unlock()
	if old == nil {
		return nil
	}
	return old.Close()
}

// read gives fn the index in use, which stays open meanwhile.
func (d *Directory) read(fn func(*index) error) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.in == nil {
		return ErrNone
	}
	return fn(d.in)
}

// Status says what is in use; the zero value: nothing.
type Status struct {
	Boxes    int64     // distinct addresses
	Entries  int64     // distinct lines: a box may have several
	Imported time.Time // when it came into use
	Issued   time.Time // by the name of the extract; zero: not known
}

// Status says what is in use.
func (d *Directory) Status() Status {
	var s Status
	_ = d.read(func(in *index) error { s = in.status(); return nil })
	return s
}

// ByAddress gives the entries of a box, none if the directory has none of it.
func (d *Directory) ByAddress(a store.Address) ([]Entry, error) {
	var found []Entry
	err := d.read(func(in *index) (err error) {
		found, err = in.byAddress(a)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking up a box: %w", err)
	}
	return found, nil
}

// ByRPPS gives the entries of a professional, none if there are none.
func (d *Directory) ByRPPS(n identity.RPPS) ([]Entry, error) {
	var found []Entry
	err := d.read(func(in *index) (err error) {
		found, err = in.byRPPS(n)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking up a professional: %w", err)
	}
	return found, nil
}
