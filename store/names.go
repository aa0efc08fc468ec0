package store

import "strings"

// PathwayCode is the seven-character meaningless code of a pathway. It may be
// written anywhere.
type PathwayCode string

// MessageID is the hub's own id of a message (a ULID in lower case), not its
// RFC 5322 Message-ID.
type MessageID string

// DeliveryID, HeldID and ItemID are ULIDs in lower case.
type (
	DeliveryID string
	HeldID     string
	ItemID     string
)

// MemberID names a member within one pathway: m1, m2… and never reused.
type MemberID string

// Journal implements journal.Safe: these ids mean nothing outside the hub.
func (c PathwayCode) Journal() string { return string(c) }

// Journal implements journal.Safe.
func (i MessageID) Journal() string { return string(i) }

// Journal implements journal.Safe.
func (i DeliveryID) Journal() string { return string(i) }

// Journal implements journal.Safe.
func (i HeldID) Journal() string { return string(i) }

// Journal implements journal.Safe.
func (i ItemID) Journal() string { return string(i) }

// Journal implements journal.Safe.
func (i MemberID) Journal() string { return string(i) }

// Address is a mailbox address (RFC 5321 local-part@domain), in lower case:
// MSSanté addresses are compared without regard to case.
type Address string

// NewAddress folds s, with or without angle brackets, into an Address.
func NewAddress(s string) Address {
	s = strings.TrimSpace(s)
	s = strings.TrimSuffix(strings.TrimPrefix(s, "<"), ">")
	return Address(strings.ToLower(s))
}

// CitizenDomain is the domain of the citizens' boxes of Mon espace santé. The
// local part is the person's INS, so such an address is an identity.
const CitizenDomain = "patient.mssante.fr"

// Domain is the part after the last @.
func (a Address) Domain() string {
	_, d, _ := cutLast(string(a), '@')
	return d
}

// Local is the part before the last @.
func (a Address) Local() string {
	l, _, ok := cutLast(string(a), '@')
	if !ok {
		return string(a)
	}
	return l
}

// Citizen reports whether the address is that of a citizen, hence an INS.
func (a Address) Citizen() bool { return a.Domain() == CitizenDomain }

// Journal implements journal.Safe: only the domain is written, since a local
// part names a person.
func (a Address) Journal() string {
	if a == "" {
		return "<>"
	}
	return "…@" + a.Domain()
}

func cutLast(s string, sep byte) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}
