package bolt

import (
	"errors"
	"fmt"
	"slices"

	"github.com/relais-sante/relais/store"
)

// Pathway implements [store.View].
func (v *view) Pathway(c store.PathwayCode) (*store.Pathway, error) {
	p, err := v.pathway(v.handle(c), c)
	if err != nil {
		return nil, fmt.Errorf("reading pathway %s: %w", c, err)
	}
	return p, nil
}

// pathway reads through the cache: a row is the same as long as its sealed
// bytes are, so nothing ever has to be invalidated.
func (v *view) pathway(handle []byte, c store.PathwayCode) (*store.Pathway, error) {
	row := v.bucket(bucketPathways).Get(handle)
	if row == nil {
		return nil, store.ErrNotFound
	}
	if !v.s.keys.Has(pathwayOwner(c)) {
		return nil, store.ErrErased
	}
	if p := v.s.pathways.get(c, row); p != nil {
		return p, nil
	}
	p := new(store.Pathway)
	if err := v.open(bucketPathways, handle, pathwayOwner(c), row, p); err != nil {
		return nil, err
	}
	v.s.pathways.put(c, row, p)
	return p, nil
}

// Pathways implements [store.View], in order of the handles. Erased ones are
// left out.
func (v *view) Pathways(from store.PathwayCode, limit int) ([]*store.Pathway, error) {
	var out []*store.Pathway
	c := v.bucket(bucketPathways).Cursor()
	k, _ := c.First()
	if from != "" {
		k, _ = c.Seek(after(v.handle(from), nil))
	}
	for ; k != nil && (limit <= 0 || len(out) < limit); k, _ = c.Next() {
		code, ok := v.pathwayOf(k)
		if !ok {
			continue
		}
		p, err := v.pathway(k, code)
		if errors.Is(err, store.ErrErased) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("listing pathways: %w", err)
		}
		out = append(out, p)
	}
	return out, nil
}

// PathwaysOfPatient implements [store.View].
func (v *view) PathwaysOfPatient(ins string) ([]store.PathwayCode, error) {
	return v.codes(bucketPatients, v.lookup("patient", ins))
}

// PathwaysOfBox implements [store.View].
func (v *view) PathwaysOfBox(a store.Address) ([]store.PathwayCode, error) {
	return v.codes(bucketTeams, v.lookup("team", string(a)))
}

// PathwaysOfName implements [store.View].
func (v *view) PathwaysOfName(key string) ([]store.PathwayCode, error) {
	return v.codes(bucketNames, v.lookup("name", key))
}

// codes lists the pathways under a look-up.
func (v *view) codes(bucket, prefix []byte) ([]store.PathwayCode, error) {
	var out []store.PathwayCode
	c := v.bucket(bucket).Cursor()
	for k, _ := c.Seek(prefix); hasPrefix(k, prefix); k, _ = c.Next() {
		if code, ok := v.pathwayOf(k[len(prefix):]); ok {
			out = append(out, code)
		}
	}
	slices.Sort(out)
	return out, nil
}

// PutPathway implements [store.Tx].
func (t *tx) PutPathway(p *store.Pathway) error {
	handle, owner := t.handle(p.Code), pathwayOwner(p.Code)
	old, err := t.pathway(handle, p.Code)
	switch {
	case errors.Is(err, store.ErrNotFound):
		old = &store.Pathway{}
		t.state.Pathways++
	case err != nil:
		return fmt.Errorf("writing pathway %s: %w", p.Code, err)
	}
	if old.Revision != p.Revision {
		return fmt.Errorf("writing pathway %s: %w", p.Code, store.ErrConflict)
	}
	revision, modseq := p.Revision, p.ModSeq
	t.restore = append(t.restore, func() { p.Revision, p.ModSeq = revision, modseq })
	p.Revision++
	p.ModSeq = t.modSeq()
	t.touched(p.Code.Topic())
	for _, a := range slices.Concat(addresses(old), addresses(p)) {
		t.touched(store.Address(a).Topic())
	}
	if err := t.put(bucketPathways, handle, owner, p); err != nil {
		return fmt.Errorf("writing pathway %s: %w", p.Code, err)
	}
	for _, l := range []struct {
		bucket  []byte
		use     string
		old, is []string
	}{
		{bucketPatients, "patient", nonEmpty(old.Patient.INS), nonEmpty(p.Patient.INS)},
		{bucketNames, "name", nonEmpty(old.Patient.NameKey), nonEmpty(p.Patient.NameKey)},
		{bucketTeams, "team", addresses(old), addresses(p)},
	} {
		if err := t.moveLookups(l.bucket, l.use, handle, l.old, l.is); err != nil {
			return fmt.Errorf("writing pathway %s: %w", p.Code, err)
		}
	}
	return nil
}

// moveLookups makes look-ups follow what a pathway lists.
func (t *tx) moveLookups(bucket []byte, use string, handle []byte, old, is []string) error {
	for _, s := range old {
		if !slices.Contains(is, s) {
			if err := t.drop(bucket, joined(t.lookup(use, s), handle)); err != nil {
				return err
			}
		}
	}
	for _, s := range is {
		if !slices.Contains(old, s) {
			if err := t.putRaw(bucket, joined(t.lookup(use, s), handle), []byte{clearVersion}); err != nil {
				return err
			}
		}
	}
	return nil
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// addresses are the boxes, present and former, and the declared sending
// addresses of everyone who is or was in the team.
func addresses(p *store.Pathway) []string {
	var out []string
	for i := range p.Members {
		m := &p.Members[i]
		if m.Mailbox != "" {
			out = append(out, string(m.Mailbox))
		}
		for _, a := range m.AlsoFrom {
			out = append(out, string(a))
		}
		for _, a := range m.Former {
			out = append(out, string(a))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Box implements [store.View].
func (v *view) Box(a store.Address) (*store.Box, error) {
	b := new(store.Box)
	if err := v.getOwned(bucketBoxes, v.lookup("box", string(a)), b); err != nil {
		return nil, fmt.Errorf("reading a box: %w", err)
	}
	return b, nil
}

// Boxes implements [store.View].
func (v *view) Boxes(from store.Address, limit int) ([]*store.Box, error) {
	var out []*store.Box
	c := v.bucket(bucketBoxes).Cursor()
	k, row := c.First()
	if from != "" {
		k, row = c.Seek(after(v.lookup("box", string(from)), nil))
	}
	for ; k != nil && (limit <= 0 || len(out) < limit); k, row = c.Next() {
		b := new(store.Box)
		err := v.openOwned(bucketBoxes, k, row, b)
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

// PutBox implements [store.Tx]. A citizen's box, whose address is an INS, has a
// key of its own, made at the first write, so that it can be erased.
func (t *tx) PutBox(b *store.Box) error {
	key := t.lookup("box", string(b.Address))
	owner := hubOwner
	if b.Address.Citizen() {
		owner = store.Owner{Kind: store.OwnedByBox, ID: fmt.Sprintf("%x", key)}
		if err := t.needKey(owner); err != nil {
			return fmt.Errorf("writing a box: %w", err)
		}
	}
	if err := t.putOwned(bucketBoxes, key, owner, b); err != nil {
		return fmt.Errorf("writing a box: %w", err)
	}
	return nil
}
