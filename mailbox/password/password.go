// Package password makes the passwords of accounts and checks them.
//
// Rules that hold here:
//
//   - People choose none: a password is drawn at random, so long that guessing
//     is hopeless, and written so that it can be typed from paper.
//   - What is kept is an Argon2id hash (RFC 9106) with a salt of its own. Its
//     parameters stand beside it, so that they can be raised for the next one.
//   - A check costs much memory on purpose: at most so many run at once, the
//     others wait for their [Hasher.Turn].
//   - Checking a password of nobody costs the same: see [Hasher.Waste].
package password

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/relais-sante/relais/store/journal"
)

// alphabet has no letter or digit that is taken for another, and no vowel that
// could make a word.
const alphabet = "bcdfghjkmnpqrstvwxz23456789"

// A password is groups of groupLength characters. The first idLength of them
// say which of the account's passwords it is and are no secret; the others
// carry 104 bits (22 × log₂ 27).
const (
	idLength    = 3
	secret      = 22
	groupLength = 5
	length      = idLength + secret
)

// MaxLength bounds, in bytes, what is looked at as a password.
const MaxLength = 256

// New draws a password. ID is its beginning, which tells it from the other
// passwords of an account.
func New(random io.Reader) (id, text string, err error) {
	var drawn strings.Builder
	var b [1]byte
	for drawn.Len() < length {
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return "", "", fmt.Errorf("drawing a password: %w", err)
		}
		// 243 = 9 × 27: every character is as likely as any other.
		if b[0] < 243 {
			drawn.WriteByte(alphabet[b[0]%27])
		}
	}
	all := drawn.String()
	var groups []string
	for i := 0; i < length; i += groupLength {
		groups = append(groups, all[i:i+groupLength])
	}
	return all[:idLength], strings.Join(groups, "-"), nil
}

// Fold gives the one spelling of a password as typed: capitals, hyphens and
// spaces do not count.
func Fold(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' {
			return -1
		}
		return r
	}, strings.ToLower(text))
}

// IDOf gives the id that a folded password begins with; "" if it is too short
// to be one.
func IDOf(folded string) string {
	if len(folded) < idLength {
		return ""
	}
	return folded[:idLength]
}

// Cost is what a hash costs (RFC 9106 §4).
type Cost struct {
	Memory  uint32 // KiB
	Passes  uint32
	Threads uint8
}

// DefaultCost is the second recommendation of RFC 9106 §4, with fewer threads:
// a hub has few cores.
var DefaultCost = Cost{Memory: 64 << 10, Passes: 3, Threads: 2}

const (
	saltLength = 16
	keyLength  = 32
)

// errHash: a kept hash is not one of ours.
const errHash = journal.Fault("not a password hash")

// Hasher makes and checks hashes. Safe for concurrent use.
type Hasher struct {
	cost  Cost
	turns chan struct{}
	dummy []byte
}

// NewHasher returns a hasher that runs at most atOnce hashes together; each
// takes cost.Memory.
func NewHasher(cost Cost, atOnce int) *Hasher {
	return &Hasher{
		cost: cost, turns: make(chan struct{}, atOnce),
		dummy: encode(cost, make([]byte, saltLength), make([]byte, keyLength)),
	}
}

// Turn waits until a hash may run; done gives the place to the next.
func (h *Hasher) Turn(ctx context.Context) (done func(), err error) {
	select {
	case h.turns <- struct{}{}:
		return func() { <-h.turns }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Hash hashes a folded password. The caller has its turn, as for all below.
func (h *Hasher) Hash(random io.Reader, folded string) ([]byte, error) {
	salt := make([]byte, saltLength)
	if _, err := io.ReadFull(random, salt); err != nil {
		return nil, fmt.Errorf("drawing a salt: %w", err)
	}
	return encode(h.cost, salt, key(h.cost, salt, folded)), nil
}

// Check reports whether hash is that of the folded password.
func (h *Hasher) Check(hash []byte, folded string) (bool, error) {
	cost, salt, want, err := decode(hash)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(key(cost, salt, folded), want) == 1, nil
}

// Waste does the work of a Check for nobody, so that time does not tell which
// accounts there are.
func (h *Hasher) Waste(folded string) {
	_, _ = h.Check(h.dummy, folded)
}

func key(c Cost, salt []byte, folded string) []byte {
	return argon2.IDKey([]byte(folded), salt, c.Passes, c.Memory, c.Threads, keyLength)
}

// encode writes a hash in the common form of password hashes (PHC).
func encode(c Cost, salt, sum []byte) []byte {
	e := base64.RawStdEncoding
	return fmt.Appendf(nil, "$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.Memory, c.Passes, c.Threads, e.EncodeToString(salt), e.EncodeToString(sum))
}

func decode(hash []byte) (c Cost, salt, sum []byte, err error) {
	parts := strings.Split(string(hash), "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return c, nil, nil, errHash
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &c.Memory, &c.Passes, &c.Threads); n != 3 || err != nil {
		return c, nil, nil, errHash
	}
	e := base64.RawStdEncoding.Strict()
	if salt, err = e.DecodeString(parts[4]); err != nil {
		return c, nil, nil, errHash
	}
	if sum, err = e.DecodeString(parts[5]); err != nil {
		return c, nil, nil, errHash
	}
	// argon2 panics on a cost of zero, and takes whatever memory it is told.
	if len(salt) < 8 || len(sum) != keyLength || c.Memory == 0 || c.Memory > 1<<20 || c.Passes == 0 || c.Passes > 64 || c.Threads == 0 {
		return c, nil, nil, errHash
	}
	return c, salt, sum, nil
}
