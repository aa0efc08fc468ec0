package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

// Scanner looks for harmful content in a message. The name of what it found is
// a word that may be written anywhere, or empty. An error means that it could
// not look; a *Refusal among them is passed on to the sender as it is.
type Scanner interface {
	Scan(ctx context.Context, r io.Reader) (infected bool, name string, err error)
}

// scan refuses a message that the antivirus objects to, and for a while one
// that it cannot look at. It reads the sealed bytes back, so that nothing is in
// clear on disk for its sake. What passed once is not scanned again: a held
// message that a human assigns was scanned when it came.
func (h *Hub) scan(ctx context.Context, in *incoming) error {
	if h.o.Scanner == nil {
		return nil
	}
	r, err := in.draft.Open()
	if err != nil {
		return fmt.Errorf("opening a message for the antivirus: %w", err)
	}
	defer r.Close()
	infected, name, err := h.o.Scanner.Scan(ctx, r)
	if err != nil {
		refusal, refused := errors.AsType[*Refusal](err)
		if !refused {
			refusal = &Refusal{Reason: RefuseUnscanned, Err: err}
		}
		h.log.Error("message not scanned", "reason", refusal.Reason, "error", refusal.Err)
		return refusal
	}
	if !infected {
		return nil
	}
	code := in.env.pathway()
	err = h.commit(ctx, func(tx store.Tx) error {
		return h.trace(tx, Actor{Name: "box", Where: in.env.Peer.Where}, "message.infected", code, "", "refused", map[string]string{
			"signature": name, "via": string(in.env.Via),
		})
	})
	if err != nil {
		return err // said to be refused only once that is known for good
	}
	h.log.Warn("infected message refused", "pathway", code, "signature", journal.Word(name))
	return refuse(RefuseInfected, nil)
}

// pathway is the pathway that a message was addressed to, if any.
func (e *Envelope) pathway() store.PathwayCode {
	for _, r := range e.Rcpts {
		if r.Pathway != "" {
			return r.Pathway
		}
	}
	return ""
}
