package clamd

import (
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// charge is what the home-made signature of these tests finds. It does nothing.
const charge = "charge nocive inventée pour les essais\r\n"

// peer is Debian's clamd (package clamav-daemon) in a folder of its own. Its
// only signature is ours, so that nothing is downloaded.
type peer struct {
	t      testing.TB
	dir    string
	client *Client
	stop   func()
}

// newPeer skips the test where clamd is not installed. It is large and no
// requirement, of the tests or of the hub.
func newPeer(t testing.TB) *peer {
	t.Helper()
	if _, err := exec.LookPath("clamd"); err != nil {
		t.Skip("clamd is not installed (Debian: clamav-daemon)")
	}
	r := &peer{t: t, dir: t.TempDir()}
	socket := filepath.Join(r.dir, "clamd.ctl")
	r.client = New(Options{Address: socket, Timeout: 30 * time.Second, MaxBytes: 100 << 20, Scans: 4})
	for name, text := range map[string]string{
		"db/essai.hdb": fmt.Sprintf("%x:%d:Relais.Essai-1\n", md5.Sum([]byte(charge)), len(charge)),
		"tmp/.keep":    "",
		"clamd.conf": "Foreground yes\nStreamMaxLength 15M\nLocalSocket " + socket +
			"\nDatabaseDirectory " + filepath.Join(r.dir, "db") + "\nTemporaryDirectory " + filepath.Join(r.dir, "tmp") + "\n",
	} {
		path := filepath.Join(r.dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.start()
	return r
}

// start starts clamd and waits until it answers.
func (r *peer) start() {
	r.t.Helper()
	cmd := exec.Command("clamd", "--config-file="+filepath.Join(r.dir, "clamd.conf"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() { defer close(gone); _ = cmd.Wait() }()
	r.stop = func() {
		_ = cmd.Process.Kill()
		<-gone
	}
	r.t.Cleanup(r.stop)
	for deadline := time.Now().Add(30 * time.Second); ; {
		err := r.client.Ping(r.t.Context())
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("clamd does not answer: %v", err)
		}
		select {
		case <-gone:
			r.t.Fatal("clamd ended by itself")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func mail(attachment string) string {
	return "From: <roux@chu.example>\r\nSubject: essai\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nvoir le document\r\n" +
		"--b\r\nContent-Type: application/octet-stream; name=doc.bin\r\nContent-Transfer-Encoding: base64\r\n" +
		"Content-Disposition: attachment; filename=doc.bin\r\n\r\n" + base64.StdEncoding.EncodeToString([]byte(attachment)) + "\r\n--b--\r\n"
}

func TestRealClamd(t *testing.T) {
	r := newPeer(t)
	scan := func(content string, want Verdict, fault error) {
		t.Helper()
		got, err := r.client.Scan(t.Context(), strings.NewReader(content))
		if got != want || !errors.Is(err, fault) {
			t.Errorf("got %+v, %v; want %+v, %v", got, err, want, fault)
		}
	}
	infected := Verdict{Infected: true, Signature: "Relais.Essai-1.UNOFFICIAL"}
	scan(mail("compte rendu"), Verdict{}, nil)
	scan(mail(charge), infected, nil)
	scan(mail(strings.Repeat("image", 2_000_000)), Verdict{}, nil)       // 13 MB once encoded
	scan(mail(strings.Repeat("image", 2_500_000)), Verdict{}, ErrTooBig) // above StreamMaxLength
	r.stop()
	if v, err := r.client.Scan(t.Context(), strings.NewReader(mail(charge))); err == nil {
		t.Errorf("verdict of a stopped clamd: %+v", v)
	}
	if err := r.client.Ping(t.Context()); err == nil {
		t.Error("a stopped clamd answers")
	}
	r.start()
	scan(mail(charge), infected, nil)
}

// A message of 4 KB and one of 10 MB, one after the other on one connection each.
func BenchmarkRealClamd(b *testing.B) {
	r := newPeer(b)
	for _, size := range []int{4 << 10, 10 << 20} {
		content := mail(strings.Repeat(".", size*3/4))
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				if _, err := r.client.Scan(b.Context(), strings.NewReader(content)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
