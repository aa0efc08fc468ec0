package mailbox

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/store"
)

// One thread. What a mail answers is told by the ids it names; where those
// were lost or rewritten on the way, by the reply address and the subject.

// recentPosts bounds how far back a mail without usable ids is looked for.
const recentPosts = 50

// parent finds the message of the pathway that a mail answers, or nil.
func (h *Hub) parent(v store.View, pl *plan, in *incoming) (*store.Message, error) {
	p := pl.pathway
	for _, id := range threadIDs(&in.idx.Envelope) {
		refs, err := v.MessagesByID(id)
		if err != nil {
			return nil, fmt.Errorf("looking up a message id: %w", err)
		}
		for _, ref := range refs {
			if ref.Pathway != p.Code {
				continue
			}
			m, err := v.Message(ref.Pathway, ref.Message)
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("reading message %s: %w", ref.Message, err)
			}
			if m.Kind == store.KindPost {
				return m, nil
			}
		}
	}
	return h.parentBySubject(v, pl, in)
}

// parentBySubject finds what a mail answers when its ids are of no use: some
// operators rewrite Message-ID, some clients send none. A reply address or the
// hub's tag in the subject makes it an answer; the same base subject (RFC 5256
// §2.1) says to what. An answer whose parent is not found this way still
// belongs to the pathway's thread.
//
// A parent answers nothing that is secret for parents, whatever its subject.
func (h *Hub) parentBySubject(v store.View, pl *plan, in *incoming) (*store.Message, error) {
	p := pl.pathway
	writer := member(p, pl.writer.author.Member)
	_, _, tagged := letter.FindTag(in.idx.Envelope.Subject)
	if replyBox(in) == "" && !tagged {
		return nil, nil
	}
	topic := letter.BaseSubject(in.idx.Envelope.Subject)
	recent, err := v.Recent(p.Code, recentPosts)
	if err != nil {
		return nil, fmt.Errorf("reading the thread of %s: %w", p.Code, err)
	}
	for _, m := range recent {
		if writer != nil && hiddenFrom(p, pl.prog, writer, m, in.now) {
			continue
		}
		if m.Kind == store.KindPost && m.Retracted == nil && strings.EqualFold(m.Topic, topic) {
			return m, nil
		}
	}
	return nil, nil
}

// link writes into m its place in the conversation.
func (h *Hub) link(m, parent *store.Message, conversation string, in *incoming) {
	m.Topic = letter.BaseSubject(in.idx.Envelope.Subject)
	m.Root = h.pathwayRoot(m.Pathway)
	if parent != nil {
		m.Parent = parent.ID
		m.References = append(slices.Clone(parent.References), parent.RFCID)
	}
	if conversation == "post" {
		m.Root = m.RFCID
		if parent != nil {
			m.Root = parent.Root
		}
	}
	// The last 20 are all that is ever sent on.
	if extra := len(m.References) - 20; extra > 0 {
		m.References = m.References[extra:]
	}
	switch {
	case parent != nil && len(parent.ThreadIndex) > 0:
		m.ThreadIndex = letter.ChildThreadIndex(parent.ThreadIndex, m.Received)
	default:
		m.ThreadIndex = letter.NewThreadIndex(m.Root, m.Received)
	}
}

// usableID decides under which Message-ID the copies of a post go out: its
// own, unless that already stands for other content somewhere. Then clients
// would take one for the other; a new one is made and the first is kept in
// References. It gives what stands under the id already.
func (h *Hub) usableID(v store.View, in *incoming, sum [32]byte) (string, []store.MessageRef, error) {
	refs, err := v.MessagesByID(in.rfcID)
	if err != nil {
		return "", nil, fmt.Errorf("looking up a message id: %w", err)
	}
	if in.noID {
		return in.rfcID, refs, nil
	}
	for _, ref := range refs {
		m, err := v.Message(ref.Pathway, ref.Message)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return "", nil, fmt.Errorf("reading message %s: %w", ref.Message, err)
		}
		if m.BodySum != sum {
			return h.newRFCID(in.now), nil, nil
		}
	}
	return in.rfcID, refs, nil
}

// idAt is the id under which a box knows a message: that of the copy it got,
// or the message's own where it wrote it (or got none).
func (h *Hub) idAt(v store.View, m *store.Message, box store.Address) (string, error) {
	ds, err := v.Deliveries(m.Pathway, m.ID)
	if err != nil {
		return "", fmt.Errorf("reading the deliveries of %s: %w", m.ID, err)
	}
	for _, d := range slices.Backward(ds) {
		if d.Mailbox == box && d.Notice == nil && d.RFCID != "" && d.State != store.Cancelled {
			return d.RFCID, nil
		}
	}
	return m.RFCID, nil
}
