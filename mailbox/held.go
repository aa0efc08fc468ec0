package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/fxamacker/cbor/v2"

	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/store"
)

// takeHeld runs a held message the same way as mail that never was held, with
// what a human decided about it. A closed pathway or a consent withdrawn
// refuses it as at the door; a reason that was not settled may hold it again.
func (h *Hub) takeHeld(ctx context.Context, held *store.Held, given assignment) (Receipt, error) {
	in, err := h.reopen(ctx, held, given)
	if err != nil {
		return Receipt{}, err
	}
	return h.settle(ctx, in)
}

// reopen makes of a held message what it was when it came in.
func (h *Hub) reopen(ctx context.Context, held *store.Held, given assignment) (*incoming, error) {
	if held.Blob == nil {
		return nil, fmt.Errorf("opening held message %s: %w", held.ID, store.ErrNotFound)
	}
	in := &incoming{now: h.o.Now(), held: held, given: given}
	in.env = Envelope{
		MailFrom: held.MailFrom, Via: Via(held.Via), Size: held.Size, Received: held.Received,
		Peer: Peer{Where: held.Peer, SpeaksFor: func(d string) bool { return slices.Contains(held.Listed, d) }},
	}
	err := h.view(ctx, func(v store.View) error {
		if held.Account != "" {
			switch a, err := v.Account(held.Account); {
			case err == nil:
				in.env.Peer.Account = accountOf(a, "")
			case !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrErased):
				return fmt.Errorf("reading account %s: %w", held.Account, err)
			}
		}
		for _, addr := range held.Rcpts {
			r, _, err := h.resolve(v, addr)
			var gone *Refusal
			if errors.As(err, &gone) {
				continue // no such address any more; what was given by hand decides
			}
			if err != nil {
				return err
			}
			if given.pathway != "" && r.Pathway != given.pathway {
				r.Rubric = "" // of the other pathway
			}
			in.env.Rcpts = append(in.env.Rcpts, r)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	in.reading, err = h.reread(ctx, *held.Blob)
	if err != nil {
		return nil, fmt.Errorf("reading held message %s: %w", held.ID, err)
	}
	in.idx = in.reading.Index
	open := func() (io.ReadCloser, error) { return h.store.Open(ctx, *held.Blob) }
	if err := h.understand(ctx, in, open); err != nil {
		return nil, err
	}
	if held.RFCID != "" { // a made-up id stays the same
		in.rfcID = held.RFCID
	}
	return in, nil
}

// reread scans a stored message again, for the texts the index does not keep.
func (h *Hub) reread(ctx context.Context, b store.Blob) (*letter.Reading, error) {
	r, err := h.store.Open(ctx, b)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return letter.Read(r, h.o.Reading)
}

// indexEncoding writes indexes. The zone of a date is kept: a mail is of the day
// its sender wrote (SENTON, RFC 9051 §6.4.4).
var indexEncoding = func() cbor.EncMode {
	mode, err := cbor.EncOptions{Time: cbor.TimeRFC3339Nano}.EncMode()
	if err != nil {
		panic(err) // only for options that are constants here
	}
	return mode
}()

// encodeIndex is a letter index as it is stored.
func encodeIndex(idx *letter.Index) ([]byte, error) {
	b, err := indexEncoding.Marshal(idx)
	if err != nil {
		return nil, fmt.Errorf("writing the index of a message: %w", err)
	}
	return b, nil
}

// indexDecoding reads stored indexes. Parts nest deeper than the library's
// default of 32 levels; letter.Limits bounds them, at three levels each.
var indexDecoding = func() cbor.DecMode {
	mode, err := cbor.DecOptions{MaxNestedLevels: 1024}.DecMode()
	if err != nil {
		panic(err)
	}
	return mode
}()
