package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// laden is a hub under load from eight connections, all its copies deferred.
func laden(t *testing.T) (*hub, *load) {
	t.Helper()
	h := newHub(t, settings{outbound: deferred})
	h.start()
	return h, h.teams()
}

// deferred is an [outbound] whose copies all wait: nothing leaves.
const deferred = `route = "smarthost"
tls = "none"
smarthost = "127.0.0.1:9"
retry = ["1h"]`

// teams includes every child and gives them a team.
func (h *hub) teams() *load {
	h.t.Helper()
	l := &load{h: h, from: "roux@chu.test", next: new(atomic.Int64)}
	for n := range children {
		code := h.include(n)
		h.member(code, "Dr Anne Roux", "oncologue", l.from, "PER")
		h.member(code, "Mme Inès Moreau", "idec", "moreau@chu.test", "PER")
		l.codes = append(l.codes, code)
	}
	return l
}

// during runs fn while the load goes on.
func (l *load) during(fn func()) {
	l.stop.Store(false)
	var running sync.WaitGroup
	for range 8 {
		running.Go(l.connection)
	}
	time.Sleep(300 * time.Millisecond) // so that there is a load
	fn()
	time.Sleep(100 * time.Millisecond)
	l.stop.Store(true)
	running.Wait()
}

// acked copies the messages acknowledged so far.
func (l *load) acked() map[string]posted {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := map[string]posted{}
	for _, p := range l.all {
		if p.acked {
			m[p.id] = p
		}
	}
	return m
}

// longest tells how long a sender waited at most for the reply to a mail that
// was on its way between two moments.
func (l *load) longest(from, to time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	most := time.Duration(0)
	for _, p := range l.all {
		if p.begun.Before(to) && p.begun.Add(p.took).After(from) {
			most = max(most, p.took)
		}
	}
	return most.Round(time.Millisecond)
}

// at runs the hub on another data folder.
func (h *hub) at(dir string) {
	h.t.Helper()
	b, err := os.ReadFile(h.config)
	if err != nil {
		h.t.Fatal(err)
	}
	lines := strings.Split(string(b), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "data_dir") {
			lines[i] = fmt.Sprintf("data_dir = %q", dir)
		}
	}
	if err := os.WriteFile(h.config, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// holds checks that the hub has every one of the messages, byte for byte, and
// that after a restore nothing goes out by itself.
func (l *load) holds(want map[string]posted) int {
	l.h.t.Helper()
	for _, code := range l.codes {
		for _, m := range l.h.thread(code).Messages {
			for _, d := range m.Deliveries {
				if d.State == "queued" || d.State == "sending" {
					l.h.t.Errorf("a copy of %s would go out again", m.ID)
				}
			}
		}
	}
	return l.keeps(want)
}

// keeps checks that the hub has every one of the messages, byte for byte.
func (l *load) keeps(want map[string]posted) int {
	l.h.t.Helper()
	have := map[string]string{}
	for _, code := range l.codes {
		for _, m := range l.h.thread(code).Messages {
			have[strings.Trim(m.MessageID, "<>")] = m.ID
		}
	}
	lost := 0
	there := make([]posted, 0, len(want))
	for id, p := range want {
		if have[id] == "" {
			lost++
			continue
		}
		there = append(there, p)
	}
	if !long {
		there = there[:min(len(there), 8)]
	}
	raw, done := l.h.reader()
	defer done()
	var readers sync.WaitGroup
	for n := range 4 { // traces of reading share their syncs
		readers.Go(func() {
			for i := n; i < len(there); i += 4 {
				_, text, _ := bytes.Cut(raw(have[there[i].id]), []byte("\r\n\r\n"))
				if sha256.Sum256(text) != there[i].body {
					l.h.t.Errorf("message %s does not read back as sent", there[i].id)
				}
			}
		})
	}
	readers.Wait()
	if lost > 0 {
		l.h.t.Errorf("%d of %d acknowledged messages are lost", lost, len(want))
	}
	return len(have)
}

// A backup taken under load comes back with every message acknowledged before it
// began; nothing that was to be sent then goes out by itself.
func TestBackupUnderLoad(t *testing.T) {
	h, l := laden(t)
	dest := filepath.Join(t.TempDir(), "dest")
	rounds := 2
	if long {
		rounds = 20
	}
	for round := range rounds {
		var before map[string]posted
		var r struct {
			Generation     string
			Copied, Reused int64
		}
		var began, copied, verified time.Time
		l.during(func() {
			before = l.acked()
			began = time.Now()
			h.ask(&r, "backup", dest)
			copied = time.Now()
			// It takes as long as there is to read, and the more comes meanwhile:
			// after a few rounds what is kept would grow without end.
			if round < 4 {
				if out := h.run("verify"); !strings.Contains(out, "intact") {
					t.Errorf("under load: %s", out)
				}
			}
			verified = time.Now()
		})
		after := len(l.acked())
		if len(before) == 0 || after <= len(before) {
			t.Fatalf("%d messages before the backup, %d after: no load", len(before), after)
		}
		dir := filepath.Join(t.TempDir(), "restored")
		restoring := time.Now()
		h.run("restore", dest, dir)
		restored := time.Since(restoring)
		own := filepath.Join(h.dir, "data")
		h.stop()
		h.at(dir)
		h.run("verify", "--offline")
		h.start()
		had := l.holds(before)
		var queue []struct{ State, LastError string }
		h.ask(&queue, "queue", "list")
		for _, q := range queue {
			if q.State != "held" {
				t.Errorf("a restored copy is %s", q.State)
			}
		}
		h.stop()
		t.Logf("round %d: %d acknowledged before, %d restored, %d after; %d bytes copied, %d there already; %d copies held",
			round, len(before), had, after, r.Copied, r.Reused, len(queue))
		t.Logf("round %d: backup %.2fs (longest wait of a sender %s, else %s), verify %.2fs, restore %.2fs", round, copied.Sub(began).Seconds(),
			l.longest(began, copied), l.longest(copied, verified), verified.Sub(copied).Seconds(), restored.Seconds())
		if round > 0 && r.Reused == 0 {
			t.Error("the second backup copied everything again")
		}
		if err := os.RemoveAll(dir); err != nil { // twenty of them fill a disk
			t.Error(err)
		}
		h.at(own)
		h.start()
	}
}

// Killed under load, its index gone: a salvage brings back all that was
// acknowledged, and the hub goes on.
func TestSalvageUnderLoad(t *testing.T) {
	h, l := laden(t)
	l.during(h.kill)
	want := l.acked()
	if len(want) == 0 {
		t.Fatal("no load")
	}
	data := filepath.Join(h.dir, "data")
	if err := os.Remove(filepath.Join(data, "index.db")); err != nil {
		t.Fatal(err)
	}
	if _, err := h.try("serve"); err == nil || !strings.Contains(err.Error(), "salvage") {
		t.Fatalf("without its index the hub said: %v", err)
	}
	out := h.run("restore", "--salvage", data, data)
	h.run("verify", "--offline")
	h.start()
	t.Logf("%d acknowledged, %d there\n%s", len(want), l.holds(want), out)
	if err := h.send(l.from, l.codes[0]+"@"+domain, []byte("From: <roux@chu.test>\r\nSubject: Suite\r\nMessage-ID: <suite@sender.test>\r\n\r\nBonjour\r\n")); err != nil {
		t.Errorf("after the salvage: %v", err)
	}
}

// Bytes changed in a message file while the hub runs: that message is refused
// whole, verification names it, everything else goes on.
func TestDamagedSegmentInService(t *testing.T) {
	h, l := laden(t)
	mail := func(n int) []byte {
		return append(fmt.Appendf(nil, "From: <roux@chu.test>\r\nSubject: %d\r\nMessage-ID: <m%d@sender.test>\r\n\r\n", n, n), body(3000)...)
	}
	for n := range 5 {
		if err := h.send(l.from, l.codes[0]+"@"+domain, mail(n)); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(h.dir, "data", "segments", "s-00000001.seg")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.LastIndex(b, []byte("RREC\x01")) + 400 // in the last message
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte{b[at] ^ 1}, int64(at))
	if cerr := f.Close(); err != nil || cerr != nil {
		t.Fatal(err, cerr)
	}
	list := h.thread(l.codes[0]).Messages
	hit := list[len(list)-1].ID
	if out, err := h.try("message", "show", hit, "--raw"); err == nil || strings.Contains(out, "sender.test") {
		t.Errorf("the damaged message was shown: %v", err)
	}
	out, err := h.try("verify")
	if err == nil || !strings.Contains(out, hit) || !strings.Contains(out, "s-00000001.seg") {
		t.Errorf("verify: %v\n%s", err, out)
	}
	for _, m := range list[:len(list)-1] {
		h.run("message", "show", m.ID, "--raw")
	}
	if err := h.send(l.from, l.codes[0]+"@"+domain, mail(9)); err != nil {
		t.Errorf("a new message: %v", err)
	}
}

// A page of the index torn under a running hub: what touches it fails, mail is
// put off and not lost, the process lives and says what to do; a salvage brings
// everything back.
func TestTornIndexInService(t *testing.T) {
	h, l := laden(t)
	l.during(func() {})
	index := filepath.Join(h.dir, "data", "index.db")
	f, err := os.OpenFile(index, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	for page := int64(2); page < 400; page++ {
		if _, err := f.WriteAt(bytes.Repeat([]byte{0xA5}, 2048), page*4096); err != nil {
			t.Fatal(err)
		}
	}
	f.Close()
	refused := false
	for range 5 {
		err := h.send(l.from, l.codes[0]+"@"+domain, append([]byte("From: <roux@chu.test>\r\nSubject: X\r\n\r\n"), body(3000)...))
		if err != nil {
			refused = true
			if !strings.HasPrefix(err.Error(), "4") {
				t.Errorf("on a torn index the hub answers %v, want 4xx", err)
			}
		}
	}
	if !refused {
		t.Error("mail was taken on an index that is torn everywhere")
	}
	select {
	case err := <-h.exited:
		t.Fatalf("the hub died: %v\n%s", err, h.log.text())
	default:
	}
	if !strings.Contains(h.log.worst(), "salvage") {
		t.Errorf("the journal does not say what to do:\n%s", h.log.worst())
	}
	want := l.acked()
	h.kill()
	if _, err := h.try("verify", "--offline"); err == nil {
		t.Error("verify finds nothing")
	}
	if _, err := h.try("serve"); err == nil || !strings.Contains(err.Error(), "salvage") {
		t.Errorf("a start says: %v", err)
	}
	data := filepath.Join(h.dir, "data")
	h.run("restore", "--salvage", data, data)
	h.start()
	l.holds(want)
}

// A disk that is full, as the kernel's limit on the size of files has it: mail is
// put off, nothing acknowledged is lost, and the hub recovers by itself. The limit
// forbids the room that was set aside too, which a full disk leaves (see
// TestFullFileSystem): no trace can be kept, so nothing is shown.
func TestFullDiskInService(t *testing.T) {
	h, l := laden(t)
	limit := func(n uint64) {
		t.Helper()
		if err := unix.Prlimit(h.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: n, Max: unix.RLIM_INFINITY}, nil); err != nil {
			t.Skipf("no limit on the size of files here: %v", err)
		}
	}
	send := func(n int) error {
		return h.send(l.from, l.codes[0]+"@"+domain, append(fmt.Appendf(nil, "From: <roux@chu.test>\r\nSubject: %d\r\nMessage-ID: <f%d@sender.test>\r\n\r\n", n, n), body(30000)...))
	}
	if err := send(0); err != nil {
		t.Fatal(err)
	}
	limit(64 << 10)
	for n := 1; n < 4; n++ {
		if err := send(n); err == nil || !strings.HasPrefix(err.Error(), "452") {
			t.Errorf("on a full disk the hub answers %v, want 452", err)
		}
	}
	var st struct{ Warnings []string }
	h.ask(&st, "status")
	if !strings.Contains(strings.Join(st.Warnings, "\n"), "place") {
		t.Errorf("status says only %q", st.Warnings)
	}
	if _, err := h.try("thread", "show", l.codes[0]); err == nil || !strings.Contains(err.Error(), "plus de place") {
		t.Errorf("what cannot be traced: %v", err)
	}
	limit(unix.RLIM_INFINITY)
	if n := len(h.thread(l.codes[0]).Messages); n != 1 {
		t.Errorf("%d messages can be read", n)
	}
	if err := send(1); err != nil {
		t.Errorf("after room came back: %v", err)
	}
	h.stop()
	h.run("verify", "--offline")
}

// A backup to a disk without room says so, and goes on when there is some.
func TestBackupToAFullDisk(t *testing.T) {
	h, l := laden(t)
	l.during(func() {})
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full here")
	}
	dest := filepath.Join(t.TempDir(), "dest")
	if err := os.MkdirAll(filepath.Join(dest, "segments"), 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dest, "segments", "s-00000001.seg")
	if err := os.Symlink("/dev/full", link); err != nil {
		t.Fatal(err)
	}
	if _, err := h.try("backup", dest); err == nil || !strings.Contains(err.Error(), "Plus de place") {
		t.Errorf("without room: %v", err)
	}
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	h.run("backup", dest)
	h.run("restore", dest, filepath.Join(t.TempDir(), "back"))
}
