package bolt

import (
	"os"
	"syscall"
)

// datasync makes the bytes of a file durable, and its size where that changed.
func datasync(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

// allocate sets room aside in a file.
func allocate(f *os.File, off, n int64) error {
	return syscall.Fallocate(int(f.Fd()), 0, off, n)
}

// writeBack has bytes written to the disk, and waits for them: sync_file_range(2)
// with SYNC_FILE_RANGE_WAIT_BEFORE, _WRITE and _WAIT_AFTER.
func writeBack(f *os.File, off, n int64) error {
	const waitBefore, write, waitAfter = 1, 2, 4
	err := syscall.SyncFileRange(int(f.Fd()), off, n, waitBefore|write|waitAfter)
	if err == syscall.ENOSYS || err == syscall.EINVAL || err == syscall.ESPIPE {
		return nil // the sync that follows does it
	}
	return os.NewSyscallError("sync_file_range", err)
}
