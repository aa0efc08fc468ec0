package seal

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

const (
	errOwner  = journal.Fault("not an owner of keys")
	errClosed = journal.Fault("keystore closed")
)

// Keys holds an open keystore. All methods may be called concurrently.
//
// Locks: upkeep is held by whoever changes epochs or looks after the copies,
// for as long as that takes; nothing else waits for it. mu guards what is in
// memory and is held for moments only; the one goroutine for which writing is
// true owns the file and may replace epoch. Neither waits for the other while
// holding it.
type Keys struct {
	o      Options
	random io.Reader
	now    func() time.Time

	upkeep sync.Mutex
	hub    hubSecret  // the hub key in use
	next   *hubSecret // the one it is being changed for, if it is at hand
	places map[string]*place
	late   map[string]<-chan error // steps that did not end in time, by place; under upkeep
	marks  marks                   // of the keystore in use; under upkeep
	dirty  chan struct{}           // tells Run that the copies lag

	mu      sync.RWMutex
	epoch   *epoch
	noted   []record // written since a rotation began; nil: none is under way
	keys    map[store.Owner]*key
	dropped map[store.Owner]bool // true: its wrapped secret is in the file still
	handles map[Handle]store.Owner
	pending []*waiting
	writing bool
	closed  bool
	broken  error      // no more writing until a restart
	idle    *sync.Cond // signalled when writing turns false
	file    *os.File
	tip     tip   // of the durable records
	torn    int64 // bytes behind them, where they were not cut off
	remains bool  // of a write that failed lie behind them
	rows    aeads
	lookups *hasher // nil until the hub's own secret is there
	macs    *hasher
}

// key is an owner's secret and what was derived from it so far.
type key struct {
	secret [keySize]byte
	made   time.Time
	handle Handle // keyed name of the owner; see [Keys.index]
	once   sync.Once
	pub    *recipient // OpenPGP subkey, derived at first use
	err    error
}

// hubOwner owns rows about no patient and the keys of look-ups.
var hubOwner = store.Owner{Kind: store.OwnedByHub}

// Epoch is the number of the epoch and when it began.
func (k *Keys) Epoch() (uint32, time.Time) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.epoch.number, k.epoch.made
}

// Number is that of the last durable record of the keystore. It never falls: a
// keystore with a lower one lacks keys.
func (k *Keys) Number() uint64 {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.tip.number
}

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

// Owners lists the owners of a kind that have a key, in no order.
func (k *Keys) Owners(kind store.OwnerKind) []store.Owner {
	k.mu.RLock()
	defer k.mu.RUnlock()
	var out []store.Owner
	for o := range k.keys {
		if o.Kind == kind {
			out = append(out, o)
		}
	}
	return out
}

// Has reports whether o has a key.
func (k *Keys) Has(o store.Owner) bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.keys[o] != nil
}

// Lingers reports whether the keystore holds o's secret, be it of a key that was
// dropped: the next epoch does not carry those.
func (k *Keys) Lingers(o store.Owner) bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.keys[o] != nil || k.dropped[o]
}

// Close waits for writes, marks where they ended and closes the file.
func (k *Keys) Close() error {
	k.upkeep.Lock()
	defer k.upkeep.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.writing {
		k.idle.Wait()
	}
	if k.closed {
		return nil
	}
	k.closed = true
	return errors.Join(k.markEnd(), k.file.Close())
}

// markEnd marks in the file that all is durable that was written so far. Under
// upkeep and mu, while nobody writes.
func (k *Keys) markEnd() error {
	if k.o.ReadOnly || k.broken != nil {
		return nil
	}
	was := k.marks
	err := k.marks.note(k.file, k.epoch, k.tip)
	if err == nil && k.marks != was {
		err = k.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("marking the end of the keystore: %w", storeFault(err))
	}
	return nil
}

// get finds an owner's key: [store.ErrErased] if it was dropped,
// [store.ErrNotFound] if there never was one.
func (k *Keys) get(o store.Owner) (*key, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if e := k.keys[o]; e != nil {
		return e, nil
	}
	if _, ok := k.dropped[o]; ok {
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
