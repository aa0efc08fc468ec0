package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

// chainEnd is where the chain of a family ends and where it now begins.
type chainEnd struct {
	Count uint64   `cbor:"1,keyasint"` // ever
	Last  uint64   `cbor:"2,keyasint"` // number of the last record
	Hash  [32]byte `cbor:"3,keyasint"` // keyed, of the last record
	// What retention took: how many, and the last of them.
	Purged     uint64   `cbor:"4,keyasint,omitempty"`
	PurgedLast uint64   `cbor:"5,keyasint,omitempty"`
	PurgedHash [32]byte `cbor:"6,keyasint,omitempty"`
}

type chainEnds [len(store.Families)]chainEnd

// headRow is the row of bucketHeads. It is sealed like any row under the trace
// owner's key, and carries a MAC under another key derived from the same
// secret, so that whoever can write rows cannot make one.
type headRow struct {
	Commit uint64    `cbor:"1,keyasint"` // the group that wrote it
	Trace  uint64    `cbor:"2,keyasint"` // last trace, over both families
	Ends   chainEnds `cbor:"3,keyasint"`
	// Rejoined are the numbers after which a head was found broken at a start
	// and the chain taken up again.
	Rejoined []uint64 `cbor:"4,keyasint,omitempty"`
	Mac      []byte   `cbor:"5,keyasint"`
}

var keyHeads = []byte("heads")

// maxRejoined bounds the numbers remembered, the first of all included.
const maxRejoined = 64

func (s *Store) headMac(h headRow) ([]byte, error) {
	h.Mac = nil
	b, err := encode(&h)
	if err != nil {
		return nil, err
	}
	sum := s.chain.Sum("head", b)
	return sum[:], nil
}

// headsOf makes the row for a state.
func (t *tx) headsOf(st *state) ([]byte, error) {
	h := headRow{Commit: st.Seq, Trace: st.Trace, Ends: st.heads, Rejoined: t.s.rejoined}
	var err error
	if h.Mac, err = t.s.headMac(h); err != nil {
		return nil, err
	}
	return t.sealed(nil, bucketHeads, keyHeads, traceOwner, &h)
}

// headRow reads the row back: ErrCorrupt unless this store wrote it last.
func (v *view) headRow() (*headRow, error) {
	h := new(headRow)
	if err := v.get(bucketHeads, keyHeads, traceOwner, h); err != nil {
		return nil, fmt.Errorf("reading the head of the traces: %w", err)
	}
	mac, err := v.s.headMac(*h)
	if err != nil {
		return nil, err
	}
	st, err := v.now()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(mac, h.Mac) || h.Trace != st.Trace || h.Commit > st.Seq {
		return nil, fmt.Errorf("head of the traces: %w", store.ErrCorrupt)
	}
	return h, nil
}

// loadHeads takes up the chains where the last commit left them. Where the head
// is not what a commit of this store wrote, the hub must go on all the same:
// the chains are taken up from what is there, and that this happened stays in
// every later head and shows in every verification.
func (s *Store) loadHeads() error {
	st := s.state
	err := s.see(func(v *view) error {
		h, err := v.headRow()
		if err == nil {
			st.heads, s.rejoined = h.Ends, h.Rejoined
			return nil
		}
		s.log.Error("the head of the traces is not what was written: verify the traces", "err", err)
		if old := new(headRow); v.get(bucketHeads, keyHeads, traceOwner, old) == nil {
			s.rejoined = old.Rejoined
		}
		if len(s.rejoined) < maxRejoined {
			s.rejoined = append(s.rejoined[:len(s.rejoined):len(s.rejoined)], st.Trace)
		}
		st.heads, err = v.rejoin()
		return err
	})
	if err != nil {
		return err
	}
	lv := *s.levels.Load()
	s.state, lv.state = st, &st
	s.levels.Store(&lv)
	return nil
}

// rejoin makes ends from the records that are there.
func (v *view) rejoin() (chainEnds, error) {
	var ends chainEnds
	for i := range ends {
		prefix := []byte{familyKeys[i]}
		end := &ends[i]
		c := v.bucket(bucketTraces).Cursor()
		for k, row := c.Seek(prefix); hasPrefix(k, prefix); k, row = c.Next() {
			if len(k) != 9 {
				continue
			}
			end.Count++
			end.Last, end.Hash = binary.BigEndian.Uint64(k[1:]), [32]byte{}
			if clear, err := v.s.keys.OpenRow(nil, traceOwner, string(bucketTraces), k, row); err == nil {
				end.Hash = v.s.linkOf(clear)
			}
		}
	}
	return ends, nil
}

// TraceHead implements [store.Store].
func (s *Store) TraceHead(ctx context.Context) (store.TraceHead, error) {
	var out store.TraceHead
	err := s.View(ctx, func(sv store.View) error {
		v := sv.(*view)
		h, err := v.headRow()
		if err != nil {
			return err
		}
		out = h.public(s.o.Clock())
		return nil
	})
	return out, err
}

func (h *headRow) public(at time.Time) store.TraceHead {
	out := store.TraceHead{At: at.UTC().Truncate(time.Second), Commit: h.Commit, Trace: h.Trace}
	for i, f := range store.Families {
		e := &h.Ends[i]
		p := store.FamilyHead{Family: f, Count: e.Count, Last: e.Last, Purged: e.Purged, PurgedLast: e.PurgedLast}
		if e.Count > 0 {
			p.Hash = hex.EncodeToString(e.Hash[:])
		}
		if e.Purged > 0 {
			p.PurgedHash = hex.EncodeToString(e.PurgedHash[:])
		}
		out.Families = append(out.Families, p)
	}
	return out
}

// A signed head is a cleartext signed OpenPGP message around this:
const headTitle = "Relais: head of the traces, version 1\n"

const errHeadForm = journal.Fault("not a head of traces that this version reads")

// SignHead implements [store.Store].
func (s *Store) SignHead(ctx context.Context) ([]byte, error) {
	h, err := s.TraceHead(ctx)
	if err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(&h, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing a head: %w", err)
	}
	return s.keys.Sign(traceOwner, append([]byte(headTitle), append(b, '\n')...))
}

// ReadHead implements [store.Store].
func (s *Store) ReadHead(signed []byte) (store.TraceHead, error) {
	var h store.TraceHead
	text, err := s.keys.Signed(traceOwner, signed)
	if err != nil {
		return h, err
	}
	body, ok := bytes.CutPrefix(text, []byte(headTitle))
	if !ok || json.Unmarshal(body, &h) != nil {
		return h, fmt.Errorf("reading a head: %w", errHeadForm)
	}
	return h, nil
}

// HeadKey implements [store.Store].
func (s *Store) HeadKey() ([]byte, error) { return s.keys.PublicKey(traceOwner) }

// openChain gets the keyed hash of the traces.
func (s *Store) openChain() (err error) {
	s.chain, err = s.keys.Chain(traceOwner)
	return err
}
