package backup

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Options say how a backup is written.
type Options struct {
	// Keep is how many generations stay, this one included; 0: all.
	Keep int
	// Check reads everything at the destination again and copies anew what is no
	// longer what it was.
	Check bool
	// Progress, if not nil, is told how many bytes of how many are there.
	Progress func(done, total int64)
}

// Report is what came of a backup. It is also given with an error: then it says
// how far it came.
type Report struct {
	Dest       string    `json:"dest"`
	Generation string    `json:"generation"` // empty: not finished
	Taken      time.Time `json:"taken"`
	Sequence   uint64    `json:"sequence"`
	Epoch      uint32    `json:"epoch"`
	Files      int       `json:"files"`
	Bytes      int64     `json:"bytes"`  // of the whole backup
	Copied     int64     `json:"copied"` // of it now
	Reused     int64     `json:"reused"` // of it there already
	Mended     []string  `json:"mended"` // files at the destination that had changed
	Removed    []string  `json:"removed"`
	Broken     []string  `json:"broken"` // generations whose manifest cannot be read
	Seconds    float64   `json:"seconds"`
}

// chunk is how much is asked of the source at a time.
const chunk = 8 << 20

// Write backs the source up to a folder, which is made if it is not there.
func Write(ctx context.Context, src Source, dest string, o Options) (*Report, error) {
	w := &writer{ctx: ctx, src: src, dest: dest, o: o, report: Report{Dest: dest}, start: time.Now()}
	err := w.run()
	w.report.Seconds = time.Since(w.start).Seconds()
	if err != nil {
		return &w.report, fmt.Errorf("writing a backup: %w", err)
	}
	return &w.report, nil
}

type writer struct {
	ctx    context.Context
	src    Source
	dest   string
	o      Options
	start  time.Time
	report Report

	snap   *Snapshot
	known  map[string]Copied // by file: the longest that a manifest of this history names
	named  map[string]int64  // by file: how much of it any manifest names
	before []*Manifest
}

func (w *writer) run() error {
	for _, dir := range []string{w.dest, filepath.Join(w.dest, segmentsDir), filepath.Join(w.dest, generationsDir)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return room(err)
		}
	}
	unlock, err := lock(w.dest)
	if err != nil {
		return err
	}
	defer unlock()
	if w.before, w.report.Broken, err = Generations(w.dest); err != nil {
		return err
	}
	if w.snap, err = w.src.Begin(w.ctx); err != nil {
		return err
	}
	err = w.copyAll()
	// The hub keeps nothing open for a backup that is over, whatever became of it.
	end, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), time.Minute)
	defer cancel()
	return errors.Join(err, w.src.End(end, w.snap.ID, Outcome{err == nil, w.report.Generation, w.report.Copied}))
}

// lock keeps a second backup away; it goes with the process.
func lock(dest string) (func(), error) {
	f, err := os.OpenFile(filepath.Join(dest, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, room(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrBusy
		}
		return nil, err
	}
	return func() { f.Close() }, nil
}

func (w *writer) copyAll() error {
	w.known, w.named = map[string]Copied{}, map[string]int64{}
	for _, m := range w.before {
		if m.Hub != w.snap.Hub {
			return ErrOtherHub
		}
		for _, f := range m.Files {
			w.named[f.File] = max(w.named[f.File], f.Size)
			if m.Line == w.snap.Line && f.Size > w.known[f.File].Size {
				w.known[f.File] = f
			}
		}
	}
	r := &w.report
	r.Taken, r.Sequence, r.Epoch, r.Files = w.snap.Taken, w.snap.Sequence, w.snap.Epoch, len(w.snap.Files)
	for _, f := range w.snap.Files {
		r.Bytes += f.Size
	}
	name := generationName(w.snap.Taken, w.snap.Sequence)
	dir := filepath.Join(w.dest, generationsDir, name)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return room(err)
	}
	m := &Manifest{Taken: w.snap.Taken, Hub: w.snap.Hub, Line: w.snap.Line, Sequence: w.snap.Sequence, Epoch: w.snap.Epoch}
	for _, f := range w.snap.Files {
		if !sane(f.Name) {
			return fmt.Errorf("a file of the hub: %w", ErrDamaged)
		}
		var c Copied
		var err error
		if strings.HasPrefix(f.Name, segmentsDir+"/") {
			c, err = w.segment(f)
		} else {
			c, err = w.fresh(f, filepath.Join(generationsDir, name, f.Name))
		}
		if err != nil {
			return fmt.Errorf("copying %s: %w", f.Name, err)
		}
		m.Files = append(m.Files, c)
	}
	for _, d := range []string{filepath.Join(w.dest, segmentsDir), dir, filepath.Join(w.dest, generationsDir), w.dest} {
		if err := syncDir(d); err != nil {
			return err
		}
	}
	b, err := m.encode(func(raw []byte) ([]byte, error) { return w.src.Sign(w.ctx, w.snap.ID, raw) })
	if err != nil {
		return fmt.Errorf("signing the manifest: %w", err)
	}
	if err := writeWhole(filepath.Join(dir, manifestName), b); err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	r.Generation = name
	return w.prune()
}

// fresh copies a file of this generation.
func (w *writer) fresh(f File, to string) (Copied, error) {
	return w.grow(f, to, 0, sha256.New())
}

// segment makes sure that a segment is there as far as the snapshot says.
func (w *writer) segment(f File) (Copied, error) {
	to := f.Name
	for n := 2; ; n++ {
		c, ok, err := w.continued(f, to)
		if err != nil || ok {
			return c, err
		}
		if w.named[to] == 0 {
			return w.fresh(f, to) // what lies there is nobody's
		}
		// The same name in another history, which generations here still need.
		to = fmt.Sprintf("%s.%d.seg", strings.TrimSuffix(f.Name, ".seg"), n)
	}
}

// continued uses what is at the destination already, if it is the same. Nothing
// there at all counts as the same.
func (w *writer) continued(f File, to string) (Copied, bool, error) {
	path := filepath.Join(w.dest, to)
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		if w.named[to] > 0 {
			w.report.Mended = append(w.report.Mended, to)
		}
		c, err := w.fresh(f, to)
		return c, true, err
	}
	if err != nil {
		return Copied{}, false, err
	}
	known := w.known[to]
	if known.Size == f.Size && info.Size() >= f.Size && !w.o.Check {
		w.have(f.Size, &w.report.Reused)
		known.Name = f.Name
		return known, true, nil
	}
	// The bytes that should be the same, by the manifest or else by the hub.
	n := min(info.Size(), f.Size)
	if known.Size > 0 && known.Size <= f.Size {
		n = min(n, known.Size)
	}
	sum := sha256.New()
	if err := w.read(path, n, sum); err != nil {
		return Copied{}, false, err
	}
	want := known.SHA256
	if n != known.Size {
		b, err := w.src.Digest(w.ctx, w.snap.ID, f.Name, n)
		if err != nil {
			return Copied{}, false, err
		}
		want = hex.EncodeToString(b)
	}
	if hex.EncodeToString(sum.Sum(nil)) == want {
		w.have(n, &w.report.Reused)
		c, err := w.grow(f, to, n, sum)
		return c, true, err
	}
	if known.Size == 0 || known.Size > f.Size {
		return Copied{}, false, nil // another history, or nobody's
	}
	// It was ours, and changed here.
	w.report.Mended = append(w.report.Mended, to)
	c, err := w.fresh(f, to)
	return c, true, err
}

// read hashes the first n bytes of a file at the destination.
func (w *writer) read(path string, n int64, sum hash.Hash) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = io.Copy(sum, &whileAlive{w.ctx, io.LimitReader(in, n)})
	return err
}

// grow copies a file from a place on; sum has what comes before.
func (w *writer) grow(f File, to string, from int64, sum hash.Hash) (Copied, error) {
	out, err := os.OpenFile(filepath.Join(w.dest, to), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return Copied{}, room(err)
	}
	err = w.fill(out, f, from, sum)
	if err == nil {
		// Behind what counts is the rest of a run that was cut off.
		err = out.Truncate(max(f.Size, w.named[to]))
	}
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return Copied{}, room(err)
	}
	return Copied{Name: f.Name, File: to, Size: f.Size, SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}

func (w *writer) fill(out *os.File, f File, from int64, sum hash.Hash) error {
	for from < f.Size {
		n := min(f.Size-from, chunk)
		in, err := w.src.Read(w.ctx, w.snap.ID, f.Name, from, n)
		if err != nil {
			return err
		}
		var b bytes.Buffer
		got, err := io.Copy(&b, io.LimitReader(in, n))
		if err = errors.Join(err, in.Close()); err != nil {
			return err
		}
		if got != n {
			return io.ErrUnexpectedEOF
		}
		sum.Write(b.Bytes())
		if _, err := out.WriteAt(b.Bytes(), from); err != nil {
			return err
		}
		from += n
		w.have(n, &w.report.Copied)
	}
	return nil
}

func (w *writer) have(n int64, of *int64) {
	*of += n
	if w.o.Progress != nil {
		w.o.Progress(w.report.Copied+w.report.Reused, w.report.Bytes)
	}
}

// prune removes generations beyond those to keep, what is left of runs that were
// cut off, and segments that no generation names any more.
func (w *writer) prune() error {
	list, broken, err := Generations(w.dest)
	if err != nil {
		return err
	}
	if w.o.Keep > 0 {
		for len(list) > w.o.Keep {
			if list[0].generation == w.report.Generation {
				break // clocks went back: never this one
			}
			dir := filepath.Join(w.dest, generationsDir, list[0].generation)
			// Its manifest first: half a generation must not look whole.
			if err := os.Remove(filepath.Join(dir, manifestName)); err != nil {
				return err
			}
			w.report.Removed = append(w.report.Removed, list[0].generation)
			list = list[1:]
		}
	}
	keep := map[string]bool{}
	for _, m := range list {
		keep[m.generation] = true
		for _, f := range m.Files {
			keep[f.File] = true
		}
	}
	for _, name := range broken {
		keep[name] = true // for a human to look into
	}
	dir := filepath.Join(w.dest, generationsDir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !keep[e.Name()] {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if len(broken) > 0 {
		return nil // what they name is not known
	}
	dir = filepath.Join(w.dest, segmentsDir)
	if entries, err = os.ReadDir(dir); err != nil {
		return err
	}
	for _, e := range entries {
		if !keep[filepath.Join(segmentsDir, e.Name())] && strings.HasSuffix(e.Name(), ".seg") {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// whileAlive ends a read with its context.
type whileAlive struct {
	ctx context.Context
	r   io.Reader
}

func (a *whileAlive) Read(p []byte) (int, error) {
	if err := a.ctx.Err(); err != nil {
		return 0, err
	}
	return a.r.Read(p)
}
