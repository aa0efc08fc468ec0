package bolt

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/relais-sante/relais/store"
)

// Buckets. "H" is the handle of a pathway (12 bytes), "L(x)" the first 16 bytes
// of a keyed look-up hash, numbers are big endian, "·" joins.
var (
	bucketMeta     = []byte("meta")     // "format" → number in clear; "state" → state, hub key; "lookups"
	bucketPathways = []byte("pathways") // H → Pathway, its key
	// bucketThreads holds what belongs to a pathway side by side, so that a post
	// touches few pages however many pathways there are; the long rows come
	// first, so that their end lies beside the short ones:
	//
	//	H·a·seq·m            → Message, the pathway's key, like all that follows
	//	H·a·seq·x            → letter index
	//	H·d·L(message)·number → delivery id, in clear
	//	H·f·rubric·uid       → modseq and message id
	//	H·r·rubric           → RubricState
	//	H·t·trace            → family, in clear; survives an erasure, goes with the trace
	//	H·u·modseq           → id of a message that was rewritten, in clear
	//	H·v·rubric·modseq·uid → nothing: a tombstone
	//	H·w·delivery id      → nothing: a delivery that is in bucketLive
	bucketThreads    = []byte("threads")
	bucketLocated    = []byte("located")    // message id → H·seq, in clear
	bucketBoxes      = []byte("boxes")      // random id → Box, its key
	bucketAccounts   = []byte("accounts")   // account id → Account, its key
	bucketIDs        = []byte("ids")        // L(Message-ID) or L(pathway, key)·^number → owned MessageRef
	bucketPrints     = []byte("prints")     // L(fingerprint) → owned MessageRef
	bucketDeliveries = []byte("deliveries") // id → owned Delivery
	bucketLive       = []byte("live")       // q or f (failed)·id → nothing
	bucketHeld       = []byte("held")       // id → Held, triage key
	bucketHeldIndex  = []byte("heldindex")  // id → letter index, triage key
	bucketHeldOf     = []byte("heldof")     // H·id → nothing
	bucketHeldPrints = []byte("heldprints") // L(fingerprint) → held id, in clear
	bucketItems      = []byte("items")      // id → Item, hub key
	bucketDue        = []byte("due")        // key of a lane·0·due·id → nothing
	bucketLeases     = []byte("leases")     // id → nothing
	bucketTraces     = []byte("traces")     // family·seq → Trace, trace key
	bucketHeads      = []byte("heads")      // "heads" → headRow, trace key
	bucketSettings   = []byte("settings")   // name → value, hub key
	bucketTaken      = []byte("taken")      // L(source, digest) → day (u32, since 1970)
	bucketErasures   = []byte("erasures")   // code → Erasure, hub key
	bucketLarge      = []byte("large")      // name of a large segment → nothing
	// bucketReaders holds what readers have of their own side by side. "A" is the
	// handle of an account, whose key seals what is not in clear; "F" is the first
	// half of L(folder):
	//
	//	A·c·F·modseq·uid    → whether it is gone, in clear: an entry changed
	//	A·e·F·uid           → Entry
	//	A·f·folder id       → Folder
	//	A·k·H·message id    → Mark
	//	A·l·modseq          → H·message id of a mark, in clear
	//	A·m·mail id         → Mail
	//	A·r                 → Reader
	//	A·x·mail id         → letter index
	bucketReaders  = []byte("readers")
	bucketSegments = []byte("segments") // number of a shared segment that is left behind → segmentEnd, hub key

	// The look-ups that could be guessed have a bucket for each generation, see
	// lookups.go. "G(x)" is the first half of a hash under the key of that:
	//
	//	G(INS)·H, G(name key)·H, G(address)·H → nothing
	//	G(address of a box)                   → id of the box
	//	G(username), G(certificate)           → account id
	//	G(box of an account)·account id       → nothing

	buckets = [][]byte{
		bucketMeta, bucketPathways, bucketThreads, bucketLocated,
		bucketBoxes, bucketAccounts, bucketIDs, bucketPrints, bucketDeliveries, bucketLive, bucketHeld, bucketHeldIndex,
		bucketHeldOf, bucketHeldPrints, bucketItems, bucketDue, bucketLeases, bucketTraces, bucketHeads,
		bucketSettings, bucketTaken, bucketErasures, bucketLarge, bucketSegments, bucketReaders,
	}

	keyFormat  = []byte("format")
	keyState   = []byte("state")
	keyLookups = []byte("lookups") // generation of the look-ups in use · that being made, in clear
)

var (
	hubOwner   = store.Owner{Kind: store.OwnedByHub}
	traceOwner = store.Owner{Kind: store.OwnedByTrace}
)

func pathwayOwner(c store.PathwayCode) store.Owner {
	return store.Owner{Kind: store.OwnedByPathway, ID: string(c)}
}

func triageOwner(h store.HeldID) store.Owner {
	return store.Owner{Kind: store.OwnedByTriage, ID: string(h)}
}

// state is what one group carries to the next. It stands in each commit record,
// and in the index as it was at the last row there.
type state struct {
	Seq      uint64 `cbor:"1,keyasint"` // of the last group
	Segment  uint32 `cbor:"2,keyasint"` // number of the shared segment, 0: none yet
	End      int64  `cbor:"3,keyasint"` // of what is committed in it
	Validity uint32 `cbor:"4,keyasint"` // UIDVALIDITY of every rubric
	Trace    uint64 `cbor:"5,keyasint"` // last trace, over both families
	Number   uint64 `cbor:"6,keyasint"` // orders look-ups and deliveries
	Lease    uint64 `cbor:"7,keyasint"` // last fencing token
	ModSeq   uint64 `cbor:"8,keyasint"` // last one given
	Arrival  uint32 `cbor:"9,keyasint"` // last UID given in an INBOX, over all boxes

	Pathways     int64 `cbor:"10,keyasint"`
	Messages     int64 `cbor:"11,keyasint"`
	Held         int64 `cbor:"12,keyasint"`
	Queued       int64 `cbor:"13,keyasint"`
	Failed       int64 `cbor:"14,keyasint"`
	SegmentBytes int64 `cbor:"15,keyasint"`

	Chain  [32]byte `cbor:"20,keyasint"`           // over the records of the shared segment, see chained
	Closed bool     `cbor:"22,keyasint,omitempty"` // in order: nothing lies behind End
	// Line names the history that segments and index belong to; a restored or
	// salvaged store begins another.
	Line [16]byte `cbor:"23,keyasint"`
	// Keys is the number of the last record of the keystore (see [seal.Keys.Number])
	// that was durable then: the keys that rows are sealed with are among those up
	// to it.
	Keys uint64 `cbor:"24,keyasint"`

	heads chainEnds // in a row of their own, see trace_head.go
}

// segmentEnd says where a shared segment ends that is no longer written to.
type segmentEnd struct {
	Number uint32   `cbor:"1,keyasint"`
	End    int64    `cbor:"2,keyasint"`
	Chain  [32]byte `cbor:"3,keyasint"`
}

// step takes an index from format to-1 to format to, in one transaction.
type step struct {
	to  uint32
	run func(*Store, *bolt.Tx) error
}

// migrations are all steps ever, in order; the last one's number is the format
// this program writes. A change of any row that an older program could not read,
// or that this one could not read from an older one, is the next step. Step 1
// makes a new index; since 2 the segments are the log ahead of it.
var migrations = []step{{1, create}, {2, func(*Store, *bolt.Tx) error { return nil }}}

// create makes an empty index.
func create(s *Store, btx *bolt.Tx) error {
	for _, b := range buckets {
		if _, err := btx.CreateBucket(b); err != nil {
			return err
		}
	}
	st := state{Validity: max(1, uint32(s.o.Clock().Unix())), ModSeq: 1}
	if _, err := io.ReadFull(s.o.Rand, st.Line[:]); err != nil {
		return err
	}
	t := tx{view: view{s: s, tx: btx}}
	if err := t.put(bucketMeta, keyState, hubOwner, &st); err != nil {
		return err
	}
	row, err := t.headsOf(&st)
	if err != nil {
		return err
	}
	return t.putRaw(bucketHeads, keyHeads, row)
}

// prepare makes a new index, or tells the format of the one that is there.
func (s *Store) prepare() (uint32, error) {
	have, err := s.format()
	if err != nil {
		return 0, err
	}
	last := s.o.steps[len(s.o.steps)-1].to
	if have > last {
		return 0, fmt.Errorf("index of format %d, this program knows %d: %w", have, last, store.ErrNewer)
	}
	if have > 0 {
		return have, nil
	}
	// An index that lost its place is not one that is new.
	if err := s.refuseStrays(); err != nil {
		return 0, err
	}
	return last, s.step(0)
}

// upgrade brings the index to the format of this program, with all rows that the
// log has and it had not.
func (s *Store) upgrade(have uint32) error {
	if have == s.o.steps[len(s.o.steps)-1].to {
		return nil
	}
	s.freeze()
	if err := s.writeFrozen(); err != nil {
		return err
	}
	if err := s.step(have); err != nil {
		return err
	}
	return s.takeUp(true)
}

// step takes the steps after a format, each durable before the next.
func (s *Store) step(have uint32) error {
	for _, st := range s.o.steps {
		if st.to <= have {
			continue
		}
		err := s.db.Update(func(btx *bolt.Tx) error {
			if err := st.run(s, btx); err != nil {
				return err
			}
			meta, err := btx.CreateBucketIfNotExists(bucketMeta)
			if err != nil {
				return err
			}
			return meta.Put(keyFormat, binary.BigEndian.AppendUint32(nil, st.to))
		})
		if err != nil {
			return fmt.Errorf("bringing index to format %d: %w", st.to, fault(err))
		}
	}
	return nil
}

// format is the format of the index, 0 for an empty file.
func (s *Store) format() (uint32, error) {
	var have uint32
	err := s.db.View(func(btx *bolt.Tx) error {
		meta := btx.Bucket(bucketMeta)
		if meta == nil {
			if k, _ := btx.Cursor().First(); k != nil {
				return store.ErrCorrupt
			}
			return nil
		}
		b := meta.Get(keyFormat)
		if len(b) != 4 {
			return store.ErrCorrupt
		}
		have = binary.BigEndian.Uint32(b)
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("reading format of index: %w", err)
	}
	return have, nil
}

// refuseStrays refuses segments without an index.
func (s *Store) refuseStrays() error {
	entries, err := os.ReadDir(s.segs.dir)
	if err != nil {
		return fault(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), sharedPrefix) {
			return fmt.Errorf("segments without an index, salvage them: %w", store.ErrCorrupt)
		}
	}
	return nil
}
