package mailbox

import (
	"encoding/base32"
	"encoding/binary"
	"io"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/relais-sante/relais/store"
)

// next makes the id of a record: a ULID in lower case, so that ids sort by the
// time they were made.
func (s *idSource) next(now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.ToLower(ulid.MustNew(ulid.Timestamp(now), s.rand).String())
}

// tokenCoding is base32 (RFC 4648 §6) in lower case.
var tokenCoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// token is the meaningless, stable word that stands for a box in the hub's own
// addresses (reply and bounce forms). Ten base32 characters are 50 bits of a
// keyed hash: nobody can work out the box from it, and a guess finds none.
func (h *Hub) token(use string, code store.PathwayCode, box store.Address) string {
	sum := h.store.Mac(use, string(code), string(box))
	return tokenCoding.EncodeToString(sum[:7])[:10]
}

// The hub's own addresses. Local parts use [a-z0-9.-] only and stay well under
// 64 characters (RFC 5321 §4.5.3.1.1).

func (h *Hub) pathwayAddress(code store.PathwayCode) string { return string(code) + "@" + h.o.Domain }

func (h *Hub) memberAddress(code store.PathwayCode, m store.MemberID) string {
	return string(code) + "." + string(m) + "@" + h.o.Domain
}

func (h *Hub) replyAddress(code store.PathwayCode, box store.Address) string {
	return string(code) + ".r-" + h.token("reply", code, box) + "@" + h.o.Domain
}

func (h *Hub) bounceAddress(code store.PathwayCode, box store.Address) store.Address {
	return store.Address(string(code) + ".b-" + h.token("bounce", code, box) + "@" + h.o.Domain)
}

// pathwayRoot is the id of the conversation of a pathway, made at inclusion
// and never changed. It is the id of no mail.
func (h *Hub) pathwayRoot(code store.PathwayCode) string {
	return "parcours." + string(code) + "@" + h.o.Domain
}

// newRFCID makes a Message-ID for a mail of the hub, without brackets.
func (h *Hub) newRFCID(now time.Time) string { return h.ids.next(now) + "@" + h.o.Domain }

// draw gives 64 random bits.
func (s *idSource) draw() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b [8]byte
	if _, err := io.ReadFull(s.rand, b[:]); err != nil {
		return 0 // no jitter is no fault
	}
	return binary.LittleEndian.Uint64(b[:])
}
