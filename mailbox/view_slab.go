package mailbox

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/store"
)

// Slabs. What a list and most searches ask of a message are the few fields of
// its envelope; unsealing and decoding its index for them costs ten times as
// much as looking at them. They are kept at hand, packed, one slab for a pathway
// and one for the private messages of an account.
//
// A slab says nothing about who may see what: it is asked for messages that were
// found to stand for the reader just before, on a snapshot. What it holds is
// clear text of pathways, so it goes with an erasure, with what a reader
// expunges, and a few minutes after it was last asked.

// Bounds of the slabs.
const (
	maxSlabs     = 32 << 20 // bytes, all together
	maxPacked    = 4 << 10  // of one message; a longer envelope is read each time
	packedBeside = 96       // bytes that one costs besides its text
	slabLinger   = 5 * time.Minute
)

// slabs are those in memory. The zero value is ready.
type slabs struct {
	mu    sync.Mutex
	m     map[store.Owner]*slab
	held  int
	clock uint64
	gone  uint64 // grows when something is forgotten
}

// slab holds packed envelopes by the id of a message or mail.
type slab struct {
	m     map[string]string
	held  int
	used  uint64
	timer *time.Timer
}

func pathwaySlab(code store.PathwayCode) store.Owner {
	return store.Owner{Kind: store.OwnedByPathway, ID: string(code)}
}

func accountSlab(a store.AccountID) store.Owner { return a.Owner() }

// known fills in what is at hand of messages of one owner. What is learnt after
// it is kept only if nothing was forgotten in between.
func (s *slabs) known(o store.Owner, run []readable) (gone uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.m[o]
	if one == nil {
		return s.gone
	}
	s.touch(one)
	for i := range run {
		run[i].packed = one.m[run[i].id()]
	}
	return s.gone
}

func (s *slabs) touch(one *slab) {
	s.clock++
	one.used = s.clock
	one.timer.Reset(slabLinger)
}

// learnt takes in what known did not know.
func (s *slabs) learnt(o store.Owner, run []readable, gone uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone != gone {
		return // it may have been read before that
	}
	one := s.m[o]
	if one == nil {
		if s.m == nil {
			s.m = map[store.Owner]*slab{}
		}
		one = &slab{m: map[string]string{}}
		one.timer = time.AfterFunc(slabLinger, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.m[o] == one {
				s.drop(o)
			}
		})
		s.m[o] = one
	}
	s.touch(one)
	for i := range run {
		id, packed := run[i].id(), run[i].packed
		if packed == "" || len(packed) > maxPacked {
			continue
		}
		if _, there := one.m[id]; there {
			continue
		}
		cost := len(packed) + packedBeside
		if !s.room(cost, one) {
			return
		}
		one.m[id] = packed
		one.held += cost
		s.held += cost
	}
}

// room makes room by dropping the slabs used longest ago. A slab that fills all
// stays as it is: one large folder read over and over keeps its beginning.
func (s *slabs) room(cost int, keep *slab) bool {
	for s.held+cost > maxSlabs {
		var oldest *slab
		var owner store.Owner
		for o, one := range s.m {
			if one != keep && (oldest == nil || one.used < oldest.used) {
				oldest, owner = one, o
			}
		}
		if oldest == nil {
			return false
		}
		s.drop(owner)
	}
	return true
}

func (s *slabs) drop(o store.Owner) {
	if one := s.m[o]; one != nil {
		one.timer.Stop()
		s.held -= one.held
		delete(s.m, o)
	}
}

// forget drops what is at hand of an owner, and what is being read of any.
func (s *slabs) forget(o store.Owner) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone++
	s.drop(o)
}

// remove drops one message.
func (s *slabs) remove(o store.Owner, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone++
	if one := s.m[o]; one != nil {
		if packed, there := one.m[id]; there {
			delete(one.m, id)
			one.held -= len(packed) + packedBeside
			s.held -= len(packed) + packedBeside
		}
	}
}

// slabUse is the use one call of Each makes of slabs.
type slabUse struct {
	h       *Hub
	account store.AccountID
	gone    uint64
	missing bool
}

func (u *slabUse) owner(one *readable) store.Owner {
	if one.mail != "" {
		return accountSlab(u.account)
	}
	return pathwaySlab(one.m.Pathway)
}

func (u *slabUse) known(run []readable) {
	u.gone = u.h.slabs.known(u.owner(&run[0]), run)
	u.missing = false
	for i := range run {
		u.missing = u.missing || run[i].packed == ""
	}
}

func (u *slabUse) learnt(run []readable) {
	if u.missing {
		u.h.slabs.learnt(u.owner(&run[0]), run, u.gone)
	}
}

// id names what is read among all of its owner.
func (a *readable) id() string {
	if a.mail != "" {
		return string(a.mail)
	}
	return string(a.m.ID)
}

// packEnvelope writes size and fields of an envelope, as received: the size,
// then of each field its place among [folder.EnvelopeFields], its length and its
// value. b is scratch.
func packEnvelope(b *[]byte, x *letter.Index) string {
	p := binary.AppendUvarint((*b)[:0], uint64(x.Size))
	for i := range x.Fields {
		f := &x.Fields[i]
		name := folder.EnvelopeField(f.Name)
		if name < 0 {
			continue
		}
		p = append(p, byte(name))
		p = binary.AppendUvarint(p, uint64(len(f.Value)))
		p = append(p, f.Value...)
	}
	*b = p
	return string(p)
}

// unpackEnvelope reads what packEnvelope wrote into idx, whose list it uses
// again.
func unpackEnvelope(packed string, idx *letter.Index) {
	fields := idx.Fields[:0]
	size, rest := uvarint(packed)
	for rest != "" {
		name := folder.EnvelopeFields[rest[0]]
		var n uint64
		n, rest = uvarint(rest[1:])
		fields = append(fields, letter.Field{Name: name, Value: rest[:n]})
		rest = rest[n:]
	}
	*idx = letter.Index{Version: letter.IndexVersion, Size: int64(size), Fields: fields}
}

func uvarint(s string) (n uint64, rest string) {
	for shift := 0; ; shift += 7 {
		c := s[0]
		s = s[1:]
		n |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return n, s
		}
	}
}
