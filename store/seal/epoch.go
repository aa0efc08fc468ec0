package seal

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
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
//	 4  epoch number
//	16  id of the keystore the epoch belongs to
//	 8  time of making, Unix seconds
//	 1  number of wraps: 1, or 2 while the hub key is being changed
//
// the wraps, the older one first:
//
//	 8  id of the hub key, which says nothing of it
//	 8  since when that hub key is in use, Unix seconds
//	 1  flags: 1 a passphrase is mixed in
//	16  salt of the wrap
//	 4  Argon2id: passes          (0 without passphrase)
//	 4  Argon2id: memory in KiB   (0 without passphrase)
//	 1  Argon2id: lanes           (0 without passphrase)
//	12  nonce
//	48  epoch key under AES-256-GCM; the associated data are the file's first 37
//	    bytes and all of the wrap before its nonce
//
// then
//
//	8  since when that recovery key is in use, Unix seconds
//	1  length of the recovery key's fingerprint, 0 without
//	…  fingerprint
//	4  length of the recovery message, 0 without
//	…  recovery message: the epoch key as an OpenPGP message to the recovery key
//	4  CRC-32C of the above
//
// The wrapping key is HKDF-SHA256(hub key ‖ Argon2id(passphrase, salt), salt).
// The recovery message is standard OpenPGP: any tool that has the private
// recovery key gives back the 32 bytes.
const (
	epochMagic   = "RELAISEP"
	epochVersion = 1
	epochHead    = 8 + 1 + 4 + 16 + 8
	wrapHead     = keyIDSize + 8 + 1 + 16 + 4 + 4 + 1
	wrapSize     = wrapHead + nonceSize + keySize + tagSize
	keyIDSize    = 8

	withPassphrase = 1

	// RFC 9106, second recommended option, for machines with less memory.
	argonPasses = 3
	argonMemory = 64 << 10
	argonLanes  = 4
)

// KeyID tells hub keys apart without saying anything of them.
type KeyID [keyIDSize]byte

// Journal implements journal.Safe.
func (id KeyID) Journal() string { return id.String() }

func (id KeyID) String() string {
	if id == (KeyID{}) {
		return ""
	}
	return hex.EncodeToString(id[:])
}

// hubSecret is a hub key with its passphrase, in memory.
type hubSecret struct {
	key, passphrase []byte
}

func (h *hubSecret) id() KeyID {
	sum := derive(h.key, "hub key id")
	return KeyID(sum[:keyIDSize])
}

// wrap is the epoch key wrapped by one hub key, as it is in the file.
type wrap [wrapSize]byte

func (w *wrap) id() KeyID        { return KeyID(w[:keyIDSize]) }
func (w *wrap) since() time.Time { return unixTime(w[keyIDSize:]) }

// epoch is an epoch key and what its file holds.
type epoch struct {
	number uint32
	store  [16]byte
	made   time.Time
	key    [keySize]byte
	wraps  []wrap

	rescued      []byte // recovery message
	rescuer      []byte // fingerprint of the recovery key
	rescuedSince time.Time
}

func epochName(number uint32) string { return fmt.Sprintf("epoch-%08d.key", number) }

func epochPath(dir string, number uint32) string { return filepath.Join(dir, epochName(number)) }

// epochNumber is the number of an epoch file of that name.
func epochNumber(name string) (uint32, bool) {
	var n uint32
	_, err := fmt.Sscanf(name, "epoch-%08d.key", &n)
	return n, err == nil && epochName(n) == name
}

func unixTime(b []byte) time.Time {
	return time.Unix(int64(binary.BigEndian.Uint64(b)), 0).UTC()
}

// wrappingKey mixes hub key and passphrase.
func wrappingKey(h *hubSecret, salt []byte, passes, memory uint32, lanes uint8) ([]byte, error) {
	in := bytes.Clone(h.key)
	if passes > 0 {
		in = append(in, argon2.IDKey(h.passphrase, salt, passes, memory, lanes, keySize)...)
	}
	defer zero(in)
	return hkdf.Key(sha256.New, in, salt, "relais 1 epoch wrap", keySize)
}

// head is what every wrap is bound to.
func (e *epoch) head() []byte {
	b := append(make([]byte, 0, epochHead), epochMagic...)
	b = append(b, epochVersion)
	b = binary.BigEndian.AppendUint32(b, e.number)
	b = append(b, e.store[:]...)
	return binary.BigEndian.AppendUint64(b, uint64(e.made.Unix()))
}

// wrapTo wraps the epoch key by a hub key that is in use since a time.
func (e *epoch) wrapTo(h *hubSecret, since time.Time, random io.Reader) (wrap, error) {
	var w wrap
	var salt [16]byte
	var nonce [nonceSize]byte
	if _, err := io.ReadFull(random, salt[:]); err != nil {
		return w, err
	}
	if _, err := io.ReadFull(random, nonce[:]); err != nil {
		return w, err
	}
	var flags byte
	var passes, memory uint32
	var lanes uint8
	if len(h.passphrase) > 0 {
		flags, passes, memory, lanes = withPassphrase, argonPasses, argonMemory, argonLanes
	}
	id := h.id()
	b := append(w[:0], id[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(since.Unix()))
	b = append(b, flags)
	b = append(b, salt[:]...)
	b = binary.BigEndian.AppendUint32(b, passes)
	b = binary.BigEndian.AppendUint32(b, memory)
	b = append(b, lanes)
	kek, err := wrappingKey(h, salt[:], passes, memory, lanes)
	if err != nil {
		return w, err
	}
	aead, err := newGCM(kek)
	if err != nil {
		return w, err
	}
	aad := append(e.head(), b...)
	b = append(b, nonce[:]...)
	aead.Seal(b, nonce[:], e.key[:], aad)
	return w, nil
}

// unwrap opens a wrap that is for the hub key h.
func (e *epoch) unwrap(w *wrap, h *hubSecret) error {
	rest := w[keyIDSize+8:]
	passes, memory, lanes := binary.BigEndian.Uint32(rest[17:]), binary.BigEndian.Uint32(rest[21:]), rest[25]
	switch secret := rest[0]&withPassphrase != 0; {
	case secret && len(h.passphrase) == 0:
		return ErrHubKey
	case secret && (passes == 0 || passes > 16 || memory > 1<<20 || lanes == 0), !secret && passes != 0:
		return store.ErrCorrupt
	}
	kek, err := wrappingKey(h, rest[1:17], passes, memory, lanes)
	if err != nil {
		return err
	}
	aead, err := newGCM(kek)
	if err != nil {
		return err
	}
	key, err := aead.Open(nil, w[wrapHead:wrapHead+nonceSize], w[wrapHead+nonceSize:], append(e.head(), w[:wrapHead]...))
	if err != nil {
		return ErrHubKey
	}
	copy(e.key[:], key)
	zero(key)
	return nil
}

// rescue encrypts the epoch key to a recovery key; to none if it is nil.
func (e *epoch) rescue(to *pgp.Entity, now time.Time, random io.Reader) error {
	e.rescued, e.rescuer, e.rescuedSince = nil, nil, time.Unix(0, 0).UTC()
	if to == nil {
		return nil
	}
	message, err := encryptTo(to, e.key[:], random, now)
	if err != nil {
		return fmt.Errorf("encrypting the epoch key to the recovery key: %w", err)
	}
	e.rescued, e.rescuer, e.rescuedSince = message, to.PrimaryKey.Fingerprint, now.UTC().Truncate(time.Second)
	return nil
}

// encode gives the file of the epoch.
func (e *epoch) encode() []byte {
	b := append(e.head(), byte(len(e.wraps)))
	for i := range e.wraps {
		b = append(b, e.wraps[i][:]...)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(e.rescuedSince.Unix()))
	b = append(b, byte(len(e.rescuer)))
	b = append(b, e.rescuer...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(e.rescued)))
	b = append(b, e.rescued...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeEpoch reads an epoch file; the key itself stays wrapped.
func decodeEpoch(b []byte) (*epoch, error) {
	if len(b) < epochHead+1+wrapSize+8+1+4+4 || string(b[:8]) != epochMagic || b[8] == 0 {
		return nil, store.ErrCorrupt
	}
	if b[8] > epochVersion {
		return nil, store.ErrNewer
	}
	body := b[:len(b)-4]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(b[len(b)-4:]) {
		return nil, store.ErrCorrupt
	}
	e := &epoch{number: binary.BigEndian.Uint32(b[9:]), made: unixTime(b[29:])}
	copy(e.store[:], b[13:])
	n, rest := int(body[epochHead]), body[epochHead+1:]
	if n < 1 || n > 2 || len(rest) < n*wrapSize+8+1+4 {
		return nil, store.ErrCorrupt
	}
	for range n {
		e.wraps = append(e.wraps, wrap(rest[:wrapSize]))
		rest = rest[wrapSize:]
	}
	e.rescuedSince, rest = unixTime(rest), rest[8:]
	print := int(rest[0])
	if len(rest) < 1+print+4 {
		return nil, store.ErrCorrupt
	}
	e.rescuer, rest = bytes.Clone(rest[1:1+print]), rest[1+print:]
	if n := binary.BigEndian.Uint32(rest); int(n) != len(rest)-4 {
		return nil, store.ErrCorrupt
	}
	e.rescued = bytes.Clone(rest[4:])
	return e, nil
}

// open unwraps the key by a hub key and says by which of the wraps.
func (e *epoch) open(h *hubSecret) (int, error) {
	for i := range e.wraps {
		if e.wraps[i].id() == h.id() {
			return i, e.unwrap(&e.wraps[i], h)
		}
	}
	return 0, ErrHubKey
}

// readEpoch finds the epoch a keystore asks for.
func readEpoch(dir string, number uint32, id [16]byte) (*epoch, error) {
	b, err := readSmall(epochPath(dir, number))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("opening epoch %d: %w", number, ErrNoEpoch)
	}
	if err != nil {
		return nil, fmt.Errorf("opening epoch %d: %w", number, err)
	}
	e, err := decodeEpoch(b)
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
