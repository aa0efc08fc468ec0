package bolt

import (
	"bytes"
	"encoding/binary"

	"github.com/relais-sante/relais/store"
)

// The state of a rubric counts the messages filed in it, is beyond every UID and
// modseq given, and holds a digest over the tombstones: neither of these rows, nor
// the state itself while there is any, can be missing, or be one of before.

// rubrics are those of one pathway, by the hashes that stand for them in keys.
type rubrics struct {
	handle []byte
	seen   map[[8]byte]*rubricTally
}

type rubricTally struct {
	state  *store.RubricState
	count  uint32
	gone   uint64 // digest over tombstones
	uid    uint32 // last
	modSeq uint64
}

// of gives the tally of a rubric of the pathway that k is of.
func (r *rubrics) of(hash []byte) *rubricTally {
	key := [8]byte(hash)
	if r.seen[key] == nil {
		r.seen[key] = &rubricTally{}
	}
	return r.seen[key]
}

func (t *rubricTally) given(uid uint32, modSeq uint64) {
	t.uid, t.modSeq = max(t.uid, uid), max(t.modSeq, modSeq)
}

// filing is what the row of a message in a rubric says.
type filing struct {
	modSeq  uint64
	message store.MessageID
}

func (c *verifier) openFiling(code store.PathwayCode, k, row []byte) (filing, error) {
	b, err := c.v.s.keys.OpenRow(nil, pathwayOwner(code), string(bucketThreads), k, row)
	if err != nil || len(b) < 8 {
		return filing{}, misfit
	}
	return filing{binary.BigEndian.Uint64(b), store.MessageID(b[8:])}, nil
}

// filing reads the row that a message's filing asks for.
func (c *verifier) filing(code store.PathwayCode, f *store.Filing) (filing, error) {
	k := c.v.threadKey(code, 'f', c.v.rubricHash(code, f.Rubric), u32(f.UID))
	return c.openFiling(code, k, c.v.bucket(bucketThreads).Get(k))
}

// rubricRow is a filing, the state of a rubric or a tombstone.
func (c *verifier) rubricRow(code store.PathwayCode, k, row []byte) error {
	if !bytes.Equal(c.rubrics.handle, k[:handleSize]) {
		c.endRubrics()
		c.rubrics = rubrics{handle: clone(k[:handleSize]), seen: map[[8]byte]*rubricTally{}}
	}
	rest := k[handleSize+1:]
	if want := map[byte]int{'f': 8 + 4, 'r': 8, 'v': 8 + 8 + 4}[k[handleSize]]; len(rest) != want {
		return misfit
	}
	t := c.rubrics.of(rest[:8])
	switch k[handleSize] {
	case 'f':
		c.filings.there++
		f, err := c.openFiling(code, k, row)
		if err != nil {
			return err
		}
		t.count++
		t.given(binary.BigEndian.Uint32(rest[8:]), f.modSeq)
		return c.there(bucketLocated, []byte(f.message))
	case 'r':
		t.state = new(store.RubricState)
		return c.v.open(bucketThreads, k, pathwayOwner(code), row, t.state)
	}
	if !bytes.Equal(row, []byte{clearVersion}) {
		return misfit
	}
	t.gone ^= c.v.digest(k, nil)
	t.given(binary.BigEndian.Uint32(rest[16:]), binary.BigEndian.Uint64(rest[8:]))
	return nil
}

// endRubrics compares what the rubrics of a pathway hold with what they say.
func (c *verifier) endRubrics() {
	for _, t := range c.rubrics.seen {
		s := t.state
		if s == nil || s.Count != t.count || s.Gone != t.gone || s.UIDNext <= t.uid || s.HighestModSeq < t.modSeq {
			c.flaw(store.FlawRecord, indexName, -1, "")
		}
	}
	c.rubrics = rubrics{}
}
