// Package peertest starts real mail software for tests: Postfix as an operator,
// Dovecot as the place of its boxes, each in a folder and on loopback ports of
// its own.
//
// The programs are Debian's (packages postfix, dovecot-imapd, dovecot-lmtpd) and
// want root to start. Where they cannot run the test is skipped and says so;
// with RELAIS_PEERS=require in the environment, as in CI, it fails instead.
//
// What a test starts it stops: each server is a child of the test and leads a
// process group of its own, all of which is ended by the test's cleanup, and by a
// guardian should the test's process die. A process that stays fails the test.
package peertest

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait for a peer.
const patience = 30 * time.Second

// Require skips the test unless the programs are installed and, for postfix and
// dovecot, the test runs as root.
func Require(t testing.TB, programs ...string) {
	t.Helper()
	missing := func(why string) {
		t.Helper()
		if os.Getenv("RELAIS_PEERS") == "require" {
			t.Fatal(why + ", and RELAIS_PEERS=require")
		}
		t.Skip(why + "; RELAIS_PEERS=require makes this a failure")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			missing(p + " is not installed")
		}
		if (p == "postfix" || p == "dovecot") && os.Geteuid() != 0 {
			missing(p + " starts only as root")
		}
	}
}

// folder makes a folder that the servers' own users can reach: t.TempDir is
// closed to them.
func folder(t testing.TB, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "relais-"+name+"-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("clearing up after %s: %v", name, err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// FreePort finds a port that nobody listens on now at any of the hosts (default
// 127.0.0.1), and gives the first host with it. Somebody else may take it before
// the server does; the server then does not start and the test fails. It lies
// below the ports that the kernel hands out for connections, so that this is
// rare.
func FreePort(t testing.TB, hosts ...string) string {
	t.Helper()
	if len(hosts) == 0 {
		hosts = []string{"127.0.0.1"}
	}
	for range 1000 {
		port := strconv.Itoa(10_000 + rand.IntN(20_000))
		if free(hosts, port) {
			return net.JoinHostPort(hosts[0], port)
		}
	}
	t.Fatal("no free port")
	return ""
}

func free(hosts []string, port string) bool {
	for _, host := range hosts {
		ln, err := net.Listen("tcp", net.JoinHostPort(host, port))
		if err != nil {
			return false
		}
		ln.Close()
	}
	return true
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// daemon is a server in the foreground, leader of a session and process group of
// its own.
type daemon struct {
	t    testing.TB
	cmd  *exec.Cmd
	done chan struct{}

	guardian *exec.Cmd
	stopped  bool
}

// launch starts it and waits until it listens at addrs.
func launch(t testing.TB, log string, addrs []string, name string, args ...string) *daemon {
	t.Helper()
	d := &daemon{t: t, cmd: exec.Command(name, args...), done: make(chan struct{})}
	var out bytes.Buffer
	d.cmd.Stdout, d.cmd.Stderr = &out, &out
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	d.cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	// Children keep the output open for longer than we care.
	d.cmd.WaitDelay = time.Second
	if err := d.cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	go func() {
		defer close(d.done)
		_ = d.cmd.Wait()
	}()
	t.Cleanup(d.stop)
	d.guard()
	for _, addr := range addrs {
		if !d.listens(addr) {
			d.stop()
			said, _ := os.ReadFile(log)
			t.Fatalf("%s does not listen at %s\n%s\n%s", name, addr, out.Bytes(), said)
		}
	}
	return d
}

func (d *daemon) listens(addr string) bool {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			c.Close()
			return true
		}
		select {
		case <-d.done:
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return false
}

// guard ends the group should this process die without having done so (a test
// that runs out of time has no cleanup): the guardian waits for the end of its
// input. The kernel's own signal for that would be lost on Postfix, which
// changes users.
func (d *daemon) guard() {
	d.guardian = exec.Command("sh", "-c", "read _; kill -s TERM -- -"+strconv.Itoa(d.cmd.Process.Pid))
	d.guardian.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if _, err := d.guardian.StdinPipe(); err != nil {
		d.t.Fatal(err)
	}
	if err := d.guardian.Start(); err != nil {
		d.t.Fatalf("starting a guardian: %v", err)
	}
}

// stop ends the whole group, and waits until nothing of it is left.
func (d *daemon) stop() {
	group := -d.cmd.Process.Pid
	if d.stopped {
		return // the number may be somebody else's by now
	}
	d.stopped = true
	if d.guardian != nil && d.guardian.Process != nil {
		_ = d.guardian.Process.Kill() // before the number can be another's
		_ = d.guardian.Wait()
	}
	_ = syscall.Kill(group, syscall.SIGTERM)
	if d.gone(group, 10*time.Second) {
		return
	}
	_ = syscall.Kill(group, syscall.SIGKILL)
	if !d.gone(group, patience) {
		d.t.Errorf("processes of %s survive", d.cmd.Path)
	}
}

// gone waits until the group has no process but such as nobody has buried.
func (d *daemon) gone(group int, within time.Duration) bool {
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if errors.Is(syscall.Kill(group, 0), syscall.ESRCH) || !living(-group) {
			<-d.done
			return true
		}
	}
	return false
}

// living looks for a process of the group that is not a zombie.
func living(group int) bool {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // ended meanwhile
		}
		// After the name, in parentheses: state, parent, process group.
		f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(f) > 2 && string(f[0]) != "Z" && string(f[2]) == strconv.Itoa(group) {
			return true
		}
	}
	return false
}

// maildir reads the mails of a Maildir, oldest first, with CRLF line ends as
// they came over the wire.
func maildir(t testing.TB, dir string) [][]byte {
	t.Helper()
	var paths []string
	for _, sub := range []string{"new", "cur"} {
		found, err := filepath.Glob(filepath.Join(dir, sub, "*"))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, found...)
	}
	slices.SortFunc(paths, func(a, b string) int { return bytes.Compare([]byte(filepath.Base(a)), []byte(filepath.Base(b))) })
	var mails [][]byte
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if errors.Is(err, fs.ErrNotExist) { // moved from new to cur meanwhile
			return maildir(t, dir)
		}
		if err != nil {
			t.Fatal(err)
		}
		mails = append(mails, bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")))
	}
	return mails
}

// await waits until a Maildir has n mails.
func await(t testing.TB, dir string, n int) [][]byte {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		mails := maildir(t, dir)
		if len(mails) >= n {
			return mails
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d mails came", len(mails), n)
		}
	}
}
