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
	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/store"
)

// What is read. Rights are asked again for each message when it is read, not
// only when it was listed, and every read of a pathway's message is traced.

// reads are the pathways' messages read since the last Settle.
type reads struct {
	listed []*store.Message
	opened []store.MessageRef
}

// Settle implements [folder.Folder].
func (o *opened) Settle(ctx context.Context) error {
	by := o.r.a.actor(o.r.where)
	if err := o.r.h.TraceReads(ctx, by, ReadOpened, o.reads.opened); err != nil {
		return err
	}
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
	if err := o.r.h.TraceReads(ctx, by, ReadListed, listed); err != nil {
		return err
	}
	clear(o.reads.listed) // messages are not kept for having been read once
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

// Each implements [folder.Folder].
func (o *opened) Each(ctx context.Context, uids []uint32, depth folder.Depth, fn func(uid uint32, m *folder.Shown) error) error {
	e := &each{o: o, depth: depth, fn: fn}
	for batch := range slices.Chunk(uids, eachBatch) {
		err := o.r.h.view(ctx, func(v store.View) error { return e.batch(v, batch) })
		if e.stopped != nil {
			return e.stopped
		}
		if err != nil {
			return fmt.Errorf("reading indexes: %w", err)
		}
	}
	return nil
}

// each is one call of Each. What it gives is made in the same place over and
// over.
type each struct {
	o       *opened
	depth   folder.Depth
	fn      func(uid uint32, m *folder.Shown) error
	stopped error // what fn returned
	entries entries

	run   []readable // messages of one pathway, or mails, that follow each other
	seqs  []uint64
	mails []store.MailID

	stored letter.Index // as received
	index  letter.Index
	shown  folder.Shown
	refs   []string
	root   string // of a conversation, and its name
	thread string
}

// readable is a message that may be read now.
type readable struct {
	uid   uint32
	m     *store.Message // of a pathway
	s     *source
	mail  store.MailID // or private
	saved int64        // 0: when it was received
}

// together reports whether b is read in one go with a.
func (a *readable) together(b *readable) bool { return a.s == b.s && (a.mail == "") == (b.mail == "") }

// batch gives the messages of some UIDs, on one snapshot.
func (e *each) batch(v store.View, uids []uint32) error {
	o := e.o
	g := &gate{r: o.r, v: v, page: o.page}
	if err := e.entries.begin(o, v); err != nil {
		return err
	}
	e.run = e.run[:0]
	for _, uid := range uids {
		if o.kind == kindSheet {
			if err := e.sheet(uid); err != nil && !errors.Is(err, errGone) {
				return err
			}
			continue
		}
		one, err := o.stand(g, &e.entries, uid)
		if errors.Is(err, errGone) {
			continue
		}
		if err != nil {
			return err
		}
		if n := len(e.run); n > 0 && !e.run[n-1].together(&one) {
			if err := e.give(v); err != nil {
				return err
			}
		}
		e.run = append(e.run, one)
	}
	return e.give(v)
}

// stand finds a message that may be read; errGone if it is not there for the
// reader.
func (o *opened) stand(g *gate, in *entries, uid uint32) (readable, error) {
	i, ok := o.row(uid)
	if !ok {
		return readable{}, errGone
	}
	one := readable{uid: uid}
	var err error
	if o.kind == kindPrivate {
		k, err := in.kept(i, uid)
		if err != nil {
			return one, err
		}
		if one.saved, one.mail = k.saved, k.mail; k.mail != "" {
			return one, nil
		}
		one.m, one.s, err = g.admit(*k.of)
		return one, err
	}
	one.m = o.page.of[i]
	var stands bool
	if one.s, stands, err = g.listed(one.m); err == nil && !stands {
		one.m, one.s, err = g.admit(store.MessageRef{Pathway: one.m.Pathway, Message: one.m.ID})
	}
	return one, err
}

// give gives the messages of the run, and ends it.
func (e *each) give(v store.View) error {
	run := e.run
	e.run = e.run[:0]
	if len(run) == 0 {
		return nil
	}
	if run[0].mail != "" {
		e.mails = e.mails[:0]
		for i := range run {
			e.mails = append(e.mails, run[i].mail)
		}
		return v.MailIndexes(e.o.r.a.ID, e.mails, func(i int, stored []byte) error { return e.mail(&run[i], stored) })
	}
	e.seqs = e.seqs[:0]
	for i := range run {
		e.seqs = append(e.seqs, run[i].m.Seq)
	}
	address, _ := e.o.r.h.publicAddress(run[0].s.p)
	lined := letter.Shown{Line: letter.ReplyLine(address)}
	return v.Indexes(run[0].m.Pathway, e.seqs, func(i int, stored []byte) error { return e.message(&run[i], &lined, stored) })
}

// message gives a pathway's message.
func (e *each) message(one *readable, lined *letter.Shown, stored []byte) error {
	m := one.m
	x := &e.index
	if e.depth == folder.Fields {
		if err := decodeFields(stored, &e.stored); err != nil {
			return err
		}
		e.index.Size = m.Shown
		e.index.Fields, _ = lined.Fields(e.index.Fields[:0], e.stored.Fields)
	} else {
		idx, err := decodeIndex(stored)
		if err != nil {
			return err
		}
		shown := e.o.r.h.shownAs(one.s.p, idx)
		x = shown.IndexOf(idx)
	}
	if m.Root != e.root || e.thread == "" {
		e.root, e.thread = m.Root, threadID(m)
	}
	e.shown = folder.Shown{Index: x, EmailID: "M" + string(m.ID), ThreadID: e.thread, Saved: m.Received, ID: m.RFCID}
	if one.saved != 0 {
		e.shown.Saved = time.Unix(one.saved, 0)
	}
	if m.Root != m.RFCID {
		e.refs = append(append(e.refs[:0], m.Root), m.References...)
		e.shown.References = e.refs
	}
	e.o.reads.listed = append(e.o.reads.listed, m)
	return e.tell(one.uid)
}

// mail gives a private message.
func (e *each) mail(one *readable, stored []byte) error {
	x := &e.index
	if e.depth == folder.Fields {
		if err := decodeFields(stored, x); err != nil {
			return err
		}
	} else {
		var err error
		if x, err = decodeIndex(stored); err != nil {
			return err
		}
	}
	env := &x.Envelope
	refs := env.References
	if len(refs) == 0 && len(env.InReplyTo) > 0 {
		refs = env.InReplyTo[:1]
	}
	e.shown = folder.Shown{Index: x, EmailID: "M" + string(one.mail), Saved: time.Unix(one.saved, 0), ID: env.MessageID, References: refs}
	return e.tell(one.uid)
}

func (e *each) sheet(uid uint32) (err error) {
	if _, ok := e.o.row(uid); !ok {
		return errGone
	}
	if e.shown, err = e.o.sheetIndex(uid); err != nil {
		return err
	}
	return e.tell(uid)
}

func (e *each) tell(uid uint32) error {
	e.stopped = e.fn(uid, &e.shown)
	return e.stopped
}

// threadID names a conversation (RFC 8474 §5.2): letters and digits only.
func threadID(m *store.Message) string {
	sum := sha256.Sum256([]byte(m.Root))
	return "T" + hex.EncodeToString(sum[:10])
}
