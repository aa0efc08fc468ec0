package trust

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Names in [Options.KeepDir].
const (
	keptList = "white-list.xml"
	keptCRLs = "crl"
)

// keep writes a last good copy so that a crash leaves the old one or the new
// one, whole. What is there already is not written again. There is one writer:
// the hub that holds the data folder.
func keep(path string, data []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the folder of last good copies: %w", err)
	}
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("writing a last good copy: %w", err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing a last good copy: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("putting a last good copy in place: %w", err)
	}
	folder, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("syncing the folder of last good copies: %w", err)
	}
	if err := errors.Join(folder.Sync(), folder.Close()); err != nil {
		return fmt.Errorf("syncing the folder of last good copies: %w", err)
	}
	return nil
}
