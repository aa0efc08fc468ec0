package seal

import (
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/x25519"
)

// Wrapping a session key costs two scalar multiplications, opening it one: a
// good part of what taking or sending a small mail costs. Where messages of one
// owner follow each other closely, they share the ephemeral key pair, hence the
// AES key that wraps their session keys (RFC 9580, 5.1.6). Its private half is
// gone when Wrap returns. Key wrap is deterministic: what it wraps must be keys
// of their own, and session keys are; that AES key opens nothing that the
// owner's secret, beside it in memory, would not, and is forgotten with it.
const (
	sharedTime  = time.Minute // after which another pair is made
	sharedTimes = 256         // or after so many messages
	agreedKept  = 4           // of an owner, to open what was wrapped lately
)

// keyWrapSize is the length of the AES key in between.
const keyWrapSize = 16

// agreement is an ephemeral public key, and the AES key it agrees on with the
// owner's.
type agreement struct {
	ephemeral [x25519.KeySize]byte
	key       [keyWrapSize]byte
}

// agreements are an owner's: those of late, the newest last.
type agreements struct {
	mu      sync.Mutex
	known   []agreement
	writing bool      // the newest is one of ours, to wrap with
	left    int       // how often it may
	last    time.Time // Wrap, or the making of the newest
}

// forWrapping gives the agreement to wrap with; false where messages do not
// follow each other closely enough for one.
func (a *agreements) forWrapping(to *recipient, now time.Time, random io.Reader) (agreement, bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	soon := !a.last.IsZero() && now.Sub(a.last).Abs() < sharedTime
	if !soon || !a.writing || a.left == 0 {
		a.writing, a.last = false, now
		if !soon {
			return agreement{}, false, nil
		}
		made, err := agree(to, random)
		if err != nil {
			return agreement{}, false, err
		}
		a.keep(made)
		a.writing, a.left = true, sharedTimes
	}
	a.left--
	return a.known[len(a.known)-1], true, nil
}

// forOpening gives the agreement of an ephemeral key, if it is one of late.
func (a *agreements) forOpening(ephemeral []byte) (agreement, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.known, func(k agreement) bool { return string(k.ephemeral[:]) == string(ephemeral) })
	if i < 0 {
		return agreement{}, false
	}
	return a.known[i], true
}

func (a *agreements) keep(made agreement) {
	if len(a.known) == agreedKept {
		a.known = slices.Delete(a.known, 0, 1)
	}
	a.known = append(a.known, made)
}

// agree makes an ephemeral key pair and the AES key that follows (RFC 9580,
// 5.1.6).
func agree(to *recipient, random io.Reader) (agreement, error) {
	var a agreement
	pair, err := ecdh.X25519().GenerateKey(random)
	if err != nil {
		return a, fmt.Errorf("making an ephemeral key: %w", err)
	}
	point, err := ecdh.X25519().NewPublicKey(to.private.Point)
	if err != nil {
		return a, fmt.Errorf("reading an X25519 key: %w", err)
	}
	shared, err := pair.ECDH(point)
	if err != nil {
		return a, fmt.Errorf("agreeing on a key: %w", err)
	}
	copy(a.ephemeral[:], pair.PublicKey().Bytes())
	key, err := hkdf.Key(sha256.New, slices.Concat(a.ephemeral[:], to.private.Point, shared), nil, "OpenPGP X25519", keyWrapSize)
	if err != nil {
		return a, fmt.Errorf("deriving a wrapping key: %w", err)
	}
	copy(a.key[:], key)
	return a, nil
}
