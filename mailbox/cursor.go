package mailbox

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
)

// How far an operator's box has been read is kept with what was read: the
// cursor moves in the commit that files or holds the message, so that neither a
// crash nor a lost connection takes a message twice or passes one over. Should
// the box count anew (UIDVALIDITY, RFC 3501 §2.3.1.1), everything in it is read
// again, and what was taken is known by the digest of its bytes.

// Cursor is how far a folder of an operator's box has been read.
type Cursor struct {
	Box      store.Address `cbor:"-"`
	Folder   string        `cbor:"-"`
	Validity uint32        `cbor:"1,keyasint"`
	UID      uint32        `cbor:"2,keyasint"` // the last one taken or set aside
	// Pending are messages that the box itself does not show as taken yet.
	Pending []PendingMark `cbor:"3,keyasint,omitempty"`
}

// PendingMark is a message still to be marked, or moved, in the box.
type PendingMark struct {
	UID   uint32 `cbor:"1,keyasint"`
	Aside bool   `cbor:"2,keyasint,omitempty"` // it could not be taken
}

// Fetched is a message on its way from a box.
type Fetched struct {
	// Next is the cursor once the message is taken.
	Next Cursor
	// Digest is that of its bytes. It is asked for when they have been read.
	Digest func() [32]byte
}

// BoxCursor gives how far a folder of a box has been read; one that never was
// has the zero Validity.
func (h *Hub) BoxCursor(ctx context.Context, box store.Address, folder string) (Cursor, error) {
	c := Cursor{Box: box, Folder: folder}
	err := h.view(ctx, func(v store.View) error {
		b, err := v.Setting(h.cursorName(&c))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err == nil {
			err = cbor.Unmarshal(b, &c)
		}
		return err
	})
	if err != nil {
		return Cursor{}, fmt.Errorf("reading how far a box was read: %w", err)
	}
	return c, nil
}

// SaveCursor notes what was done in a box without taking a message: marks.
func (h *Hub) SaveCursor(ctx context.Context, c Cursor) error {
	return h.commit(ctx, func(tx store.Tx) error { return h.putCursor(tx, &c) })
}

func (h *Hub) cursorName(c *Cursor) string {
	sum := h.store.Mac("cursor", string(c.Box), c.Folder)
	return "cursor." + hex.EncodeToString(sum[:16])
}

func (h *Hub) putCursor(tx store.Tx, c *Cursor) error {
	b, err := cbor.Marshal(c)
	if err != nil {
		return fmt.Errorf("writing a cursor: %w", err)
	}
	return tx.PutSetting(h.cursorName(c), b)
}

// take is the commit that ends an Intake: what fn puts, and how far the box it
// came from has been read.
func (h *Hub) take(ctx context.Context, in *incoming, fn func(store.Tx) error) error {
	f := in.env.Fetched
	if f == nil {
		return h.commit(ctx, fn)
	}
	digest := f.Digest()
	return h.commit(ctx, func(tx store.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return h.passed(tx, &f.Next, digest)
	})
}

// passed notes that a message of a box needs not be read again.
func (h *Hub) passed(tx store.Tx, next *Cursor, digest [32]byte) error {
	if err := tx.PutTaken(string(next.Box), digest, h.o.Now()); err != nil {
		return fmt.Errorf("noting what was taken: %w", err)
	}
	return h.putCursor(tx, next)
}

// takenBefore reports whether the very bytes came from the same box before: it
// counts anew. The cursor passes them.
func (h *Hub) takenBefore(ctx context.Context, in *incoming) (bool, error) {
	f := in.env.Fetched
	if f == nil {
		return false, nil
	}
	known := false
	err := h.view(ctx, func(v store.View) error {
		var err error
		known, err = v.Taken(string(f.Next.Box), f.Digest())
		return err
	})
	if err == nil && known {
		// Noted anew: what a box still has must be known as long as it has it.
		err = h.commit(ctx, func(tx store.Tx) error { return h.passed(tx, &f.Next, f.Digest()) })
	}
	if err != nil {
		return false, fmt.Errorf("looking whether a message was taken before: %w", err)
	}
	return known, nil
}

// Aside is a message of an operator's box that cannot be taken.
type Aside struct {
	Fetched
	Reason    RefusalReason // empty: the hub's own fault, time and again
	Programme string        // of the box; empty: any
	Arrived   time.Time     // in the box
	Size      int64
	Where     string // address of the operator's server
	Folder    string // where it will lie
}

// SetAside passes over a message that cannot be taken, now or later, and tells
// the desk where it is. Told once: of the same bytes nobody hears again.
func (h *Hub) SetAside(ctx context.Context, a Aside) error {
	digest := a.Digest()
	err := h.commit(ctx, func(tx store.Tx) error {
		known, err := tx.Taken(string(a.Next.Box), digest)
		if err != nil {
			return err
		}
		if err := h.passed(tx, &a.Next, digest); err != nil || known {
			return err
		}
		if err := h.trace(tx, Actor{Name: "box", Where: a.Where}, "message.set-aside", "", "", outcomeRefused, map[string]string{"reason": string(a.Reason)}); err != nil {
			return err
		}
		return h.tellAside(tx, &a)
	})
	if err != nil {
		return fmt.Errorf("setting a message aside: %w", err)
	}
	return nil
}

// tellAside tells the desk. Of what the hub sent itself and got back, nobody is
// told: that notice would come back, too. What the state of a pathway refuses is
// its sender's affair, who was told (see refused.go).
func (h *Hub) tellAside(tx store.Tx, a *Aside) error {
	switch a.Reason {
	case RefuseLoop, RefuseClosed, RefuseWithdrawn:
		return nil
	}
	var prog *rules.Programme
	if a.Programme != "" {
		prog = h.o.Programmes().ByID(a.Programme)
	}
	l, why := h.o.Locale, texts.ID("operator.aside-fault")
	if a.Reason != "" {
		why = texts.ID("refusal." + string(a.Reason))
	}
	return h.toAnyDesk(tx, notice{
		kind: noticeSetAside, prog: prog, subject: texts.T(l, "operator.aside-subject", nil),
		paragraphs: []string{
			texts.T(l, "operator.aside", map[string]any{
				"box": string(a.Next.Box), "date": texts.DateTime(l, a.Arrived.Local()), "size": texts.Size(l, a.Size),
			}),
			texts.T(l, why, nil),
			texts.T(l, "operator.aside-next", map[string]any{"folder": a.Folder}),
		},
	})
}
