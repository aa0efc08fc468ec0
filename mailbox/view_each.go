package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/store"
)

// Indexes of many messages. Rights are asked again for each; the indexes of
// messages that follow each other are read in one walk.

// eachBatch bounds how long one snapshot is held for Each.
const eachBatch = 256

// Each implements [folder.Folder].
func (o *opened) Each(ctx context.Context, uids []uint32, depth folder.Depth, fn func(uid uint32, m *folder.Shown) error) error {
	e := o.each(depth, fn)
	defer func() { o.reads.listed = append(o.reads.listed, e.listed...) }()
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

// readables finds messages that may be read, with their stored indexes, a batch
// on one snapshot.
type readables struct {
	o *opened
	// take gets one message; stored is valid until it returns.
	take func(v store.View, one *readable, stored []byte) error
	// sheet gets the UID of a relay sheet, which is no stored message.
	sheet func(uid uint32) error

	entries entries
	run     []readable // messages of one pathway, or mails, that follow each other
	seqs    []uint64
	mails   []store.MailID

	// known fills in what is packed of some messages, learnt is called when they
	// were taken; nil: neither is asked for.
	known  func(run []readable)
	learnt func(run []readable)
}

// readable is a message that may be read now.
type readable struct {
	uid   uint32
	m     *store.Message // of a pathway
	s     *source
	mail  store.MailID // or private
	saved int64        // 0: when it was received

	packed string // its envelope, if that is at hand: then nothing is read of it
}

// together reports whether b is read in one go with a.
func (a *readable) together(b *readable) bool { return a.s == b.s && (a.mail == "") == (b.mail == "") }

// batch takes the messages of some UIDs.
func (e *readables) batch(v store.View, uids []uint32) error {
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
			if err := e.end(v); err != nil {
				return err
			}
		}
		e.run = append(e.run, one)
	}
	return e.end(v)
}

// stand finds a message that may be read; errGone if it is not there for the
// reader.
func (o *opened) stand(g *gate, in *entries, uid uint32) (readable, error) {
	i, ok := in.row(uid)
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

// end takes the messages of the run.
func (e *readables) end(v store.View) error {
	run := e.run
	e.run = e.run[:0]
	if len(run) == 0 {
		return nil
	}
	if e.known == nil {
		return e.read(v, run)
	}
	e.known(run)
	defer e.learnt(run)
	for len(run) > 0 {
		n := 0
		for n < len(run) && run[n].packed == "" {
			n++
		}
		var err error
		if n > 0 {
			err = e.read(v, run[:n])
		} else {
			n, err = 1, e.take(v, &run[0], nil)
		}
		if err != nil {
			return err
		}
		run = run[n:]
	}
	return nil
}

// read reads the indexes of messages that follow each other.
func (e *readables) read(v store.View, run []readable) error {
	if run[0].mail != "" {
		e.mails = e.mails[:0]
		for i := range run {
			e.mails = append(e.mails, run[i].mail)
		}
		return v.MailIndexes(e.o.r.a.ID, e.mails, func(i int, stored []byte) error { return e.take(v, &run[i], stored) })
	}
	e.seqs = e.seqs[:0]
	for i := range run {
		e.seqs = append(e.seqs, run[i].m.Seq)
	}
	return v.Indexes(run[0].m.Pathway, e.seqs, func(i int, stored []byte) error { return e.take(v, &run[i], stored) })
}

// each is one call of Each. What it gives is made in the same place over and
// over.
type each struct {
	readables
	depth   folder.Depth
	fn      func(uid uint32, m *folder.Shown) error
	stopped error            // what fn returned
	listed  []*store.Message // of pathways, for their traces
	passing bool             // what is shown is looked through: the caller notes it
	now     *store.Message   // of a pathway, while it is shown

	lined   letter.Shown // the line of the pathway of the run
	of      *source      // that pathway
	stored  letter.Index // as received
	index   letter.Index
	shown   folder.Shown
	refs    []string
	packing []byte
	root    string // of a conversation, and its name
	thread  string
}

func (o *opened) each(depth folder.Depth, fn func(uid uint32, m *folder.Shown) error) *each {
	e := &each{depth: depth, fn: fn}
	e.o, e.take, e.sheet = o, e.show, e.showSheet
	if depth == folder.Envelope {
		s := &slabUse{h: o.r.h, account: o.r.a.ID}
		e.known, e.learnt = s.known, s.learnt
	}
	return e
}

// show gives one message.
func (e *each) show(_ store.View, one *readable, stored []byte) error {
	x := &e.index
	switch {
	case e.depth == folder.Whole:
		var err error
		if x, err = e.o.whole(one, stored); err != nil {
			return err
		}
	case one.mail != "":
		if err := e.fields(one, stored, x); err != nil {
			return err
		}
	default:
		if err := e.fields(one, stored, &e.stored); err != nil {
			return err
		}
		if e.of != one.s {
			address, _ := e.o.r.h.publicAddress(one.s.p)
			e.of, e.lined = one.s, letter.Shown{Line: letter.ReplyLine(address)}
		}
		e.index.Size = one.m.Shown
		e.index.Fields, _ = e.lined.Fields(e.index.Fields[:0], e.stored.Fields)
	}
	e.now = one.m
	if one.mail != "" {
		e.shown = mailShown(one, x)
		return e.tell(one.uid)
	}
	m := one.m
	if m.Root != e.root || e.thread == "" {
		e.root, e.thread = m.Root, threadID(m)
	}
	if m.Root != m.RFCID {
		e.refs = append(append(e.refs[:0], m.Root), m.References...)
	}
	e.shown = messageShown(one, x, e.thread, e.refs)
	if !e.passing {
		e.listed = append(e.listed, m)
	}
	return e.tell(one.uid)
}

// fields gives the header fields of a message, and packs those of its envelope
// where they are asked for.
func (e *each) fields(one *readable, stored []byte, x *letter.Index) error {
	if one.packed != "" {
		unpackEnvelope(one.packed, x)
		return nil
	}
	err := decodeFields(stored, x)
	if err == nil && e.depth == folder.Envelope {
		one.packed = packEnvelope(&e.packing, x)
	}
	return err
}

func (e *each) showSheet(uid uint32) (err error) {
	if _, ok := e.o.row(uid); !ok {
		return errGone
	}
	if e.shown, err = e.o.sheetIndex(uid); err != nil {
		return err
	}
	e.now = nil
	return e.tell(uid)
}

func (e *each) tell(uid uint32) error {
	e.stopped = e.fn(uid, &e.shown)
	return e.stopped
}

// whole is the index of a message as shown.
func (o *opened) whole(one *readable, stored []byte) (*letter.Index, error) {
	idx, err := decodeIndex(stored)
	if err != nil || one.mail != "" {
		return idx, err
	}
	shown := o.r.h.shownAs(one.s.p, idx)
	return shown.IndexOf(idx), nil
}

// messageShown is what is known of a pathway's message; refs are its references
// but for the root of a conversation, which has none.
func messageShown(one *readable, x *letter.Index, thread string, refs []string) folder.Shown {
	m := one.m
	s := folder.Shown{Index: x, EmailID: "M" + string(m.ID), ThreadID: thread, Saved: m.Received, ID: m.RFCID}
	if one.saved != 0 {
		s.Saved = time.Unix(one.saved, 0)
	}
	if m.Root != m.RFCID {
		s.References = refs
	}
	return s
}

// mailShown is what is known of a private message.
func mailShown(one *readable, x *letter.Index) folder.Shown {
	env := &x.Envelope
	refs := env.References
	if len(refs) == 0 && len(env.InReplyTo) > 0 {
		refs = env.InReplyTo[:1]
	}
	return folder.Shown{Index: x, EmailID: "M" + string(one.mail), Saved: time.Unix(one.saved, 0), ID: env.MessageID, References: refs}
}
