package mailbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/store"
)

// What is read. Rights are asked again for each message when it is read, not
// only when it was listed, and every read of a pathway's message is traced.

// reads are the pathways' messages read since the last Settle.
type reads struct {
	listed, opened []store.MessageRef
}

// Settle implements [folder.Folder].
func (o *opened) Settle(ctx context.Context) error {
	by := o.r.a.actor(o.r.where)
	// What was opened needs no second record for having been listed.
	open := map[store.MessageRef]bool{}
	for _, ref := range o.reads.opened {
		open[ref] = true
	}
	listed := slices.DeleteFunc(o.reads.listed, func(ref store.MessageRef) bool { return open[ref] })
	if err := o.r.h.TraceReads(ctx, by, ReadOpened, o.reads.opened); err != nil {
		return err
	}
	if err := o.r.h.TraceReads(ctx, by, ReadListed, listed); err != nil {
		return err
	}
	o.reads.listed, o.reads.opened = o.reads.listed[:0], o.reads.opened[:0]
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
}

// listed gives a message as the page has it, and whether it still stands: then
// what was decided for the page is what would be decided now.
func (g *gate) listed(m *store.Message) (*source, bool, error) {
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

// eachBatch bounds how long one snapshot is held for Each.
const eachBatch = 256

// found is one message made ready while a snapshot is held.
type found struct {
	uid   uint32
	shown folder.Shown
}

// Each implements [folder.Folder].
func (o *opened) Each(ctx context.Context, uids []uint32, fn func(uid uint32, m *folder.Shown) error) error {
	for batch := range slices.Chunk(uids, eachBatch) {
		var ready []found
		err := o.r.h.view(ctx, func(v store.View) error {
			ready = ready[:0]
			g := &gate{r: o.r, v: v, page: o.page}
			for _, uid := range batch {
				one, err := o.index(g, uid)
				if errors.Is(err, errGone) {
					continue
				}
				if err != nil {
					return err
				}
				ready = append(ready, one)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("reading indexes: %w", err)
		}
		for i := range ready {
			if err := fn(ready[i].uid, &ready[i].shown); err != nil {
				return err
			}
		}
	}
	return nil
}

// index makes one message ready; errGone if it is not there for the reader.
func (o *opened) index(g *gate, uid uint32) (found, error) {
	i, ok := o.row(uid)
	if !ok {
		return found{}, errGone
	}
	if o.kind == kindSheet {
		return o.sheetIndex(uid)
	}
	var m *store.Message
	var s *source
	var err error
	saved := time.Time{}
	if o.kind == kindPrivate {
		e, err := g.v.Entry(o.r.a.ID, o.private, uid)
		if errors.Is(err, store.ErrNotFound) {
			return found{}, errGone
		}
		if err != nil {
			return found{}, err
		}
		saved = time.Unix(e.Saved, 0)
		if e.Mail != "" {
			return o.mailIndex(g, uid, e)
		}
		if m, s, err = g.admit(e.Of); err != nil {
			return found{}, err
		}
	} else {
		m = o.page.of[i]
		var stands bool
		if s, stands, err = g.listed(m); err == nil && !stands {
			m, s, err = g.admit(store.MessageRef{Pathway: m.Pathway, Message: m.ID})
		}
		if err != nil {
			return found{}, err
		}
	}
	if saved.IsZero() {
		saved = m.Received
	}
	b, err := g.v.Index(m.Pathway, m.ID)
	if err != nil {
		return found{}, fmt.Errorf("reading the index of %s: %w", m.ID, err)
	}
	idx, err := decodeIndex(b)
	if err != nil {
		return found{}, err
	}
	shown := o.r.h.shownAs(s.p, idx)
	o.reads.listed = append(o.reads.listed, store.MessageRef{Pathway: m.Pathway, Message: m.ID})
	out := found{uid: uid, shown: folder.Shown{
		Index: shown.IndexOf(idx), EmailID: "M" + string(m.ID), ThreadID: threadID(m), Saved: saved, ID: m.RFCID,
	}}
	if m.Root != m.RFCID {
		out.shown.References = append([]string{m.Root}, m.References...)
	}
	return out, nil
}

// threadID names a conversation (RFC 8474 §5.2): letters and digits only.
func threadID(m *store.Message) string {
	sum := sha256.Sum256([]byte(m.Root))
	return "T" + hex.EncodeToString(sum[:10])
}

func (o *opened) mailIndex(g *gate, uid uint32, e *store.Entry) (found, error) {
	b, err := g.v.MailIndex(o.r.a.ID, e.Mail)
	if err != nil {
		return found{}, err
	}
	idx, err := decodeIndex(b)
	if err != nil {
		return found{}, err
	}
	env := &idx.Envelope
	refs := env.References
	if len(refs) == 0 && len(env.InReplyTo) > 0 {
		refs = env.InReplyTo[:1]
	}
	return found{uid: uid, shown: folder.Shown{
		Index: idx, EmailID: "M" + string(e.Mail), Saved: time.Unix(e.Saved, 0), ID: env.MessageID, References: refs,
	}}, nil
}
