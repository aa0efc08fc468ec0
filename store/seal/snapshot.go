package seal

import (
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/relais-sante/relais/store"
)

// Snapshot is what the keystore holds at one moment, for a backup: the keys as
// they are wrapped by the epoch of then, without those that were dropped.
type Snapshot struct {
	keys   *Keys
	epoch  *epoch
	recs   []*record
	number uint64
}

// Snapshot takes the keys as they are now. It waits for no write.
func (k *Keys) Snapshot() *Snapshot {
	k.mu.RLock()
	defer k.mu.RUnlock()
	s := &Snapshot{keys: k, epoch: k.epoch, recs: make([]*record, 0, len(k.keys)), number: k.tip.number}
	for o, e := range k.keys {
		s.recs = append(s.recs, &record{kind: recordKey, owner: o, made: e.made, secret: e.secret})
	}
	return s
}

// Epoch is the number of the epoch that wraps the keys.
func (s *Snapshot) Epoch() uint32 { return s.epoch.number }

// Encode gives a keystore file with these keys, which goes on from the number of
// that moment.
func (s *Snapshot) Encode() ([]byte, error) {
	b, _, err := s.epoch.encodeKeystore(s.recs, s.number, s.keys.random)
	if err != nil {
		return nil, fmt.Errorf("copying the keystore: %w", err)
	}
	return b, nil
}

// ID names the keystore, hence the hub: it is the same over all epochs.
func (k *Keys) ID() [16]byte {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.epoch.store
}

// Check reads the keystore's file again: every record must open, none may lie
// behind the last that was made durable, and its marks must fit. It gives the number of records and
// the offset at which one does not fit.
func (k *Keys) Check() (records int, bad int64, err error) {
	k.upkeep.Lock() // no change of epochs meanwhile
	defer k.upkeep.Unlock()
	k.mu.RLock()
	e, at, torn := k.epoch, k.tip, k.torn
	file, err := os.Open(keystorePath(k.o.DataDir))
	k.mu.RUnlock()
	if err != nil {
		return 0, 0, fmt.Errorf("opening keystore: %w", err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, at.end))
	if err != nil {
		return 0, 0, fmt.Errorf("reading keystore: %w", err)
	}
	if number, id, err := decodeTitle(b); err != nil || number != e.number || id != e.store {
		return 0, 0, fmt.Errorf("reading keystore: %w", store.ErrCorrupt)
	}
	c, err := e.read(b, func(*record) { records++ })
	switch {
	case err != nil || c.tip != at || torn > 0:
		return records, c.tip.end, fmt.Errorf("reading keystore: %w", store.ErrCorrupt)
	case len(c.spoilt) > 0:
		return records, int64(storeTitle + c.spoilt[0]*markSize), fmt.Errorf("reading keystore: %w", store.ErrCorrupt)
	}
	return records, 0, nil
}

// HeadOf tells which keystore, and which of its epochs, a keystore file is of,
// without any key.
func HeadOf(path string) (id [16]byte, epoch uint32, err error) {
	f, err := os.Open(path)
	if err != nil {
		return id, 0, err
	}
	defer f.Close()
	b := make([]byte, storeTitle)
	if _, err := io.ReadFull(f, b); err != nil {
		return id, 0, &fs.PathError{Op: "read", Path: path, Err: store.ErrCorrupt}
	}
	epoch, id, err = decodeTitle(b)
	return id, epoch, err
}
