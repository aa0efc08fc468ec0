package bolt

import (
	"errors"
	"fmt"
	"strings"

	"github.com/relais-sante/relais/store"
)

// Held implements [store.View].
func (v *view) Held(id store.HeldID) (*store.Held, error) {
	h := new(store.Held)
	if err := v.get(bucketHeld, []byte(id), triageOwner(id), h); err != nil {
		return nil, fmt.Errorf("reading held message %s: %w", id, err)
	}
	return h, nil
}

// HeldIndex implements [store.View].
func (v *view) HeldIndex(id store.HeldID) ([]byte, error) {
	var b []byte
	if err := v.get(bucketHeldIndex, []byte(id), triageOwner(id), &b); err != nil {
		return nil, fmt.Errorf("reading index of held message %s: %w", id, err)
	}
	return b, nil
}

// HeldList implements [store.View].
func (v *view) HeldList(from store.HeldID, limit int) ([]*store.Held, error) {
	var out []*store.Held
	c := v.bucket(bucketHeld).Cursor()
	k, row := c.First()
	if from != "" {
		k, row = c.Seek(after([]byte(from), nil))
	}
	for ; k != nil && (limit <= 0 || len(out) < limit); k, row = c.Next() {
		h := new(store.Held)
		err := v.open(bucketHeld, k, triageOwner(store.HeldID(k)), row, h)
		if errors.Is(err, store.ErrErased) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("listing held messages: %w", err)
		}
		out = append(out, h)
	}
	return out, nil
}

// HeldOfPathway implements [store.View].
func (v *view) HeldOfPathway(code store.PathwayCode) ([]*store.Held, error) {
	prefix := v.handle(code)
	var out []*store.Held
	c := v.bucket(bucketHeldOf).Cursor()
	for k, _ := c.Seek(prefix); hasPrefix(k, prefix); k, _ = c.Next() {
		h, err := v.Held(store.HeldID(k[len(prefix):]))
		if errors.Is(err, store.ErrErased) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("listing held messages of %s: %w", code, err)
		}
		out = append(out, h)
	}
	return out, nil
}

// HeldDuplicate implements [store.View].
func (v *view) HeldDuplicate(fingerprint [32]byte) (store.HeldID, error) {
	row := v.bucket(bucketHeldPrints).Get(v.lookup("fingerprint", string(fingerprint[:])))
	if len(row) < 1 {
		return "", fmt.Errorf("looking up a held fingerprint: %w", store.ErrNotFound)
	}
	return store.HeldID(row[1:]), nil
}

// Hold implements [store.Tx].
func (t *tx) Hold(h *store.Held, index []byte, d store.Draft) error {
	if err := t.hold(h, index, d); err != nil {
		return fmt.Errorf("holding message %s: %w", h.ID, err)
	}
	return nil
}

func (t *tx) hold(h *store.Held, index []byte, d store.Draft) error {
	if t.bucket(bucketHeld).Get([]byte(h.ID)) != nil {
		return store.ErrConflict
	}
	var err error
	if h.Blob, err = t.take(d, triageOwner(h.ID)); err != nil {
		return err
	}
	if err := t.put(bucketHeldIndex, []byte(h.ID), triageOwner(h.ID), nonNil(index)); err != nil {
		return err
	}
	if err := t.putHeld(&store.Held{}, h); err != nil {
		return err
	}
	t.state.Held++
	return nil
}

// putHeld writes the row of a held message and moves its look-ups.
func (t *tx) putHeld(old, h *store.Held) error {
	if err := t.put(bucketHeld, []byte(h.ID), triageOwner(h.ID), h); err != nil {
		return err
	}
	if old.ID == "" || old.Addressed != h.Addressed || old.Fingerprint != h.Fingerprint {
		if err := t.dropHeldLookups(old); err != nil {
			return err
		}
		if h.Addressed != "" {
			if err := t.putRaw(bucketHeldOf, append(t.handle(h.Addressed), h.ID...), []byte{clearVersion}); err != nil {
				return err
			}
		}
		if h.Fingerprint != ([32]byte{}) {
			key := t.lookup("fingerprint", string(h.Fingerprint[:]))
			return t.putRaw(bucketHeldPrints, key, append([]byte{clearVersion}, h.ID...))
		}
	}
	return nil
}

func (t *tx) dropHeldLookups(h *store.Held) error {
	if h.Addressed != "" {
		if err := t.drop(bucketHeldOf, append(t.handle(h.Addressed), h.ID...)); err != nil {
			return err
		}
	}
	if id, err := t.HeldDuplicate(h.Fingerprint); err == nil && id == h.ID {
		return t.drop(bucketHeldPrints, t.lookup("fingerprint", string(h.Fingerprint[:])))
	}
	return nil
}

// UpdateHeld implements [store.Tx].
func (t *tx) UpdateHeld(h *store.Held) error {
	old, err := t.Held(h.ID)
	if err != nil {
		return fmt.Errorf("updating a held message: %w", err)
	}
	h.Blob = old.Blob // the engine's own
	if err := t.putHeld(old, h); err != nil {
		return fmt.Errorf("updating held message %s: %w", h.ID, err)
	}
	return nil
}

// DropHeld implements [store.Tx].
func (t *tx) DropHeld(id store.HeldID) error {
	h, err := t.Held(id)
	if err == nil {
		err = t.removeHeld(h)
	}
	if err == nil {
		err = t.dropLarge(h.Blob)
	}
	if err != nil {
		return fmt.Errorf("dropping held message %s: %w", id, err)
	}
	return nil
}

// dropLarge removes the file of a large message that nothing names any more;
// small ones stay in their segment, unreadable once their key is gone.
func (t *tx) dropLarge(b *store.Blob) error {
	if b == nil || !strings.HasPrefix(b.Segment, largePrefix) {
		return nil
	}
	if err := t.drop(bucketLarge, []byte(b.Segment)); err != nil {
		return err
	}
	t.state.SegmentBytes -= segHead + int64(recHead) + b.Length
	t.orphans = append(t.orphans, b.Segment)
	return nil
}

// removeHeld removes the rows of a held message.
func (t *tx) removeHeld(h *store.Held) error {
	if err := t.dropHeldLookups(h); err != nil {
		return err
	}
	if err := t.drop(bucketHeldIndex, []byte(h.ID)); err != nil {
		return err
	}
	t.state.Held--
	return t.drop(bucketHeld, []byte(h.ID))
}

// FileHeld implements [store.Tx].
func (t *tx) FileHeld(m *store.Message, index []byte, id store.HeldID) error {
	h, err := t.Held(id)
	if err != nil {
		return fmt.Errorf("filing held message: %w", err)
	}
	if m.Blob, err = t.rewrap(h.Blob, pathwayOwner(m.Pathway)); err != nil {
		return fmt.Errorf("filing held message %s: %w", id, err)
	}
	m.Held = id
	if err := t.removeHeld(h); err != nil {
		return fmt.Errorf("filing held message %s: %w", id, err)
	}
	return t.file(m, index)
}

// rewrap gives bytes that stay where they are to another owner.
func (t *tx) rewrap(from *store.Blob, to store.Owner) (*store.Blob, error) {
	if from == nil {
		return nil, nil
	}
	session, err := t.s.session(from)
	if err != nil {
		return nil, err
	}
	blob := *from
	blob.Owner, blob.Session = to, clone(session[:])
	if blob.Key, err = t.s.keys.Wrap(to, session); err != nil {
		return nil, err
	}
	return &blob, nil
}
