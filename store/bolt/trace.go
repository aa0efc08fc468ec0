package bolt

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

const errFamily = journal.Fault("not a family of traces")

// Traces are numbered over both families, so that those about one pathway have
// one order and none can go without a number missing. In its family each carries
// the keyed hash of the encoded record before it; where the chains end and begin
// is stored with every commit that changes it (see trace_head.go).

// familyKeys are first bytes of keys, in the order of [store.Families].
var familyKeys = [len(store.Families)]byte{'a', 't'}

// familyIndex is a family's place in [store.Families], -1 for none.
func familyIndex(f store.Family) int {
	for i, known := range store.Families {
		if f == known {
			return i
		}
	}
	return -1
}

func traceKey(family int, seq uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{familyKeys[family]}, seq)
}

// linkOf is what the next record of the family carries.
func (s *Store) linkOf(clear []byte) [32]byte { return s.chain.Sum("trace", clear) }

// Traces implements [store.View].
func (v *view) Traces(f store.Family, from uint64, limit int) ([]*store.Trace, error) {
	family := familyIndex(f)
	if family < 0 {
		return nil, errFamily
	}
	if from == ^uint64(0) {
		return nil, nil
	}
	var out []*store.Trace
	c := v.bucket(bucketTraces).Cursor()
	prefix := []byte{familyKeys[family]}
	for k, row := c.Seek(traceKey(family, from+1)); hasPrefix(k, prefix) && (limit <= 0 || len(out) < limit); k, row = c.Next() {
		t := new(store.Trace)
		if err := v.open(bucketTraces, k, traceOwner, row, t); err != nil {
			return nil, fmt.Errorf("reading traces: %w", err)
		}
		out = append(out, t)
	}
	return out, nil
}

// TracesOfPathway implements [store.View].
func (v *view) TracesOfPathway(code store.PathwayCode, from uint64, limit int) ([]*store.Trace, error) {
	prefix := v.threadKey(code, 't')
	var out []*store.Trace
	if from == ^uint64(0) {
		return nil, nil
	}
	c := v.bucket(bucketThreads).Cursor()
	for k, row := c.Seek(joined(prefix, u64(from+1))); hasPrefix(k, prefix) && (limit <= 0 || len(out) < limit); k, row = c.Next() {
		if len(row) != 2 {
			return nil, fmt.Errorf("reading traces of %s: %w", code, store.ErrCorrupt)
		}
		t := new(store.Trace)
		if err := v.get(bucketTraces, joined(row[1:], k[len(prefix):]), traceOwner, t); err != nil {
			if errors.Is(err, store.ErrNotFound) { // what goes takes its pointers with it
				err = store.ErrCorrupt
			}
			return nil, fmt.Errorf("reading traces of %s: %w", code, err)
		}
		out = append(out, t)
	}
	return out, nil
}

// Trace implements [store.Tx].
func (t *tx) Trace(r store.Trace) error {
	if err := t.trace(r); err != nil {
		return fmt.Errorf("writing a trace: %w", err)
	}
	return nil
}

func (t *tx) trace(r store.Trace) error {
	family := familyIndex(r.Family)
	if family < 0 {
		return errFamily
	}
	end := &t.state.heads[family]
	t.state.Trace++
	r.Seq, r.Prev = t.state.Trace, nil
	if end.Count > 0 {
		r.Prev = end.Hash[:]
	}
	clear, err := encode(&r)
	if err != nil {
		return err
	}
	if err := t.put(bucketTraces, traceKey(family, r.Seq), traceOwner, clear); err != nil {
		return err
	}
	for _, code := range r.Pathways() {
		if err := t.putRaw(bucketThreads, t.threadKey(code, 't', u64(r.Seq)), []byte{clearVersion, familyKeys[family]}); err != nil {
			return err
		}
	}
	end.Count, end.Last, end.Hash = end.Count+1, r.Seq, t.s.linkOf(clear)
	return nil
}

// PurgeTraces implements [store.Tx].
func (t *tx) PurgeTraces(f store.Family, limit int, goes func(*store.Trace) bool) (store.Purged, error) {
	var out store.Purged
	family := familyIndex(f)
	if family < 0 {
		return out, errFamily
	}
	end := &t.state.heads[family]
	var keys [][]byte
	c := t.bucket(bucketTraces).Cursor()
	prefix := []byte{familyKeys[family]}
	for k, row := c.Seek(prefix); hasPrefix(k, prefix) && out.Count < limit; k, row = c.Next() {
		clear, err := t.s.keys.OpenRow(nil, traceOwner, string(bucketTraces), k, row)
		if err != nil {
			return out, fmt.Errorf("purging traces: %w", err)
		}
		r := new(store.Trace)
		if err := decode(bucketTraces, clear, r); err != nil {
			return out, fmt.Errorf("purging traces: %w", err)
		}
		if !goes(r) {
			break
		}
		// Retention takes no evidence away: what does not fit stays.
		if want := end.PurgedHash; end.Purged > 0 && string(r.Prev) != string(want[:]) || end.Purged == 0 && len(r.Prev) > 0 {
			return out, fmt.Errorf("purging traces: the first does not fit: %w", store.ErrCorrupt)
		}
		if out.Count == 0 {
			out.First, out.Oldest = r.Seq, r.At
		}
		out.Count++
		out.Last, out.Newest = r.Seq, r.At
		end.Purged, end.PurgedLast, end.PurgedHash = end.Purged+1, r.Seq, t.s.linkOf(clear)
		keys = append(keys, append([]byte(nil), k...))
		for _, code := range r.Pathways() {
			if err := t.drop(bucketThreads, t.threadKey(code, 't', u64(r.Seq))); err != nil {
				return out, err
			}
		}
	}
	for _, k := range keys {
		if err := t.drop(bucketTraces, k); err != nil {
			return out, err
		}
	}
	if out.Count > 0 {
		out.Hash = hex.EncodeToString(end.PurgedHash[:])
	}
	return out, nil
}
