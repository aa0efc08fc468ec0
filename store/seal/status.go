package seal

import (
	"encoding/hex"
	"slices"
	"time"

	"github.com/relais-sante/relais/store"
)

// Status says how the keys are, without saying anything of them.
type Status struct {
	Epoch uint32
	Made  time.Time // of the epoch
	// Owed are older epochs whose end waits for a place.
	Owed []uint32

	Hub      KeyID // the hub key in use
	HubSince time.Time
	HubNext  KeyID // the one it is being changed for; zero: none

	// Recovery is the fingerprint of the recovery key that the epoch is
	// encrypted to, in hexadecimal; empty: none. Configured is that of the one
	// in the configuration.
	Recovery, Configured string
	RecoverySince        time.Time

	Places []PlaceStatus
	Owners map[store.OwnerKind]int
}

// PlaceState is how a copy is.
type PlaceState string

// States of a copy.
const (
	PlaceCurrent PlaceState = "current"
	PlaceBehind  PlaceState = "behind" // its turn has not come yet
	PlaceAway    PlaceState = "away"   // it could not be reached, or does not read back
	PlaceFormer  PlaceState = "former" // in use no longer, but what lies there could not be removed
)

// PlaceStatus is one copy of keystore and epoch.
type PlaceStatus struct {
	Place  string
	State  PlaceState
	Looked time.Time // zero: not yet
	Err    error     // of PlaceAway
}

// Status tells how the keys are.
func (k *Keys) Status() Status {
	used, _ := k.former() // without it, former places are not told
	k.mu.RLock()
	defer k.mu.RUnlock()
	e := k.epoch
	s := Status{
		Epoch: e.number, Made: e.made, Owed: k.owed(), Recovery: hex.EncodeToString(e.rescuer), Owners: map[store.OwnerKind]int{},
	}
	if s.Recovery != "" {
		s.RecoverySince = e.rescuedSince
	}
	for i, w := range e.wraps {
		if i == 0 {
			s.Hub, s.HubSince = w.id(), w.since()
		} else {
			s.HubNext = w.id()
		}
	}
	if k.o.Recovery != nil {
		s.Configured = hex.EncodeToString(k.o.Recovery.PrimaryKey.Fingerprint)
	}
	for o := range k.keys {
		s.Owners[o.Kind]++
	}
	for _, dir := range k.o.Copies {
		s.Places = append(s.Places, k.placeStatus(dir))
	}
	for _, dir := range used {
		if !slices.Contains(k.o.Copies, dir) {
			s.Places = append(s.Places, PlaceStatus{Place: dir, State: PlaceFormer})
		}
	}
	return s
}

func (k *Keys) placeStatus(dir string) PlaceStatus {
	s := PlaceStatus{Place: dir, State: PlaceBehind}
	p := k.places[dir]
	if p == nil {
		return s
	}
	s.Looked, s.Err = p.at, p.err
	switch {
	case p.err != nil:
		s.State = PlaceAway
	case p.keystore == k.tip.end && p.number == k.epoch.number:
		s.State = PlaceCurrent
	}
	return s
}
