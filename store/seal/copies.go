package seal

import (
	"context"
	"errors"
	"fmt"
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
	errLate     = journal.Fault("the place does not answer")
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

// placePatience is how long a place may take for one step. A disk of the network
// that hangs keeps whoever asks it waiting for ever: neither the hub nor the
// other places wait with them.
const placePatience = 30 * time.Second

// atPlace does one step of the work at a place, in a goroutine of its own. The
// error is an [*Away], or the context's. A step that is late goes on by itself,
// so it must touch nothing of k; until it ends nothing more is begun at its
// place, so that what is late overwrites nothing newer. Under upkeep.
func (k *Keys) atPlace(ctx context.Context, dir string, step func() error) error {
	if late := k.late[dir]; late != nil {
		select {
		case <-late:
			delete(k.late, dir)
		default:
			return &Away{dir, errLate}
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- step() }()
	patience := time.NewTimer(k.o.patience)
	defer patience.Stop()
	stopped := ctx.Done()
	for {
		select {
		case err := <-ended:
			if err != nil {
				return &Away{dir, err}
			}
			return nil
		case <-stopped:
			stopped = nil
			patience.Reset(min(k.o.patience, time.Second)) // what is about to end is waited for
		case <-patience.C:
			k.late[dir] = ended
			if err := ctx.Err(); err != nil {
				return err
			}
			return &Away{dir, errLate}
		}
	}
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
	if err := k.marks.note(k.file, k.epoch, k.durable()); err != nil {
		return fmt.Errorf("marking the end of the keystore: %w", storeFault(err))
	}
	var away error
	for _, dir := range k.o.Copies {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := k.o.at("copy"); err != nil {
			return err
		}
		err := k.copyTo(ctx, dir, epochFile, &used)
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
	return k.retire(ctx, used)
}

// durable is the tip of what is durable now.
func (k *Keys) durable() tip {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.tip
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
func (k *Keys) copyTo(ctx context.Context, dir string, epochFile []byte, used *[]string) error {
	c := k.copying(dir, epochFile)
	known := slices.Contains(*used, dir)
	if err := k.atPlace(ctx, dir, func() error { return c.claim(known) }); err != nil {
		return err
	}
	if !known {
		*used = append(*used, dir)
		if err := k.noteFormer(*used); err != nil {
			return storeFault(err)
		}
	}
	if err := k.atPlace(ctx, dir, c.copy); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.places[dir] = &c.now
	return nil
}

// retire ends the epochs before the one in use: at the places in use, at those
// that are no longer, here last.
func (k *Keys) retire(ctx context.Context, used []string) error {
	if err := k.o.at("retire"); err != nil {
		return err
	}
	number, id := k.epoch.number, k.epoch.store
	for _, dir := range k.o.Copies {
		if err := k.atPlace(ctx, dir, func() error { return endBefore(dir, number) }); err != nil {
			return err
		}
	}
	for _, dir := range slices.Clone(used) {
		if slices.Contains(k.o.Copies, dir) {
			continue
		}
		if err := k.atPlace(ctx, dir, func() error { return leave(dir, number, id) }); err != nil {
			if len(k.owed()) == 0 {
				continue // nothing waits for it; `key status` tells
			}
			return err
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
	if err := endBefore(k.o.EpochDir, number); err != nil {
		return storeFault(err)
	}
	return nil
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
