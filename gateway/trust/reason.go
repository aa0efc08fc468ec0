package trust

// Reason is why a peer is not trusted. Gateways tell it to people.
type Reason string

// Reasons.
const (
	NoCertificate    Reason = "no-certificate"    // none was presented
	BadCertificate   Reason = "bad-certificate"   // it cannot be read, or breaks a rule of RFC 5280
	UnknownAuthority Reason = "unknown-authority" // it does not chain to the authorities
	Expired          Reason = "expired"
	NotYetValid      Reason = "not-yet-valid"
	Revoked          Reason = "revoked"
	// RevocationUnknown: the hub has no revocation list of its authority that
	// is still good.
	RevocationUnknown Reason = "revocation-unknown"
	WrongUsage        Reason = "wrong-usage"    // its extended key usage excludes this use
	NotListed         Reason = "not-listed"     // its name is nowhere on the white list
	WrongOperator     Reason = "wrong-operator" // its name is not the one expected here
	WrongHost         Reason = "wrong-host"     // it does not bear the host name of the settings
	DomainNotListed   Reason = "domain-not-listed"
)

// Reasons lists all of them.
func Reasons() []Reason {
	return []Reason{
		NoCertificate, BadCertificate, UnknownAuthority, Expired, NotYetValid,
		Revoked, RevocationUnknown, WrongUsage, NotListed, WrongOperator, WrongHost, DomainNotListed,
	}
}

// Journal implements journal.Safe.
func (r Reason) Journal() string { return string(r) }

// Distrust is the error of every judgement that fails.
type Distrust struct {
	Reason Reason
	// Err is the cause. It may quote the certificate of a stranger, so it is
	// neither written to the journal nor told to the peer.
	Err error
}

func (d *Distrust) Error() string { return "peer not trusted: " + string(d.Reason) }

// Unwrap gives the cause.
func (d *Distrust) Unwrap() error { return d.Err }

// Journal implements journal.Safe.
func (d *Distrust) Journal() string { return d.Error() }

func distrust(reason Reason, cause error) error { return &Distrust{Reason: reason, Err: cause} }
