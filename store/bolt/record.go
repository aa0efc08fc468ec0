package bolt

import (
	"crypto/sha256"
)

// A commit record stands in the shared segment for what a group of commits
// changed, so that a lost index can be made again (see segment.go). It holds rows
// of the index as they are there: sealed, under keys made of handles, ids and
// numbers. So nothing is sealed twice, what goes with a key goes here too, and
// making the index again is putting rows back.
type commitRecord struct {
	Rows []loggedRow `cbor:"1,keyasint"`
}

// loggedRow is a row as it was written, or that it was deleted.
type loggedRow struct {
	_      struct{} `cbor:",toarray"`
	Bucket byte     // see logged
	Key    []byte
	Row    []byte // nil: deleted
}

// keeping says how a bucket's rows are kept in the segment.
type keeping struct {
	number byte // stands for the bucket; never given to another
	// now: the commit that writes such a row waits for it to be durable in the
	// segment too. Other rows go with the next commit that writes there anyway
	// (or at a stop), so that the relay's commits need no second sync.
	now bool
}

// logged are the buckets whose rows are kept: records that nothing else would
// tell. What follows from records (look-ups, lists, counts) and from a message's
// bytes (its letter index) is left out.
var logged = map[string]keeping{
	string(bucketPathways):   {1, true},
	string(bucketThreads):    {2, true}, // messages only
	string(bucketBoxes):      {3, true},
	string(bucketDeliveries): {4, false}, // as made, and as they ended
	string(bucketHeld):       {5, true},
	string(bucketItems):      {6, false}, // timers; copies to send follow from deliveries
	string(bucketTraces):     {7, false},
	string(bucketHeads):      {8, false},
	string(bucketSettings):   {9, false},
	string(bucketAccounts):   {10, true},
	string(bucketTaken):      {12, false},
	string(bucketErasures):   {13, true},
	string(bucketReaders):    {11, false}, // but what follows from the rest, see standsAlone
}

// maxUnlogged is how many bytes of rows may wait for the segment.
const maxUnlogged = 256 << 10

// keep remembers a row for the segment. Of a row written twice in one commit the
// last counts.
func (t *tx) keep(bucket, key, row []byte) {
	k, ok := logged[string(bucket)]
	if !ok || t.g == nil || !standsAlone(k.number, key) {
		return
	}
	t.urgent = t.urgent || k.now
	for i := len(t.kept) - 1; i >= 0 && i >= len(t.kept)-8; i-- {
		if r := &t.kept[i]; r.Bucket == k.number && string(r.Key) == string(key) {
			r.Row = row
			return
		}
	}
	t.kept = append(t.kept, loggedRow{Bucket: k.number, Key: key, Row: row})
}

// standsAlone tells rows that nothing else would tell from those beside them in
// their bucket.
func standsAlone(number byte, key []byte) bool {
	switch number {
	case 2:
		return isMessageKey(key)
	case 11:
		if len(key) <= handleSize {
			return false
		}
		switch key[handleSize] {
		case kindChange, kindMarkLog, kindMailIx:
			return false
		}
	}
	return true
}

// rowsSize is about what rows take in the segment.
func rowsSize(rows []loggedRow) int {
	n := 0
	for i := range rows {
		n += len(rows[i].Key) + len(rows[i].Row) + 8
	}
	return n
}

// writeRows appends the record of the rows that wait and those of this group,
// if it writes to the segment at all.
func (g *group) writeRows() error {
	rows := g.rows
	if len(g.s.unlogged) > 0 {
		rows = append(g.s.unlogged[:len(g.s.unlogged):len(g.s.unlogged)], rows...)
	}
	most, urgent := maxUnlogged, g.urgent
	if g.s.full.Load() {
		// The relay goes on, and consents are withdrawn, while messages find no
		// room.
		most, urgent = maxUnlogged<<8, false
	}
	if len(rows) == 0 || g.size == 0 && !urgent && rowsSize(rows) < most {
		return nil
	}
	payload, err := encode(&commitRecord{Rows: rows})
	if err != nil {
		return err
	}
	head := recordHead{kind: recCommit, seq: g.state.Seq, length: int64(len(payload)), sum: sha256.Sum256(payload)}
	g.heads = append(g.heads, head.encode())
	g.parts = append(g.parts, g.heads[len(g.heads)-1], payload)
	g.size += int64(recHead + len(payload))
	g.logs = true
	g.state.Logged = g.state.Trace
	return nil
}

// logRest writes the rows that still wait, at a stop.
func (s *Store) logRest() error {
	if len(s.unlogged) == 0 {
		return nil
	}
	g, err := s.begin()
	if err != nil {
		return err
	}
	g.urgent = true
	if err := g.writeSegment(); err != nil {
		g.rollback()
		return err
	}
	if err := g.commitIndex(); err != nil {
		return err
	}
	g.publish(nil)
	return nil
}

// unloggedTraces gives the traces that a crash kept from the segment: they wait
// again.
func (s *Store) unloggedTraces() ([]loggedRow, error) {
	if s.state.Logged >= s.state.Trace {
		return nil, nil
	}
	btx, err := s.db.Begin(false)
	if err != nil {
		return nil, fault(err)
	}
	defer func() { _ = btx.Rollback() }()
	var rows []loggedRow
	add := func(bucket, key, row []byte) {
		rows = append(rows, loggedRow{Bucket: logged[string(bucket)].number, Key: clone(key), Row: clone(row)})
	}
	for i := range familyKeys {
		family := familyKeys[i : i+1]
		c := btx.Bucket(bucketTraces).Cursor()
		for k, row := c.Seek(joined(family, u64(s.state.Logged+1))); hasPrefix(k, family); k, row = c.Next() {
			add(bucketTraces, k, row)
		}
	}
	if row := btx.Bucket(bucketHeads).Get(keyHeads); row != nil {
		add(bucketHeads, keyHeads, row)
	}
	return rows, nil
}

func clone(b []byte) []byte { return append(make([]byte, 0, len(b)), b...) }
