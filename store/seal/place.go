package seal

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// What is done at a place of copies: work on files alone, which may hang with
// the disk it is done on. It knows nothing of [Keys] and changes nothing there.

// copying brings one place to where the keystore was when it began.
type copying struct {
	dir       string
	number    uint32   // of the epoch
	id        [16]byte // of the keystore
	epochFile []byte
	file      io.ReaderAt // the keystore
	end       int64       // of what is durable of it
	marks     marks       // of it
	was       place       // as read back the last time

	head []byte // of the place's keystore, marks included
	now  place  // as read back this time
}

// copying takes down what a place is made current with. Under upkeep.
func (k *Keys) copying(dir string, epochFile []byte) *copying {
	k.mu.RLock()
	defer k.mu.RUnlock()
	c := &copying{dir: dir, number: k.epoch.number, id: k.epoch.store, epochFile: epochFile, file: k.file, end: k.tip.end, marks: k.marks}
	if p := k.places[dir]; p != nil {
		c.was = *p
	}
	return c
}

// claim looks at the keystore of the place. Where there is none the place is
// taken by writing its head, which says that it is ours: unless it is known, and
// should have one.
//
// The head lies there before the place is noted, and that before any key does:
// so a noted place without one is not the place.
func (c *copying) claim(known bool) error {
	var err error
	c.head, err = placeKeystore(c.dir, c.id)
	switch {
	case err != nil:
		return err
	case c.head != nil:
		return nil
	case known:
		return errNotThere
	}
	c.head = encodeTitle(c.number, c.id)
	return supersede(keystorePath(c.dir), c.head)
}

// copy writes epoch and keystore as far as they lag, and reads them back.
func (c *copying) copy() error {
	if err := c.copyEpoch(); err != nil {
		return err
	}
	return c.copyKeystore()
}

// placeKeystore gives the head of the keystore of a place; nil if there is none.
func placeKeystore(dir string, ours [16]byte) ([]byte, error) {
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
	n, _ := io.ReadFull(f, head)
	if n < storeTitle {
		return []byte{}, nil // broken off at its beginning: to be written anew
	}
	head = head[:n]
	if _, id, err := decodeTitle(head); err == nil && id != ours {
		return nil, errForeign
	}
	return head, nil
}

func (c *copying) copyEpoch() error {
	c.now.epoch = c.epochFile
	if bytes.Equal(c.was.epoch, c.epochFile) {
		return nil
	}
	path := epochPath(c.dir, c.number)
	have, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !bytes.Equal(have, c.epochFile) {
		if err := supersede(path, c.epochFile); err != nil {
			return err
		}
		if have, err = os.ReadFile(path); err != nil {
			return err
		}
	}
	if !bytes.Equal(have, c.epochFile) {
		return errDiffers
	}
	return nil
}

// copyKeystore brings the keystore of the place to where ours is. What was read
// back before is not read again: a place lags by a few records most of the time.
func (c *copying) copyKeystore() error {
	known := int64(0)
	if c.was.number == c.number {
		known = c.was.keystore
	}
	path := keystorePath(c.dir)
	if fi, err := os.Stat(path); err != nil || fi.Size() != known || known == 0 || known > c.end || !bytes.HasPrefix(c.head, encodeTitle(c.number, c.id)) {
		known = 0
	}
	want := make([]byte, c.end-known)
	if _, err := c.file.ReadAt(want, known); err != nil {
		return storeFault(err)
	}
	if known == 0 {
		copy(want[storeTitle:], c.marks.encode())
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
	} else if err := c.append(path, want, known); err != nil {
		return err
	}
	if err := readsBack(path, want, known); err != nil {
		return err
	}
	if head, err := placeKeystore(c.dir, c.id); err != nil || marksIn(head) != c.marks {
		return errors.Join(err, errDiffers)
	}
	c.now.keystore, c.now.number = c.end, c.number
	return nil
}

// append writes what is new, then, once that is durable, the marks that speak of
// it, one after the other.
func (c *copying) append(path string, b []byte, at int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	put := func(b []byte, at int64) {
		if err != nil {
			return
		}
		if _, err = f.WriteAt(b, at); err == nil {
			err = f.Sync()
		}
	}
	if len(b) > 0 {
		put(b, at)
	}
	theirs := marksIn(c.head)
	for i := range c.marks {
		if theirs[i] != c.marks[i] {
			put(c.marks[i][:], int64(storeTitle+i*markSize))
		}
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

// endBefore overwrites and removes, in one folder, the epochs before a number
// and what changes left behind.
func endBefore(dir string, number uint32) error {
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

// leave takes everything of ours, up to an epoch, from a place that is no longer
// one.
func leave(dir string, number uint32, ours [16]byte) error {
	have, err := placeKeystore(dir, ours)
	if errors.Is(err, errForeign) {
		return nil
	}
	if err != nil {
		return err
	}
	if have == nil {
		return errNotThere
	}
	if err := endBefore(dir, number+1); err != nil {
		return err
	}
	return shred(keystorePath(dir)) // last: it says that the place is ours
}
