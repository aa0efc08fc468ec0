package bolt

import (
	"fmt"
	"slices"

	"github.com/relais-sante/relais/store"
)

const kindUpdated = 'u'

// Updated implements [store.View].
func (v *view) Updated(c store.PathwayCode, since uint64) ([]store.MessageID, error) {
	if since == ^uint64(0) {
		return nil, nil
	}
	prefix := v.threadKey(c, kindUpdated)
	var out []store.MessageID
	cur := v.bucket(bucketThreads).Cursor()
	for k, row := cur.Seek(joined(prefix, u64(since+1))); hasPrefix(k, prefix); k, row = cur.Next() {
		if len(row) < 1 {
			return nil, fmt.Errorf("listing what changed in %s: %w", c, store.ErrCorrupt)
		}
		out = append(out, store.MessageID(row[1:]))
	}
	return out, nil
}

// noteUpdate moves a message to the end of what was rewritten.
func (t *tx) noteUpdate(m *store.Message, before uint64) error {
	if err := t.drop(bucketThreads, t.threadKey(m.Pathway, kindUpdated, u64(before))); err != nil {
		return err
	}
	return t.putUpdate(m)
}

func (t *tx) putUpdate(m *store.Message) error {
	return t.putRaw(bucketThreads, t.threadKey(m.Pathway, kindUpdated, u64(m.ModSeq)), append([]byte{clearVersion}, m.ID...))
}

// ModSeq implements [store.View].
func (v *view) ModSeq() (uint64, error) {
	st, err := v.now()
	if err != nil {
		return 0, fmt.Errorf("reading the last modseq: %w", err)
	}
	return st.ModSeq, nil
}

// InboxValidity implements [store.View].
func (v *view) InboxValidity() uint32 { return v.validity() }

// validity is the least UIDVALIDITY of every list; see Renew.
func (v *view) validity() uint32 {
	if v.over == nil {
		return 0 // an index that is being looked into
	}
	return v.over.state.Validity
}

// arrive gives a UID to the boxes that have none, and keeps those given before. One counter serves all boxes: gaps are allowed, and a box costs no
// row of its own.
func (t *tx) arrive(m *store.Message, had []store.BoxUID) {
	var uid uint32
	for i := range m.Boxes {
		b := &m.Boxes[i]
		t.touched(b.Box.Topic())
		if j := slices.IndexFunc(had, func(h store.BoxUID) bool { return h.Box == b.Box }); j >= 0 && b.UID != 0 {
			b.UID = had[j].UID
			continue
		}
		if uid == 0 {
			t.state.Arrival++
			uid = t.state.Arrival
		}
		b.UID = uid
	}
}
