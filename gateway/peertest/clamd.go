package peertest

import (
	"crypto/md5"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Harmful is what a [Clamd] finds. It does nothing: the signature is home-made,
// so that no test carries a known one and none is downloaded.
const Harmful = "charge nocive inventée pour les essais\r\n"

// HarmfulName is what clamd calls it.
const HarmfulName = "Relais.Essai-1.UNOFFICIAL"

// ClamdMax is the most that a [Clamd] takes, in bytes (StreamMaxLength).
const ClamdMax = 15 << 20

// Clamd is ClamAV's daemon.
type Clamd struct {
	Address string // host:port on loopback

	t   testing.TB
	dir string
	run *daemon
}

// StartClamd starts Debian's clamd (package clamav-daemon) and skips the test
// where it is not installed: the package is large, and the hub does without.
func StartClamd(t testing.TB) *Clamd {
	t.Helper()
	if _, err := exec.LookPath("clamd"); err != nil {
		t.Skip("clamd is not installed (Debian: clamav-daemon)")
	}
	c := &Clamd{Address: FreePort(t), t: t, dir: folder(t, "clamd")}
	for _, name := range []string{"db", "tmp"} {
		if err := os.Mkdir(filepath.Join(c.dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(c.dir, "db", "essai.hdb"), fmt.Sprintf("%x:%d:Relais.Essai-1\n", md5.Sum([]byte(Harmful)), len(Harmful)))
	write(t, c.config(), fmt.Sprintf("Foreground yes\nTCPAddr 127.0.0.1\nTCPSocket %s\nStreamMaxLength %d\nDatabaseDirectory %s\nTemporaryDirectory %s\n",
		portOf(c.Address), ClamdMax, filepath.Join(c.dir, "db"), filepath.Join(c.dir, "tmp")))
	c.Start()
	return c
}

func (c *Clamd) config() string { return filepath.Join(c.dir, "clamd.conf") }

// Start starts it anew after Stop.
func (c *Clamd) Start() {
	c.t.Helper()
	c.run = launch(c.t, "", []string{c.Address}, "clamd", "--config-file="+c.config())
}

// Stop ends it.
func (c *Clamd) Stop() { c.run.stop() }
