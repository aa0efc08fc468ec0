package seal

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ed25519"
	"fmt"
	"io"
	"time"

	pgped25519 "github.com/ProtonMail/go-crypto/openpgp/ed25519"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"github.com/ProtonMail/go-crypto/openpgp/x25519"

	"github.com/relais-sante/relais/store"
)

// Packet types and algorithm numbers of RFC 9580.
const (
	newFormat     = 0xC0
	tagPKESK      = 1
	tagLiteral    = 11
	tagSEIPD      = 18
	algoX25519    = 25
	fingerprintV6 = 32
	esk           = 40 // AES key wrap (RFC 3394) of a 32-byte session key

	// pkeskSize is the length of the whole packet that wraps a session key.
	pkeskSize = 2 + 1 + 1 + 1 + fingerprintV6 + 1 + x25519.KeySize + 1 + esk
)

// SessionKey is the AES-256 key of one message.
type SessionKey [keySize]byte

// recipient is the X25519 subkey of an owner.
type recipient struct {
	private     *x25519.PrivateKey
	fingerprint []byte
}

// recipient derives the owner's subkey once and keeps it.
func (e *key) recipient() (*recipient, error) {
	e.once.Do(func() {
		sub, err := e.subkey()
		if err != nil {
			e.err = err
			return
		}
		e.pub = &recipient{private: sub.PrivateKey.(*x25519.PrivateKey), fingerprint: sub.Fingerprint}
	})
	return e.pub, e.err
}

func (e *key) subkey() (*packet.PrivateKey, error) {
	seed := derive(e.secret[:], "openpgp x25519")
	private, err := ecdh.X25519().NewPrivateKey(seed[:])
	if err != nil {
		return nil, fmt.Errorf("deriving an X25519 key: %w", err)
	}
	raw := &x25519.PrivateKey{Secret: seed[:]}
	raw.Point = private.PublicKey().Bytes()
	sub := packet.NewX25519PrivateKey(e.made, raw)
	sub.IsSubkey = true
	return sub, sub.UpgradeToV6()
}

// Wrap wraps a session key to o: a PKESK packet, version 6 (RFC 9580, 5.1.2 and
// 5.1.6). It costs two scalar multiplications.
func (k *Keys) Wrap(o store.Owner, session *SessionKey) ([]byte, error) {
	e, err := k.get(o)
	if err != nil {
		return nil, err
	}
	to, err := e.recipient()
	if err != nil {
		return nil, err
	}
	ephemeral, wrapped, err := x25519.Encrypt(k.random, &to.private.PublicKey, session[:])
	if err != nil {
		return nil, fmt.Errorf("wrapping a session key: %w", err)
	}
	b := make([]byte, 0, pkeskSize)
	b = append(b, newFormat|tagPKESK, pkeskSize-2, 6, 1+fingerprintV6, 6)
	b = append(b, to.fingerprint...)
	b = append(b, algoX25519)
	b = append(b, ephemeral...)
	b = append(b, byte(len(wrapped)))
	return append(b, wrapped...), nil
}

// Unwrap opens what [Keys.Wrap] made: [store.ErrCorrupt] if it is not for o.
func (k *Keys) Unwrap(o store.Owner, pkesk []byte) (*SessionKey, error) {
	e, err := k.get(o)
	if err != nil {
		return nil, err
	}
	to, err := e.recipient()
	if err != nil {
		return nil, err
	}
	const fields = 5 + fingerprintV6 + 1
	if len(pkesk) != pkeskSize || string(pkesk[5:5+fingerprintV6]) != string(to.fingerprint) {
		return nil, fmt.Errorf("unwrapping a session key: %w", store.ErrCorrupt)
	}
	ephemeral, wrapped := pkesk[fields:fields+x25519.KeySize], pkesk[pkeskSize-esk:]
	clear, err := x25519.Decrypt(to.private, ephemeral, wrapped)
	if err != nil || len(clear) != keySize {
		return nil, fmt.Errorf("unwrapping a session key: %w", store.ErrCorrupt)
	}
	return (*SessionKey)(clear), nil
}

// Entity gives an owner's whole OpenPGP key, private half included, for an
// export that standard tools can read or for the recovery drill.
func (k *Keys) Entity(o store.Owner) (*pgp.Entity, error) {
	e, err := k.get(o)
	if err != nil {
		return nil, err
	}
	seed := derive(e.secret[:], "openpgp ed25519")
	full := ed25519.NewKeyFromSeed(seed[:])
	raw := &pgped25519.PrivateKey{Key: full}
	raw.Point = full[ed25519.SeedSize:]
	primary := packet.NewEd25519PrivateKey(e.made, raw)
	if err := primary.UpgradeToV6(); err != nil {
		return nil, fmt.Errorf("making an OpenPGP key: %w", err)
	}
	sub, err := e.subkey()
	if err != nil {
		return nil, fmt.Errorf("making an OpenPGP key: %w", err)
	}
	ent := &pgp.Entity{PrimaryKey: &primary.PublicKey, PrivateKey: primary, Identities: map[string]*pgp.Identity{}}
	if err := bind(ent, sub, e.made, k.random); err != nil {
		return nil, fmt.Errorf("binding an OpenPGP key: %w", err)
	}
	return ent, nil
}

// bind adds the direct-key signature and the subkey binding (RFC 9580, 10.1.1).
func bind(ent *pgp.Entity, sub *packet.PrivateKey, made time.Time, random io.Reader) error {
	cfg := &packet.Config{V6Keys: true, Rand: random, Time: func() time.Time { return made }}
	direct := signature(ent.PrivateKey, packet.SigTypeDirectSignature, made)
	direct.FlagCertify, direct.FlagSign = true, true
	direct.SEIPDv2 = true
	direct.PreferredSymmetric = []uint8{uint8(packet.CipherAES256)}
	direct.PreferredCipherSuites = [][2]uint8{{uint8(packet.CipherAES256), uint8(packet.AEADModeGCM)}}
	if err := direct.SignDirectKeyBinding(ent.PrimaryKey, ent.PrivateKey, cfg); err != nil {
		return err
	}
	ent.DirectSignatures = []*packet.VerifiableSignature{packet.NewVerifiableSig(direct)}

	binding := signature(ent.PrivateKey, packet.SigTypeSubkeyBinding, made)
	binding.FlagEncryptStorage, binding.FlagEncryptCommunications = true, true
	if err := binding.SignKey(&sub.PublicKey, ent.PrivateKey, cfg); err != nil {
		return err
	}
	ent.Subkeys = []pgp.Subkey{{
		Primary: ent, PublicKey: &sub.PublicKey, PrivateKey: sub,
		Bindings: []*packet.VerifiableSignature{packet.NewVerifiableSig(binding)},
	}}
	return nil
}

func signature(by *packet.PrivateKey, kind packet.SignatureType, made time.Time) *packet.Signature {
	var never uint32
	return &packet.Signature{
		Version: 6, SigType: kind, PubKeyAlgo: by.PubKeyAlgo, Hash: crypto.SHA256, CreationTime: made,
		IssuerKeyId: &by.KeyId, IssuerKeyVersion: 6, IssuerFingerprint: by.Fingerprint,
		SigLifetimeSecs: &never, KeyLifetimeSecs: &never, FlagsValid: true,
	}
}
