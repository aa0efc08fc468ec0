package seal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The hub key is kept by whoever runs the hub, so that changing it takes two:
// the epoch file is wrapped by both keys first, then the new key is put where
// the old one was, then the old wrap goes. At no moment does a crash leave a
// key that opens nothing.

// RotateHub lets the epoch be opened by a new hub key besides the one in use.
// The first start with the new one ends that: from then on the old one opens
// nothing that the hub has or copies. Asked again before, it replaces the new
// key by another.
func (k *Keys) RotateHub(ctx context.Context, to Source) error {
	k.upkeep.Lock()
	defer k.upkeep.Unlock()
	if err := k.admit(to); err != nil {
		return fmt.Errorf("changing the hub key: %w", err)
	}
	return k.settleAll(ctx)
}

// admit wraps the epoch key by a second hub key.
func (k *Keys) admit(to Source) error {
	h := hubSecret{passphrase: k.hub.passphrase}
	var err error
	if h.key, err = hubKey(to); err != nil {
		return err
	}
	if h.id() == k.hub.id() {
		return ErrSameKey
	}
	e := k.epochCopy()
	w, err := e.wrapTo(&h, k.now(), k.random)
	if err != nil {
		return err
	}
	e.wraps = []wrap{k.wrapOf(e, k.hub.id()), w}
	if err := k.o.at("admit"); err != nil {
		return err
	}
	if err := k.putEpoch(e); err != nil {
		return err
	}
	k.next = &h
	return nil
}

func (k *Keys) wrapOf(e *epoch, id KeyID) wrap {
	for _, w := range e.wraps {
		if w.id() == id {
			return w
		}
	}
	return e.wraps[0]
}

// RotateHubFile changes a hub key that is kept in a file, all the way: a new
// one is drawn and takes the file's place. Other sources are not the hub's to
// write: errors.ErrUnsupported.
func (k *Keys) RotateHubFile(ctx context.Context) error {
	file, ok := k.o.Hub.(File)
	if !ok {
		return fmt.Errorf("changing the hub key: %w", errors.ErrUnsupported)
	}
	k.upkeep.Lock()
	defer k.upkeep.Unlock()
	if err := k.replaceHubFile(string(file)); err != nil {
		return fmt.Errorf("changing the hub key: %w", err)
	}
	return k.settleAll(ctx)
}

func (k *Keys) replaceHubFile(path string) error {
	if err := k.o.at("draw"); err != nil {
		return err
	}
	if err := shred(path + nextSuffix); err != nil {
		return err
	}
	if err := NewHubKey(path+nextSuffix, k.random); err != nil {
		return err
	}
	if err := k.admit(File(path + nextSuffix)); err != nil {
		return err
	}
	if err := k.o.at("place"); err != nil {
		return err
	}
	if err := exchange(path+nextSuffix, path); err != nil {
		return err
	}
	if err := k.o.at("forget"); err != nil {
		return err
	}
	k.hub, k.next = *k.next, nil
	return k.forgetOldHub()
}

// forgetOldHub leaves the wrap of the hub key in use alone.
func (k *Keys) forgetOldHub() error {
	e := k.epochCopy()
	e.wraps = []wrap{k.wrapOf(e, k.hub.id())}
	return k.putEpoch(e)
}

// takeUpHub goes on with a change of the hub key at a start: opened by the new
// key, the old one is forgotten; opened by the old one while the new file lies
// beside it, that file takes its place. Otherwise both are still accepted.
func (k *Keys) takeUpHub() error {
	path := ""
	if file, ok := k.o.Hub.(File); ok {
		path = string(file)
		if err := shred(path + oldSuffix); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	if len(k.epoch.wraps) < 2 {
		return nil
	}
	if k.epoch.wraps[1].id() == k.hub.id() {
		return k.forgetOldHub()
	}
	if path == "" {
		return nil
	}
	key, err := hubKey(File(path + nextSuffix))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrSecretForm) {
		return nil
	}
	if err != nil {
		return err
	}
	h := hubSecret{key: key, passphrase: k.hub.passphrase}
	if h.id() != k.epoch.wraps[1].id() {
		return nil
	}
	if err := exchange(path+nextSuffix, path); err != nil {
		return err
	}
	k.hub = h
	return k.forgetOldHub()
}

// epochFile is the content of the epoch file in use.
func (k *Keys) epochFile() ([]byte, error) {
	b, err := os.ReadFile(filepath.Clean(epochPath(k.o.EpochDir, k.epoch.number)))
	if err != nil {
		return nil, storeFault(err)
	}
	return b, nil
}
