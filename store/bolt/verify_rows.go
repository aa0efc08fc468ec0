package bolt

import (
	"bytes"
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
	c.endRubrics()
	c.endReader()
	for _, m := range []matched{c.located, c.copies, c.filings, c.updates, c.mails} {
		if m.asked != m.there {
			c.flaw(store.FlawRecord, indexName, -1, "")
		}
	}
	if c.there(bucketMeta, keyFormat, keyLookups) != nil || c.there(bucketHeads, keyHeads) != nil {
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
