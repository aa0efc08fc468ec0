package seal

import (
	"fmt"

	"github.com/relais-sante/relais/store"
)

// Salvage makes a keystore of the records that can still be read of one that is
// refused as damaged, in its place, and returns how many stretches could not be.
// With each of them keys may be lost, and ones that were dropped may be back until
// the next epoch: a copy, where there is one, is better. A keystore that is sound
// stays as it is. It gives [ErrInUse] while a hub has it open, and what [Open]
// gives where epoch or hub key do not fit.
func Salvage(o Options) (lost int, err error) {
	if lost, err = o.salvage(); err != nil {
		return lost, fmt.Errorf("salvaging the keystore: %w", err)
	}
	return lost, nil
}

func (o Options) salvage() (int, error) {
	f, b, e, err := o.keystoreAndEpoch()
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if err := lockFile(f); err != nil {
		return 0, err
	}
	hub, err := o.secrets()
	if err != nil {
		return 0, err
	}
	if _, err := e.open(&hub); err != nil {
		return 0, fmt.Errorf("opening epoch %d: %w", e.number, err)
	}
	if _, err := e.read(b, func(*record) {}); err == nil {
		return 0, nil
	}
	keys := map[store.Owner]*record{}
	lost, err := e.pick(b, func(r *record) {
		if delete(keys, r.owner); r.kind == recordKey {
			keys[r.owner] = r
		}
	})
	if err != nil {
		return lost, err
	}
	var left []*record
	for _, r := range keys {
		left = append(left, r)
	}
	number := uint64(len(left))
	for _, m := range marksIn(b) {
		if t, ok := e.tipOf(m); ok {
			number = max(number, t.number)
		}
	}
	if b, _, err = e.encodeKeystore(left, number, o.Rand); err != nil {
		return lost, err
	}
	if err := supersede(keystorePath(o.DataDir), b); err != nil {
		return lost, storeFault(err)
	}
	return lost, nil
}

// pick hands every record of a damaged keystore that opens to fn, be others gone:
// the tag that a record is bound to stands right before it, and is lost with the
// one before only where that very tag is what changed. It counts the stretches
// between them; the end of a keystore that was cut is one.
func (e *epoch) pick(b []byte, fn func(*record)) (lost int, err error) {
	aead, err := newGCM(e.key[:])
	if err != nil {
		return 0, err
	}
	after := storeHead // the last record that opened
	for at := storeHead; at < len(b); {
		n, whole := recordLength(b[at:])
		var before [tagSize]byte
		if at > storeHead {
			copy(before[:], b[at-4-tagSize:])
		}
		if whole {
			if r, err := e.openRecord(aead, b[at+2:at+n-4], &before); err == nil {
				if at > after {
					lost++
				}
				fn(r)
				at += n
				after = at
				continue
			}
		}
		at++
	}
	return lost + 1, nil
}
