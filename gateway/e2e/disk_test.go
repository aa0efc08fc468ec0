package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// disk is a file system of a hub's own, mounted where its data folder is in a
// mount namespace that a process keeps until the test ends. The program runs in
// there, by a script in its place.
type disk struct {
	t      *testing.T
	data   string // the folder, by the name it has for the hub
	keeper int
	in     *bufio.Writer
	out    *bufio.Reader
}

// newDisk mounts a file system under the data folder of a hub that is not
// running. flags are those of unshare(1), mount the shell's command, with $data
// the folder. What may not be mounted here skips the test.
func newDisk(t *testing.T, h *hub, flags, mount string) *disk {
	t.Helper()
	d := &disk{t: t, data: filepath.Join(h.dir, "data")}
	for _, tool := range []string{"unshare", "nsenter", "mount", "umount"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s here", tool)
		}
	}
	// What init put there moves to the new file system. The keeper then does
	// whatever a line says, and ends with its input.
	script := `set -e; cp -a "$data" "$data.before"; ` + mount + `; cp -a "$data.before/." "$data"; set +e; echo mounted; while read -r line; do eval "$line" >&2; echo $?; done`
	c := exec.Command("unshare", append(strings.Fields(flags), "sh", "-c", script)...)
	c.Env = append(os.Environ(), "data="+d.data, "image="+filepath.Join(h.dir, "image"))
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said strings.Builder
	c.Stderr = &said
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	d.keeper, d.in, d.out = c.Process.Pid, bufio.NewWriter(in), bufio.NewReader(out)
	if line, _ := d.out.ReadString('\n'); line != "mounted\n" {
		in.Close()
		_ = c.Wait()
		t.Skipf("no file system may be mounted here: %s", strings.TrimSpace(said.String()))
	}
	t.Cleanup(func() {
		h.kill() // it holds the file system
		in.Close()
		_ = c.Wait()
	})
	user := ""
	if strings.Contains(flags, "-U") {
		user = "-U --preserve-credentials"
	}
	inside := filepath.Join(h.dir, "relais-inside")
	text := fmt.Sprintf("#!/bin/sh\nexec nsenter -t %d -m %s %q \"$@\"\n", d.keeper, user, h.bin)
	if err := os.WriteFile(inside, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	h.bin = inside
	return d
}

// do has the keeper run a command of the shell.
func (d *disk) do(command string) error {
	d.t.Helper()
	if _, err := d.in.WriteString(command + "\n"); err != nil {
		return err
	}
	if err := d.in.Flush(); err != nil {
		return err
	}
	line, err := d.out.ReadString('\n')
	if err != nil {
		return fmt.Errorf("the keeper of the disk is gone: %w", err)
	}
	if code := strings.TrimSpace(line); code != "0" {
		return fmt.Errorf("%s: exit code %s", command, code)
	}
	return nil
}

func (d *disk) must(command string) {
	d.t.Helper()
	if err := d.do(command); err != nil {
		d.t.Fatal(err)
	}
}

// socketApart keeps the socket of the commands outside the data folder: it is reached
// from outside the namespace too.
const socketApart = "[admin]\nsocket = \"admin.sock\"\n"

// one sends one mail on a connection of its own.
func (l *load) one() error {
	p, mail := l.mail()
	err := l.h.send(l.from, p.code+"@"+domain, mail)
	p.acked = err == nil
	l.mu.Lock()
	l.all = append(l.all, p)
	l.mu.Unlock()
	return err
}

// until sends mail until it is answered by a code that begins so: no later than
// the fiftieth, and each refusal is for now.
func (l *load) until(code string) {
	l.h.t.Helper()
	for n := 0; ; n++ {
		err := l.one()
		switch {
		case err != nil && !strings.HasPrefix(err.Error(), "4"):
			l.h.t.Fatalf("mail is refused with %v, want %s", err, code)
		case err != nil && strings.HasPrefix(err.Error(), code):
			return
		case n == 50:
			l.h.t.Fatalf("mail is still answered with %v, want %s", err, code)
		}
	}
}

// warns checks that status says a word.
func (h *hub) warns(word string) {
	h.t.Helper()
	var st struct{ Warnings []string }
	h.ask(&st, "status")
	if !strings.Contains(strings.Join(st.Warnings, "\n"), word) {
		h.t.Errorf("status says only %q", st.Warnings)
	}
}

// ladenOn is a hub on a disk of its own with a team for each child, not under load.
func ladenOn(t *testing.T, flags, mount string) (*hub, *load, *disk) {
	t.Helper()
	h := newHub(t, settings{outbound: deferred, rest: socketApart + withIMAP})
	d := newDisk(t, h, flags, mount)
	h.start()
	return h, h.teams(), d
}

// login gives the answer of the hub's IMAP server to a login.
func (h *hub) login(user, password string) string {
	h.t.Helper()
	var s struct{ Listeners struct{ IMAP []string } }
	h.ask(&s, "status")
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", s.Listeners.IMAP[0], &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the hub's own test authority
	if err != nil {
		h.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprintf(c, "t LOGIN %s %s\r\n", user, password)
	for in := bufio.NewReader(c); ; {
		line, err := in.ReadString('\n')
		if err != nil || strings.HasPrefix(line, "t ") {
			return strings.TrimSpace(line)
		}
	}
}

// A file system that is full: mail is put off, status says so, what was taken can be
// read, and the hub goes on by itself once there is room. Nothing acknowledged is lost.
func TestFullFileSystem(t *testing.T) {
	h, l, d := ladenOn(t, "-Urm", `mount -t tmpfs -o size=48m tmpfs "$data"`)
	l.during(func() {
		d.must(`head -c 200M /dev/zero > "$data/filler" 2>/dev/null; test -s "$data/filler"`)
		l.until("452")
	})
	d.must(`head -c 200M /dev/zero > "$data/rest" 2>/dev/null || true`) // what the load gave back, if anything
	l.until("452")
	h.warns("place")
	want := l.acked()
	if len(want) == 0 {
		t.Fatal("nothing was acknowledged before")
	}
	// Whoever reads leaves a trace: there is room set aside for those.
	h.run("thread", "show", l.codes[0])
	d.must(`rm "$data/filler" "$data/rest"`)
	if err := l.one(); err != nil {
		t.Errorf("after room came back: %v", err)
	}
	want = l.acked()
	l.keeps(want)
	h.stop()
	h.run("verify", "--offline")
	h.start()
	l.keeps(want)
	t.Logf("%d acknowledged", len(want))
}

// A file system that the kernel makes read-only under the hub, as it does after a
// fault of the disk: mail and logins are put off, the process lives, status says so. On the file system mounted anew everything acknowledged is
// there, and mail is taken.
func TestReadOnlyFileSystem(t *testing.T) {
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		t.Skip("no mkfs.ext4 here")
	}
	if os.Getuid() != 0 {
		t.Skip("only root may mount an image of a disk")
	}
	h, l, d := ladenOn(t, "-m", `truncate -s 96M "$image"; mkfs.ext4 -q -F "$image"; mount -o loop "$image" "$data"`)
	var a struct{ Username, Password string }
	h.ask(&a, "account", "create", "--mailbox", "moreau@chu.test")
	l.during(func() {
		d.must(`mount -o remount,abort "$data"`)
		l.until("452")
	})
	h.warns("le disque des données") // read-only, or in error, as the write goes that finds it first
	want := l.acked()
	if len(want) == 0 {
		t.Fatal("nothing was acknowledged before")
	}
	select {
	case err := <-h.exited:
		t.Fatalf("the hub died: %v\n%s", err, h.log.text())
	default:
	}
	if _, err := h.try("thread", "show", l.codes[0]); err == nil || !strings.Contains(err.Error(), "enregistrement est impossible") {
		t.Errorf("what cannot be traced: %v", err)
	}
	if answer := h.login(a.Username, a.Password); !strings.HasPrefix(answer, "t NO [UNAVAILABLE]") {
		t.Errorf("a login that cannot be traced: %s", answer)
	}
	h.stop()
	d.must(`umount "$data"`)
	d.must(`mount -o loop "$image" "$data"`)
	h.run("verify", "--offline")
	h.start()
	l.keeps(want)
	if answer := h.login(a.Username, a.Password); !strings.HasPrefix(answer, "t OK") {
		t.Errorf("a login on the file system mounted anew: %s", answer)
	}
	if err := l.one(); err != nil {
		t.Errorf("on the file system mounted anew: %v", err)
	}
	t.Logf("%d acknowledged", len(want))
}

// A hub that is started on a file system that is read-only says so.
func TestStartOnReadOnlyFileSystem(t *testing.T) {
	h := newHub(t, settings{outbound: deferred, rest: socketApart})
	d := newDisk(t, h, "-Urm", `mount -t tmpfs -o size=48m tmpfs "$data"`)
	h.start()
	l := h.teams()
	if err := l.one(); err != nil {
		t.Fatal(err)
	}
	h.stop()
	d.must(`mount -o remount,ro "$data"`)
	if _, err := h.try("serve"); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("a start says %v", err)
	}
	h.run("verify", "--offline")
	d.must(`mount -o remount,rw "$data"`)
	h.start()
	l.keeps(l.acked())
}
