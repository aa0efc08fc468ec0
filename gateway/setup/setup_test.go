package setup

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/rules/strict"
	"github.com/relais-sante/relais/store/seal"
)

func TestInit(t *testing.T) {
	for _, dev := range []bool{true, false} {
		dir := filepath.Join(t.TempDir(), "hub")
		made, err := Init(Options{Dir: dir, Domain: "parcours.example", Dev: dev})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range made {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				t.Errorf("said to be made: %v", err)
			}
		}
		config, problems := configs.Load(filepath.Join(dir, ConfigName))
		if strict.Fatal(problems) {
			t.Errorf("dev %v: %v", dev, problems)
		}
		keys, err := seal.Open(seal.Options{
			DataDir: string(config.DataDir), EpochDir: string(config.Keys.EpochDir), Hub: seal.File(config.Keys.HubKey.Name),
		})
		if err != nil {
			t.Errorf("dev %v: %v", dev, err)
		} else {
			keys.Close()
		}
		_, err = trust.OpenDevAuthority(filepath.Join(dir, "tls"), nil)
		if (err == nil) != dev {
			t.Errorf("dev %v: test authority: %v", dev, err)
		}
		err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			info, _ := d.Info()
			public := filepath.Ext(path) == ".pem" && d.Name() != keyFile // certificates
			if err == nil && info.Mode().Perm()&0o077 != 0 && !public {
				t.Errorf("%s is open to others: %v", path, info.Mode())
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestNothingIsOverwritten(t *testing.T) {
	dir := t.TempDir()
	precious := filepath.Join(dir, "precious")
	if err := os.WriteFile(precious, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Init(Options{Dir: dir, Domain: "parcours.example", Dev: true}); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("got %v, want %v", err, ErrNotEmpty)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder now holds %v (%v)", entries, err)
	}
}

func TestFailureLeavesNothing(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "hub")
	var invalid *Invalid
	if _, err := Init(Options{Dir: dir, Domain: "pas un domaine"}); !errors.As(err, &invalid) {
		t.Errorf("got %v", err)
	}
	f := &founder{Options: Options{Dir: dir, Domain: "parcours.example", Dev: true}}
	f.config, _ = configs.Parse(filepath.Join(dir, ConfigName), nil)
	f.config.Keys.HubKey.Name = filepath.Join(dir, "nowhere", "hub.key") // fails when half is made
	if err := f.build([]byte("domain"), nil); err == nil {
		t.Fatal("no error")
	}
	f.undo(false)
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func TestRecoveryKey(t *testing.T) {
	key, err := pgp.NewEntity("secours", "", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, private, armoured bool) string {
		var b bytes.Buffer
		serialize := func(w *bytes.Buffer) error {
			if private {
				return key.SerializePrivate(w, nil)
			}
			return key.Serialize(w)
		}
		if err := serialize(&b); err != nil {
			t.Fatal(err)
		}
		text := b.Bytes()
		if armoured {
			var a bytes.Buffer
			w, err := armor.Encode(&a, pgp.PublicKeyType, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(text); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			text = a.Bytes()
		}
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		file string
		want error
	}{
		{write("public.asc", false, true), nil},
		{write("public.pgp", false, false), nil},
		{write("private.pgp", true, false), seal.ErrRecoverySecret},
	} {
		dir := filepath.Join(t.TempDir(), "hub")
		_, err := Init(Options{Dir: dir, Domain: "parcours.example", RecoveryKey: c.file})
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", filepath.Base(c.file), err, c.want)
		}
		if c.want != nil {
			continue
		}
		config, _ := configs.Load(filepath.Join(dir, ConfigName))
		if config.Keys.RecoveryKey == "" {
			t.Errorf("%s: the configuration does not name it", filepath.Base(c.file))
		}
	}
}
