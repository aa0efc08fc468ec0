package directory

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"os"
	"slices"
)

// builder makes the file of a directory. Entries come in the order of the
// extract and go first into a scratch file; finish brings them into the order
// of a phone book and writes the tables behind them. In memory are some 50
// bytes an entry, and the postings.
type builder struct {
	dir   string
	raw   *os.File // scratch
	out   *bufio.Writer
	at    int64 // end of raw
	kept  []kept
	seen  map[uint64]struct{}
	seed  maphash.Seed
	buf   []byte
	folds int // lines that were there already
}

// kept is where an entry lies in the scratch file.
type kept struct {
	key    [24]byte
	at     int64
	length uint32
}

func newBuilder(dir string) (*builder, error) {
	f, err := scratch(dir)
	if err != nil {
		return nil, err
	}
	return &builder{
		dir: dir, raw: f, out: bufio.NewWriterSize(f, 256<<10),
		seen: map[uint64]struct{}{}, seed: maphash.MakeSeed(),
	}, nil
}

// add takes an entry; one that was there already is counted only.
func (b *builder) add(e *Entry) error {
	b.buf = appendEntry(b.buf[:0], e)
	// 64 bits under a seed of our own: that two lines of a million are taken
	// for one has a chance of one in 10^7.
	sum := maphash.Bytes(b.seed, b.buf)
	if _, there := b.seen[sum]; there {
		b.folds++
		return nil
	}
	b.seen[sum] = struct{}{}
	b.kept = append(b.kept, kept{sortKey(e), b.at, uint32(len(b.buf))})
	b.at += int64(len(b.buf))
	if _, err := b.out.Write(b.buf); err != nil {
		return fmt.Errorf("keeping an entry: %w", err)
	}
	return nil
}

// Close removes the scratch file.
func (b *builder) Close() {
	_ = b.raw.Close()
	_ = os.Remove(b.raw.Name())
}

// finish writes the directory to f and syncs it.
func (b *builder) finish(ctx context.Context, f *os.File, foot footer) error {
	if err := b.out.Flush(); err != nil {
		return fmt.Errorf("keeping the entries: %w", err)
	}
	b.seen = nil
	slices.SortFunc(b.kept, func(x, y kept) int {
		return cmp.Or(bytes.Compare(x.key[:], y.key[:]), cmp.Compare(x.at, y.at))
	})
	w := &writer{out: bufio.NewWriterSize(f, 256<<10), foot: foot, words: newPostings()}
	if err := w.records(ctx, b); err != nil {
		return err
	}
	w.tables()
	w.dictionary()
	w.foot.At.End = w.at
	w.write(w.foot.bytes())
	if w.err == nil {
		w.err = w.out.Flush()
	}
	if w.err == nil {
		w.err = f.Sync()
	}
	if w.err != nil {
		return fmt.Errorf("writing the directory: %w", w.err)
	}
	return nil
}
