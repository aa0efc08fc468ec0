package admin

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/relais-sante/relais/mailbox"
)

func TestSocketIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	l, err := Listen(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode(); got != fs.ModeSocket|0o600 {
		t.Errorf("mode %v", got)
	}
	if l.Addr().String() != path {
		t.Errorf("address %q", l.Addr())
	}
}

func TestStaleSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close() // as a crash does: the file stays

	l, err := Listen(path, false)
	if err != nil {
		t.Fatalf("over a socket left behind: %v", err)
	}
	if _, err := Listen(path, false); !errors.Is(err, ErrInUse) {
		t.Errorf("over a live socket: got %v, want %v", err, ErrInUse)
	}
	// A hub that closes late must not remove the socket of the next one.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	next, err := Listen(path, false)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	l.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the next hub's socket: %v", err)
	}
}

func TestSocketSparesOtherFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path, false); !errors.Is(err, ErrNotSocket) {
		t.Errorf("got %v, want %v", err, ErrNotSocket)
	}
	if got, _ := os.ReadFile(path); string(got) != "precious" {
		t.Errorf("the file now holds %q", got)
	}
}

func TestNoHub(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	check := func(want string) {
		t.Helper()
		c := NewClient(path)
		defer c.Close()
		_, err := c.TriageList(t.Context(), mailbox.Actor{})
		var e *Error
		if !errors.As(err, &e) || e.Code != want || !strings.Contains(e.TextFR, path) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	check("no-hub")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	check("no-hub")
}

func TestOnlyOwnUserAndRoot(t *testing.T) {
	for _, c := range []struct {
		uid     uint32
		own     int
		allowed bool
	}{{1000, 1000, true}, {0, 1000, true}, {1001, 1000, false}, {4294967294, 0, false}} {
		p := (&Server{}).unixPeer(c.uid, c.own)
		if p.all != c.allowed || !strings.HasPrefix(p.actor.Name, "unix:") {
			t.Errorf("uid %d at a hub of %d: %+v", c.uid, c.own, p)
		}
	}
	if p := (&Server{}).unixPeer(0, 0); p.actor.Name != "unix:0(root)" {
		t.Errorf("root is named %q", p.actor.Name)
	}
}
