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

// Revision implements [store.View].
func (v *view) Revision(c store.PathwayCode) (uint64, error) {
	p, err := v.keptPathway(v.handle(c), c)
	if err != nil {
		return 0, fmt.Errorf("reading pathway %s: %w", c, err)
	}
	return p.Revision, nil
}

// pathway gives a pathway that the caller may change.
func (v *view) pathway(handle []byte, c store.PathwayCode) (*store.Pathway, error) {
	p, err := v.keptPathway(handle, c)
	if err != nil {
		return nil, err
	}
	return clonePathway(p), nil
}

// keptPathway reads through the cache: a row is the same as long as its sealed
// bytes are, so nothing ever has to be invalidated. What it gives is the cache's
// own.
func (v *view) keptPathway(handle []byte, c store.PathwayCode) (*store.Pathway, error) {
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
	return v.codes("patient", ins)
}

// PathwaysOfBox implements [store.View].
func (v *view) PathwaysOfBox(a store.Address) ([]store.PathwayCode, error) {
	return v.codes("team", string(a))
}

// PathwaysOfName implements [store.View].
func (v *view) PathwaysOfName(key string) ([]store.PathwayCode, error) {
	return v.codes("name", key)
}

// codes lists the pathways under a look-up.
func (v *view) codes(use, what string) ([]store.PathwayCode, error) {
	bucket, prefix, err := v.found(use, what)
	if err != nil {
		return nil, err
	}
	var out []store.PathwayCode
	c := bucket.Cursor()
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
	if err := t.moveFinds(pathwayFinds(handle, old), pathwayFinds(handle, p)); err != nil {
		return fmt.Errorf("writing pathway %s: %w", p.Code, err)
	}
	return nil
}

// pathwayFinds are the look-ups that lead to a pathway.
func pathwayFinds(handle []byte, p *store.Pathway) []find {
	var list []find
	if p.Patient.INS != "" {
		list = append(list, find{use: "patient", what: p.Patient.INS, suffix: handle})
	}
	if p.Patient.NameKey != "" {
		list = append(list, find{use: "name", what: p.Patient.NameKey, suffix: handle})
	}
	for _, a := range addresses(p) {
		list = append(list, find{use: "team", what: a, suffix: handle})
	}
	return list
}

func (v *view) findsOfPathway(key, _ []byte) ([]find, error) {
	code, ok := v.pathwayOf(key)
	if !ok {
		return nil, store.ErrErased
	}
	p, err := v.pathway(key, code)
	if err != nil {
		return nil, err
	}
	return pathwayFinds(clone(key), p), nil
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
