package store

import "time"

// ErasureState is how far the erasure of a pathway is.
type ErasureState string

// States of an erasure.
const (
	ErasureListing    ErasureState = "listing"    // what the proof says is being gathered
	ErasurePurging    ErasureState = "purging"    // its rows and files are being removed
	ErasureForgetting ErasureState = "forgetting" // its keys are, everywhere
	ErasureDone       ErasureState = "erased"
)

// Journal implements journal.Safe.
func (s ErasureState) Journal() string { return string(s) }

// Erasure is what is kept of a pathway that is erased: that it was, and the
// proof. It names nobody whom the pathway was about. Rows of it are the hub's.
type Erasure struct {
	Code PathwayCode `cbor:"1,keyasint"`
	// Into is set on pathways that were erased together with the one they were
	// merged with: the rest stands there.
	Into  PathwayCode   `cbor:"2,keyasint,omitempty"`
	With  []PathwayCode `cbor:"3,keyasint,omitempty"` // merged with it, erased together
	State ErasureState  `cbor:"4,keyasint"`

	Asked     time.Time `cbor:"5,keyasint"`
	By        string    `cbor:"6,keyasint"`
	Reason    string    `cbor:"7,keyasint,omitempty"`
	Programme string    `cbor:"8,keyasint"`
	Erased    time.Time `cbor:"9,keyasint,omitzero"`

	// Waits names the place of copies that it waits for, and Why.
	Waits string `cbor:"10,keyasint,omitempty"`
	Why   string `cbor:"11,keyasint,omitempty"`

	EpochBefore uint32   `cbor:"12,keyasint"`
	EpochAfter  uint32   `cbor:"13,keyasint,omitempty"`
	Places      []string `cbor:"14,keyasint,omitempty"` // where copies were read back
	// The keys that opened the epoch when it was erased: what they became since
	// tells whether blocks that storage keeps could still be opened.
	HubKey        string    `cbor:"15,keyasint,omitempty"`
	HubSince      time.Time `cbor:"16,keyasint,omitzero"`
	Recovery      string    `cbor:"17,keyasint,omitempty"`
	RecoverySince time.Time `cbor:"18,keyasint,omitzero"`

	// Boxes hold relayed copies. Those of the child and of relatives, whose
	// addresses would say who it was, are only counted.
	Boxes    []Address     `cbor:"19,keyasint,omitempty"`
	Unnamed  int           `cbor:"20,keyasint,omitempty"`
	Messages int           `cbor:"21,keyasint"`
	Removed  int           `cbor:"22,keyasint"`           // held messages that were addressed to it
	Remains  []PathwayCode `cbor:"23,keyasint,omitempty"` // where a message that was moved here is still withdrawn

	// Owners are whose keys are to be forgotten; none once they are.
	Owners []Owner `cbor:"24,keyasint,omitempty"`
	// Sum is the hub's keyed hash of the proof as it was written.
	Sum []byte `cbor:"25,keyasint,omitempty"`
}
