package operator

import (
	"errors"
	"sync"
	"time"

	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/store/journal"
)

// Fault is a class of what went wrong with a box.
type Fault string

// Faults. One of the operator's certificate is "untrusted-" and a
// [trust.Reason].
const (
	FaultDial      Fault = "unreachable"  // no connection
	FaultTLS       Fault = "tls"          // no TLS
	FaultRefused   Fault = "refused"      // the login
	FaultToken     Fault = "token"        // the identity provider gives none
	FaultMechanism Fault = "no-mechanism" // no way to log in that fits
	FaultFolder    Fault = "folder"       // the inbox cannot be opened
	FaultCut       Fault = "cut"          // connection lost, or silent
	FaultServer    Fault = "server"       // it answers with an error
	FaultProtocol  Fault = "protocol"     // it says what nobody understands, or too much
	FaultMark      Fault = "marking"      // messages cannot be marked or moved
	FaultHub       Fault = "hub"          // the hub cannot take a message now
)

// Faults lists all of them.
func Faults() []Fault {
	all := []Fault{
		FaultDial, FaultTLS, FaultRefused, FaultToken, FaultMechanism, FaultFolder, FaultCut, FaultServer,
		FaultProtocol, FaultMark, FaultHub,
	}
	for _, r := range []trust.Reason{
		trust.NoCertificate, trust.BadCertificate, trust.UnknownAuthority, trust.Expired, trust.NotYetValid,
		trust.Revoked, trust.RevocationUnknown, trust.WrongUsage, trust.WrongHost,
	} {
		all = append(all, untrusted(r))
	}
	return all
}

func untrusted(r trust.Reason) Fault { return Fault("untrusted-" + string(r)) }

// Journal implements journal.Safe.
func (f Fault) Journal() string { return string(f) }

// failure is a fault and its cause.
type failure struct {
	fault Fault
	err   error
}

func (f *failure) Error() string { return string(f.fault) + ": " + journal.Text(f.err) }
func (f *failure) Unwrap() error { return f.err }

// Journal implements journal.Safe.
func (f *failure) Journal() string { return f.Error() }

func fail(fault Fault, err error) error { return &failure{fault, err} }

// faultOf is the class of an error.
func faultOf(err error) Fault {
	var f *failure
	if errors.As(err, &f) {
		return f.fault
	}
	return FaultHub
}

// Status is how a box is.
type Status struct {
	Name, Address string
	Connected     bool
	Since         time.Time // connected, or not
	LastTaken     time.Time
	Taken, Aside  int64 // since the hub's start
	Waiting       int   // seen in the box and not taken yet
	// Fault is the last one; of a box that is connected again it is over.
	Fault   Fault
	FaultAt time.Time
}

// health is a Status that is being kept.
type health struct {
	mu sync.Mutex
	s  Status
}

func (h *health) update(fn func(*Status)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fn(&h.s)
}

func (h *health) get() Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.s
}
