package seal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

// Options say where keys lie and what opens them.
type Options struct {
	DataDir  string // the keystore lies here
	EpochDir string // epoch keys lie here; must be outside DataDir
	Hub      Source // the hub key
	// Passphrase, if not nil, is mixed into the hub key with Argon2id.
	Passphrase Source
	// Recovery, if not nil, is the offline key that new epochs are also
	// encrypted to. Only its public half may be here.
	Recovery *pgp.Entity
	// Copies are the folders that keystore and epoch are copied to (copies.go).
	Copies []string
	// ReadOnly opens the keystore to look into it: nothing is cut off, made or
	// taken up.
	ReadOnly bool
	Rand     io.Reader        // default: crypto/rand
	Now      func() time.Time // default: time.Now

	// at, for tests, is called between two steps of a rotation; an error ends it
	// there as a crash would.
	at func(step string) error
	// patience, for tests, is that with a place of copies.
	patience time.Duration
}

func (o *Options) fill() error {
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.patience == 0 {
		o.patience = placePatience
	}
	if o.at == nil {
		o.at = func(string) error { return nil }
	}
	data, err := filepath.Abs(o.DataDir)
	if err != nil {
		return err
	}
	epochs, err := filepath.Abs(o.EpochDir)
	if err != nil {
		return err
	}
	if rel, err := filepath.Rel(data, epochs); err == nil && filepath.IsLocal(rel) {
		return journal.Fault("epoch_dir must lie outside data_dir")
	}
	return nil
}

func (o *Options) secrets() (h hubSecret, err error) {
	if h.key, err = hubKey(o.Hub); err != nil {
		return h, err
	}
	if o.Passphrase != nil {
		if h.passphrase, err = o.Passphrase.Secret(); err != nil {
			return h, fmt.Errorf("passphrase: %w", err)
		}
		h.passphrase = trimLineEnd(h.passphrase)
	}
	return h, nil
}

func trimLineEnd(b []byte) []byte {
	for len(b) > 0 && (b[len(b)-1] == '\n' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	return b
}

func keystorePath(dir string) string { return filepath.Join(dir, "keystore") }

// Create makes the first epoch key and an empty keystore. Both folders must
// exist; what is there already is never overwritten ([ErrExists]).
func Create(o Options) error {
	if err := o.fill(); err != nil {
		return fmt.Errorf("creating keys: %w", err)
	}
	hub, err := o.secrets()
	if err != nil {
		return fmt.Errorf("creating keys: %w", err)
	}
	for _, path := range []string{keystorePath(o.DataDir), epochPath(o.EpochDir, 1)} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("creating keys: %w", ErrExists)
		}
	}
	var id [16]byte
	if _, err := io.ReadFull(o.Rand, id[:]); err != nil {
		return fmt.Errorf("creating keys: %w", err)
	}
	e, err := newEpoch(1, id, o.Recovery, o.Now(), o.Rand)
	if err != nil {
		return fmt.Errorf("creating keys: %w", err)
	}
	w, err := e.wrapTo(&hub, e.made, o.Rand)
	if err != nil {
		return fmt.Errorf("creating keys: %w", err)
	}
	e.wraps = []wrap{w}
	if err := writeNew(epochPath(o.EpochDir, 1), e.encode()); err != nil {
		return fmt.Errorf("writing epoch 1: %w", err)
	}
	b, _, err := e.encodeKeystore(nil, 0, o.Rand)
	if err != nil {
		return fmt.Errorf("creating keys: %w", err)
	}
	if err := writeNew(keystorePath(o.DataDir), b); err != nil {
		return fmt.Errorf("writing keystore: %w", err)
	}
	return nil
}

// newEpoch draws an epoch key, encrypted to a recovery key if there is one.
func newEpoch(number uint32, id [16]byte, recovery *pgp.Entity, now time.Time, random io.Reader) (*epoch, error) {
	e := &epoch{number: number, store: id, made: now.UTC().Truncate(time.Second)}
	if _, err := io.ReadFull(random, e.key[:]); err != nil {
		return nil, err
	}
	return e, e.rescue(recovery, now, random)
}

// Open opens an existing keystore and locks it against other processes
// ([ErrInUse]). It returns [ErrHubKey] when hub key or passphrase do not fit and
// [ErrNoEpoch] when epoch_dir lacks the epoch key.
func Open(o Options) (*Keys, error) {
	if err := o.fill(); err != nil {
		return nil, fmt.Errorf("opening keystore: %w", err)
	}
	hub, err := o.secrets()
	if err != nil {
		return nil, fmt.Errorf("opening keystore: %w", err)
	}
	mode := os.O_RDWR
	if o.ReadOnly {
		mode = os.O_RDONLY
	}
	f, err := os.OpenFile(keystorePath(o.DataDir), mode, 0)
	if err != nil {
		return nil, fmt.Errorf("opening keystore: %w", err)
	}
	k := &Keys{
		o: o, random: o.Rand, now: o.Now, file: f, hub: hub,
		places: map[string]*place{}, late: map[string]<-chan error{}, dirty: make(chan struct{}, 1),
		keys: map[store.Owner]*key{}, dropped: map[store.Owner]bool{}, handles: map[Handle]store.Owner{},
	}
	k.idle = sync.NewCond(&k.mu)
	if err := k.load(); err != nil {
		k.file.Close()
		return nil, fmt.Errorf("opening keystore: %w", err)
	}
	if o.ReadOnly {
		if !k.Has(hubOwner) {
			k.file.Close()
			return nil, fmt.Errorf("opening keystore: the hub's own key: %w", store.ErrNotFound)
		}
		k.index()
		return k, nil
	}
	if err := k.NewKey(context.Background(), hubOwner); err != nil {
		k.file.Close()
		return nil, err
	}
	k.index()
	if err := k.takeUp(); err != nil {
		k.file.Close()
		return nil, fmt.Errorf("taking up an interrupted change of keys: %w", err)
	}
	return k, nil
}

func (k *Keys) load() error {
	if err := lockFile(k.file); err != nil {
		return err
	}
	b, err := io.ReadAll(k.file)
	if err != nil {
		return err
	}
	number, id, err := decodeTitle(b)
	if err != nil {
		return err
	}
	if k.epoch, err = readEpoch(k.o.EpochDir, number, id); err != nil {
		return err
	}
	if _, err := k.epoch.open(&k.hub); err != nil {
		return fmt.Errorf("opening epoch %d: %w", number, err)
	}
	c, err := k.epoch.read(b, func(r *record) {
		if r.kind == recordTombstone {
			delete(k.keys, r.owner)
			k.dropped[r.owner] = true
			return
		}
		delete(k.dropped, r.owner)
		k.keys[r.owner] = &key{secret: r.secret, made: r.made}
	})
	if err != nil {
		return err
	}
	k.tip, k.marks = c.tip, c.marks
	k.torn = int64(len(b)) - k.tip.end
	if k.o.ReadOnly {
		return nil
	}
	return k.mend(len(c.spoilt) > 0)
}

// mend takes away what a crash left of a write: of records that were acknowledged
// to nobody, or of a mark.
func (k *Keys) mend(marks bool) error {
	if k.torn > 0 {
		k.torn = 0
		if err := k.file.Truncate(k.tip.end); err != nil {
			return fmt.Errorf("cutting off a torn end: %w", err)
		}
		if err := k.file.Sync(); err != nil {
			return err
		}
	}
	if marks {
		return k.markEnd()
	}
	return nil
}
