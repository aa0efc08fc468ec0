package seal

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

const (
	errOwner  = journal.Fault("not an owner of keys")
	errClosed = journal.Fault("keystore closed")
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
	Rand     io.Reader        // default: crypto/rand
	Now      func() time.Time // default: time.Now
}

// Keys holds an open keystore. All methods may be called concurrently.
//
// Locks: mu guards what is in memory and is held for moments only; the one
// goroutine for which writing is true owns the file. Neither waits for the
// other while holding it.
type Keys struct {
	random io.Reader
	now    func() time.Time
	epoch  *epoch

	mu      sync.RWMutex
	keys    map[store.Owner]*key
	dropped map[store.Owner]bool
	handles map[Handle]store.Owner
	pending []*waiting
	writing bool
	closed  bool
	idle    *sync.Cond // signalled when writing turns false
	file    *os.File
	end     int64 // of the durable records
	rows    aeads
	lookups *hasher // nil until the hub's own secret is there
	macs    *hasher
}

// key is an owner's secret and what was derived from it so far.
type key struct {
	secret [keySize]byte
	made   time.Time
	once   sync.Once
	pub    *recipient // OpenPGP subkey, derived at first use
	err    error
}

type waiting struct {
	rec    record
	needed bool // false: the record would change nothing
	done   chan struct{}
	err    error
}

func (o *Options) fill() error {
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Now == nil {
		o.Now = time.Now
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

func (o *Options) secrets() (hub, passphrase []byte, err error) {
	if hub, err = hubKey(o.Hub); err != nil {
		return nil, nil, err
	}
	if o.Passphrase != nil {
		if passphrase, err = o.Passphrase.Secret(); err != nil {
			return nil, nil, fmt.Errorf("passphrase: %w", err)
		}
		passphrase = trimLineEnd(passphrase)
	}
	return hub, passphrase, nil
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
	hub, passphrase, err := o.secrets()
	if err != nil {
		return fmt.Errorf("creating keys: %w", err)
	}
	for _, path := range []string{keystorePath(o.DataDir), epochPath(o.EpochDir, 1)} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("creating keys: %w", ErrExists)
		}
	}
	e := &epoch{number: 1, made: o.Now()}
	if _, err := io.ReadFull(o.Rand, e.key[:]); err != nil {
		return fmt.Errorf("creating keys: %w", err)
	}
	if _, err := io.ReadFull(o.Rand, e.store[:]); err != nil {
		return fmt.Errorf("creating keys: %w", err)
	}
	b, err := e.encode(hub, passphrase, o.Recovery, o.Rand)
	if err != nil {
		return fmt.Errorf("creating keys: %w", err)
	}
	if err := writeNew(epochPath(o.EpochDir, 1), b); err != nil {
		return fmt.Errorf("writing epoch 1: %w", err)
	}
	if err := writeNew(keystorePath(o.DataDir), encodeHead(1, e.store)); err != nil {
		return fmt.Errorf("writing keystore: %w", err)
	}
	return nil
}

// Open opens an existing keystore and locks it against other processes
// ([ErrInUse]). It returns [ErrHubKey] when hub key or passphrase do not fit and
// [ErrNoEpoch] when epoch_dir lacks the epoch key.
func Open(o Options) (*Keys, error) {
	if err := o.fill(); err != nil {
		return nil, fmt.Errorf("opening keystore: %w", err)
	}
	hub, passphrase, err := o.secrets()
	if err != nil {
		return nil, fmt.Errorf("opening keystore: %w", err)
	}
	f, err := os.OpenFile(keystorePath(o.DataDir), os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("opening keystore: %w", err)
	}
	k := &Keys{
		random: o.Rand, now: o.Now, file: f,
		keys: map[store.Owner]*key{}, dropped: map[store.Owner]bool{}, handles: map[Handle]store.Owner{},
	}
	k.idle = sync.NewCond(&k.mu)
	if err := k.load(o.EpochDir, hub, passphrase); err != nil {
		f.Close()
		return nil, fmt.Errorf("opening keystore: %w", err)
	}
	if err := k.NewKey(context.Background(), hubOwner); err != nil {
		f.Close()
		return nil, err
	}
	k.index()
	return k, nil
}

// hubOwner owns rows about no patient and the keys of look-ups.
var hubOwner = store.Owner{Kind: store.OwnedByHub}

func (k *Keys) load(epochDir string, hub, passphrase []byte) error {
	if err := lockFile(k.file); err != nil {
		return err
	}
	b, err := io.ReadAll(k.file)
	if err != nil {
		return err
	}
	number, id, err := decodeHead(b)
	if err != nil {
		return err
	}
	if k.epoch, err = readEpoch(epochDir, number, id, hub, passphrase); err != nil {
		return err
	}
	n, err := k.epoch.scanRecords(b[storeHead:], storeHead, func(r *record) {
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
	k.end = int64(storeHead + n)
	if k.end < int64(len(b)) {
		if err := k.file.Truncate(k.end); err != nil {
			return fmt.Errorf("cutting off a torn end: %w", err)
		}
		return k.file.Sync()
	}
	return nil
}

// Epoch is the number of the epoch and when it began.
func (k *Keys) Epoch() (uint32, time.Time) { return k.epoch.number, k.epoch.made }

// NewKey makes a key for o that is durable on return; concurrent calls share
// syncs. A key that exists is no error; one that was dropped is made anew. A
// full disk gives [store.ErrFull].
func (k *Keys) NewKey(ctx context.Context, o store.Owner) error {
	if k.Has(o) {
		return nil
	}
	w := &waiting{rec: record{kind: recordKey, owner: o, made: k.now().UTC().Truncate(time.Second)}}
	if _, err := io.ReadFull(k.random, w.rec.secret[:]); err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	if err := k.write(ctx, w); err != nil {
		return fmt.Errorf("making a key of kind %s: %w", o.Kind, err)
	}
	return nil
}

// DropKey forgets o's key; dropping one that is not there does nothing. The
// wrapped secret stays in the file until the next epoch.
func (k *Keys) DropKey(ctx context.Context, o store.Owner) error {
	if !k.Has(o) {
		return nil
	}
	w := &waiting{rec: record{kind: recordTombstone, owner: o, made: k.now().UTC()}}
	if err := k.write(ctx, w); err != nil {
		return fmt.Errorf("dropping a key of kind %s: %w", o.Kind, err)
	}
	return nil
}

// Has reports whether o has a key.
func (k *Keys) Has(o store.Owner) bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.keys[o] != nil
}

// write queues w and waits until it is durable. Whoever finds nobody writing
// writes for all who wait. Once queued it cannot be taken back, so ctx is only
// asked before.
func (k *Keys) write(ctx context.Context, w *waiting) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.done = make(chan struct{})
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return errClosed
	}
	k.pending = append(k.pending, w)
	if k.writing {
		k.mu.Unlock()
		<-w.done
		return w.err
	}
	k.writing = true
	for len(k.pending) > 0 {
		batch := k.pending
		k.pending = nil
		k.sift(batch)
		k.mu.Unlock()
		n, err := k.writeBatch(batch)
		k.mu.Lock()
		k.settle(batch, n, err)
	}
	k.writing = false
	k.idle.Broadcast()
	k.mu.Unlock()
	return w.err
}

// sift marks the records of a batch that change something: of several keys made
// at once for one owner the first stands, since something may be sealed with it
// by the time the second is asked for.
func (k *Keys) sift(batch []*waiting) {
	has := map[store.Owner]bool{}
	for _, w := range batch {
		o := w.rec.owner
		there, seen := has[o]
		if !seen {
			there = k.keys[o] != nil
		}
		w.needed = there == (w.rec.kind == recordTombstone)
		has[o] = w.rec.kind == recordKey
	}
}

// writeBatch makes a batch durable and returns its length.
func (k *Keys) writeBatch(batch []*waiting) (int, error) {
	var b []byte
	var err error
	for _, w := range batch {
		if !w.needed {
			continue
		}
		if b, err = k.epoch.appendRecord(b, &w.rec, k.end, k.random); err != nil {
			return 0, err
		}
	}
	if len(b) == 0 {
		return 0, nil
	}
	_, err = k.file.WriteAt(b, k.end)
	if err == nil {
		err = k.file.Sync()
	}
	if err != nil {
		// What was written of it must not come back at the next start.
		_ = k.file.Truncate(k.end)
		return 0, storeFault(err)
	}
	return len(b), nil
}

// settle makes a durable batch visible and wakes who waited for it.
func (k *Keys) settle(batch []*waiting, n int, err error) {
	k.end += int64(n)
	for _, w := range batch {
		w.err = err
		o := w.rec.owner
		switch {
		case err != nil || !w.needed:
		case w.rec.kind == recordTombstone:
			delete(k.keys, o)
			k.rows.forget(o)
			k.dropped[o] = true
			if k.lookups != nil {
				delete(k.handles, k.handleOf(o))
			}
		default:
			k.keys[o] = &key{secret: w.rec.secret, made: w.rec.made}
			delete(k.dropped, o)
			if k.lookups != nil {
				k.handles[k.handleOf(o)] = o
			}
		}
		close(w.done)
	}
}

// Close waits for writes and closes the file.
func (k *Keys) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.writing {
		k.idle.Wait()
	}
	if k.closed {
		return nil
	}
	k.closed = true
	return k.file.Close()
}

// get finds an owner's key: [store.ErrErased] if it was dropped,
// [store.ErrNotFound] if there never was one.
func (k *Keys) get(o store.Owner) (*key, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if e := k.keys[o]; e != nil {
		return e, nil
	}
	if k.dropped[o] {
		return nil, fmt.Errorf("key of kind %s: %w", o.Kind, store.ErrErased)
	}
	return nil, fmt.Errorf("key of kind %s: %w", o.Kind, store.ErrNotFound)
}

// aeads is a bounded cache of row ciphers: setting one up costs more than
// sealing a row.
type aeads struct {
	mu sync.RWMutex
	m  map[store.Owner]cipher.AEAD
}

const maxAEADs = 4096

func (a *aeads) get(o store.Owner) cipher.AEAD {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.m[o]
}

func (a *aeads) put(o store.Owner, c cipher.AEAD) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.m == nil {
		a.m = make(map[store.Owner]cipher.AEAD)
	}
	if len(a.m) >= maxAEADs {
		for old := range a.m { // any one: the map's order is random
			delete(a.m, old)
			break
		}
	}
	a.m[o] = c
}

func (a *aeads) forget(o store.Owner) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.m, o)
}

// storeFault gives write errors the names that callers know.
func storeFault(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}
