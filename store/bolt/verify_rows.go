package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strconv"

	"github.com/relais-sante/relais/store"
)

// rows reads every row of the index. What follows from a record must be there,
// and what is there must follow from a record.
func (c *verifier) rows() error {
	checks := map[string]func(k, row []byte) error{
		string(bucketPathways):   c.pathwayRow,
		string(bucketThreads):    c.threadRow,
		string(bucketLocated):    c.locatedRow,
		string(bucketBoxes):      c.boxRow,
		string(bucketAccounts):   c.accountRow,
		string(bucketIDs):        func(k, row []byte) error { return c.refRow(bucketIDs, k, row) },
		string(bucketPrints):     func(k, row []byte) error { return c.refRow(bucketPrints, k, row) },
		string(bucketDeliveries): c.deliveryRow,
		string(bucketLive):       c.liveRow,
		string(bucketHeld):       c.heldRow,
		string(bucketHeldIndex):  c.heldIndexRow,
		string(bucketHeldOf):     func(k, row []byte) error { return c.leadsTo(bucketHeld, k[min(len(k), handleSize):], row) },
		string(bucketHeldPrints): func(_, row []byte) error { return c.names(bucketHeld, row) },
		string(bucketItems):      c.itemRow,
		string(bucketDue):        c.dueRow,
		string(bucketLeases):     func(k, row []byte) error { return c.leadsTo(bucketItems, k, row) },
		string(bucketSettings):   func(k, row []byte) error { return c.v.open(bucketSettings, k, hubOwner, row, new([]byte)) },
		string(bucketErasures):   func(k, row []byte) error { return c.v.open(bucketErasures, k, hubOwner, row, new(store.Erasure)) },
		string(bucketSegments):   func(k, row []byte) error { return c.v.open(bucketSegments, k, hubOwner, row, new(segmentEnd)) },
		string(bucketReaders):    c.readerRow,
		string(bucketTaken):      c.takenRow,
		string(bucketLarge):      func(_, row []byte) error { return c.leadsTo(bucketMeta, keyState, row) },
		string(bucketMeta):       c.metaRow,
	}
	current, next := c.v.generations()
	for _, generation := range []uint32{current, next} {
		if generation != 0 {
			checks[string(lookupsBucket(generation))] = c.findRow
		}
	}
	for _, bucket := range append(slices.Clone(buckets), lookupsBucket(current)) {
		b := c.v.bucket(bucket)
		if b.missing() {
			c.flaw(store.FlawRecord, indexName, -1, "")
			continue
		}
		if string(bucket) == string(bucketTraces) {
			if err := c.traces(); err != nil {
				return err
			}
			continue
		}
		check := checks[string(bucket)]
		cur := b.Cursor()
		for k, row := cur.First(); k != nil; k, row = cur.Next() {
			c.out.Records++
			if c.out.Records%1024 == 0 && c.ctx.Err() != nil {
				return c.ctx.Err()
			}
			if check == nil {
				continue
			}
			switch err := check(k, row); {
			case err == nil:
			case store.Gone(err) && !errors.Is(err, misfit):
				c.out.Erased++
			default:
				c.flaw(store.FlawRecord, indexName, -1, id(k))
			}
		}
	}
	// Each record has its look-up, see messageRow and deliveryRow: as many
	// look-ups as records are of nothing else.
	if c.located != c.messages || c.listed != c.copies {
		c.flaw(store.FlawRecord, indexName, -1, "")
	}
	return nil
}

// misfit is a row that does not go with the others.
var misfit = store.ErrCorrupt

// there checks that rows that follow from a record are there.
func (c *verifier) there(bucket []byte, keys ...[]byte) error {
	b := c.v.bucket(bucket)
	for _, k := range keys {
		if b.Get(k) == nil {
			return misfit
		}
	}
	return nil
}

// leadsTo checks a row that only names a record, and says nothing else.
func (c *verifier) leadsTo(bucket, key, row []byte) error {
	if row != nil && !bytes.Equal(row, []byte{clearVersion}) {
		return misfit
	}
	return c.there(bucket, key)
}

// names checks a row that holds, in clear, nothing but the key of a record.
func (c *verifier) names(bucket, row []byte) error {
	if len(row) < 2 || row[0] != clearVersion {
		return misfit
	}
	return c.there(bucket, row[1:])
}

func (c *verifier) takenRow(_, row []byte) error {
	if _, ok := takenDay(row); !ok {
		return misfit
	}
	return nil
}

func (c *verifier) metaRow(k, row []byte) error {
	switch string(k) {
	case string(keyState):
		return nil // read before all others
	case string(keyLookups):
		current, _ := c.v.generations()
		if len(row) != 8 || c.v.bucket(lookupsBucket(current)).missing() {
			return misfit
		}
		return nil
	}
	if last := migrations[len(migrations)-1].to; string(k) != string(keyFormat) || !bytes.Equal(row, u32(last)) {
		return misfit
	}
	return nil
}

func (c *verifier) pathwayRow(k, row []byte) error {
	if len(k) != handleSize {
		return misfit
	}
	code, ok := c.v.pathwayOf(k)
	if !ok {
		return store.ErrErased
	}
	p := new(store.Pathway)
	if err := c.v.open(bucketPathways, k, pathwayOwner(code), row, p); err != nil {
		return err
	}
	if p.Code != code {
		return misfit
	}
	return c.finds(pathwayFinds(k, p))
}

// finds checks that look-ups are there.
func (c *verifier) finds(list []find) error {
	for i := range list {
		b, key, err := c.v.found(list[i].use, list[i].what)
		if err != nil {
			return err
		}
		if !bytes.Equal(b.Get(joined(key, list[i].suffix)), append([]byte{clearVersion}, list[i].value...)) {
			return misfit
		}
	}
	return nil
}

// findRow is a look-up that could be guessed: it leads to a pathway or an account
// in its key, or to a box or an account in its row.
func (c *verifier) findRow(k, row []byte) error {
	if len(k) < 16 || len(row) < 1 || row[0] != clearVersion {
		return misfit
	}
	to := append(clone(k[16:]), row[1:]...)
	for _, bucket := range [][]byte{bucketPathways, bucketAccounts, bucketBoxes} {
		if c.v.bucket(bucket).Get(to) != nil {
			return nil
		}
	}
	return misfit
}

func (c *verifier) boxRow(k, row []byte) error {
	list, err := c.v.findsOfBox(k, row)
	if err != nil {
		return err
	}
	return c.finds(list)
}

func (c *verifier) threadRow(k, row []byte) error {
	if len(k) <= handleSize+1 {
		return misfit
	}
	rest := k[handleSize+1:]
	if k[handleSize] == 't' {
		if len(rest) != 8 || len(row) != 2 || row[0] != clearVersion {
			return misfit
		}
		return c.there(bucketTraces, joined(row[1:], rest))
	}
	code, ok := c.v.pathwayOf(k[:handleSize])
	if !ok {
		return store.ErrErased
	}
	switch k[handleSize] {
	case kindThread:
		if len(k) != handleSize+1+8+1 {
			return misfit
		}
		if isMessage(k) {
			return c.messageRow(code, k, row)
		}
		return errors.Join(
			c.v.open(bucketThreads, k, pathwayOwner(code), row, new([]byte)),
			c.there(bucketThreads, append(clone(k[:len(k)-1]), endMessage)))
	case 'd':
		c.listed++
		return c.names(bucketDeliveries, row)
	case 'f':
		b, err := c.v.s.keys.OpenRow(nil, pathwayOwner(code), string(bucketThreads), k, row)
		if err == nil && len(b) < 8 {
			err = misfit
		}
		if err != nil {
			return err
		}
		return c.there(bucketLocated, b[8:])
	case 'r':
		return c.v.open(bucketThreads, k, pathwayOwner(code), row, new(store.RubricState))
	case kindUpdated:
		return c.names(bucketLocated, row)
	case 'w':
		return c.leadsTo(bucketDeliveries, rest, row)
	case 'v':
		if len(rest) != 8+8+4 || !bytes.Equal(row, []byte{clearVersion}) {
			return misfit
		}
		return nil
	}
	return misfit
}

func (c *verifier) messageRow(code store.PathwayCode, k, row []byte) error {
	c.messages++
	m := new(store.Message)
	if err := c.v.open(bucketThreads, k, pathwayOwner(code), row, m); err != nil {
		return err
	}
	c.blob(m.Blob, string(m.ID))
	seq := k[handleSize+1 : handleSize+1+8]
	located := c.v.bucket(bucketLocated).Get([]byte(m.ID))
	if m.Pathway != code || m.Seq != binary.BigEndian.Uint64(seq) || !bytes.Equal(located, joined([]byte{clearVersion}, k[:handleSize], seq)) {
		return misfit
	}
	for _, f := range m.Filings {
		if err := c.there(bucketThreads, c.v.threadKey(code, 'f', c.v.rubricHash(code, f.Rubric), u32(f.UID))); err != nil {
			return err
		}
	}
	for _, rfc := range ids(m) {
		if err := c.knownAs(rfc, m.ID, ""); err != nil {
			return err
		}
	}
	for _, key := range m.Keys {
		if err := c.hasKey(code, key, m.ID); err != nil {
			return err
		}
	}
	if m.Fingerprint != ([32]byte{}) {
		if _, err := c.v.Duplicate(m.Fingerprint); err != nil {
			return errors.Join(err, misfit)
		}
	}
	return c.there(bucketThreads, c.v.indexKey(code, seq))
}

// hasKey checks that a message is found by a key. What all mail of a pathway
// carries leads to all of it: such lists are kept.
func (c *verifier) hasKey(code store.PathwayCode, key string, id store.MessageID) error {
	const many, kept = 16, 64
	name := string(code) + " " + key
	if c.keyed[name][id] {
		return nil
	}
	list, err := c.v.MessagesOfKey(code, key, 0)
	if err != nil || !slices.Contains(list, id) {
		return errors.Join(err, misfit)
	}
	if len(list) > many {
		if c.keyed == nil || len(c.keyed) >= kept {
			c.keyed = map[string]map[store.MessageID]bool{}
		}
		c.keyed[name] = make(map[store.MessageID]bool, len(list))
		for _, other := range list {
			c.keyed[name][other] = true
		}
	}
	return nil
}

// knownAs checks that a message, or the copy for a box, is found by a
// Message-ID.
func (c *verifier) knownAs(rfc string, id store.MessageID, box store.Address) error {
	if rfc == "" {
		return nil
	}
	refs, err := c.v.MessagesByID(rfc)
	if err == nil && !slices.ContainsFunc(refs, func(r store.MessageRef) bool { return r.Message == id && (r.Box == "" || r.Box == box) }) {
		err = misfit
	}
	return err
}

func (c *verifier) locatedRow(_, row []byte) error {
	if len(row) != 1+handleSize+8 || row[0] != clearVersion {
		return misfit
	}
	handle, seq := row[1:1+handleSize], row[1+handleSize:]
	if err := c.there(bucketThreads, joined(handle, []byte{kindThread}, seq, []byte{endMessage})); err != nil {
		return err
	}
	if _, ok := c.v.pathwayOf(handle); !ok {
		return store.ErrErased
	}
	c.located++
	return nil
}

// refRow is a look-up that leads to a message.
func (c *verifier) refRow(bucket, k, row []byte) error {
	var ref store.MessageRef
	if err := c.v.openOwned(bucket, k, row, &ref); err != nil {
		return err
	}
	return c.there(bucketLocated, []byte(ref.Message))
}

func (c *verifier) deliveryRow(k, row []byte) error {
	d := new(store.Delivery)
	if err := c.v.openOwned(bucketDeliveries, k, row, d); err != nil {
		return err
	}
	if string(d.ID) != string(k) {
		return misfit
	}
	for _, half := range []byte{liveQueued, liveFailed} {
		if (c.v.bucket(bucketLive).Get(append([]byte{half}, k...)) != nil) != (liveness(d.State) == half) {
			return misfit
		}
	}
	if d.Pathway == "" {
		return nil
	}
	if (c.v.bucket(bucketThreads).Get(c.v.threadKey(d.Pathway, 'w', k)) != nil) != (liveness(d.State) != 0) {
		return misfit
	}
	if d.Message == "" {
		return nil
	}
	c.copies++
	if !bytes.Equal(c.v.bucket(bucketThreads).Get(c.v.deliveryKey(d)), append([]byte{clearVersion}, k...)) {
		return misfit
	}
	return c.knownAs(d.RFCID, d.Message, d.Mailbox)
}

func (c *verifier) liveRow(k, row []byte) error {
	if len(k) < 2 || k[0] != liveQueued && k[0] != liveFailed {
		return misfit
	}
	return c.leadsTo(bucketDeliveries, k[1:], row)
}

func (c *verifier) heldRow(k, row []byte) error {
	h := new(store.Held)
	if err := c.v.open(bucketHeld, k, triageOwner(store.HeldID(k)), row, h); err != nil {
		return err
	}
	c.blob(h.Blob, string(k))
	if string(h.ID) != string(k) {
		return misfit
	}
	if h.Addressed != "" {
		if err := c.there(bucketHeldOf, append(c.v.handle(h.Addressed), k...)); err != nil {
			return err
		}
	}
	return c.there(bucketHeldIndex, k)
}

func (c *verifier) heldIndexRow(k, row []byte) error {
	return errors.Join(
		c.v.open(bucketHeldIndex, k, triageOwner(store.HeldID(k)), row, new([]byte)),
		c.there(bucketHeld, k))
}

func (c *verifier) itemRow(k, row []byte) error {
	it := new(store.Item)
	if err := c.v.open(bucketItems, k, hubOwner, row, it); err != nil {
		return err
	}
	leased := c.v.bucket(bucketLeases).Get(k) != nil
	if string(it.ID) != string(k) || leased != (it.Token != 0) {
		return misfit
	}
	return c.there(bucketDue, c.v.s.dueKey(it))
}

func (c *verifier) dueRow(k, row []byte) error {
	_, _, item, ok := parseDue(k)
	if !ok {
		return misfit
	}
	return c.leadsTo(bucketItems, []byte(item), row)
}

func (c *verifier) accountRow(k, row []byte) error {
	a := new(store.Account)
	if err := c.v.open(bucketAccounts, k, store.AccountID(k).Owner(), row, a); err != nil {
		return err
	}
	if string(a.ID) != string(k) {
		return misfit
	}
	return c.finds(accountFinds(a))
}

func (c *verifier) readerRow(k, row []byte) error {
	if len(k) <= handleSize {
		return misfit
	}
	o, ok := c.v.s.keys.OwnerOf([handleSize]byte(k[:handleSize]))
	if !ok {
		return store.ErrErased
	}
	var record any
	m := new(store.Mail)
	switch k[handleSize] {
	case kindChange:
		if len(k) != handleSize+1+8+8+4 || len(row) != 2 || row[0] != clearVersion || row[1] > 1 {
			return misfit
		}
		return nil
	case kindMarkLog:
		if len(row) < 1 || row[0] != clearVersion {
			return misfit
		}
		return c.there(bucketReaders, joined(k[:handleSize], []byte{kindMark}, row[1:]))
	case kindEntry:
		record = new(store.Entry)
	case kindFolder:
		record = new(store.Folder)
	case kindMark:
		record = new(store.ReaderMark)
	case kindMail:
		record = m
	case kindReader:
		record = new(store.Reader)
	case kindMailIx:
		record = new([]byte)
	default:
		return misfit
	}
	if err := c.v.open(bucketReaders, k, o, row, record); err != nil {
		return err
	}
	if record == any(m) {
		c.blob(m.Blob, string(m.ID))
	}
	return nil
}

// traces verifies the chains; online up to what is committed by then.
func (c *verifier) traces() error {
	r, err := c.s.VerifyTraces(c.ctx)
	if err != nil {
		return err
	}
	c.out.Traces = int64(r.Read)
	for _, p := range r.Problems {
		number := ""
		if p.From > 0 {
			number = strconv.FormatUint(p.From, 10)
		}
		c.flaw(store.FlawTrace, indexName, -1, number)
	}
	c.out.Count += int64(r.More)
	return nil
}
