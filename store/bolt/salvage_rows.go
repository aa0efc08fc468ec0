package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/relais-sante/relais/store"
)

// What follows from the rows that were put back is made from them: look-ups, lists,
// counts, letter indexes.

// salvagePage is how many rows are worked on in one transaction.
const salvagePage = 500

// each gives every row of a bucket, as it stood before, to fn. Rows whose key is
// gone, or that do not open, go.
func (c *salvager) each(bucket []byte, fn func(t *tx, k, row []byte) error) error {
	var from []byte
	for more := true; more; {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		err := c.update(func(t *tx) error {
			type pair struct{ k, row []byte }
			var page []pair
			cur := t.bucket(bucket).Cursor()
			k, row := cur.First()
			if from != nil {
				k, row = cur.Seek(after(from, nil))
			}
			for ; k != nil && len(page) < salvagePage; k, row = cur.Next() {
				if string(bucket) != string(bucketThreads) || isMessageKey(k) {
					page = append(page, pair{clone(k), clone(row)})
				}
			}
			more = len(page) == salvagePage
			for _, p := range page {
				from = p.k
				err := fn(t, p.k, p.row)
				switch {
				case err == nil:
					continue
				case store.Gone(err):
					c.out.Erased++
				case errors.Is(err, store.ErrCorrupt):
					c.out.Damaged++
				default:
					return err
				}
				if err := t.tx.Bucket(bucket).Delete(p.k); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("making %s again: %w", bucket, err)
		}
	}
	return nil
}

func (c *salvager) finds(t *tx, list []find, err error) error {
	if err != nil {
		return err
	}
	return t.moveFinds(nil, list)
}

func (c *salvager) pathway(t *tx, k, row []byte) error {
	code, ok := t.pathwayOf(k)
	if !ok {
		return store.ErrErased
	}
	p := new(store.Pathway)
	if err := t.open(bucketPathways, k, pathwayOwner(code), row, p); err != nil {
		return err
	}
	t.state.ModSeq = max(t.state.ModSeq, p.ModSeq)
	t.state.Pathways++
	c.out.Pathways++
	return t.moveFinds(nil, pathwayFinds(k, p))
}

func (c *salvager) box(t *tx, k, row []byte) error {
	list, err := t.findsOfBox(k, row)
	return c.finds(t, list, err)
}

func (c *salvager) account(t *tx, k, row []byte) error {
	list, err := t.findsOfAccount(k, row)
	return c.finds(t, list, err)
}

func (c *salvager) message(t *tx, k, row []byte) error {
	code, ok := t.pathwayOf(k[:handleSize])
	if !ok {
		return store.ErrErased
	}
	m := new(store.Message)
	if err := t.open(bucketThreads, k, pathwayOwner(code), row, m); err != nil {
		return err
	}
	seq := k[handleSize+1 : handleSize+1+8]
	if m.Pathway != code || m.Seq != binary.BigEndian.Uint64(seq) {
		return store.ErrCorrupt
	}
	if c.last[string(k)] > c.durable {
		c.out.Unconfirmed = append(c.out.Unconfirmed, string(m.ID))
	}
	c.out.Messages++
	t.state.Messages++
	t.state.ModSeq = max(t.state.ModSeq, m.ModSeq)
	for _, b := range m.Boxes {
		t.state.Arrival = max(t.state.Arrival, b.UID)
	}
	if err := c.filings(t, m); err != nil {
		return err
	}
	if m.Rewritten {
		if err := t.putUpdate(m); err != nil {
			return err
		}
	}
	index := c.letter(t, m.Blob, string(m.ID))
	return errors.Join(
		t.put(bucketThreads, t.indexKey(code, seq), pathwayOwner(code), index),
		t.putRaw(bucketLocated, []byte(m.ID), joined([]byte{clearVersion}, k[:handleSize], seq)),
		t.putIDs(m, nil), t.putKeys(m, nil), t.putPrint(m))
}

// filings puts a message back into its rubrics, with the UIDs it had.
func (c *salvager) filings(t *tx, m *store.Message) error {
	for i := range m.Filings {
		f := &m.Filings[i]
		f.Message = m.ID
		st, err := t.Rubric(m.Pathway, f.Rubric)
		if err != nil {
			return err
		}
		st.UIDNext, st.HighestModSeq, st.Count = max(st.UIDNext, f.UID+1), max(st.HighestModSeq, f.ModSeq), st.Count+1
		t.state.ModSeq = max(t.state.ModSeq, f.ModSeq)
		if err := errors.Join(t.putFiling(m.Pathway, f), t.putRubric(m.Pathway, f.Rubric, st)); err != nil {
			return err
		}
	}
	return nil
}

// letter makes the index of a message again from its bytes, an empty one where
// they cannot be read.
func (c *salvager) letter(t *tx, b *store.Blob, id string) []byte {
	if b == nil {
		return []byte{}
	}
	if strings.HasPrefix(b.Segment, largePrefix) {
		_ = t.putRaw(bucketLarge, []byte(b.Segment), []byte{clearVersion})
		t.state.SegmentBytes += segHead + int64(recHead) + b.Length
	}
	r, err := c.s.Open(c.ctx, *b)
	if err == nil {
		var index []byte
		index, err = c.o.Index(r)
		if r.Close(); err == nil {
			return index
		}
	}
	c.out.Unread = append(c.out.Unread, id)
	return []byte{}
}

// delivery puts a copy back. Whether one that was not over went out since is not
// known: it waits for a human.
func (c *salvager) delivery(t *tx, k, row []byte) error {
	d := new(store.Delivery)
	if err := t.openOwned(bucketDeliveries, k, row, d); err != nil {
		return err
	}
	if string(d.ID) != string(k) {
		return store.ErrCorrupt
	}
	if liveness(d.State) == liveQueued && d.State != store.OnHold {
		d.State, d.LastError, d.Item = store.OnHold, "restored", ""
		c.out.HeldCopies++
	}
	if d.Pathway != "" && d.Message != "" && t.bucket(bucketLocated).Get([]byte(d.Message)) == nil {
		return store.ErrErased // its message went, or is lost
	}
	if err := t.tx.Bucket(bucketDeliveries).Delete(k); err != nil {
		return err
	}
	t.state.Number = max(t.state.Number, d.Order)
	return t.writeDelivery(d, placed{state: store.Sent}, true)
}

func (c *salvager) held(t *tx, k, row []byte) error {
	h := new(store.Held)
	owner := triageOwner(store.HeldID(k))
	if err := t.open(bucketHeld, k, owner, row, h); err != nil {
		return err
	}
	c.out.Held++
	t.state.Held++
	if err := t.put(bucketHeldIndex, k, owner, c.letter(t, h.Blob, string(h.ID))); err != nil {
		return err
	}
	return t.putHeld(&store.Held{}, h)
}

// item puts a timer back, under nobody's lease. Copies to send follow from their
// deliveries, which wait for a human.
func (c *salvager) item(t *tx, k, row []byte) error {
	it := new(store.Item)
	if err := t.open(bucketItems, k, hubOwner, row, it); err != nil {
		return err
	}
	if it.Delivery != "" {
		return t.tx.Bucket(bucketItems).Delete(k)
	}
	it.Token, it.Owner = 0, ""
	return t.putItem(it)
}

func (c *salvager) trace(t *tx, k, row []byte) error {
	if len(k) != 9 {
		return store.ErrCorrupt
	}
	c.out.Traces++
	t.state.Trace = max(t.state.Trace, binary.BigEndian.Uint64(k[1:]))
	r := new(store.Trace)
	if err := t.open(bucketTraces, k, traceOwner, row, r); err != nil {
		return nil // its absence would hide that it was changed
	}
	for _, code := range r.Pathways() {
		if err := t.putRaw(bucketThreads, t.threadKey(code, 't', u64(r.Seq)), []byte{clearVersion, k[0]}); err != nil {
			return err
		}
	}
	return nil
}
