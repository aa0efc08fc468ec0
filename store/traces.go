package store

import "time"

// Family is a family of traces; each has its own retention.
type Family string

// Families of traces.
const (
	// Technical: the hub's own life and what is about nobody's care (CNIL on
	// logging: 6 months to 1 year).
	Technical Family = "technical"
	// Application: who did or saw what of a pathway; kept as the medical record
	// is (CSP R.1112-7).
	Application Family = "application"
)

// Families lists them in a fixed order.
var Families = [...]Family{Application, Technical}

// Journal implements journal.Safe.
func (f Family) Journal() string { return string(f) }

// Trace is one record of who did what. Identity is given by codes and ids; a
// trace survives the erasure of the pathway it is about.
type Trace struct {
	Seq      uint64            `cbor:"1,keyasint"` // set by the engine; one order over both families
	Family   Family            `cbor:"2,keyasint"`
	At       time.Time         `cbor:"3,keyasint"`
	Actor    string            `cbor:"4,keyasint"`           // member, account, coordinator, hub
	OnBehalf string            `cbor:"5,keyasint,omitempty"` // for whom
	Action   string            `cbor:"6,keyasint"`           // post.filed, consent.withdrawn, …
	Pathway  PathwayCode       `cbor:"7,keyasint,omitempty"`
	Object   string            `cbor:"8,keyasint,omitempty"` // message, delivery, member… id
	Where    string            `cbor:"9,keyasint,omitempty"` // network address, socket
	Outcome  string            `cbor:"10,keyasint"`          // done, refused, failed
	Detail   map[string]string `cbor:"11,keyasint,omitempty"`
	// Prev is the keyed hash of the record before it in the family; set by the
	// engine.
	Prev []byte `cbor:"12,keyasint,omitempty"`
	// Objects, where one act was about many: a FETCH of many messages is one
	// record.
	Objects []string `cbor:"13,keyasint,omitempty"`
	// Also are further pathways it is about: a list shown is one record, found
	// under each pathway in it.
	Also []PathwayCode `cbor:"14,keyasint,omitempty"`
}

// Pathways lists every pathway a trace is about.
func (t *Trace) Pathways() []PathwayCode {
	if t.Pathway == "" {
		return t.Also
	}
	return append([]PathwayCode{t.Pathway}, t.Also...)
}

// TraceHead says how far the traces go after a commit. Kept elsewhere, signed,
// it proves later that nothing up to then was changed or taken away (see
// [Store.SignHead]).
type TraceHead struct {
	At       time.Time    `json:"at"`     // when it was taken
	Commit   uint64       `json:"commit"` // number of the last commit
	Trace    uint64       `json:"trace"`  // number of the last trace of all
	Families []FamilyHead `json:"families"`
}

// Of gives the part of a family.
func (h TraceHead) Of(f Family) FamilyHead {
	for _, x := range h.Families {
		if x.Family == f {
			return x
		}
	}
	return FamilyHead{Family: f}
}

// FamilyHead is where the chain of a family ends, and where it now begins.
type FamilyHead struct {
	Family Family `json:"family"`
	Count  uint64 `json:"count"` // written since ever, those purged included
	Last   uint64 `json:"last"`  // number of the last
	Hash   string `json:"hash"`  // its keyed hash, hexadecimal
	// What retention took from the beginning: how many, and the last of them.
	Purged     uint64 `json:"purged"`
	PurgedLast uint64 `json:"purged_last"`
	PurgedHash string `json:"purged_hash,omitempty"`
}

// Purged is what one call of [Tx.PurgeTraces] removed.
type Purged struct {
	Count       int
	First, Last uint64    // numbers
	Oldest      time.Time // of the first
	Newest      time.Time // of the last
	Hash        string    // keyed hash of the last, hexadecimal
}

// TraceReport is what a verification of the traces found.
type TraceReport struct {
	Head TraceHead
	// Read is how many records were read.
	Read uint64
	// Problems are in the order of the numbers, at most [MaxTraceProblems];
	// More is how many beyond.
	Problems []TraceProblem
	More     int
}

// Sound reports whether nothing was found.
func (r *TraceReport) Sound() bool { return len(r.Problems) == 0 }

// MaxTraceProblems bounds the problems of one report.
const MaxTraceProblems = 100

// TraceProblem is one thing that does not fit, with where: it lies at From, or
// between From and To, both included.
type TraceProblem struct {
	Fault    TraceFault
	Family   Family // empty: of both, or not known
	From, To uint64 // numbers of traces
}

// TraceFault is what can be wrong with traces.
type TraceFault string

// Faults of traces.
const (
	// TraceUnreadable: the record's bytes were changed, or are another's.
	TraceUnreadable TraceFault = "unreadable"
	// TraceMissing: numbers that no record has.
	TraceMissing TraceFault = "missing"
	// TraceBroken: the record does not follow the one before it.
	TraceBroken TraceFault = "broken"
	// TraceBehind: a record behind the end that the last commit stated.
	TraceBehind TraceFault = "behind"
	// TraceCount: there are more or fewer than the last commit stated.
	TraceCount TraceFault = "count"
	// TraceStray: a row that is no trace.
	TraceStray TraceFault = "stray"
	// TraceHeadFault: the head stored with the last commit is missing, changed
	// or an older one.
	TraceHeadFault TraceFault = "head"
	// TraceRejoined: the head was found broken at a start after this record, and
	// begun anew; what came before is vouched for by heads kept elsewhere only.
	TraceRejoined TraceFault = "rejoined"
	// TraceHidden: the record is not found under its pathway.
	TraceHidden TraceFault = "hidden"
	// TraceNotKept: a head kept elsewhere states what is not there.
	TraceNotKept TraceFault = "not-kept"
)

// Journal implements journal.Safe.
func (f TraceFault) Journal() string { return string(f) }
