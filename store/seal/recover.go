package seal

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/relais-sante/relais/store/journal"
)

const (
	// ErrRecoveryKey: a file does not hold exactly one OpenPGP public key that
	// can be encrypted to.
	ErrRecoveryKey = journal.Fault("not an OpenPGP public key")
	// ErrRecoverySecret: the private half of a recovery key must not be on the
	// hub's machine.
	ErrRecoverySecret = journal.Fault("holds the private half of the recovery key")
	// ErrNotRescued: the epoch is not encrypted to that recovery key, or to none.
	ErrNotRescued = journal.Fault("the epoch is not encrypted to this recovery key")
	// ErrPassphrase: a private key is protected, and the passphrase is not its.
	ErrPassphrase = journal.Fault("wrong passphrase of the private key")
)

// ReadRecovery reads a public recovery key, armoured or not.
func ReadRecovery(text []byte) (*pgp.Entity, error) {
	ring, err := readRing(text)
	if err != nil || len(ring) != 1 {
		return nil, ErrRecoveryKey
	}
	e := ring[0]
	if e.PrivateKey != nil || slices.ContainsFunc(e.Subkeys, func(s pgp.Subkey) bool { return s.PrivateKey != nil }) {
		return nil, ErrRecoverySecret
	}
	if _, ok := e.EncryptionKey(time.Now(), nil); !ok {
		return nil, ErrRecoveryKey
	}
	return e, nil
}

// RecoveryFile reads a public recovery key from a file; none if path is empty.
func RecoveryFile(path string) (*pgp.Entity, error) {
	if path == "" {
		return nil, nil
	}
	text, err := readSmall(path)
	if err != nil {
		return nil, fmt.Errorf("reading the recovery key: %w", err)
	}
	e, err := ReadRecovery(text)
	if err != nil {
		return nil, fmt.Errorf("reading the recovery key: %w", err)
	}
	return e, nil
}

func readRing(text []byte) (pgp.EntityList, error) {
	if ring, err := pgp.ReadArmoredKeyRing(bytes.NewReader(text)); err == nil {
		return ring, nil
	}
	return pgp.ReadKeyRing(bytes.NewReader(text))
}

// Rescue gives the recovery message of the epoch in use, armoured, for whoever has the
// private recovery key: decrypted with any OpenPGP tool it is the epoch key.
func Rescue(o Options) ([]byte, error) {
	f, _, e, err := o.keystoreAndEpoch()
	if err != nil {
		return nil, fmt.Errorf("reading the recovery message: %w", err)
	}
	f.Close()
	if len(e.rescued) == 0 {
		return nil, ErrNotRescued
	}
	return armoured("PGP MESSAGE", func(w io.Writer) error {
		_, err := w.Write(e.rescued)
		return err
	})
}

// OpenRescue decrypts a recovery message with a private key, armoured or not.
// The caller wipes what it gets and what it gave.
func OpenRescue(message, private, passphrase []byte) ([]byte, error) {
	ring, err := readRing(private)
	if err != nil || len(ring) == 0 {
		return nil, fmt.Errorf("reading the private recovery key: %w", ErrRecoveryKey)
	}
	for _, e := range ring {
		if err := e.DecryptPrivateKeys(passphrase); err != nil {
			return nil, ErrPassphrase
		}
	}
	var sealed io.Reader = bytes.NewReader(message)
	if block, err := armor.Decode(sealed); err == nil {
		sealed = block.Body
	} else {
		sealed = bytes.NewReader(message)
	}
	md, err := pgp.ReadMessage(sealed, ring, nil, nil)
	if err != nil {
		return nil, ErrNotRescued
	}
	key, err := io.ReadAll(io.LimitReader(md.UnverifiedBody, keySize+1))
	if err != nil || len(key) != keySize {
		return nil, ErrNotRescued
	}
	return key, nil
}

// Recover wraps an epoch key that came out of the recovery message by the hub
// key of o, which is made first if it is a file that does not exist. The hub
// must not be running ([ErrInUse]). Nothing is changed unless the key opens the
// keystore.
func Recover(o Options, key []byte) error {
	if err := o.recover(key); err != nil {
		return fmt.Errorf("recovering the keys: %w", err)
	}
	return nil
}

func (o Options) recover(key []byte) error {
	f, b, e, err := o.keystoreAndEpoch()
	if err != nil {
		return err
	}
	defer f.Close()
	if err := lockFile(f); err != nil {
		return err
	}
	if len(key) != keySize {
		return ErrNotRescued
	}
	copy(e.key[:], key)
	if !e.opens(b) {
		return ErrNotRescued
	}
	if path, ok := o.Hub.(File); ok {
		if _, err := os.Stat(string(path)); errors.Is(err, fs.ErrNotExist) {
			if err := NewHubKey(string(path), o.Rand); err != nil {
				return err
			}
		}
	}
	hub, err := o.secrets()
	if err != nil {
		return err
	}
	w, err := e.wrapTo(&hub, o.Now(), o.Rand)
	if err != nil {
		return err
	}
	e.wraps = []wrap{w}
	return supersede(epochPath(o.EpochDir, e.number), e.encode())
}

func (o *Options) keystoreAndEpoch() (*os.File, []byte, *epoch, error) {
	if err := o.fill(); err != nil {
		return nil, nil, nil, err
	}
	f, err := os.Open(keystorePath(o.DataDir))
	if err != nil {
		return nil, nil, nil, err
	}
	b, err := io.ReadAll(f)
	var number uint32
	var id [16]byte
	if err == nil {
		number, id, err = decodeTitle(b)
	}
	var e *epoch
	if err == nil {
		e, err = readEpoch(o.EpochDir, number, id)
	}
	if err != nil {
		f.Close()
		return nil, nil, nil, err
	}
	return f, b, e, nil
}

// NewRecovery makes a recovery key for who has no OpenPGP tool of their own: an
// RFC 4880 key that every tool reads, Ed25519 with Curve25519, both halves
// armoured. The private half is protected by the passphrase if there is one.
// It belongs on a machine that is not the hub's.
func NewRecovery(name string, passphrase []byte, o Options) (private, public []byte, err error) {
	cfg := &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Curve: packet.Curve25519, DefaultHash: crypto.SHA256, Rand: o.Rand, Time: o.Now}
	e, err := pgp.NewEntity(name, "", "", cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("making a recovery key: %w", err)
	}
	if public, err = armoured(pgp.PublicKeyType, e.Serialize); err != nil {
		return nil, nil, fmt.Errorf("making a recovery key: %w", err)
	}
	if len(passphrase) > 0 {
		if err := e.EncryptPrivateKeys(passphrase, cfg); err != nil {
			return nil, nil, fmt.Errorf("protecting a recovery key: %w", err)
		}
	}
	private, err = armoured(pgp.PrivateKeyType, func(w io.Writer) error { return e.SerializePrivateWithoutSigning(w, cfg) })
	if err != nil {
		return nil, nil, fmt.Errorf("making a recovery key: %w", err)
	}
	return private, public, nil
}

func armoured(kind string, write func(io.Writer) error) ([]byte, error) {
	var b bytes.Buffer
	w, err := armor.Encode(&b, kind, nil)
	if err != nil {
		return nil, err
	}
	if err := write(w); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}
