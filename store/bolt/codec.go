package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"

	"github.com/fxamacker/cbor/v2"
	bolt "go.etcd.io/bbolt"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/seal"
)

// Records are CBOR (RFC 8949) with integer keys. Times keep their nanoseconds
// and come back in UTC. Text that is not UTF-8 is kept: malformed mail is kept
// as it came, and what was written must be readable.
var (
	encoding = must(cbor.EncOptions{Time: cbor.TimeRFC3339NanoUTC}.EncMode())
	decoding = must(cbor.DecOptions{UTF8: cbor.UTF8DecodeInvalid, MaxArrayElements: 1 << 20, MaxNestedLevels: 16}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // only for options that are constants here
	}
	return v
}

const clearVersion = 1 // first byte of rows in clear

// view reads at one moment: rows of the index in one bbolt transaction, and over
// them what the index does not have yet.
type view struct {
	s      *Store
	tx     *bolt.Tx
	over   *levels // nil: the index alone
	writes bool    // the active level is being written to

	buckets [numBuckets]*bucket
	pivot   entry // for looking something up

	// The pathway asked for last and its handle: most of what is read or
	// written in one go is about one pathway.
	code   store.PathwayCode
	handed seal.Handle
	// The same of the account.
	account       store.AccountID
	accountHanded seal.Handle
}

var _ store.View = (*view)(nil)

// now is the state that the view sees.
func (v *view) now() (*state, error) {
	if v.over != nil {
		return v.over.state, nil
	}
	st := new(state)
	if err := v.get(bucketMeta, keyState, hubOwner, st); err != nil {
		return nil, fmt.Errorf("reading state: %w", err)
	}
	return st, nil
}

// get reads the sealed row at key into out: ErrNotFound if there is none.
func (v *view) get(bucket, key []byte, owner store.Owner, out any) error {
	row := v.bucket(bucket).Get(key)
	if row == nil {
		return store.ErrNotFound
	}
	return v.open(bucket, key, owner, row, out)
}

// open opens a sealed row into out, a pointer to a record or to bytes.
func (v *view) open(bucket, key []byte, owner store.Owner, row []byte, out any) error {
	clear, err := v.s.keys.OpenRow(nil, owner, string(bucket), key, row)
	if errors.Is(err, store.ErrNotFound) {
		// A row whose key is in no epoch any more.
		return fmt.Errorf("row of %s: %w", bucket, store.ErrErased)
	}
	if err != nil {
		return err
	}
	return decode(bucket, clear, out)
}

func decode(bucket, clear []byte, out any) error {
	if b, ok := out.(*[]byte); ok {
		*b = clear
		return nil
	}
	if err := decoding.Unmarshal(clear, out); err != nil {
		// The library's error may quote what it read.
		return fmt.Errorf("decoding a %s of %s: %w", reflect.TypeOf(out).Elem().Name(), bucket, store.ErrCorrupt)
	}
	return nil
}

// An owned row says whose key it is sealed with: a handle before the sealed
// bytes, all zero for the hub's. Rows of several owners share a bucket so.
const handleSize = len(seal.Handle{})

func (v *view) getOwned(bucket, key []byte, out any) error {
	row := v.bucket(bucket).Get(key)
	if row == nil {
		return store.ErrNotFound
	}
	return v.openOwned(bucket, key, row, out)
}

func (v *view) openOwned(bucket, key, row []byte, out any) error {
	if len(row) < handleSize {
		return fmt.Errorf("row of %s: %w", bucket, store.ErrCorrupt)
	}
	h := seal.Handle(row[:handleSize])
	owner := hubOwner
	if h != (seal.Handle{}) {
		var ok bool
		if owner, ok = v.s.keys.OwnerOf(h); !ok {
			return fmt.Errorf("row of %s: %w", bucket, store.ErrErased)
		}
	}
	return v.open(bucket, key, owner, row[handleSize:], out)
}

// lookup is the first half of a keyed hash: enough that no two collide by
// chance, short enough for a key.
func (v *view) lookup(use string, parts ...string) []byte {
	sum := v.s.keys.Lookup(use, parts...)
	return sum[:16:16]
}

// digest stands for a row in a sum over many (exclusive or): no row can be taken
// from them, added or changed so that the sum stays, without the key of the hub.
func (v *view) digest(key, row []byte) uint64 {
	return binary.BigEndian.Uint64(v.lookup("digest", string(key), string(row)))
}

func (v *view) handle(c store.PathwayCode) []byte {
	if c != v.code || c == "" {
		v.code, v.handed = c, v.s.keys.Handle(pathwayOwner(c))
	}
	h := v.handed
	return h[:]
}

// pathwayOf gives the code that a handle stands for, unless it was erased.
func (v *view) pathwayOf(handle []byte) (store.PathwayCode, bool) {
	o, ok := v.s.keys.OwnerOf(seal.Handle(handle))
	if !ok || o.Kind != store.OwnedByPathway {
		return "", false
	}
	return store.PathwayCode(o.ID), true
}

// threadKey makes a key of bucketThreads.
func (v *view) threadKey(c store.PathwayCode, kind byte, parts ...[]byte) []byte {
	n := handleSize + 1
	for _, p := range parts {
		n += len(p)
	}
	b := append(make([]byte, 0, n+8), v.handle(c)...)
	b = append(b, kind)
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func u64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
func u32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// hasPrefix tells whether a key lies in a range.
func hasPrefix(key, prefix []byte) bool {
	return len(key) >= len(prefix) && string(key[:len(prefix)]) == string(prefix)
}

// after is the first possible key behind all that begin with prefix followed by
// the bytes last.
func after(prefix, last []byte) []byte {
	b := make([]byte, 0, len(prefix)+len(last)+1)
	b = append(b, prefix...)
	b = append(b, last...)
	return append(b, 0)
}

// joined concatenates to a new slice.
func joined(parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	b := make([]byte, 0, n)
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}
