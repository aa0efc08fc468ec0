package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/relais-sante/relais/store"
)

// place finds the row number of a message in its pathway's thread.
func (v *view) place(id store.MessageID) (handle, seq []byte, err error) {
	row := v.bucket(bucketLocated).Get([]byte(id))
	if row == nil {
		return nil, nil, store.ErrNotFound
	}
	if len(row) != 1+handleSize+8 {
		return nil, nil, store.ErrCorrupt
	}
	return row[1 : 1+handleSize], row[1+handleSize:], nil
}

// in finds a message that must be of pathway c.
func (v *view) in(c store.PathwayCode, id store.MessageID) (seq []byte, err error) {
	handle, seq, err := v.place(id)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(handle, v.handle(c)) {
		return nil, store.ErrNotFound
	}
	return seq, nil
}

// A message and its letter index lie side by side, at the end of what the thread
// holds so far.
const (
	kindThread = 'a'
	endMessage = 'm'
	endIndex   = 'x'
)

func (v *view) messageKey(c store.PathwayCode, seq []byte) []byte {
	return append(v.threadKey(c, kindThread, seq), endMessage)
}

func (v *view) indexKey(c store.PathwayCode, seq []byte) []byte {
	return append(v.threadKey(c, kindThread, seq), endIndex)
}

func isMessage(k []byte) bool { return k[len(k)-1] == endMessage }

// isMessageKey tells the key of a message among all of bucketThreads.
func isMessageKey(k []byte) bool {
	return len(k) == handleSize+1+8+1 && k[handleSize] == kindThread && isMessage(k)
}

// Message implements [store.View].
func (v *view) Message(c store.PathwayCode, id store.MessageID) (*store.Message, error) {
	seq, err := v.in(c, id)
	m := new(store.Message)
	if err == nil {
		err = v.get(bucketThreads, v.messageKey(c, seq), pathwayOwner(c), m)
	}
	if err != nil {
		return nil, fmt.Errorf("reading message %s: %w", id, err)
	}
	return m, nil
}

// Locate implements [store.View].
func (v *view) Locate(id store.MessageID) (store.PathwayCode, error) {
	handle, _, err := v.place(id)
	if err != nil {
		return "", fmt.Errorf("locating message %s: %w", id, err)
	}
	c, ok := v.pathwayOf(handle)
	if !ok {
		return "", fmt.Errorf("locating message %s: %w", id, store.ErrErased)
	}
	return c, nil
}

// Index implements [store.View].
func (v *view) Index(c store.PathwayCode, id store.MessageID) ([]byte, error) {
	seq, err := v.in(c, id)
	var b []byte
	if err == nil {
		err = v.get(bucketThreads, v.indexKey(c, seq), pathwayOwner(c), &b)
	}
	if err != nil {
		return nil, fmt.Errorf("reading index of message %s: %w", id, err)
	}
	return b, nil
}

// Thread implements [store.View].
func (v *view) Thread(c store.PathwayCode, from uint64, limit int) ([]*store.Message, error) {
	prefix := v.threadKey(c, kindThread)
	var out []*store.Message
	if from == ^uint64(0) {
		return nil, nil
	}
	cur := v.bucket(bucketThreads).Cursor()
	for k, row := cur.Seek(joined(prefix, u64(from+1))); hasPrefix(k, prefix) && (limit <= 0 || len(out) < limit); k, row = cur.Next() {
		if !isMessage(k) {
			continue
		}
		m := new(store.Message)
		if err := v.open(bucketThreads, k, pathwayOwner(c), row, m); err != nil {
			return nil, fmt.Errorf("reading thread of %s: %w", c, err)
		}
		out = append(out, m)
	}
	return out, nil
}

// Recent implements [store.View].
func (v *view) Recent(c store.PathwayCode, limit int) ([]*store.Message, error) {
	prefix := v.threadKey(c, kindThread)
	var out []*store.Message
	cur := v.bucket(bucketThreads).Cursor()
	for k, row := v.lastOf(cur.Seek, cur.Last, cur.Prev, prefix); hasPrefix(k, prefix) && (limit <= 0 || len(out) < limit); k, row = cur.Prev() {
		if !isMessage(k) {
			continue
		}
		m := new(store.Message)
		if err := v.open(bucketThreads, k, pathwayOwner(c), row, m); err != nil {
			return nil, fmt.Errorf("reading thread of %s: %w", c, err)
		}
		out = append(out, m)
	}
	return out, nil
}

// lastOf puts a cursor on the last key with a prefix that ends in a kind byte.
func (v *view) lastOf(seek func([]byte) ([]byte, []byte), last, prev func() ([]byte, []byte), prefix []byte) ([]byte, []byte) {
	next := bytes.Clone(prefix)
	next[len(next)-1]++
	if k, _ := seek(next); k == nil {
		return last()
	}
	return prev()
}

// nextSeq is the next place in a thread.
func (v *view) nextSeq(c store.PathwayCode) uint64 {
	prefix := v.threadKey(c, kindThread)
	cur := v.bucket(bucketThreads).Cursor()
	k, _ := v.lastOf(cur.Seek, cur.Last, cur.Prev, prefix)
	if !hasPrefix(k, prefix) {
		return 1
	}
	return binary.BigEndian.Uint64(k[len(prefix):]) + 1
}

// MessagesByID implements [store.View].
func (v *view) MessagesByID(id string) ([]store.MessageRef, error) {
	prefix := v.lookup("message-id", id)
	var out []store.MessageRef
	cur := v.bucket(bucketIDs).Cursor()
	for k, row := cur.Seek(prefix); hasPrefix(k, prefix); k, row = cur.Next() {
		var ref store.MessageRef
		err := v.openOwned(bucketIDs, k, row, &ref)
		if errors.Is(err, store.ErrErased) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("looking up a Message-ID: %w", err)
		}
		out = append(out, ref)
	}
	return out, nil
}

// putID makes a message findable under a Message-ID, newest first.
func (t *tx) putID(id string, ref store.MessageRef) error {
	if id == "" {
		return nil
	}
	return t.putRef(t.lookup("message-id", id), ref)
}

func (t *tx) putRef(prefix []byte, ref store.MessageRef) error {
	return t.putOwned(bucketIDs, joined(prefix, u64(^t.next())), pathwayOwner(ref.Pathway), &ref)
}

// MessagesOfKey implements [store.View].
func (v *view) MessagesOfKey(c store.PathwayCode, key string, limit int) ([]store.MessageID, error) {
	prefix := v.keyLookup(c, key)
	var out []store.MessageID
	cur := v.bucket(bucketIDs).Cursor()
	for k, row := cur.Seek(prefix); hasPrefix(k, prefix) && (limit <= 0 || len(out) < limit); k, row = cur.Next() {
		var ref store.MessageRef
		if err := v.openOwned(bucketIDs, k, row, &ref); err != nil {
			return nil, fmt.Errorf("looking up a key of %s: %w", c, err)
		}
		out = append(out, ref.Message)
	}
	return out, nil
}

func (v *view) keyLookup(c store.PathwayCode, key string) []byte {
	return v.lookup("message-key", string(c), key)
}

// putKeys writes the look-ups of those keys that old does not have.
func (t *tx) putKeys(m *store.Message, old []string) error {
	done := slices.Clone(old)
	for _, key := range m.Keys {
		if slices.Contains(done, key) {
			continue
		}
		done = append(done, key)
		if err := t.putRef(t.keyLookup(m.Pathway, key), store.MessageRef{Pathway: m.Pathway, Message: m.ID}); err != nil {
			return err
		}
	}
	return nil
}

// Duplicate implements [store.View].
func (v *view) Duplicate(fingerprint [32]byte) (store.MessageRef, error) {
	var ref store.MessageRef
	err := v.getOwned(bucketPrints, v.lookup("fingerprint", string(fingerprint[:])), &ref)
	if err != nil && !errors.Is(err, store.ErrNotFound) { // the usual answer, said as it is
		err = fmt.Errorf("looking up a fingerprint: %w", err)
	}
	return ref, err
}

// FileMessage implements [store.Tx].
func (t *tx) FileMessage(m *store.Message, index []byte, d store.Draft) error {
	var err error
	if m.Blob, err = t.take(d, pathwayOwner(m.Pathway)); err != nil {
		return fmt.Errorf("filing message %s: %w", m.ID, err)
	}
	return t.file(m, index)
}

// file writes the rows of a new message.
func (t *tx) file(m *store.Message, index []byte) error {
	if err := t.fileRows(m, index); err != nil {
		return fmt.Errorf("filing message %s: %w", m.ID, err)
	}
	t.state.Messages++
	return nil
}

func (t *tx) fileRows(m *store.Message, index []byte) error {
	if t.bucket(bucketLocated).Get([]byte(m.ID)) != nil {
		return store.ErrConflict
	}
	m.Seq = t.nextSeq(m.Pathway)
	m.ModSeq, m.Rewritten = t.modSeq(), false
	t.arrive(m, nil)
	t.touched(m.Pathway.Topic())
	seq, owner := u64(m.Seq), pathwayOwner(m.Pathway)
	for i := range m.Filings {
		if err := t.addFiling(m, &m.Filings[i]); err != nil {
			return err
		}
	}
	if err := t.put(bucketThreads, t.messageKey(m.Pathway, seq), owner, m); err != nil {
		return err
	}
	if err := t.put(bucketThreads, t.indexKey(m.Pathway, seq), owner, nonNil(index)); err != nil {
		return err
	}
	if err := t.putRaw(bucketLocated, []byte(m.ID), joined([]byte{clearVersion}, t.handle(m.Pathway), seq)); err != nil {
		return err
	}
	if err := t.putIDs(m, nil); err != nil {
		return err
	}
	if err := t.putKeys(m, nil); err != nil {
		return err
	}
	return t.putPrint(m)
}

// nonNil keeps an empty value apart from a missing one.
func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// ids are all Message-IDs of a message.
func ids(m *store.Message) []string {
	out := slices.Clone(m.KnownAs)
	if m.RFCID != "" && !slices.Contains(out, m.RFCID) {
		out = append(out, m.RFCID)
	}
	return out
}

// putIDs writes the look-ups of those Message-IDs that old does not have.
func (t *tx) putIDs(m *store.Message, old []string) error {
	done := slices.Clone(old)
	for _, id := range ids(m) {
		if slices.Contains(done, id) {
			continue
		}
		done = append(done, id)
		if err := t.putID(id, store.MessageRef{Pathway: m.Pathway, Message: m.ID}); err != nil {
			return err
		}
	}
	return nil
}

// putPrint makes a message findable by its fingerprint. The first message filed
// under one stays the one that is found, unless it was erased.
func (t *tx) putPrint(m *store.Message) error {
	if m.Fingerprint == ([32]byte{}) {
		return nil
	}
	_, err := t.Duplicate(m.Fingerprint)
	if err == nil {
		return nil
	}
	if !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrErased) {
		return err
	}
	key := t.lookup("fingerprint", string(m.Fingerprint[:]))
	return t.putOwned(bucketPrints, key, pathwayOwner(m.Pathway), &store.MessageRef{Pathway: m.Pathway, Message: m.ID})
}

// UpdateMessage implements [store.Tx].
func (t *tx) UpdateMessage(m *store.Message) error {
	old, err := t.Message(m.Pathway, m.ID)
	if err != nil {
		return fmt.Errorf("updating a message: %w", err)
	}
	m.Seq, m.Blob, m.Held, m.ModSeq, m.Rewritten = old.Seq, old.Blob, old.Held, t.modSeq(), true // the engine's own
	t.arrive(m, old.Boxes)
	t.touched(m.Pathway.Topic())
	if err := t.noteUpdate(m, old.ModSeq); err != nil {
		return fmt.Errorf("updating message %s: %w", m.ID, err)
	}
	if err := t.refile(old, m); err != nil {
		return fmt.Errorf("updating message %s: %w", m.ID, err)
	}
	if err := t.putIDs(m, ids(old)); err != nil {
		return fmt.Errorf("updating message %s: %w", m.ID, err)
	}
	if err := t.putKeys(m, old.Keys); err != nil {
		return fmt.Errorf("updating message %s: %w", m.ID, err)
	}
	if err := t.put(bucketThreads, t.messageKey(m.Pathway, u64(m.Seq)), pathwayOwner(m.Pathway), m); err != nil {
		return fmt.Errorf("updating message %s: %w", m.ID, err)
	}
	return nil
}
