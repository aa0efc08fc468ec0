package store

import "time"

// AccountID is a ULID in lower case. Rows of an account are sealed with its
// own key, [OwnedByAccount].
type AccountID string

// Journal implements journal.Safe.
func (i AccountID) Journal() string { return string(i) }

// Owner is whose key seals what belongs to the account.
func (i AccountID) Owner() Owner { return Owner{Kind: OwnedByAccount, ID: string(i)} }

// Account is a login of the hub: of a box (all of its members) or of one person
// of a box. It outlives its credentials: one that was revoked and gets a new
// password has its private folders still.
type Account struct {
	ID       AccountID `cbor:"1,keyasint"`
	Username string    `cbor:"2,keyasint"` // the box, or person/box
	Mailbox  Address   `cbor:"3,keyasint"`
	// Person is the name of the one person it belongs to; empty: the box's.
	Person      string       `cbor:"4,keyasint,omitempty"`
	RPPS        string       `cbor:"5,keyasint,omitempty"` // of the person, if known
	Created     time.Time    `cbor:"6,keyasint"`
	Credentials []Credential `cbor:"7,keyasint,omitempty"`
	Revoked     time.Time    `cbor:"8,keyasint,omitzero"`
	// Revision grows with each write; Tx.PutAccount refuses a stale one.
	Revision uint64 `cbor:"9,keyasint"`
	// LastUsed is the last login by a way that needs no credential of the
	// account's own: a certificate that names the box, an identity provider.
	LastUsed time.Time `cbor:"10,keyasint,omitzero"`
}

// CredentialKind is what proves who logs in.
type CredentialKind string

// Kinds of credentials.
const (
	CredentialPassword    CredentialKind = "password"
	CredentialCertificate CredentialKind = "certificate"
)

// Journal implements journal.Safe.
func (k CredentialKind) Journal() string { return string(k) }

// Credential is one password or certificate of an account, for one device say.
type Credential struct {
	// ID is short and not secret: people tell their passwords apart by it.
	ID      string         `cbor:"1,keyasint"`
	Kind    CredentialKind `cbor:"2,keyasint"`
	Label   string         `cbor:"3,keyasint,omitempty"` // of the device
	Created time.Time      `cbor:"4,keyasint"`
	Expires time.Time      `cbor:"5,keyasint,omitzero"`
	Used    time.Time      `cbor:"6,keyasint,omitzero"`
	Revoked time.Time      `cbor:"7,keyasint,omitzero"`
	// Hash is that of a password, with its salt and parameters; opaque here.
	Hash []byte `cbor:"8,keyasint,omitempty"`
	// Fingerprint is the SHA-256 of a certificate.
	Fingerprint []byte `cbor:"9,keyasint,omitempty"`
}

// AliveAt reports whether the credential may be used at t.
func (c *Credential) AliveAt(t time.Time) bool {
	return c.Revoked.IsZero() && (c.Expires.IsZero() || t.Before(c.Expires))
}
