package mailbox

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store"
)

// ErasureView is an erasure as it goes on, then its proof. It names professionals'
// boxes only: those of the child and of the family are counted.
type ErasureView struct {
	Pathway   string     `json:"pathway"`
	With      []string   `json:"with,omitempty"` // merged with it, erased together
	State     string     `json:"state"`          // erasing, erased
	WaitsFor  string     `json:"waits_for,omitempty"`
	Waits     string     `json:"waits,omitempty"` // place, hub-key
	Asked     time.Time  `json:"asked"`
	AskedBy   string     `json:"asked_by"`
	Reason    string     `json:"reason,omitempty"`
	Programme string     `json:"programme"`
	Erased    *time.Time `json:"erased"`

	Messages    int      `json:"messages"`
	HeldRemoved int      `json:"held_removed"`
	Boxes       []string `json:"boxes"` // that hold relayed copies
	Unnamed     int      `json:"boxes_unnamed"`
	// Remains are pathways where a message that was moved to this one is still
	// kept, withdrawn, under their keys.
	Remains []string `json:"remains_in,omitempty"`

	EpochBefore uint32   `json:"epoch_before"`
	EpochAfter  uint32   `json:"epoch_after,omitempty"`
	Places      []string `json:"places"` // copies read back before the old epoch ended

	// Storage may keep blocks that were overwritten. Once both keys are changed
	// nobody can open what such blocks hold.
	HubKey          string `json:"hub_key,omitempty"`
	HubRotated      bool   `json:"hub_key_rotated_since"`
	RecoveryKey     string `json:"recovery_key,omitempty"`
	RecoveryRotated bool   `json:"recovery_key_rotated_since"`

	// Seal is the hub's keyed hash over the proof; it stands in the trace too.
	// Authentic says whether it fits what is shown.
	Seal      string `json:"seal,omitempty"`
	Authentic bool   `json:"authentic"`
}

// proveErased does step 5.
func (h *Hub) proveErased(ctx context.Context, it store.Item, e *store.Erasure, after uint32) error {
	err := h.change(ctx, func(tx store.Tx) error {
		p, err := tx.Erasure(e.Code)
		if err != nil {
			return err
		}
		p.State, p.Erased = store.ErasureDone, h.o.Now().UTC().Truncate(time.Second)
		p.EpochAfter, p.Waits, p.Why, p.Owners = after, "", "", nil
		if h.o.Keys != nil {
			s := h.o.Keys.Status()
			p.HubKey, p.HubSince = s.Hub.String(), s.HubSince
			p.Recovery, p.RecoverySince = s.Recovery, s.RecoverySince
			for _, place := range s.Places {
				p.Places = append(p.Places, place.Place)
			}
		}
		if p.Sum, err = h.proofSum(p); err != nil {
			return err
		}
		if err := tx.PutErasure(p); err != nil {
			return err
		}
		for _, code := range p.With {
			part := &store.Erasure{Code: code, Into: p.Code, State: p.State, Asked: p.Asked, Erased: p.Erased}
			if err := tx.PutErasure(part); err != nil {
				return err
			}
			if err := h.trace(tx, hubActor, "pathway.erased", code, string(p.Code), outcomeDone, nil); err != nil {
				return err
			}
		}
		if err := tx.DropItem(store.Item{ID: it.ID}); err != nil {
			return err
		}
		return h.trace(tx, hubActor, "pathway.erased", p.Code, "", outcomeDone, map[string]string{"proof": hex.EncodeToString(p.Sum)})
	})
	if err != nil {
		return fmt.Errorf("writing the proof of %s: %w", e.Code, err)
	}
	return nil
}

// proofSum is the hub's keyed hash of a proof.
func (h *Hub) proofSum(e *store.Erasure) ([]byte, error) {
	bare := *e
	bare.Sum = nil
	b, err := json.Marshal(&bare) // fields in the order of the record
	if err != nil {
		return nil, fmt.Errorf("encoding a proof: %w", err)
	}
	sum := h.store.Mac("erasure", string(b))
	return sum[:], nil
}

// erasedView is what is left of a pathway.
func (h *Hub) erasedView(e *store.Erasure) PathwayView {
	v := ErasureView{
		Pathway: string(e.Code), State: string(store.PathwayErasing), WaitsFor: e.Waits, Waits: e.Why,
		Asked: e.Asked, AskedBy: e.By, Reason: e.Reason, Programme: e.Programme,
		Messages: e.Messages, HeldRemoved: e.Removed, Unnamed: e.Unnamed, EpochBefore: e.EpochBefore, EpochAfter: e.EpochAfter,
		Boxes: []string{}, Places: append([]string{}, e.Places...), HubKey: e.HubKey, RecoveryKey: e.Recovery,
	}
	for _, c := range e.With {
		v.With = append(v.With, string(c))
	}
	for _, b := range e.Boxes {
		v.Boxes = append(v.Boxes, h.shownBox(b))
	}
	for _, c := range e.Remains {
		v.Remains = append(v.Remains, string(c))
	}
	if e.State == store.ErasureDone {
		v.State, v.Erased, v.Seal = string(store.ErasureDone), &e.Erased, hex.EncodeToString(e.Sum)
		sum, err := h.proofSum(e)
		v.Authentic = err == nil && bytes.Equal(sum, e.Sum)
		if h.o.Keys != nil {
			s := h.o.Keys.Status()
			v.HubRotated = s.Hub.String() != e.HubKey && s.HubNext.String() != e.HubKey
			v.RecoveryRotated = e.Recovery != "" && s.Recovery != e.Recovery
		}
	}
	return PathwayView{ID: v.Pathway, Status: v.State, Programme: v.Programme, Erasure: &v}
}

// Text says an erasure, or its proof, for people.
func (v *ErasureView) Text(l texts.Locale) string {
	var lines []string
	say := func(id texts.ID, args map[string]any) { lines = append(lines, texts.T(l, id, args)) }
	code := map[string]any{"pathway": v.Pathway, "by": v.AskedBy, "asked": texts.DateTime(l, v.Asked.Local())}
	switch {
	case v.Erased != nil:
		code["erased"] = texts.DateTime(l, v.Erased.Local())
		say("erase.done", code)
	case v.Waits == "place":
		say("erase.waits-place", map[string]any{"pathway": v.Pathway, "place": v.WaitsFor})
	case v.Waits == "hub-key":
		say("erase.waits-hub-key", code)
	default:
		say("erase.going-on", code)
	}
	say("erase.asked", code)
	if v.Reason != "" {
		say("erase.reason", map[string]any{"reason": v.Reason})
	}
	if len(v.With) > 0 {
		say("erase.with", map[string]any{"codes": texts.List(l, v.With)})
	}
	if v.Erased == nil {
		return strings.Join(lines, "\n")
	}
	say("erase.what", map[string]any{"n": v.Messages})
	if v.HeldRemoved > 0 {
		say("erase.held", map[string]any{"n": v.HeldRemoved})
	}
	say("erase.epochs", map[string]any{"before": v.EpochBefore, "after": v.EpochAfter})
	if len(v.Places) > 0 {
		say("erase.places", map[string]any{"places": texts.List(l, v.Places)})
	}
	if len(v.Boxes) > 0 {
		say("erase.boxes", map[string]any{"boxes": texts.List(l, v.Boxes)})
	}
	if v.Unnamed > 0 {
		say("erase.unnamed", map[string]any{"n": v.Unnamed})
	}
	if len(v.Remains) > 0 {
		say("erase.remains", map[string]any{"codes": texts.List(l, v.Remains)})
	}
	switch {
	case v.HubRotated && (v.RecoveryKey == "" || v.RecoveryRotated):
		say("erase.rotated", nil)
	case v.HubRotated:
		say("erase.rotate-recovery", nil)
	case v.RecoveryKey == "" || v.RecoveryRotated:
		say("erase.rotate-hub", nil)
	default:
		say("erase.rotate-both", nil)
	}
	if v.Authentic {
		say("erase.seal", map[string]any{"seal": v.Seal})
	} else {
		say("erase.seal-broken", nil)
	}
	return strings.Join(lines, "\n")
}
