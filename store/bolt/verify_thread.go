package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/relais-sante/relais/store"
)

// What a pathway holds: messages with all that is found by them, the copies that
// went out, and how each rubric stands (verify_rubric.go).

func (c *verifier) threadRow(k, row []byte) error {
	if len(k) <= handleSize+1 {
		return misfit
	}
	rest := k[handleSize+1:]
	if k[handleSize] == 't' { // trace_verify.go looks the other way
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
		c.copies.there++
		return c.names(bucketDeliveries, row)
	case 'f', 'r', 'v':
		return c.rubricRow(code, k, row)
	case kindUpdated:
		c.updates.there++
		return c.names(bucketLocated, row)
	case 'w':
		return c.leadsTo(bucketDeliveries, rest, row)
	}
	return misfit
}

func (c *verifier) messageRow(code store.PathwayCode, k, row []byte) error {
	c.located.asked++
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
	for i := range m.Filings {
		c.filings.asked++
		if f, err := c.filing(code, &m.Filings[i]); err != nil || f != (filing{m.Filings[i].ModSeq, m.ID}) {
			return errors.Join(err, misfit)
		}
	}
	if m.Rewritten {
		c.updates.asked++
		updated := c.v.bucket(bucketThreads).Get(c.v.threadKey(code, kindUpdated, u64(m.ModSeq)))
		if !bytes.Equal(updated, append([]byte{clearVersion}, m.ID...)) {
			return misfit
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
	c.located.there++
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
