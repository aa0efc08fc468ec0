package seal

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"math/bits"
	"sync"

	"github.com/relais-sante/relais/store"
)

// A sealed row, version 1: the version byte, a nonce of 12 bytes, and the
// padded row under AES-256-GCM with the owner's row key. Bucket and key are the
// associated data, so that a row cannot be moved.
//
// The padding (a 0x80 byte, then zeros) follows Padmé (Nikitin et al., PETS
// 2019): at most 12 % more, and a length tells next to nothing about how many
// members or documents a row lists.
const rowVersion = 1

// SealRow appends the sealed form of row to dst.
func (k *Keys) SealRow(dst []byte, o store.Owner, bucket string, rowKey, row []byte) ([]byte, error) {
	aead, err := k.rowCipher(o)
	if err != nil {
		return nil, err
	}
	padded := padme(len(row) + 1)
	total := 1 + nonceSize + padded + tagSize
	if cap(dst)-len(dst) < total {
		dst = append(make([]byte, 0, len(dst)+total), dst...)
	}
	start := len(dst)
	dst = append(dst, rowVersion)
	nonce := dst[start+1 : start+1+nonceSize]
	if _, err := io.ReadFull(k.random, nonce); err != nil {
		return nil, fmt.Errorf("sealing a row: %w", err)
	}
	clear := dst[start+1+nonceSize : start+1+nonceSize+padded]
	n := copy(clear, row)
	clear[n] = 0x80
	zero(clear[n+1:])
	var scratch [128]byte
	sealed := aead.Seal(clear[:0], nonce, clear, appendAAD(scratch[:0], bucket, rowKey))
	return dst[:start+1+nonceSize+len(sealed)], nil
}

// OpenRow appends the clear form of a sealed row to dst.
func (k *Keys) OpenRow(dst []byte, o store.Owner, bucket string, rowKey, sealed []byte) ([]byte, error) {
	aead, err := k.rowCipher(o)
	if err != nil {
		return nil, err
	}
	if len(sealed) < 1+nonceSize+tagSize+1 {
		return nil, fmt.Errorf("opening a row of %s: %w", bucket, store.ErrCorrupt)
	}
	switch {
	case sealed[0] > rowVersion:
		return nil, fmt.Errorf("opening a row of %s: %w", bucket, store.ErrNewer)
	case sealed[0] != rowVersion: // the version is not sealed with the rest
		return nil, fmt.Errorf("opening a row of %s: %w", bucket, store.ErrCorrupt)
	}
	var scratch [128]byte
	nonce, box := sealed[1:1+nonceSize], sealed[1+nonceSize:]
	start := len(dst)
	dst, err = aead.Open(dst, nonce, box, appendAAD(scratch[:0], bucket, rowKey))
	if err != nil {
		return nil, fmt.Errorf("opening a row of %s: %w", bucket, store.ErrCorrupt)
	}
	for i := len(dst) - 1; i >= start; i-- {
		if dst[i] == 0x80 {
			return dst[:i], nil
		}
		if dst[i] != 0 {
			break
		}
	}
	return nil, fmt.Errorf("opening a row of %s: %w", bucket, store.ErrCorrupt)
}

func (k *Keys) rowCipher(o store.Owner) (cipher.AEAD, error) {
	if c := k.rows.get(o); c != nil {
		return c, nil
	}
	e, err := k.get(o)
	if err != nil {
		return nil, err
	}
	sub := derive(e.secret[:], "row")
	c, err := newGCM(sub[:])
	if err != nil {
		return nil, err
	}
	k.rows.put(o, c)
	// The key may have been dropped meanwhile, and the cache cleaned before this.
	if again, err := k.get(o); err != nil || again != e {
		k.rows.forget(o)
	}
	return c, nil
}

func appendAAD(b []byte, bucket string, rowKey []byte) []byte {
	b = append(b, bucket...)
	b = append(b, 0)
	return append(b, rowKey...)
}

func zero(b []byte) {
	for i := range b {
		b[i] = 0
	}
}

// padme is the padded length of n bytes, at least 32.
func padme(n int) int {
	if n <= 32 {
		return 32
	}
	e := bits.Len(uint(n)) - 1
	s := bits.Len(uint(e))
	mask := 1<<(e-s) - 1
	return (n + mask) &^ mask
}

// Handle is the keyed name of an owner: what stands for it in row keys and
// commit records. It says nothing without the hub's key.
type Handle [12]byte

// index sets up the handles of all owners, once.
func (k *Keys) index() {
	k.mu.Lock()
	defer k.mu.Unlock()
	secret := k.keys[hubOwner].secret[:]
	k.lookups, k.macs = newHasher(derive(secret, "look-ups")), newHasher(derive(secret, "mac"))
	for o, e := range k.keys {
		k.name(o, e)
	}
}

// name sets up the handle of an owner that has a key. Callers hold mu.
func (k *Keys) name(o store.Owner, e *key) {
	e.handle = k.handleOf(o)
	k.handles[e.handle] = o
}

func (k *Keys) handleOf(o store.Owner) Handle {
	sum := k.lookups.hash("owner", string(o.Kind), o.ID)
	return Handle(sum[:len(Handle{})])
}

// Handle gives the keyed name of an owner, whether or not it has a key.
func (k *Keys) Handle(o store.Owner) Handle {
	k.mu.RLock()
	e := k.keys[o]
	k.mu.RUnlock()
	if e != nil { // nearly always, and with every row
		return e.handle
	}
	return k.handleOf(o)
}

// OwnerOf finds the owner a handle stands for, among those that have a key.
func (k *Keys) OwnerOf(h Handle) (store.Owner, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	o, ok := k.handles[h]
	return o, ok
}

// Finder is a keyed hash of parts, for a use.
type Finder func(use string, parts ...string) [32]byte

// Finder gives the keyed hash whose key is derived from o's. Forgetting o's key
// makes hashes that are kept anywhere say nothing to anybody.
func (k *Keys) Finder(o store.Owner) (Finder, error) {
	e, err := k.get(o)
	if err != nil {
		return nil, err
	}
	return newHasher(derive(e.secret[:], "look-ups")).hash, nil
}

// Lookup is a keyed hash for keys of the index. Its key is apart from that of
// [Keys.Mac]. It stays the same over the life of the hub: what could be guessed
// (identities, addresses) goes through a [Keys.Finder].
func (k *Keys) Lookup(use string, parts ...string) [32]byte {
	return k.lookups.hash(use, parts...)
}

// Mac is a keyed hash that never changes over the life of the hub.
func (k *Keys) Mac(use string, parts ...string) [32]byte {
	return k.macs.hash(use, parts...)
}

// hasher computes HMAC-SHA256 under one key. Setting a key up costs as much as
// hashing, so states are kept.
type hasher struct{ states sync.Pool }

// hashState is what one calculation needs: what goes into hash.Hash would
// otherwise be allocated each time.
type hashState struct {
	mac hash.Hash
	in  []byte
	out [sha256.Size]byte
}

func newHasher(key [keySize]byte) *hasher {
	h := new(hasher)
	h.states.New = func() any { return &hashState{mac: hmac.New(sha256.New, key[:]), in: make([]byte, 0, 256)} }
	return h
}

// hash hashes parts so that they cannot run into one another.
func (h *hasher) hash(use string, parts ...string) [32]byte {
	state := h.states.Get().(*hashState)
	defer h.states.Put(state)
	b := binary.BigEndian.AppendUint32(state.in[:0], uint32(len(use)))
	b = append(b, use...)
	for _, p := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	state.mac.Reset()
	state.mac.Write(b)
	state.mac.Sum(state.out[:0])
	return state.out
}
