package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	bolt "go.etcd.io/bbolt"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/seal"
)

// Look-ups by what could be guessed (an INS, a name, an address, a username) are
// kept apart, in a bucket of their own whose hashes have a key of their own. A
// bbolt file never quite loses what is deleted from it, and backups lose
// nothing: so an erasure makes all of these look-ups again under a new key, and
// forgets the old key with the erased one. Hashes of the old generation, here
// or in any copy, then answer no guess any more.
//
// What else is looked up by hash (Message-IDs, digests of bytes) keeps its key:
// who can guess those has the message.
//
// While a generation is being made both it and the one in use are written. The
// numbers of both stand beside the rows, so that each snapshot is read by the
// key it was written with.

// find is one look-up: what is looked for, and what it leads to, in the key
// (several may be found) or in the row (one is).
type find struct {
	use, what string
	suffix    []byte // of the key
	value     []byte // of the row
}

func (f *find) equal(g *find) bool {
	return f.use == g.use && f.what == g.what && string(f.suffix) == string(g.suffix)
}

const lookupsPrefix = "lookups-"

func lookupsBucket(generation uint32) []byte {
	return fmt.Appendf(nil, lookupsPrefix+"%08d", generation)
}

func lookupsOwner(generation uint32) store.Owner {
	return store.Owner{Kind: store.OwnedByHub, ID: fmt.Sprintf("lookups-%d", generation)}
}

// finders are the hashes by generation.
type finders struct {
	mu sync.Mutex
	m  map[uint32]seal.Finder
}

func (s *Store) finder(generation uint32) (seal.Finder, error) {
	s.finders.mu.Lock()
	defer s.finders.mu.Unlock()
	if f := s.finders.m[generation]; f != nil {
		return f, nil
	}
	f, err := s.keys.Finder(lookupsOwner(generation))
	if err != nil {
		return nil, fmt.Errorf("look-ups of generation %d: %w", generation, err)
	}
	if s.finders.m == nil {
		s.finders.m = map[uint32]seal.Finder{}
	}
	s.finders.m[generation] = f
	return f, nil
}

// generations are that in use, and that being made, or 0.
func (v *view) generations() (current, next uint32) {
	row := v.bucket(bucketMeta).Get(keyLookups)
	if len(row) != 8 {
		return 0, 0
	}
	return binary.BigEndian.Uint32(row), binary.BigEndian.Uint32(row[4:])
}

// found gives the bucket where what is looked for would be, and its key there.
func (v *view) found(use, what string) (*bucket, []byte, error) {
	current, _ := v.generations()
	b := v.buckets[numLookups] // what is looked up at one moment is looked up in one
	if b == nil || binary.BigEndian.Uint32(b.place[1:]) != current {
		b = v.bucket(lookupsBucket(current))
		v.buckets[numLookups] = b
	}
	if b.missing() {
		return nil, nil, fmt.Errorf("look-ups: %w", store.ErrCorrupt)
	}
	f, err := v.s.finder(current)
	if err != nil {
		return nil, nil, err
	}
	return b, findKey(f, &find{use: use, what: what}), nil
}

// foundRow is the row of a look-up that leads to one thing, nil if there is
// none.
func (v *view) foundRow(use, what string) ([]byte, error) {
	b, key, err := v.found(use, what)
	if err != nil {
		return nil, err
	}
	if row := b.Get(key); len(row) > 1 {
		return row[1:], nil
	}
	return nil, nil
}

func findKey(f seal.Finder, l *find) []byte {
	sum := f(l.use, l.what)
	return joined(sum[:16], l.suffix)
}

// moveFinds makes look-ups follow what a record says.
func (t *tx) moveFinds(old, is []find) error {
	current, next := t.generations()
	for _, generation := range []uint32{current, next} {
		if generation == 0 {
			continue
		}
		f, err := t.s.finder(generation)
		if err != nil {
			return err
		}
		for i := range old {
			if slices.ContainsFunc(is, func(l find) bool { return l.equal(&old[i]) }) {
				continue
			}
			if err := t.drop(lookupsBucket(generation), findKey(f, &old[i])); err != nil {
				return err
			}
		}
		added := slices.DeleteFunc(slices.Clone(is), func(l find) bool {
			return slices.ContainsFunc(old, func(o find) bool { return o.equal(&l) })
		})
		if err := t.putFinds(generation, f, added); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) putFinds(generation uint32, f seal.Finder, list []find) error {
	for i := range list {
		row := append([]byte{clearVersion}, list[i].value...)
		if err := t.putRaw(lookupsBucket(generation), findKey(f, &list[i]), row); err != nil {
			return err
		}
	}
	return nil
}

// resumeLookups undoes, at a start, a generation that was not finished, and makes
// the look-ups where they are not there: the index is new or was salvaged, or it is
// older than an erasure (a backup) and their key is gone, or than the generation
// that is in use.
func (s *Store) resumeLookups(ctx context.Context) error {
	var current, next uint32
	var missing bool
	err := s.see(func(v *view) error {
		current, next = v.generations()
		missing = v.bucket(lookupsBucket(current)).missing()
		return nil
	})
	if err == nil && next != 0 {
		err = s.setGenerations(ctx, current, 0)
	}
	if err == nil && (missing || s.anew || !s.keys.Has(lookupsOwner(current))) {
		_, err = s.rekey(ctx)
	}
	if err != nil {
		return fmt.Errorf("taking up the look-ups: %w", err)
	}
	return nil
}

func (s *Store) setGenerations(ctx context.Context, current, next uint32) error {
	return s.Commit(ctx, func(t store.Tx) error {
		return t.(*tx).putRaw(bucketMeta, keyLookups, joined(u32(current), u32(next)))
	})
}

// tidyLookups makes the buckets of the generations that there are, and removes
// those of others.
func tidyLookups(btx *bolt.Tx, current, next uint32) error {
	keep := map[string]bool{}
	for _, generation := range []uint32{current, next} {
		if generation != 0 {
			name := lookupsBucket(generation)
			keep[string(name)] = true
			if _, err := btx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
	}
	var gone [][]byte
	c := btx.Cursor()
	for k, _ := c.Seek([]byte(lookupsPrefix)); hasPrefix(k, []byte(lookupsPrefix)); k, _ = c.Next() {
		if !keep[string(k)] {
			gone = append(gone, clone(k))
		}
	}
	for _, k := range gone {
		if err := btx.DeleteBucket(k); err != nil {
			return err
		}
	}
	return nil
}

// rekeyPage is how many records one commit of rekey takes: others wait for it.
const rekeyPage = 50

// rekey makes the guessable look-ups again under a new key and begins to use
// them. It returns the owners of all former keys, to be forgotten.
func (s *Store) rekey(ctx context.Context) ([]store.Owner, error) {
	s.rekeying.Lock()
	defer s.rekeying.Unlock()
	var current, next uint32
	if err := s.View(ctx, func(sv store.View) error {
		current, _ = sv.(*view).generations()
		return nil
	}); err != nil {
		return nil, err
	}
	next = current + 1
	if err := s.keys.NewKey(ctx, lookupsOwner(next)); err != nil {
		return nil, err
	}
	if err := s.fillLookups(ctx, current, next); err != nil {
		return nil, fmt.Errorf("making look-ups under a new key: %w", err)
	}
	s.finders.mu.Lock()
	for generation := range s.finders.m {
		if generation < current { // a snapshot may still be of the last one
			delete(s.finders.m, generation)
		}
	}
	s.finders.mu.Unlock()
	var former []store.Owner
	for _, o := range s.keys.Owners(store.OwnedByHub) {
		if o != hubOwner && o != lookupsOwner(next) {
			former = append(former, o)
		}
	}
	return former, nil
}

// fillLookups makes a generation. What it holds can be made again, and is not
// logged: it is in the index before the generation is used.
func (s *Store) fillLookups(ctx context.Context, current, next uint32) error {
	if err := s.setGenerations(ctx, current, next); err != nil {
		return err
	}
	if err := s.flush(ctx, nil); err != nil {
		return err
	}
	for _, of := range []struct {
		bucket []byte
		finds  func(v *view, key, row []byte) ([]find, error)
	}{{bucketPathways, (*view).findsOfPathway}, {bucketBoxes, (*view).findsOfBox}, {bucketAccounts, (*view).findsOfAccount}} {
		var from, to []byte
		for more := true; more; from = to {
			err := s.CommitSoon(ctx, func(st store.Tx) (err error) {
				t := st.(*tx)
				t.derived = true
				to, more, err = t.fillPage(next, of.bucket, from, of.finds)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	if err := s.flush(ctx, nil); err != nil {
		return err
	}
	return s.setGenerations(ctx, next, 0)
}

// fillPage makes the look-ups of some records, from after a key on.
func (t *tx) fillPage(generation uint32, bucket, from []byte, finds func(*view, []byte, []byte) ([]find, error)) ([]byte, bool, error) {
	f, err := t.s.finder(generation)
	if err != nil {
		return from, false, err
	}
	c := t.bucket(bucket).Cursor()
	k, row := c.First()
	if from != nil {
		k, row = c.Seek(after(from, nil))
	}
	for range rekeyPage {
		if k == nil {
			return from, false, nil
		}
		list, err := finds(&t.view, k, row)
		switch {
		case errors.Is(err, store.ErrErased): // of a backup: erased since
		case err != nil:
			return from, false, err
		default:
			if err := t.putFinds(generation, f, list); err != nil {
				return from, false, err
			}
		}
		from = clone(k)
		k, row = c.Next()
	}
	return from, true, nil
}
