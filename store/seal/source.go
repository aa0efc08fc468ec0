package seal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/relais-sante/relais/store/journal"
)

const (
	// ErrSecretForm: a hub key is not 64 hexadecimal digits.
	ErrSecretForm = journal.Fault("a hub key is 64 hexadecimal digits")
	// ErrNoHubKey: there is no hub key where it should be kept, or it cannot be
	// read.
	ErrNoHubKey = journal.Fault("hub key missing")
)

// Source yields a secret that is kept outside the hub's own folders.
type Source interface {
	// Secret gives the bytes as they are kept.
	Secret() ([]byte, error)
}

// File is a source in a file, read each time: an administrator may replace it.
type File string

// Secret implements [Source].
func (f File) Secret() ([]byte, error) {
	b, err := readSmall(string(f))
	if err != nil {
		return nil, fmt.Errorf("reading secret file: %w", err)
	}
	return b, nil
}

// Env is a source in an environment variable.
type Env string

// Secret implements [Source].
func (e Env) Secret() ([]byte, error) {
	v, ok := os.LookupEnv(string(e))
	if !ok {
		return nil, fmt.Errorf("secret in the environment: %w", os.ErrNotExist)
	}
	return []byte(v), nil
}

// Credential is a source that systemd hands over (LoadCredential=): a file of
// that name in $CREDENTIALS_DIRECTORY.
type Credential string

// Secret implements [Source].
func (c Credential) Secret() ([]byte, error) {
	dir, ok := os.LookupEnv("CREDENTIALS_DIRECTORY")
	if !ok {
		return nil, fmt.Errorf("systemd credential: %w", os.ErrNotExist)
	}
	b, err := readSmall(filepath.Join(dir, filepath.Base(string(c))))
	if err != nil {
		return nil, fmt.Errorf("reading systemd credential: %w", err)
	}
	return b, nil
}

// ParseSource reads where a secret is kept: "file:PATH", "env:NAME",
// "credential:NAME"; a bare path is a file.
func ParseSource(s string) (Source, error) {
	kind, name, ok := strings.Cut(s, ":")
	switch {
	case s == "":
		return nil, ErrSecretForm
	case !ok || strings.Contains(kind, "/"):
		return File(s), nil
	case kind == "file":
		return File(name), nil
	case kind == "env":
		return Env(name), nil
	case kind == "credential":
		return Credential(name), nil
	}
	return nil, ErrSecretForm
}

// Value is a source already at hand.
type Value []byte

// Secret implements [Source].
func (v Value) Secret() ([]byte, error) { return v, nil }

// readSmall reads a file that nobody should have made large.
func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const most = 64 << 10
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && len(b) > most {
		err = errors.New("too large")
	}
	return b, err
}

// NewHubKey writes a fresh hub key for init: 64 hexadecimal digits and a line
// end, readable by its owner only. It never overwrites.
func NewHubKey(path string, random io.Reader) error {
	var key [keySize]byte
	if _, err := io.ReadFull(random, key[:]); err != nil {
		return fmt.Errorf("making a hub key: %w", err)
	}
	text := hex.AppendEncode(nil, key[:])
	return writeNew(path, append(text, '\n'))
}

// hubKey reads a hub key in its text form.
func hubKey(s Source) ([]byte, error) {
	if s == nil {
		return nil, fmt.Errorf("%w: %w", ErrNoHubKey, os.ErrNotExist)
	}
	text, err := s.Secret()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoHubKey, err)
	}
	key := make([]byte, keySize)
	text = bytes.TrimSpace(text)
	if len(text) != hex.EncodedLen(keySize) {
		return nil, ErrSecretForm
	}
	if _, err := hex.Decode(key, text); err != nil {
		return nil, ErrSecretForm
	}
	return key, nil
}

// CheckHubKey reports a hub key that could not be read.
func CheckHubKey(s Source) error {
	key, err := hubKey(s)
	clear(key)
	return err
}

// writeNew makes a file that did not exist and makes it durable, name included.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		_ = os.Remove(path)
	}
	return err
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
