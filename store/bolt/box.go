package bolt

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/relais-sante/relais/store"
)

// A box has a key of its own, since an address may name a person, and an id that
// means nothing; the look-up by address leads to the id.

func boxOwner(id []byte) store.Owner {
	return store.Owner{Kind: store.OwnedByBox, ID: hex.EncodeToString(id)}
}

// Box implements [store.View].
func (v *view) Box(a store.Address) (*store.Box, error) {
	b, _, err := v.box(a)
	if err != nil {
		return nil, fmt.Errorf("reading a box: %w", err)
	}
	return b, nil
}

func (v *view) box(a store.Address) (*store.Box, []byte, error) {
	id, err := v.foundRow("box", string(a))
	if err != nil {
		return nil, nil, err
	}
	if id == nil {
		return nil, nil, store.ErrNotFound
	}
	b := new(store.Box)
	return b, id, v.get(bucketBoxes, id, boxOwner(id), b)
}

// Boxes implements [store.View].
func (v *view) Boxes(from store.Address, limit int) ([]*store.Box, error) {
	var out []*store.Box
	c := v.bucket(bucketBoxes).Cursor()
	k, row := c.First()
	if from != "" {
		id, err := v.foundRow("box", string(from))
		if err != nil {
			return nil, fmt.Errorf("listing boxes: %w", err)
		}
		k, row = c.Seek(after(id, nil))
	}
	for ; k != nil && (limit <= 0 || len(out) < limit); k, row = c.Next() {
		b := new(store.Box)
		err := v.open(bucketBoxes, k, boxOwner(k), row, b)
		if errors.Is(err, store.ErrErased) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("listing boxes: %w", err)
		}
		out = append(out, b)
	}
	return out, nil
}

func boxFinds(id []byte, b *store.Box) []find {
	return []find{{use: "box", what: string(b.Address), value: id}}
}

func (v *view) findsOfBox(key, row []byte) ([]find, error) {
	b := new(store.Box)
	if err := v.open(bucketBoxes, key, boxOwner(key), row, b); err != nil {
		return nil, err
	}
	return boxFinds(clone(key), b), nil
}

// PutBox implements [store.Tx]. The key is made at the first write.
func (t *tx) PutBox(b *store.Box) error {
	if err := t.putBox(b); err != nil {
		return fmt.Errorf("writing a box: %w", err)
	}
	return nil
}

func (t *tx) putBox(b *store.Box) error {
	id, err := t.foundRow("box", string(b.Address))
	if err != nil {
		return err
	}
	if id == nil {
		id = make([]byte, 16)
		if _, err := io.ReadFull(t.s.o.Rand, id); err != nil {
			return err
		}
		if err := t.needKey(boxOwner(id)); err != nil {
			return err
		}
		if err := t.moveFinds(nil, boxFinds(id, b)); err != nil {
			return err
		}
	}
	return t.put(bucketBoxes, clone(id), boxOwner(id), b)
}
