package directory

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"github.com/relais-sante/relais/store"
)

// Faulty lines that are too many: more than one in twenty, and more than a
// handful.
const (
	faultyShare = 20
	faultyFew   = 10
)

// importGC is the garbage, in per cent of what is in use, that an import may
// leave before it is collected.
const importGC = 25

// Import says how an extract is imported.
type Import struct {
	// Name of the file, which may tell the date of the extract.
	Name string
	// Force takes an extract that shrank.
	Force bool
	// Watch are boxes of which to tell whether they are gone.
	Watch []store.Address
}

// Report says what an import found. It quotes no line.
type Report struct {
	Issued     time.Time // by the name of the extract; zero: not known
	Imported   time.Time
	Lines      int64            // without the headings
	Boxes      int64            // distinct addresses
	Entries    int64            // distinct lines
	Duplicates int64            // lines that were there already
	Types      map[string]int64 // entries of each type
	Faulty     []Fault          // by reason, the most frequent first
	// Before is what was in use; its zero value: nothing.
	Before  Status
	Changes Changes
	// Gone are those of Import.Watch that were in the directory and no longer are.
	Gone []store.Address
}

// Fault counts the lines that could not be used for one reason.
type Fault struct {
	Reason Reason `json:"reason"`
	Lines  int64  `json:"lines"`
	First  int    `json:"first_line"` // 1: the headings
}

// faulty counts all of them.
func (r *Report) faulty() (n int64) {
	for _, f := range r.Faulty {
		n += f.Lines
	}
	return n
}

// Import reads an extract, as text or in its archive, and puts it in the place
// of the directory in use. With an error all stays as it was; the report then
// says how far it came.
func (d *Directory) Import(ctx context.Context, r io.Reader, o Import) (Report, error) {
	report := Report{Types: map[string]int64{}}
	if !d.importing.TryLock() {
		return report, ErrBusy
	}
	defer d.importing.Unlock()
	// The tables that grow here would let the heap double before it is looked
	// through; mail goes on beside an import, and memory is shared with it.
	defer debug.SetGCPercent(debug.SetGCPercent(importGC))
	if err := os.MkdirAll(d.o.Dir, 0o700); err != nil {
		return report, fmt.Errorf("making the folder of the directory: %w", err)
	}
	in, err := unpack(r, d.o.Dir)
	if err != nil {
		return report, err
	}
	defer in.Close()
	b, err := newBuilder(d.o.Dir)
	if err != nil {
		return report, err
	}
	defer b.Close()
	report.Issued, report.Imported, report.Before = issued(cmp.Or(in.name, filepath.Base(o.Name))), d.o.Now(), d.Status()
	if err := report.gather(ctx, in, b); err != nil {
		return report, err
	}
	return report, d.replace(ctx, b, o, &report)
}

// gather reads the lines into b.
func (r *Report) gather(ctx context.Context, in io.Reader, b *builder) error {
	x, err := openExtract(in)
	if err != nil {
		return fmt.Errorf("reading the headings: %w", err)
	}
	faults := map[Reason]*Fault{}
	err = x.each(ctx, func(e *Entry) error {
		r.Lines++
		before := len(b.kept)
		if err := b.add(e); err != nil {
			return err
		}
		if len(b.kept) > before {
			r.Types[string(e.Type)]++
		} else {
			r.Duplicates++
		}
		return nil
	}, func(line int, why Reason) {
		r.Lines++
		if faults[why] == nil {
			faults[why] = &Fault{Reason: why, First: line}
		}
		faults[why].Lines++
	})
	for _, f := range slices.SortedFunc(maps.Values(faults), func(x, y *Fault) int { return cmp.Or(cmp.Compare(y.Lines, x.Lines), cmp.Compare(x.First, y.First)) }) {
		r.Faulty = append(r.Faulty, *f)
	}
	r.Entries = int64(len(b.kept))
	switch n := r.faulty(); {
	case err != nil:
		return err
	case n > faultyFew && n*faultyShare > r.Lines:
		return ErrFaulty
	case r.Entries == 0:
		return ErrEmpty
	}
	return nil
}

// replace writes the new directory and puts it in use.
func (d *Directory) replace(ctx context.Context, b *builder, o Import, r *Report) error {
	f, err := scratch(d.o.Dir)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // it bears another name when all went well
	foot := footer{Imported: r.Imported.Unix()}
	if !r.Issued.IsZero() {
		foot.Issued = r.Issued.Unix()
	}
	err = b.finish(ctx, f, foot)
	if closed := f.Close(); err == nil && closed != nil {
		err = fmt.Errorf("writing the directory: %w", closed)
	}
	if err != nil {
		return err
	}
	in, err := openIndex(f.Name())
	if err != nil {
		return err
	}
	r.Boxes = int64(in.foot.Boxes)
	err = d.judge(in, o, r)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = rename(f.Name(), filepath.Join(d.o.Dir, current))
	}
	if err != nil {
		in.Close()
		return err
	}
	return d.swap(in)
}

// judge compares the new directory with the one in use, which Import keeps
// from being replaced meanwhile.
func (d *Directory) judge(in *index, o Import, r *Report) error {
	if d.in == nil {
		return nil
	}
	var err error
	if r.Changes, err = compare(d.in, in); err != nil {
		// A directory that can no longer be read is worth replacing.
		d.o.Log.Error("the directory before cannot be compared with", "error", err)
		return nil
	}
	for _, a := range o.Watch {
		was, err := d.in.has(a)
		if err != nil || !was {
			continue
		}
		is, err := in.has(a)
		if err != nil {
			return err
		}
		if !is {
			r.Gone = append(r.Gone, a)
		}
	}
	if old := int64(d.in.foot.Boxes); !o.Force && (old-r.Boxes)*100 > old*int64(d.o.MaxShrink) {
		return ErrShrunk
	}
	return nil
}

func (in *index) has(a store.Address) (bool, error) {
	found, err := in.byAddress(a)
	return len(found) > 0, err
}

// rename puts a file in the place of another, durably.
func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("putting the directory in place: %w", err)
	}
	dir, err := os.Open(filepath.Dir(to))
	if err != nil {
		return fmt.Errorf("putting the directory in place: %w", err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("putting the directory in place: %w", err)
	}
	return nil
}
