package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/relais-sante/relais/store"
)

// Actor is who asks: a coordinator at the CLI, known by the Unix peer
// credentials or the client certificate of the admin connection. Which
// operations an actor may ask for is decided there; to which programmes they
// reach, here, wherever a record is looked up.
type Actor struct {
	Name     string // "unix:1000(jeanne)", a certificate's name
	Where    string // socket, network address
	OnBehalf string // for whom, where that is somebody else: "member:m1", "box"
	// Programmes are those that the actor may see and act in; nil: all. What
	// belongs to no programme, or to others besides, is then out of reach.
	Programmes []string
}

// may reports whether the actor may act in a programme.
func (a Actor) may(programme string) bool {
	return a.Programmes == nil || slices.Contains(a.Programmes, programme)
}

// within refuses what belongs to a programme that is not the actor's.
func (a Actor) within(programme string) error {
	if a.may(programme) {
		return nil
	}
	return a.outside()
}

// outside is the refusal of what belongs to another programme. What it is, and
// whether it is there at all, is not said.
func (a Actor) outside() error {
	return fail(OutsideProgrammes, map[string]any{"programmes": strings.Join(a.Programmes, ", ")})
}

// OutsideProgrammes is the code of the Failure of who asks for something of a
// programme that is not theirs.
const OutsideProgrammes = "outside-programmes"

// mayHeld reports whether the actor may decide about a held message. One that
// no programme could be told of is for those who may see them all.
func (a Actor) mayHeld(held *store.Held) bool { return a.may(held.Programme) }

// mayPathway reports whether the actor may see what belongs to a pathway;
// without one, only those who may see everything.
func (a Actor) mayPathway(v store.View, code store.PathwayCode) (bool, error) {
	if a.Programmes == nil {
		return true, nil
	}
	p, err := v.Pathway(code)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrErased) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading pathway %s: %w", code, err)
	}
	return a.may(p.Programme), nil
}

// withinPathway refuses what is about a pathway of another programme, or about
// none.
func (h *Hub) withinPathway(ctx context.Context, by Actor, code store.PathwayCode) error {
	return h.view(ctx, func(v store.View) error {
		may, err := by.mayPathway(v, code)
		if err == nil && !may {
			return by.outside()
		}
		return err
	})
}

// withinBox refuses a box that has members in other programmes too: what is
// done to a box, or who may read as its holder, concerns them all.
func (h *Hub) withinBox(v store.View, by Actor, box store.Address) error {
	if by.Programmes == nil {
		return nil
	}
	inside, outside := false, false
	err := h.eachOfBox(v, box, func(p *store.Pathway, _ *store.Member) {
		inside, outside = inside || by.may(p.Programme), outside || !by.may(p.Programme)
	})
	if err != nil {
		return err
	}
	if outside || !inside {
		return by.outside()
	}
	return nil
}

// TraceRefusal traces that somebody asked for an operation that is not theirs.
func (h *Hub) TraceRefusal(ctx context.Context, by Actor, operation string) error {
	return h.change(ctx, func(tx store.Tx) error {
		return h.trace(tx, by, "administration.refused", "", operation, outcomeRefused, nil)
	})
}

// failed reports whether err is a Failure, for a person, and no fault.
func failed(err error) bool {
	var f *Failure
	return errors.As(err, &f)
}
