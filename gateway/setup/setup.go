// Package setup makes the folder of a new hub: configuration, programme files,
// keys, data folder and, for a trial, an authority and certificates of its own.
//
// It overwrites nothing: the folder may exist, but must be empty. If anything
// fails, what was made is taken away again, so that a second try starts clean.
// Everything is for the hub's own user only (0700, 0600).
package setup

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/rules/strict"
	"github.com/relais-sante/relais/store/journal"
	"github.com/relais-sante/relais/store/seal"
)

// ErrNotEmpty: something is in the folder already.
const ErrNotEmpty = journal.Fault("folder is not empty")

// Invalid is the error of settings that the configuration cannot have.
type Invalid struct{ Problem configs.Problem }

func (e *Invalid) Error() string { return "not a valid setting: " + string(e.Problem.ID) }

// Options say what hub to make.
type Options struct {
	Dir    string
	Domain string // the hub's mail domain
	Dev    bool   // for trials on this machine: certificates of its own
	Locale texts.Locale
	// RecoveryKey is a file with an OpenPGP public key, armoured or not, that
	// can open the epoch keys if the hub key is lost; empty: none.
	RecoveryKey string
	Now         func() time.Time // default time.Now
}

// Names in the folder.
const (
	ConfigName = "relais.toml"
	certName   = "cert"
	keyFile    = "key.pem"
)

// Init makes the folder and gives the files made, relative to it, in order.
func Init(o Options) (made []string, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Domain = strings.ToLower(strings.TrimSpace(o.Domain))
	var recovery *recoveryKey
	if o.RecoveryKey != "" {
		if recovery, err = publicKey(o.RecoveryKey); err != nil {
			return nil, fmt.Errorf("reading the recovery key: %w", err)
		}
	}
	text := configs.Render(configs.InitOptions{Domain: o.Domain, Dev: o.Dev, Locale: o.Locale, Recovery: recovery != nil})
	config, problems := configs.Parse(filepath.Join(o.Dir, ConfigName), text)
	if i := slices.IndexFunc(problems, func(p strict.Problem) bool { return !p.Warning }); i >= 0 {
		return nil, &Invalid{problems[i]}
	}
	existed, err := empty(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("making a hub: %w", err)
	}
	f := &founder{Options: o, config: config}
	if err := f.build(text, recovery); err != nil {
		f.undo(existed)
		return nil, fmt.Errorf("making a hub: %w", err)
	}
	return f.made, nil
}

// empty reports whether the folder exists; it must then be empty, but for what
// a fresh file system has.
func empty(dir string) (existed bool, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	for _, e := range entries {
		if e.Name() != "lost+found" {
			return true, ErrNotEmpty
		}
	}
	return true, err
}

// recoveryKey is a public key, as read and as written.
type recoveryKey struct {
	entity *pgp.Entity
	text   []byte
}

func publicKey(path string) (*recoveryKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return nil, err
	}
	entity, err := seal.ReadRecovery(text)
	if err != nil {
		return nil, err
	}
	return &recoveryKey{entity, text}, nil
}

// founder makes a hub step by step.
type founder struct {
	Options
	config *configs.Config
	made   []string // files
	tops   []string // entries of the folder itself, to undo
}

func (f *founder) build(config []byte, recovery *recoveryKey) error {
	if err := os.MkdirAll(f.Dir, 0o700); err != nil {
		return err
	}
	for _, dir := range []string{"programmes", "tls", "keys", "keys/epochs", "data"} {
		if err := os.Mkdir(filepath.Join(f.Dir, dir), 0o700); err != nil {
			return err
		}
		f.note(dir)
	}
	if err := f.write(ConfigName, config); err != nil {
		return err
	}
	if err := f.programmes(); err != nil {
		return err
	}
	if recovery != nil {
		if err := f.write("keys/recovery.pub", recovery.text); err != nil {
			return err
		}
	}
	if err := f.keys(recovery); err != nil {
		return err
	}
	if f.Dev {
		return f.certificates()
	}
	return nil
}

func (f *founder) programmes() error {
	files, err := fs.Glob(configs.Programmes, "programmes/*.toml")
	if err != nil {
		return err
	}
	for _, name := range files {
		text, err := configs.Programmes.ReadFile(name)
		if err != nil {
			return err
		}
		if err := f.write(name, text); err != nil {
			return err
		}
	}
	return nil
}

// keys makes the hub key, the first epoch and an empty keystore.
func (f *founder) keys(recovery *recoveryKey) error {
	hubKey := f.config.Keys.HubKey.Name
	if err := seal.NewHubKey(hubKey, rand.Reader); err != nil {
		return err
	}
	f.made = append(f.made, "keys/hub.key")
	o := seal.Options{
		DataDir: string(f.config.DataDir), EpochDir: string(f.config.Keys.EpochDir),
		Hub: seal.File(hubKey), Now: f.Now,
	}
	if recovery != nil {
		o.Recovery = recovery.entity
	}
	if err := seal.Create(o); err != nil {
		return err
	}
	f.made = append(f.made, "keys/epochs/", "data/")
	return nil
}

// certificates makes an authority for trials and the hub's own certificate.
func (f *founder) certificates() error {
	dir := filepath.Join(f.Dir, "tls")
	authority, err := trust.NewDevAuthority(f.Now)
	if err != nil {
		return err
	}
	if err := authority.Save(dir); err != nil {
		return err
	}
	pair, err := authority.Issue(trust.Request{
		Name:  "CN=" + f.Domain + ",O=RELAIS (DEVELOPPEMENT),C=FR",
		Hosts: []string{f.Domain, "localhost", "127.0.0.1", "::1"},
	})
	if err != nil {
		return err
	}
	if err := trust.SavePair(dir, certName, pair); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(dir, certName+".key"), filepath.Join(dir, keyFile)); err != nil {
		return err
	}
	f.made = append(f.made, "tls/ca.pem", "tls/ca.key", "tls/cert.pem", "tls/key.pem")
	return nil
}

// write makes a file that was not there.
func (f *founder) write(name string, text []byte) error {
	w, err := os.OpenFile(filepath.Join(f.Dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	f.note(name)
	f.made = append(f.made, name)
	_, err = w.Write(text)
	return errors.Join(err, w.Sync(), w.Close())
}

// note remembers an entry of the folder itself.
func (f *founder) note(name string) {
	if top, _, deeper := strings.Cut(name, "/"); !deeper {
		f.tops = append(f.tops, top)
	}
}

// undo takes away what was made, and nothing else.
func (f *founder) undo(existed bool) {
	for _, name := range f.tops {
		_ = os.RemoveAll(filepath.Join(f.Dir, name))
	}
	if !existed {
		_ = os.Remove(f.Dir)
	}
}
