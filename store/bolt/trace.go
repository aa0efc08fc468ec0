package bolt

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

const errFamily = journal.Fault("not a family of traces")

// Traces are numbered over both families, so that those about one pathway have
// one order. In its family each carries the SHA-256 of the encoded record before
// it; how many there are and the hash of the last stand in bucketHeads, sealed,
// and change with each commit that adds one.

// chainHead is where a family's chain ends.
type chainHead struct {
	Count uint64   `cbor:"1,keyasint"`
	Seq   uint64   `cbor:"2,keyasint"` // of the last record
	Hash  [32]byte `cbor:"3,keyasint"` // of the last record
}

var familyKeys = map[store.Family]byte{store.Application: 'a', store.Technical: 't'}

// Traces implements [store.View].
func (v *view) Traces(f store.Family, from uint64, limit int) ([]*store.Trace, error) {
	k, ok := familyKeys[f]
	if !ok {
		return nil, errFamily
	}
	var out []*store.Trace
	if from == ^uint64(0) {
		return nil, nil
	}
	c := v.bucket(bucketTraces).Cursor()
	prefix := []byte{k}
	for k, row := c.Seek(joined(prefix, u64(from+1))); hasPrefix(k, prefix) && (limit <= 0 || len(out) < limit); k, row = c.Next() {
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
		t := new(store.Trace)
		err := v.get(bucketTraces, joined(row[1:2], k[len(prefix):]), traceOwner, t)
		if errors.Is(err, store.ErrNotFound) {
			continue // purged: its retention is shorter than the pathway's life
		}
		if err != nil {
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
	family, ok := familyKeys[r.Family]
	if !ok {
		return errFamily
	}
	var head chainHead
	if err := t.get(bucketHeads, []byte{family}, traceOwner, &head); err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	t.state.Trace++
	r.Seq, r.Prev = t.state.Trace, nil
	if head.Count > 0 {
		r.Prev = head.Hash[:]
	}
	clear, err := encode(&r)
	if err != nil {
		return err
	}
	seq := binary.BigEndian.AppendUint64(nil, r.Seq)
	if err := t.put(bucketTraces, joined([]byte{family}, seq), traceOwner, clear); err != nil {
		return err
	}
	if r.Pathway != "" {
		if err := t.putRaw(bucketThreads, t.threadKey(r.Pathway, 't', seq), []byte{clearVersion, family}); err != nil {
			return err
		}
	}
	head = chainHead{Count: head.Count + 1, Seq: r.Seq, Hash: sha256.Sum256(clear)}
	return t.put(bucketHeads, []byte{family}, traceOwner, &head)
}
