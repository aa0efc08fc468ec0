// Package seal holds the keys of the hub and everything that is encrypted with
// them.
//
// There are four layers, each wrapped by the one before:
//
//   - the hub key, 32 bytes that an administrator keeps (file, environment,
//     systemd credential), with a passphrase mixed in if there is one;
//   - the epoch key, random, in a file of epoch_dir, wrapped by the hub key and,
//     where configured, encrypted to an offline OpenPGP recovery key. Epoch
//     files never lie in data_dir and never in a backup (see epoch.go);
//   - one secret per owner (pathway, held message, box, account, hub, trace) in
//     the keystore of data_dir, wrapped by the epoch key (see keystore.go);
//   - what is derived from an owner's secret: a row key for AES-256-GCM, an
//     OpenPGP v6 key (Ed25519 with an X25519 subkey) that the session keys of
//     messages are wrapped to, keys for keyed hashes.
//
// Erasing an owner is forgetting its secret: a new epoch key wraps the
// survivors, the old epoch key is destroyed. That is why the keystore is a file
// of its own: a B+tree does not erase what it deletes.
//
// Rules that hold here:
//
//   - Everything derived is derived with HKDF-SHA256 under a label of its own;
//     no key serves two purposes.
//   - Rows use a random 96-bit nonce under a key of one owner. NIST SP 800-38D
//     allows 2^32 of them per key; no pathway comes near.
//   - Messages are OpenPGP SEIPDv2 (RFC 9580, 5.13.2) with AES-256-GCM in chunks
//     of 64 KiB under a session key of their own, so that the bytes can be read
//     by standard tools once the owner's key is exported.
//   - A reader releases no byte before the chunk it is in was authenticated, and
//     no byte of the last chunk before the end and the length were.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"

	"github.com/relais-sante/relais/store/journal"
)

const (
	// ErrHubKey: the hub key, or the passphrase, is not the one the epoch was
	// wrapped with.
	ErrHubKey = journal.Fault("wrong hub key or passphrase")
	// ErrNoEpoch: the epoch file that the keystore asks for is not in epoch_dir.
	ErrNoEpoch = journal.Fault("epoch key missing")
	// ErrExists: first-time creation found keys already there.
	ErrExists = journal.Fault("keys exist already")
	// ErrInUse: another process has the keystore open.
	ErrInUse = journal.Fault("in use by another process")
)

const (
	keySize   = 32
	nonceSize = 12
	tagSize   = 16
)

// derive gives the key that label names, out of secret.
func derive(secret []byte, label string) [keySize]byte {
	var out [keySize]byte
	b, err := hkdf.Expand(sha256.New, secret, "relais 1 "+label, keySize)
	if err != nil {
		panic(err) // only for lengths that are constants here
	}
	copy(out[:], b)
	return out
}

// newGCM gives AES-256-GCM under a 32-byte key.
func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("setting up AES: %w", err)
	}
	return cipher.NewGCM(block)
}
