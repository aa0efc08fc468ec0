package seal

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"golang.org/x/crypto/argon2"

	"github.com/relais-sante/relais/store"
)

// Epoch file, epoch_dir/epoch-NNNNNNNN.key, version 1, big endian:
//
//	 8  magic "RELAISEP"
//	 1  version (1)
//	 1  flags: 1 a passphrase is mixed in
//	 4  epoch number
//	16  id of the keystore the epoch belongs to
//	 8  time of making, Unix seconds
//	16  salt of the wrap
//	 4  Argon2id: passes          (0 without passphrase)
//	 4  Argon2id: memory in KiB   (0 without passphrase)
//	 1  Argon2id: lanes           (0 without passphrase)
//	12  nonce
//	48  epoch key under AES-256-GCM, everything before the nonce as associated data
//	 4  length of the recovery message, 0 without
//	 …  recovery message: the epoch key as an OpenPGP message to the recovery key
//
// The wrapping key is HKDF-SHA256(hub key ‖ Argon2id(passphrase, salt), salt).
// The recovery message is standard OpenPGP: any RFC 9580 tool that has the
// private recovery key gives back the 32 bytes.
const (
	epochMagic   = "RELAISEP"
	epochVersion = 1
	epochHead    = 8 + 1 + 1 + 4 + 16 + 8 + 16 + 4 + 4 + 1
	epochFixed   = epochHead + nonceSize + keySize + tagSize + 4

	withPassphrase = 1

	// RFC 9106, second recommended option, for machines with less memory.
	argonPasses = 3
	argonMemory = 64 << 10
	argonLanes  = 4
)

type epoch struct {
	number  uint32
	store   [16]byte
	made    time.Time
	key     [keySize]byte
	rescued []byte // recovery message, kept as it is when re-wrapped
}

func epochPath(dir string, number uint32) string {
	return filepath.Join(dir, fmt.Sprintf("epoch-%08d.key", number))
}

// wrappingKey mixes hub key and passphrase.
func wrappingKey(hub, passphrase, salt []byte, passes, memory uint32, lanes uint8) ([]byte, error) {
	in := bytes.Clone(hub)
	if len(passphrase) > 0 {
		in = append(in, argon2.IDKey(passphrase, salt, passes, memory, lanes, keySize)...)
	}
	return hkdf.Key(sha256.New, in, salt, "relais 1 epoch wrap", keySize)
}

// encode wraps the epoch key.
func (e *epoch) encode(hub, passphrase []byte, recovery *pgp.Entity, random io.Reader) ([]byte, error) {
	var salt [16]byte
	var nonce [nonceSize]byte
	if _, err := io.ReadFull(random, salt[:]); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(random, nonce[:]); err != nil {
		return nil, err
	}
	var flags byte
	var passes, memory uint32
	var lanes uint8
	if len(passphrase) > 0 {
		flags, passes, memory, lanes = withPassphrase, argonPasses, argonMemory, argonLanes
	}
	b := append(make([]byte, 0, epochFixed), epochMagic...)
	b = append(b, epochVersion, flags)
	b = binary.BigEndian.AppendUint32(b, e.number)
	b = append(b, e.store[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(e.made.Unix()))
	b = append(b, salt[:]...)
	b = binary.BigEndian.AppendUint32(b, passes)
	b = binary.BigEndian.AppendUint32(b, memory)
	b = append(b, lanes)

	kek, err := wrappingKey(hub, passphrase, salt[:], passes, memory, lanes)
	if err != nil {
		return nil, err
	}
	aead, err := newGCM(kek)
	if err != nil {
		return nil, err
	}
	head := b[:epochHead:epochHead]
	b = append(b, nonce[:]...)
	b = aead.Seal(b, nonce[:], e.key[:], head)

	rescue := e.rescued
	if recovery != nil {
		if rescue, err = encryptTo(recovery, e.key[:], random, e.made); err != nil {
			return nil, fmt.Errorf("encrypting the epoch key to the recovery key: %w", err)
		}
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(rescue)))
	return append(b, rescue...), nil
}

// decodeEpoch unwraps an epoch file.
func decodeEpoch(b, hub, passphrase []byte) (*epoch, error) {
	if len(b) < epochFixed || string(b[:8]) != epochMagic {
		return nil, store.ErrCorrupt
	}
	if b[8] > epochVersion {
		return nil, store.ErrNewer
	}
	if b[9]&withPassphrase != 0 && len(passphrase) == 0 {
		return nil, ErrHubKey
	}
	if b[9]&withPassphrase == 0 {
		passphrase = nil
	}
	e := &epoch{number: binary.BigEndian.Uint32(b[10:])}
	copy(e.store[:], b[14:])
	e.made = time.Unix(int64(binary.BigEndian.Uint64(b[30:])), 0).UTC()
	salt := b[38:54]
	passes, memory, lanes := binary.BigEndian.Uint32(b[54:]), binary.BigEndian.Uint32(b[58:]), b[62]
	if len(passphrase) > 0 && (passes == 0 || passes > 16 || memory > 1<<20 || lanes == 0) {
		return nil, store.ErrCorrupt
	}
	kek, err := wrappingKey(hub, passphrase, salt, passes, memory, lanes)
	if err != nil {
		return nil, err
	}
	aead, err := newGCM(kek)
	if err != nil {
		return nil, err
	}
	rest := b[epochHead:]
	key, err := aead.Open(nil, rest[:nonceSize], rest[nonceSize:nonceSize+keySize+tagSize], b[:epochHead])
	if err != nil {
		return nil, ErrHubKey
	}
	copy(e.key[:], key)
	rest = rest[nonceSize+keySize+tagSize:]
	if n := binary.BigEndian.Uint32(rest); int(n) != len(rest)-4 {
		return nil, store.ErrCorrupt
	}
	e.rescued = bytes.Clone(rest[4:])
	return e, nil
}

// readEpoch finds and unwraps the epoch a keystore asks for.
func readEpoch(dir string, number uint32, id [16]byte, hub, passphrase []byte) (*epoch, error) {
	b, err := readSmall(epochPath(dir, number))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("opening epoch %d: %w", number, ErrNoEpoch)
	}
	if err != nil {
		return nil, fmt.Errorf("opening epoch %d: %w", number, err)
	}
	e, err := decodeEpoch(b, hub, passphrase)
	if err == nil && (e.number != number || e.store != id) {
		err = store.ErrCorrupt
	}
	if err != nil {
		return nil, fmt.Errorf("opening epoch %d: %w", number, err)
	}
	return e, nil
}

// encryptTo makes a standard OpenPGP message for a key that may be older than
// RFC 9580: the library chooses what the key announces.
func encryptTo(to *pgp.Entity, clear []byte, random io.Reader, now time.Time) ([]byte, error) {
	cfg := &packet.Config{
		Rand: random, Time: func() time.Time { return now },
		DefaultCipher: packet.CipherAES256,
		AEADConfig:    &packet.AEADConfig{DefaultMode: packet.AEADModeGCM},
	}
	var out bytes.Buffer
	w, err := pgp.Encrypt(&out, []*pgp.Entity{to}, nil, nil, &pgp.FileHints{IsUTF8: false}, cfg)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(clear); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
