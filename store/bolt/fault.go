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

// files is how the store reaches its files, so that a test can make them fail,
// and see what is written in what order.
type files interface {
	OpenFile(name string, flag int, perm os.FileMode) (*os.File, error)
	// These change a segment; Sync makes all of it durable, Allocate sets room
	// aside that reads as zeros.
	WriteAt(f *os.File, b []byte, off int64) (int, error)
	Sync(f *os.File) error
	Allocate(f *os.File, off, n int64) error
	Truncate(f *os.File, size int64) error
	// WriteBack has bytes written to the disk now, and waits for them. It makes
	// nothing durable.
	WriteBack(f *os.File, off, n int64) error
	Rename(from, to string) error
	// Free is the room left where dir lies, in bytes.
	Free(dir string) (int64, error)
}

type osFiles struct{}

func (osFiles) OpenFile(name string, flag int, perm os.FileMode) (*os.File, error) {
	return os.OpenFile(name, flag, perm)
}
func (osFiles) WriteAt(f *os.File, b []byte, off int64) (int, error) { return f.WriteAt(b, off) }
func (osFiles) Sync(f *os.File) error                                { return datasync(f) }
func (osFiles) Allocate(f *os.File, off, n int64) error              { return allocate(f, off, n) }
func (osFiles) Truncate(f *os.File, size int64) error                { return f.Truncate(size) }

func (osFiles) WriteBack(f *os.File, off, n int64) error { return writeBack(f, off, n) }
func (osFiles) Rename(from, to string) error             { return os.Rename(from, to) }

func (osFiles) Free(dir string) (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil
}
