package seal

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/relais-sante/relais/store"
)

// Snapshot is what the keystore holds at one moment, for a backup: the keys as
// they are wrapped by the epoch of then, without those that were dropped.
type Snapshot struct {
	keys  *Keys
	epoch *epoch
	recs  []record
}

// Snapshot takes the keys as they are now. It waits for no write.
func (k *Keys) Snapshot() *Snapshot {
	k.mu.RLock()
	defer k.mu.RUnlock()
	s := &Snapshot{keys: k, epoch: k.epoch, recs: make([]record, 0, len(k.keys))}
	for o, e := range k.keys {
		s.recs = append(s.recs, record{kind: recordKey, owner: o, made: e.made, secret: e.secret})
	}
	return s
}

// Epoch is the number of the epoch that wraps the keys.
func (s *Snapshot) Epoch() uint32 { return s.epoch.number }

// Encode gives a keystore file with these keys.
func (s *Snapshot) Encode() ([]byte, error) {
	slices.SortFunc(s.recs, func(a, b record) int {
		return strings.Compare(string(a.owner.Kind)+a.owner.ID, string(b.owner.Kind)+b.owner.ID)
	})
	b := encodeHead(s.epoch.number, s.epoch.store)
	aead, err := newGCM(s.epoch.key[:])
	if err != nil {
		return nil, err
	}
	for i := range s.recs {
		if b, err = s.epoch.appendWith(aead, b, &s.recs[i], storeHead, s.keys.random); err != nil {
			return nil, fmt.Errorf("copying the keystore: %w", err)
		}
	}
	return b, nil
}

// ID names the keystore, hence the hub: it is the same over all epochs.
func (k *Keys) ID() [16]byte {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.epoch.store
}

// Check reads the keystore's file again: every record must open, and none may
// lie behind the last that was made durable. It gives the number of records and
// the offset at which one does not fit.
func (k *Keys) Check() (records int, bad int64, err error) {
	k.upkeep.Lock() // no change of epochs meanwhile
	defer k.upkeep.Unlock()
	k.mu.RLock()
	e, end, torn := k.epoch, k.end, k.torn
	file, err := os.Open(keystorePath(k.o.DataDir))
	k.mu.RUnlock()
	if err != nil {
		return 0, 0, fmt.Errorf("opening keystore: %w", err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, end))
	if err != nil {
		return 0, 0, fmt.Errorf("reading keystore: %w", err)
	}
	if number, id, err := decodeHead(b); err != nil || number != e.number || id != e.store {
		return 0, 0, fmt.Errorf("reading keystore: %w", store.ErrCorrupt)
	}
	n, err := e.scanRecords(b[storeHead:], storeHead, func(*record) { records++ })
	if err != nil || storeHead+int64(n) != end {
		return records, storeHead + int64(n), fmt.Errorf("reading keystore: %w", store.ErrCorrupt)
	}
	if torn > 0 {
		return records, end, fmt.Errorf("reading keystore: %w", store.ErrCorrupt)
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
	b := make([]byte, storeHead)
	if _, err := io.ReadFull(f, b); err != nil {
		return id, 0, &fs.PathError{Op: "read", Path: path, Err: store.ErrCorrupt}
	}
	epoch, id, err = decodeHead(b)
	return id, epoch, err
}
