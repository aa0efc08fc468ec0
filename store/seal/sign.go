package seal

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

// ErrSignature: a statement was not signed by this key, or was changed.
const ErrSignature = journal.Fault("not signed by this hub, or changed")

// Chain is a keyed hash under a key of one owner, apart from that of its rows:
// who can open and write the rows cannot make these.
type Chain struct{ h *hasher }

// Chain gives the keyed hash of an owner.
func (k *Keys) Chain(o store.Owner) (*Chain, error) {
	e, err := k.get(o)
	if err != nil {
		return nil, err
	}
	return &Chain{newHasher(derive(e.secret[:], "chain"))}, nil
}

// Sum hashes b; use separates purposes.
func (c *Chain) Sum(use string, b []byte) [32]byte { return c.h.hash(use, string(b)) }

// Sign gives a statement, lines of text, with the signature of an owner's
// OpenPGP key: a cleartext signed message (RFC 9580, 7), Ed25519, that people
// can read and standard tools can check against [Keys.PublicKey].
func (k *Keys) Sign(o store.Owner, statement []byte) ([]byte, error) {
	ent, err := k.Entity(o)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w, err := clearsign.Encode(&b, ent.PrivateKey, &packet.Config{Rand: k.random, Time: k.now, DefaultHash: crypto.SHA512})
	if err != nil {
		return nil, fmt.Errorf("signing a statement: %w", err)
	}
	_, err = w.Write(statement)
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("signing a statement: %w", err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// Signed gives back the statement of what [Keys.Sign] made: [ErrSignature] if
// it is not o's. Text around it is left out.
func (k *Keys) Signed(o store.Owner, message []byte) ([]byte, error) {
	block, _ := clearsign.Decode(message)
	if block == nil {
		return nil, fmt.Errorf("reading a signed statement: %w", ErrSignature)
	}
	ent, err := k.Entity(o)
	if err != nil {
		return nil, err
	}
	// A signature is worth what it was when it was made: this key has no end.
	_, _, err = pgp.VerifyDetachedSignature(pgp.EntityList{ent}, bytes.NewReader(block.Bytes), block.ArmoredSignature.Body,
		&packet.Config{Time: func() time.Time { return time.Time{} }})
	if err != nil {
		return nil, fmt.Errorf("reading a signed statement: %w", ErrSignature)
	}
	return block.Plaintext, nil
}

// PublicKey gives the public half of an owner's OpenPGP key, armoured.
func (k *Keys) PublicKey(o store.Owner) ([]byte, error) {
	ent, err := k.Entity(o)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w, err := armor.Encode(&b, pgp.PublicKeyType, nil)
	if err == nil {
		err = errors.Join(ent.Serialize(w), w.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("writing a public key: %w", err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}
