package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

const errFiledTwice = journal.Fault("filed twice in one rubric")

// rubricHash stands for a rubric of a pathway in keys.
func (v *view) rubricHash(c store.PathwayCode, rubric string) []byte {
	return v.lookup("rubric", string(c), rubric)[:8]
}

// Rubric implements [store.View].
func (v *view) Rubric(c store.PathwayCode, rubric string) (store.RubricState, error) {
	var st store.RubricState
	err := v.get(bucketThreads, v.threadKey(c, 'r', v.rubricHash(c, rubric)), pathwayOwner(c), &st)
	if errors.Is(err, store.ErrNotFound) {
		return store.RubricState{UIDValidity: v.validity(), UIDNext: 1, HighestModSeq: 1}, nil
	}
	if err != nil {
		return st, fmt.Errorf("reading a rubric of %s: %w", c, err)
	}
	st.UIDValidity = max(st.UIDValidity, v.validity()) // see Renew
	return st, nil
}

func (t *tx) putRubric(c store.PathwayCode, rubric string, st store.RubricState) error {
	return t.put(bucketThreads, t.threadKey(c, 'r', t.rubricHash(c, rubric)), pathwayOwner(c), &st)
}

// Filed implements [store.View].
func (v *view) Filed(c store.PathwayCode, rubric string, from uint32, limit int) ([]store.Filing, error) {
	prefix := v.threadKey(c, 'f', v.rubricHash(c, rubric))
	var out []store.Filing
	var clear [128]byte
	if from == ^uint32(0) {
		return nil, nil
	}
	cur := v.bucket(bucketThreads).Cursor()
	for k, row := cur.Seek(joined(prefix, u32(from+1))); hasPrefix(k, prefix) && (limit <= 0 || len(out) < limit); k, row = cur.Next() {
		b, err := v.s.keys.OpenRow(clear[:0], pathwayOwner(c), string(bucketThreads), k, row)
		if err == nil && len(b) < 8 {
			err = store.ErrCorrupt
		}
		if err != nil {
			return nil, fmt.Errorf("listing a rubric of %s: %w", c, err)
		}
		out = append(out, store.Filing{
			Rubric: rubric, UID: binary.BigEndian.Uint32(k[len(prefix):]),
			ModSeq: binary.BigEndian.Uint64(b), Message: store.MessageID(b[8:]),
		})
	}
	return out, nil
}

// Vanished implements [store.View].
func (v *view) Vanished(c store.PathwayCode, rubric string, since uint64) ([]store.Tombstone, error) {
	prefix := v.threadKey(c, 'v', v.rubricHash(c, rubric))
	var out []store.Tombstone
	if since == ^uint64(0) {
		return nil, nil
	}
	cur := v.bucket(bucketThreads).Cursor()
	for k, _ := cur.Seek(joined(prefix, u64(since+1))); hasPrefix(k, prefix); k, _ = cur.Next() {
		rest := k[len(prefix):]
		out = append(out, store.Tombstone{ModSeq: binary.BigEndian.Uint64(rest), UID: binary.BigEndian.Uint32(rest[8:])})
	}
	return out, nil
}

// addFiling gives f its UID and modseq and writes it.
func (t *tx) addFiling(m *store.Message, f *store.Filing) error {
	for i := range m.Filings {
		if g := &m.Filings[i]; g != f && g.Rubric == f.Rubric {
			return errFiledTwice
		}
	}
	st, err := t.Rubric(m.Pathway, f.Rubric)
	if err != nil {
		return err
	}
	f.Message = m.ID
	f.UID = st.UIDNext
	st.UIDNext++
	st.HighestModSeq = t.modSeq()
	st.Count++
	f.ModSeq = st.HighestModSeq
	if err := t.putFiling(m.Pathway, f); err != nil {
		return err
	}
	return t.putRubric(m.Pathway, f.Rubric, st)
}

func (t *tx) putFiling(c store.PathwayCode, f *store.Filing) error {
	row := binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(f.Message)), f.ModSeq)
	key := t.threadKey(c, 'f', t.rubricHash(c, f.Rubric), u32(f.UID))
	return t.put(bucketThreads, key, pathwayOwner(c), append(row, f.Message...))
}

// refile makes the rubrics follow a change of a message's filings: new ones get
// a UID, those whose ModSeq the caller cleared a new modseq, those gone a
// tombstone; the others stay as they are.
func (t *tx) refile(old, m *store.Message) error {
	was := make(map[string]store.Filing, len(old.Filings))
	for _, f := range old.Filings {
		was[f.Rubric] = f
	}
	for i := range m.Filings {
		f := &m.Filings[i]
		before, there := was[f.Rubric]
		delete(was, f.Rubric)
		if !there {
			if err := t.addFiling(m, f); err != nil {
				return err
			}
			continue
		}
		touched := f.ModSeq == 0
		*f = before
		if touched {
			if err := t.touch(m.Pathway, f); err != nil {
				return err
			}
		}
	}
	for _, f := range was {
		if err := t.dropFiling(m.Pathway, &f); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) touch(c store.PathwayCode, f *store.Filing) error {
	st, err := t.Rubric(c, f.Rubric)
	if err != nil {
		return err
	}
	st.HighestModSeq = t.modSeq()
	f.ModSeq = st.HighestModSeq
	if err := t.putFiling(c, f); err != nil {
		return err
	}
	return t.putRubric(c, f.Rubric, st)
}

func (t *tx) dropFiling(c store.PathwayCode, f *store.Filing) error {
	st, err := t.Rubric(c, f.Rubric)
	if err != nil {
		return err
	}
	st.HighestModSeq = t.modSeq()
	st.Count--
	hash := t.rubricHash(c, f.Rubric)
	if err := t.drop(bucketThreads, t.threadKey(c, 'f', hash, u32(f.UID))); err != nil {
		return err
	}
	stone := t.threadKey(c, 'v', hash, u64(st.HighestModSeq), u32(f.UID))
	if err := t.putRaw(bucketThreads, stone, []byte{clearVersion}); err != nil {
		return err
	}
	st.Gone ^= t.digest(stone, nil)
	return t.putRubric(c, f.Rubric, st)
}
