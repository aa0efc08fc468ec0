package seal

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

// A new epoch, in steps that a crash may come between:
//
//  1. The new epoch key is written to epoch_dir.
//  2. Every key that survives is wrapped by it into keystore.next. Keys made or
//     dropped meanwhile still go to the keystore, and are noted.
//  3. While nobody writes, what was noted follows, and keystore.next takes the
//     name keystore; the old one keeps the name keystore.old.
//  4. Keystore and epoch are copied to every place and read back (copies.go).
//  5. The old epoch and the old keystore are overwritten and removed, at the
//     places first, here last.
//
// Until the change of names in step 3 a start goes on in the old epoch and
// removes what was made of the new one; from then on it goes on in the new one,
// and steps 4 and 5 are owed for as long as there is an older epoch file.

const (
	// ErrHubSwitch: the hub key is being changed and the new one is not at
	// hand, so that a new epoch could not be wrapped by it.
	ErrHubSwitch = journal.Fault("the hub key is being changed: put the new one in place and restart")
	// ErrSameKey: a key was to be changed for itself.
	ErrSameKey = journal.Fault("the key in use already")
)

// Rotate begins a new epoch without the keys of some owners and returns its
// number. When it returns nil, no epoch key that could open the keys of those
// owners is left anywhere. An error of type [*Away] says that the new epoch is
// in use, and where a copy could not be reached: [Keys.Settle] goes on.
func (k *Keys) Rotate(ctx context.Context, without ...store.Owner) (uint32, error) {
	k.upkeep.Lock()
	defer k.upkeep.Unlock()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	e, err := k.begin(without)
	if err != nil {
		return 0, fmt.Errorf("beginning a new epoch: %w", err)
	}
	return e.number, k.settleAll(ctx)
}

// begin does steps 1 to 3.
func (k *Keys) begin(without []store.Owner) (*epoch, error) {
	e, err := k.nextEpoch()
	if err != nil {
		return nil, err
	}
	if err := k.o.at("epoch"); err != nil {
		return nil, err
	}
	if err := stage(epochPath(k.o.EpochDir, e.number), e.encode()); err != nil {
		return nil, storeFault(err)
	}
	if err := k.o.at("rewrap"); err != nil {
		return nil, err
	}
	gone := make(map[store.Owner]bool, len(without))
	for _, o := range without {
		if o != hubOwner {
			gone[o] = true
		}
	}
	f, to, err := k.rewrap(e, gone)
	if err != nil {
		k.mu.Lock()
		k.noted = nil
		k.mu.Unlock()
		return nil, err
	}
	if err := k.switchTo(e, f, to, gone); err != nil {
		f.Close()
		return nil, err
	}
	return e, nil
}

// nextEpoch draws the next epoch key, wrapped by every hub key that opens this
// one.
func (k *Keys) nextEpoch() (*epoch, error) {
	hubs := []*hubSecret{&k.hub}
	if len(k.epoch.wraps) > 1 {
		if k.next == nil {
			return nil, ErrHubSwitch
		}
		hubs = append(hubs, k.next)
	}
	e, err := newEpoch(k.epoch.number+1, k.epoch.store, k.o.Recovery, k.now(), k.random)
	if err != nil {
		return nil, err
	}
	if string(e.rescuer) == string(k.epoch.rescuer) {
		e.rescuedSince = k.epoch.rescuedSince
	}
	for i, h := range hubs {
		w, err := e.wrapTo(h, k.epoch.wraps[i].since(), k.random)
		if err != nil {
			return nil, err
		}
		e.wraps = append(e.wraps, w)
	}
	return e, nil
}

// rewrap writes the survivors to keystore.next.
func (k *Keys) rewrap(e *epoch, gone map[store.Owner]bool) (*os.File, contents, error) {
	k.mu.Lock()
	keys := make([]*record, 0, len(k.keys))
	for o, s := range k.keys {
		if !gone[o] {
			keys = append(keys, &record{kind: recordKey, owner: o, made: s.made, secret: s.secret})
		}
	}
	k.noted = []record{}
	number := k.tip.number
	k.mu.Unlock()
	b, _, err := e.encodeKeystore(keys, number, k.random)
	if err != nil {
		return nil, contents{}, err
	}
	path := keystorePath(k.o.DataDir) + nextSuffix
	if err := stage(path, b); err != nil {
		return nil, contents{}, storeFault(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, contents{}, storeFault(err)
	}
	c, err := proof(f, e, len(keys))
	if err != nil {
		f.Close()
		return nil, c, err
	}
	return f, c, nil
}

// proof reads a new keystore back: every survivor must open.
func proof(f *os.File, e *epoch, want int) (contents, error) {
	b, err := io.ReadAll(f)
	if err != nil {
		return contents{}, storeFault(err)
	}
	found := 0
	c, err := e.read(b, func(*record) { found++ })
	if number, id, terr := decodeTitle(b); err != nil || terr != nil || number != e.number || id != e.store ||
		c.tip.end != int64(len(b)) || len(c.spoilt) > 0 || found != want {
		return c, fmt.Errorf("reading a new keystore back: %w", store.ErrCorrupt)
	}
	return c, lockFile(f)
}

// switchTo makes a new keystore the one in use. Writers wait meanwhile: for two
// syncs and a change of names.
func (k *Keys) switchTo(e *epoch, f *os.File, next contents, gone map[store.Owner]bool) error {
	k.mu.Lock()
	for k.writing {
		k.idle.Wait()
	}
	k.writing = true
	noted := k.noted
	k.noted = nil
	k.mu.Unlock()

	to, err := k.follow(e, f, next.tip, noted, gone)

	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		k.file.Close()
		k.file, k.tip, k.marks, k.remains, k.epoch = f, to, next.marks, false, e
		for o := range k.dropped {
			k.dropped[o] = false
		}
		for i := range noted {
			if o := noted[i].owner; k.keys[o] == nil {
				k.dropped[o] = true
			}
		}
		for o := range gone {
			delete(k.keys, o)
			k.rows.forget(o)
			k.dropped[o] = false
			delete(k.handles, k.handleOf(o))
		}
	}
	k.drain()
	return err
}

// follow appends what was written meanwhile and changes the names.
func (k *Keys) follow(e *epoch, f *os.File, at tip, noted []record, gone map[store.Owner]bool) (tip, error) {
	recs := make([]*record, len(noted))
	for i := range noted {
		recs[i] = &noted[i]
		if o := noted[i].owner; gone[o] { // nothing of its secret follows, but numbers go on
			recs[i] = &record{kind: recordTombstone, owner: o, made: noted[i].made}
		}
	}
	b, to, err := e.appendRecords(nil, recs, at, k.random)
	if err != nil {
		return at, err
	}
	if _, err := f.WriteAt(b, at.end); err != nil {
		return at, storeFault(err)
	}
	if err := f.Sync(); err != nil {
		return at, storeFault(err)
	}
	if err := k.o.at("switch"); err != nil {
		return at, err
	}
	path := keystorePath(k.o.DataDir)
	if err := shred(path + oldSuffix); err != nil {
		return at, storeFault(err)
	}
	// Where there are no links the old keystore goes with its name; without the
	// old epoch key it is of no use to anybody.
	_ = os.Link(path, path+oldSuffix)
	if err := os.Rename(path+nextSuffix, path); err != nil {
		return at, storeFault(err)
	}
	if err := syncDir(k.o.DataDir); err != nil {
		// Which name a crash would leave is not known: what is written from now
		// on could be lost with it.
		k.mu.Lock()
		k.broken = storeFault(err)
		k.mu.Unlock()
		return at, k.broken
	}
	return to, nil
}

// takeUp goes on, at a start, with what a crash interrupted, as far as that
// needs no copy: what is left of a new epoch that was not switched to goes, a
// change of the hub key is completed.
func (k *Keys) takeUp() error {
	entries, err := os.ReadDir(k.o.EpochDir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := entry.Name()
		number, ok := epochNumber(name)
		if ok && number > k.epoch.number || strings.HasSuffix(name, nextSuffix) || strings.HasSuffix(name, oldSuffix) {
			if err := shred(filepath.Join(k.o.EpochDir, name)); err != nil {
				return err
			}
		}
	}
	if err := shred(keystorePath(k.o.DataDir) + nextSuffix); err != nil {
		return err
	}
	if err := k.takeUpHub(); err != nil {
		return err
	}
	k.lag() // whatever the copies hold, they are looked at
	return nil
}

// RotateRecovery encrypts the epoch key to another recovery key; to none if it
// is nil. The former one opens it no longer, except by an older copy of the
// epoch file.
func (k *Keys) RotateRecovery(ctx context.Context, to *pgp.Entity) error {
	k.upkeep.Lock()
	defer k.upkeep.Unlock()
	e := k.epochCopy()
	if err := e.rescue(to, k.now(), k.random); err != nil {
		return err
	}
	if err := k.putEpoch(e); err != nil {
		return fmt.Errorf("changing the recovery key: %w", err)
	}
	k.o.Recovery = to
	return k.settleAll(ctx)
}

func (k *Keys) epochCopy() *epoch {
	e := *k.epoch
	e.wraps = slices.Clone(e.wraps)
	return &e
}

// putEpoch rewrites the file of the epoch in use.
func (k *Keys) putEpoch(e *epoch) error {
	if err := supersede(epochPath(k.o.EpochDir, e.number), e.encode()); err != nil {
		return storeFault(err)
	}
	k.mu.Lock()
	k.epoch = e
	k.mu.Unlock()
	return nil
}

// settleAfter is how long after a change the copies follow, so that one look
// serves several.
const settleAfter = 200 * time.Millisecond

// settleAgain is how long after a look at the copies the next one comes where
// one was away; lookAgain, where none was.
const (
	settleAgain = time.Minute
	lookAgain   = time.Hour
)

// Run keeps the copies current until ctx ends. An epoch that is owed its end
// ends as soon as every place can be reached.
func (k *Keys) Run(ctx context.Context) error {
	for {
		err := k.Settle(ctx)
		wait := lookAgain
		if err != nil {
			wait = settleAgain
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
			continue
		case <-k.dirty:
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(settleAfter):
		}
	}
}

// lag tells Run that the copies are behind.
func (k *Keys) lag() {
	select {
	case k.dirty <- struct{}{}:
	default:
	}
}
