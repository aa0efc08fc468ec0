package bolt

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	berrors "go.etcd.io/bbolt/errors"

	"github.com/relais-sante/relais/store"
)

// fault gives a system's error the name that callers know it by.
func fault(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrFull), errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrCorrupt):
		return err
	case noRoom(err):
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}

func noRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) ||
		errors.Is(err, syscall.EFBIG) || errors.Is(err, berrors.ErrMaxSizeReached) || errors.Is(err, store.ErrFull)
}

// files is how the store reaches its files, so that a test can make them fail.
type files interface {
	OpenFile(name string, flag int, perm os.FileMode) (*os.File, error)
	// Write and Sync stand before each write and sync of a segment.
	Write(n int) error
	Sync() error
	// Free is the room left where dir lies, in bytes.
	Free(dir string) (int64, error)
}

type osFiles struct{}

func (osFiles) OpenFile(name string, flag int, perm os.FileMode) (*os.File, error) {
	return os.OpenFile(name, flag, perm)
}
func (osFiles) Write(int) error { return nil }
func (osFiles) Sync() error     { return nil }

func (osFiles) Free(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil
}
