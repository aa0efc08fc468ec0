package trust

import "time"

// ConcernKind is a word of a closed vocabulary: what is not as it should be.
type ConcernKind string

// Kinds of concern.
const (
	ListUnusable ConcernKind = "white-list-unusable" // the configured file; the last good list is in use
	ListShrunk   ConcernKind = "white-list-shrunk"   // the configured file was refused; the last good list is in use
	ListOld      ConcernKind = "white-list-old"      // over max_age
	CopyNotKept  ConcernKind = "copy-not-kept"       // a last good copy could not be written, or read back
	CRLFaulty    ConcernKind = "crl-faulty"          // files of crl_dir that could not be used
	CRLMissing   ConcernKind = "crl-missing"         // an authority has none
	CRLSoon      ConcernKind = "crl-soon"            // its next one is due soon
	CRLLate      ConcernKind = "crl-late"            // its next one is overdue, within crl_grace
	CRLExpired   ConcernKind = "crl-expired"         // and beyond: its peers are refused
)

// ConcernKinds lists all of them.
func ConcernKinds() []ConcernKind {
	return []ConcernKind{
		ListUnusable, ListShrunk, ListOld, CopyNotKept, CRLFaulty, CRLMissing, CRLSoon, CRLLate, CRLExpired,
	}
}

// Journal implements journal.Safe.
func (k ConcernKind) Journal() string { return string(k) }

// Concern is something about what judgements rest on that somebody should look
// into. None of them stops the hub: it goes on with what was good last, and
// narrower rather than wider.
type Concern struct {
	Kind ConcernKind
	// Authority: whose revocation list it is.
	Authority Operator
	// Count of what: faulty files; of ListShrunk, the domains offered, where
	// the list in use has Of.
	Count, Of int
	Age       time.Duration // of the white list
	// When: the end of a revocation list (CRLSoon), or from when on peers of
	// its authority are refused (CRLLate, CRLExpired).
	When time.Time
	Err  error // the cause, if there is one
}
