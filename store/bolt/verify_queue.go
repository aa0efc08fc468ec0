package bolt

import (
	"bytes"
	"errors"

	"github.com/relais-sante/relais/store"
)

// What waits or went out: copies, messages held, timers, and the rows they are found
// by.

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
	c.copies.asked++
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
