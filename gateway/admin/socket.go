package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/relais-sante/relais/store/journal"
)

// Faults of opening the socket.
const (
	// ErrInUse: a hub answers on the socket already.
	ErrInUse = journal.Fault("another hub answers on this socket")
	// ErrNotSocket: something else lies where the socket should be.
	ErrNotSocket = journal.Fault("there is a file that is not a socket")
)

// Listen opens the admin socket at path. Unless shared, only the hub's own user
// can connect; else everybody who can reach the folder can, and is judged by
// the kernel's word on who it is. A socket left behind by a hub that died is replaced; one that answers, or
// anything else in its place, is left alone.
func Listen(path string, shared bool) (net.Listener, error) {
	if err := clear(path); err != nil {
		return nil, fmt.Errorf("opening admin socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		return nil, fmt.Errorf("opening admin socket: %w", err)
	}
	s := &socket{UnixListener: l, path: path}
	l.SetUnlinkOnClose(false) // by then it may be another hub's
	// Between the two calls others could have connected: peers are asked for
	// their user as well.
	mode := fs.FileMode(0o600)
	if shared {
		mode = 0o666
	}
	err = os.Chmod(path, mode)
	if err == nil {
		s.made, err = os.Lstat(path)
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("opening admin socket: %w", err)
	}
	return s, nil
}

// socket removes its file when closed, unless another hub's is there by then.
type socket struct {
	*net.UnixListener
	path string
	made fs.FileInfo
}

func (s *socket) Close() error {
	if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.made) {
		_ = os.Remove(s.path)
	}
	return s.UnixListener.Close()
}

// clear removes a socket nobody listens on.
func clear(path string) error {
	found, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case found.Mode().Type() != fs.ModeSocket:
		return ErrNotSocket
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		conn.Close()
		return ErrInUse
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return ErrInUse // a full backlog, no right to ask: somebody may be there
	}
	return os.Remove(path)
}
