package trust

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// listing is the white list in use, and how it came to be so.
type listing struct {
	list     *WhiteList // nil: there is none, every domain counts as listed
	loaded   time.Time
	kept     bool // a copy of it was written
	concerns []Concern
}

// newListing reads the configured list. The national list is not signed, and is
// fetched by other means than ours: a file that cannot be read, or that lost
// more domains than it may, is not believed where there is a last good list.
//
// The last good list is that of the copy on disk. An operator who means it when
// the list shrinks removes that copy, or raises max_shrink, and reloads.
func newListing(o Options, before *listing, now time.Time) (*listing, error) {
	if o.WhiteList == "" {
		return &listing{}, nil
	}
	last, compare, fault := lastGood(o, before)
	offered, err := LoadWhiteList(o.WhiteList)
	switch {
	case err != nil && last == nil:
		return nil, err
	case err != nil:
		return last.despite(Concern{Kind: ListUnusable, Err: err}), nil
	case compare && shrunk(offered, last.list, o.MaxShrink):
		return last.despite(Concern{Kind: ListShrunk, Count: offered.Domains(), Of: last.list.Domains()}), nil
	}
	l := &listing{list: offered, loaded: now}
	if o.KeepDir != "" {
		if err := l.keep(filepath.Join(o.KeepDir, keptList)); err != nil {
			fault = err
		}
	}
	if fault != nil {
		l.concerns = []Concern{{Kind: CopyNotKept, Err: fault}}
	}
	return l, nil
}

// lastGood is the list to fall back on, and whether a new one has to be compared
// with it.
func lastGood(o Options, before *listing) (last *listing, compare bool, fault error) {
	if before != nil && before.list == nil {
		before = nil
	}
	if o.KeepDir == "" {
		return before, before != nil, nil
	}
	path := filepath.Join(o.KeepDir, keptList)
	list, err := LoadWhiteList(path)
	switch {
	case err == nil:
		last = &listing{list: list, kept: true}
		if info, err := os.Stat(path); err == nil {
			last.loaded = info.ModTime()
		}
		return last, true, nil
	case errors.Is(err, fs.ErrNotExist):
		// Somebody removed it, unless it was never there.
		return before, before != nil && !before.kept, nil
	}
	return before, before != nil, fmt.Errorf("reading the last good copy: %w", err)
}

func shrunk(offered, last *WhiteList, percent int) bool {
	lost := last.Domains() - offered.Domains()
	return lost > 0 && lost*100 > percent*last.Domains()
}

// despite is the list again, in use although something is wrong.
func (l *listing) despite(c Concern) *listing {
	again := *l
	again.concerns = []Concern{c}
	return &again
}

// keep writes the entries of use. The people to contact that the national list
// names are not among them.
func (l *listing) keep(path string) error {
	var text bytes.Buffer
	if err := WriteWhiteList(&text, l.list.Generated, l.list.entries()); err != nil {
		return err
	}
	err := keep(path, text.Bytes())
	l.kept = err == nil
	return err
}

// age is the time since the list was made; since it was loaded, where the list
// does not say.
func (l *listing) age(now time.Time) time.Duration {
	if l.list.Generated.IsZero() {
		return now.Sub(l.loaded)
	}
	return now.Sub(l.list.Generated)
}
