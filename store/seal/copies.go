package seal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

// Copies. Each place is a folder that holds two files under their names here:
// the keystore and the epoch it belongs to. With the hub key, or the private
// recovery key, a place opens every backup of the hub there is.
//
// A place that was used once is noted in epoch_dir/places. An empty folder
// where copies were is a disk that is not mounted, not a new place: until it is
// back, or somebody says that it is lost, no epoch ends, since an old one would
// still lie there.

// Away is the error of what has to wait for a place.
type Away struct {
	Place string
	Err   error
}

func (a *Away) Error() string { return "copying keys to " + a.Place + ": " + a.Err.Error() }
func (a *Away) Unwrap() error { return a.Err }

// Journal implements journal.Safe: places are named by whoever runs the hub.
func (a *Away) Journal() string { return a.Error() }

const (
	errNotThere = journal.Fault("the place cannot be reached")
	errForeign  = journal.Fault("the place holds the keys of another hub")
	errDiffers  = journal.Fault("the copy does not read back as written")
)

// ErrPlaceInUse: a place cannot be given up while the configuration names it.
const ErrPlaceInUse = journal.Fault("the place is in use: take it off [keys] copies first")

// place is what is known of one.
type place struct {
	epoch    []byte // epoch file as read back
	keystore int64  // length of the keystore as read back
	number   uint32 // epoch of that keystore
	at       time.Time
	err      error
}

func placesPath(dir string) string { return filepath.Join(dir, "places") }

// former lists the places that were ever used and not given up, in use or not.
func (k *Keys) former() ([]string, error) {
	b, err := readSmall(placesPath(k.o.EpochDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, storeFault(err)
	}
	return strings.Split(strings.TrimRight(string(b), "\n"), "\n"), nil
}

func (k *Keys) noteFormer(list []string) error {
	if len(list) == 0 {
		return shred(placesPath(k.o.EpochDir))
	}
	return supersede(placesPath(k.o.EpochDir), []byte(strings.Join(list, "\n")+"\n"))
}

// Settle makes every copy current and, once all are read back, ends the epochs
// before the one in use. The error is an [*Away] if a place has to be waited
// for; the others are served all the same.
func (k *Keys) Settle(ctx context.Context) error {
	k.upkeep.Lock()
	defer k.upkeep.Unlock()
	return k.settleAll(ctx)
}

func (k *Keys) settleAll(ctx context.Context) error {
	used, err := k.former()
	if err != nil {
		return err
	}
	epochFile, err := k.epochFile()
	if err != nil {
		return err
	}
	var away error
	for _, dir := range k.o.Copies {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := k.o.at("copy"); err != nil {
			return err
		}
		err := k.copyTo(dir, epochFile, &used)
		k.note(dir, err)
		if err != nil {
			away = errors.Join(away, err)
		}
	}
	var waits *Away
	switch {
	case errors.As(away, &waits):
		return waits
	case away != nil:
		return away
	}
	return k.retire(used)
}

// note remembers how a look at a place ended.
func (k *Keys) note(dir string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.places[dir]
	if p == nil {
		p = &place{}
		k.places[dir] = p
	}
	p.at, p.err = k.now(), err
	if err != nil {
		p.epoch, p.keystore = nil, 0
	}
}

// copyTo makes one place current.
func (k *Keys) copyTo(dir string, epochFile []byte, used *[]string) error {
	known := slices.Contains(*used, dir)
	have, err := k.placeKeystore(dir)
	switch {
	case err != nil:
		return &Away{dir, err}
	case known && have == nil:
		return &Away{dir, errNotThere}
	case !known:
		// The head of the keystore says that the place is ours. It lies there
		// before the place is noted, and that before any key does: so a noted
		// place without one is not the place.
		if have == nil {
			have = encodeHead(k.epoch.number, k.epoch.store)
			if err := supersede(keystorePath(dir), have); err != nil {
				return &Away{dir, err}
			}
		}
		*used = append(*used, dir)
		if err := k.noteFormer(*used); err != nil {
			return storeFault(err)
		}
	}
	if err := k.copyEpoch(dir, epochFile); err != nil {
		return &Away{dir, err}
	}
	if err := k.copyKeystore(dir, have); err != nil {
		return &Away{dir, err}
	}
	return nil
}

// placeKeystore finds the keystore of a place; nil if there is none.
func (k *Keys) placeKeystore(dir string) ([]byte, error) {
	if fi, err := os.Stat(dir); err != nil || !fi.IsDir() {
		return nil, errNotThere
	}
	f, err := os.Open(keystorePath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, storeHead)
	if _, err := io.ReadFull(f, head); err != nil {
		return []byte{}, nil // broken off at its beginning: to be written anew
	}
	if _, id, err := decodeHead(head); err == nil && id != k.epoch.store {
		return nil, errForeign
	}
	return head, nil
}

func (k *Keys) copyEpoch(dir string, want []byte) error {
	k.mu.RLock()
	p := k.places[dir]
	done := p != nil && bytes.Equal(p.epoch, want)
	k.mu.RUnlock()
	if done {
		return nil
	}
	path := epochPath(dir, k.epoch.number)
	have, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !bytes.Equal(have, want) {
		if err := supersede(path, want); err != nil {
			return err
		}
		if have, err = os.ReadFile(path); err != nil {
			return err
		}
	}
	if !bytes.Equal(have, want) {
		return errDiffers
	}
	k.seen(dir, func(p *place) { p.epoch = want })
	return nil
}

func (k *Keys) seen(dir string, what func(*place)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.places[dir] == nil {
		k.places[dir] = &place{}
	}
	what(k.places[dir])
}

// copyKeystore brings the keystore of a place to where ours is. What was read
// back before is not read again: a place lags by a few records most of the time.
func (k *Keys) copyKeystore(dir string, head []byte) error {
	k.mu.RLock()
	end, known := k.end, int64(0)
	if p := k.places[dir]; p != nil && p.number == k.epoch.number {
		known = p.keystore
	}
	k.mu.RUnlock()
	path := keystorePath(dir)
	if fi, err := os.Stat(path); err != nil || fi.Size() != known || known == 0 || known > end || !bytes.Equal(head, encodeHead(k.epoch.number, k.epoch.store)) {
		known = 0
	}
	want := make([]byte, end-known)
	if _, err := k.file.ReadAt(want, known); err != nil {
		return storeFault(err)
	}
	if known == 0 {
		have, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if !bytes.Equal(have, want) {
			if err := supersede(path, want); err != nil {
				return err
			}
		}
	} else if err := appendAt(path, want, known); err != nil {
		return err
	}
	if err := readsBack(path, want, known); err != nil {
		return err
	}
	k.seen(dir, func(p *place) { p.keystore, p.number = end, k.epoch.number })
	return nil
}

func appendAt(path string, b []byte, at int64) error {
	if len(b) == 0 {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(b, at)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

func readsBack(path string, want []byte, at int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	have, err := io.ReadAll(io.NewSectionReader(f, at, int64(len(want))+1))
	if err != nil {
		return err
	}
	if !bytes.Equal(have, want) {
		return errDiffers
	}
	return nil
}

// retire ends the epochs before the one in use: at the places in use, at those
// that are no longer, here last.
func (k *Keys) retire(used []string) error {
	if err := k.o.at("retire"); err != nil {
		return err
	}
	for _, dir := range k.o.Copies {
		if err := k.endBefore(dir, k.epoch.number); err != nil {
			return &Away{dir, err}
		}
	}
	for _, dir := range slices.Clone(used) {
		if slices.Contains(k.o.Copies, dir) {
			continue
		}
		if err := k.leave(dir); err != nil {
			if len(k.owed()) == 0 {
				continue // nothing waits for it; `key status` tells
			}
			return &Away{dir, err}
		}
		used = slices.DeleteFunc(used, func(d string) bool { return d == dir })
		if err := k.noteFormer(used); err != nil {
			return storeFault(err)
		}
	}
	if err := k.o.at("end"); err != nil {
		return err
	}
	if err := shred(keystorePath(k.o.DataDir) + oldSuffix); err != nil {
		return storeFault(err)
	}
	if err := k.endBefore(k.o.EpochDir, k.epoch.number); err != nil {
		return storeFault(err)
	}
	return nil
}

// endBefore overwrites and removes, in one folder, the epochs before a number
// and what changes left behind.
func (k *Keys) endBefore(dir string, number uint32) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := entry.Name()
		n, ok := epochNumber(name)
		base := strings.TrimSuffix(strings.TrimSuffix(name, oldSuffix), nextSuffix)
		_, ours := epochNumber(base)
		if ok && n < number || base != name && (ours || base == "keystore") {
			if err := shred(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// leave takes everything of ours from a place that is no longer one.
func (k *Keys) leave(dir string) error {
	have, err := k.placeKeystore(dir)
	if errors.Is(err, errForeign) {
		return nil
	}
	if err != nil {
		return err
	}
	if have == nil {
		return errNotThere
	}
	if err := k.endBefore(dir, k.epoch.number+1); err != nil {
		return err
	}
	return shred(keystorePath(dir)) // last: it says that the place is ours
}

// ForgetPlace takes a place for lost, with the epochs that lie there: whoever
// says so answers for its having been destroyed.
func (k *Keys) ForgetPlace(ctx context.Context, dir string) error {
	k.upkeep.Lock()
	defer k.upkeep.Unlock()
	if slices.Contains(k.o.Copies, dir) {
		return fmt.Errorf("giving up %s: %w", dir, ErrPlaceInUse)
	}
	used, err := k.former()
	if err != nil {
		return err
	}
	if !slices.Contains(used, dir) {
		return fmt.Errorf("giving up %s: %w", dir, store.ErrNotFound)
	}
	if err := k.noteFormer(slices.DeleteFunc(used, func(d string) bool { return d == dir })); err != nil {
		return storeFault(err)
	}
	return k.settleAll(ctx)
}

// owed lists the epochs before the one in use whose end is due.
func (k *Keys) owed() []uint32 {
	entries, err := os.ReadDir(k.o.EpochDir)
	if err != nil {
		return nil
	}
	var out []uint32
	for _, entry := range entries {
		if n, ok := epochNumber(entry.Name()); ok && n < k.epoch.number {
			out = append(out, n)
		}
	}
	return out
}
