package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
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

// Listen opens the admin socket at path, for the hub's own user only. A
// socket left behind by a hub that died is replaced; one that answers, or
// anything else in its place, is left alone.
func Listen(path string) (net.Listener, error) {
	if err := clear(path); err != nil {
		return nil, fmt.Errorf("opening admin socket: %w", err)
	}
	s := &socket{path: path}
	err := short(path, func(name string) (err error) {
		s.UnixListener, err = net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: name})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("opening admin socket: %w", err)
	}
	s.SetUnlinkOnClose(false) // it may have been bound under another name
	// Between the two calls others could have connected: peers are asked for
	// their user as well.
	err = os.Chmod(path, 0o600)
	if err == nil {
		s.made, err = os.Lstat(path)
	}
	if err != nil {
		s.UnixListener.Close()
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

// Addr names the socket as configured.
func (s *socket) Addr() net.Addr { return &net.UnixAddr{Net: "unix", Name: s.path} }

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
	conn, err := dial(path, time.Second)
	if err == nil {
		conn.Close()
		return ErrInUse
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return ErrInUse // a full backlog, no right to ask: somebody may be there
	}
	return os.Remove(path)
}

func dial(path string, timeout time.Duration) (conn net.Conn, err error) {
	err = short(path, func(name string) (err error) {
		conn, err = net.DialTimeout("unix", name, timeout)
		return err
	})
	return conn, err
}

// short calls fn with a name of path that fits the 107 bytes a Unix socket's
// address has; a longer one goes through its folder's descriptor.
func short(path string, fn func(name string) error) error {
	if len(path) <= 107 {
		return fn(path)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return fn(filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), filepath.Base(path)))
}
