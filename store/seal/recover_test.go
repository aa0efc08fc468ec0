package seal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// recoveryPair makes a recovery key as people without a tool of their own do.
func recoveryPair(t *testing.T, passphrase string) (private, public []byte) {
	t.Helper()
	o := testOptions(t)
	must(t, o.fill())
	private, public, err := NewRecovery("Relais secours", []byte(passphrase), o)
	must(t, err)
	return private, public
}

// TestRecoveryDrill: the hub key is lost; the private recovery key alone gives
// the hub back, under a new hub key.
func TestRecoveryDrill(t *testing.T) {
	private, public := recoveryPair(t, "une phrase")
	o := testOptions(t)
	path := hubKeyFile(t, &o)
	var err error
	o.Recovery, err = ReadRecovery(public)
	must(t, err)
	k, rows := filled(t, o, 3)
	_, err = k.Rotate(t.Context(), child(2))
	must(t, err)
	message, err := Rescue(o) // can be asked for while the hub runs
	must(t, err)
	key, err := OpenRescue(message, private, []byte("une phrase"))
	must(t, err)
	if err := Recover(o, key); !errors.Is(err, ErrInUse) {
		t.Errorf("while the hub runs: %v", err)
	}
	k.Close()
	must(t, os.Remove(path))
	if _, err := OpenRescue(message, private, []byte("une autre")); !errors.Is(err, ErrPassphrase) {
		t.Error(err)
	}
	other, _ := recoveryPair(t, "")
	if _, err := OpenRescue(message, other, nil); !errors.Is(err, ErrNotRescued) {
		t.Error(err)
	}
	if err := Recover(o, make([]byte, keySize)); !errors.Is(err, ErrNotRescued) {
		t.Error(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a hub key was made for nothing")
	}
	must(t, Recover(o, key))
	k = open(t, o)
	readable(t, k, rows, child(2))
	if k.Status().HubNext != (KeyID{}) {
		t.Error("the lost hub key is still accepted")
	}
}

func TestRecoveryKeyIsPublic(t *testing.T) {
	private, public := recoveryPair(t, "")
	for text, want := range map[string]error{
		string(private): ErrRecoverySecret, string(public): nil, "": ErrRecoveryKey, "not a key": ErrRecoveryKey,
	} {
		if _, err := ReadRecovery([]byte(text)); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
}

func TestRotateRecovery(t *testing.T) {
	first, public := recoveryPair(t, "")
	second, public2 := recoveryPair(t, "")
	o := withCopies(t, testOptions(t), 1)
	var err error
	o.Recovery, err = ReadRecovery(public)
	must(t, err)
	k, _ := filled(t, o, 1)
	must(t, k.Settle(t.Context()))
	to, err := ReadRecovery(public2)
	must(t, err)
	was := k.Status().Recovery
	must(t, k.RotateRecovery(t.Context(), to))
	if s := k.Status(); s.Recovery == was || s.Recovery != s.Configured {
		t.Errorf("%+v", s)
	}
	for _, dir := range []string{o.EpochDir, o.Copies[0]} {
		e, err := readEpoch(dir, 1, k.epoch.store)
		must(t, err)
		if _, err := OpenRescue(e.rescued, first, nil); !errors.Is(err, ErrNotRescued) {
			t.Errorf("the former recovery key: %v", err)
		}
		got, err := OpenRescue(e.rescued, second, nil)
		if err != nil || !bytes.Equal(got, k.epoch.key[:]) {
			t.Errorf("the new recovery key: %v", err)
		}
	}
	_, err = k.Rotate(t.Context())
	must(t, err)
	message, err := Rescue(o)
	must(t, err)
	if _, err := OpenRescue(message, second, nil); err != nil {
		t.Errorf("the next epoch: %v", err)
	}
}

// TestRecoveryWithGnuPG: GnuPG, outside the hub, gives back the epoch key, with
// a key it made itself and with one that the hub made.
func TestRecoveryWithGnuPG(t *testing.T) {
	if _, err := exec.LookPath("gpg"); err != nil {
		if os.Getenv("RELAIS_PEERS") == "require" {
			t.Fatal("gpg is not installed (Debian: gpg)")
		}
		t.Skip("gpg is not installed (Debian: gpg)")
	}
	home, err := os.MkdirTemp("", "gpg") // a socket's path must be short
	must(t, err)
	gpg := func(in []byte, args ...string) []byte {
		t.Helper()
		cmd := exec.Command("gpg", append([]string{"--homedir", home, "--batch", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", "phrase"}, args...)...)
		var out, errs bytes.Buffer
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &errs
		if err := cmd.Run(); err != nil {
			t.Fatalf("gpg %s: %v\n%s", strings.Join(args, " "), err, errs.String())
		}
		return out.Bytes()
	}
	t.Cleanup(func() {
		_ = exec.Command("gpgconf", "--homedir", home, "--kill", "gpg-agent").Run()
		os.RemoveAll(home)
	})
	gpg(nil, "--quick-generate-key", "secours@hopital.test", "default", "default", "never")
	private, public := recoveryPair(t, "phrase")
	gpg(private, "--import")
	for name, key := range map[string][]byte{
		"of gpg":             gpg(nil, "--armor", "--export", "secours@hopital.test"),
		"of gpg, not armour": gpg(nil, "--export", "secours@hopital.test"),
		"of the hub":         public,
	} {
		o := testOptions(t)
		if o.Recovery, err = ReadRecovery(key); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		k, rows := filled(t, o, 2)
		message, err := Rescue(o)
		must(t, err)
		got := gpg(message, "--decrypt")
		if !bytes.Equal(got, k.epoch.key[:]) {
			t.Errorf("%s: gpg gives back %d bytes that are not the epoch key", name, len(got))
		}
		k.Close()
		// The offline machine hands over the epoch key, never the private one.
		o.Hub = Value(hex.EncodeToString(noise(t, keySize)))
		must(t, Recover(o, got))
		readable(t, open(t, o), rows)
	}
	exported := gpg(nil, "--armor", "--export-secret-keys", "secours@hopital.test")
	if _, err := ReadRecovery(exported); !errors.Is(err, ErrRecoverySecret) {
		t.Errorf("a private key of gpg: %v", err)
	}
}
