package seal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// oldSuffix and nextSuffix mark files of a change that is under way: what was
// replaced and is still to be overwritten, and what is not in use yet.
const (
	oldSuffix  = ".old"
	nextSuffix = ".next"
)

// shred overwrites a file and removes it. One that is not there is no error.
// What storage keeps of overwritten blocks (flash, snapshots, journals) is out
// of reach here: that is what proofs of erasure say.
func shred(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("overwriting a key file: %w", err)
	}
	fi, err := f.Stat()
	if err == nil {
		_, err = io.CopyN(f, rand.Reader, fi.Size())
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("overwriting a key file: %w", err)
	}
	return nil
}

// supersede replaces a file, or makes it, in one step: a crash leaves the old
// content or the new. The old content is overwritten once the new is durable.
func supersede(path string, data []byte) error {
	if err := stage(path+nextSuffix, data); err != nil {
		return err
	}
	return exchange(path+nextSuffix, path)
}

// stage writes a file that is not in use yet.
func stage(path string, data []byte) error {
	if err := shred(path); err != nil {
		return err
	}
	return writeNew(path, data)
}

// exchange puts a durable file in the place of another, whose content it
// overwrites.
func exchange(next, path string) error {
	old := path + oldSuffix
	if err := shred(old); err != nil {
		return err
	}
	if err := os.Link(path, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		old = "" // a file system without links: the old content cannot be held
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return err
	}
	if old == "" {
		return nil
	}
	return shred(old)
}
