package mailbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/relais-sante/relais/store"
)

// What is read. Rights are asked again for each message when it is read, not
// only when it was listed, and every read of a pathway's message is traced.

// reads are the pathways' messages read since the last Settle.
type reads struct {
	listed   []*store.Message
	opened   []store.MessageRef
	searched searched
}

// Settle implements [folder.Folder].
func (o *opened) Settle(ctx context.Context) error {
	records := readRecords(ReadOpened, o.reads.opened)
	// What was opened needs no second record for having been listed.
	open := map[store.MessageID]bool{}
	for i := range o.reads.opened {
		open[o.reads.opened[i].Message] = true
	}
	listed := make([]store.MessageRef, 0, len(o.reads.listed))
	for _, m := range o.reads.listed {
		if !open[m.ID] {
			listed = append(listed, store.MessageRef{Pathway: m.Pathway, Message: m.ID})
		}
	}
	records = append(append(records, readRecords(ReadListed, listed)...), o.reads.searched.records()...)
	if err := o.r.h.traceAll(ctx, o.r.a.actor(o.r.where), records); err != nil {
		return err
	}
	clear(o.reads.listed) // messages are not kept for having been read once
	o.reads = reads{listed: o.reads.listed[:0], opened: o.reads.opened[:0]}
	return nil
}

// gate asks again whether messages may be read, cheaply where nothing changed
// since the page was made.
type gate struct {
	r       *Reader
	v       store.View
	page    *page // what was listed; nil: nothing
	sources map[store.PathwayCode]*source
	stale   map[store.PathwayCode]bool // whether anything changed since the page
	last    *source                    // the one that was listed last
	same    bool                       // and whether nothing changed in it
}

// listed gives a message as the page has it, and whether it still stands: then
// what was decided for the page is what would be decided now.
func (g *gate) listed(m *store.Message) (*source, bool, error) {
	if g.last != nil && g.last.p.Code == m.Pathway {
		return g.last, g.same, nil
	}
	s, err := g.source(m.Pathway)
	if err != nil || g.page == nil {
		return s, false, err
	}
	stale, known := g.stale[m.Pathway]
	if !known {
		if stale, err = g.changed(s); err != nil {
			return nil, false, err
		}
		if g.stale == nil {
			g.stale = map[store.PathwayCode]bool{}
		}
		g.stale[m.Pathway] = stale
	}
	g.last, g.same = s, !stale
	return s, !stale, nil
}

// changed reports whether a pathway is other than when the page was made: its
// record, its programme, the date, or one of its messages.
func (g *gate) changed(s *source) (bool, error) {
	b := &g.page.basis
	i := slices.IndexFunc(b.sources, func(x sourceState) bool { return x.code == s.p.Code })
	if i < 0 || b.sources[i].revision != s.p.Revision || b.sources[i].prog != s.prog || b.day != today(s.now) {
		return true, nil
	}
	updated, err := g.v.Updated(s.p.Code, b.sources[i].highest)
	if err != nil {
		return true, fmt.Errorf("reading what changed in %s: %w", s.p.Code, err)
	}
	return len(updated) > 0, nil
}

// admit gives the message as it is now, if it may be read; errGone if not.
func (g *gate) admit(ref store.MessageRef) (*store.Message, *source, error) {
	s, err := g.source(ref.Pathway)
	if err != nil {
		return nil, nil, err
	}
	m, err := g.v.Message(ref.Pathway, ref.Message)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrErased):
		return nil, nil, errGone
	case err != nil:
		return nil, nil, fmt.Errorf("reading message %s: %w", ref.Message, err)
	case !s.sees(m):
		return nil, nil, errGone
	}
	return m, s, nil
}

func (g *gate) source(code store.PathwayCode) (*source, error) {
	if s := g.sources[code]; s != nil {
		return s, nil
	}
	all, err := g.r.pathways(g.v, code)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, errGone
	}
	if g.sources == nil {
		g.sources = map[store.PathwayCode]*source{}
	}
	g.sources[code] = &all[0]
	return &all[0], nil
}

// threadID names a conversation (RFC 8474 §5.2): letters and digits only.
func threadID(m *store.Message) string {
	sum := sha256.Sum256([]byte(m.Root))
	return "T" + hex.EncodeToString(sum[:10])
}
