package mailbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/store"
)

// What is put in. Into a private folder a message is stored as it is; into a
// rubric it is posted, with the same checks as mail. A mail the reader posted
// before (a client files what it sent) is kept as a reference to it.

// Append implements [folder.User].
func (r *Reader) Append(ctx context.Context, name string) (folder.Append, error) {
	o, err := r.find(ctx, name)
	if err != nil {
		return nil, err
	}
	switch {
	case o.kind == kindPrivate:
		return &privateAppend{ctx: ctx, r: r, to: o.private}, nil
	case o.kind == kindShared && o.view.code != "":
		return &rubricAppend{ctx: ctx, o: o}, nil
	}
	return nil, folder.ErrDenied
}

// privateAppend gathers messages for a private folder.
type privateAppend struct {
	ctx    context.Context
	r      *Reader
	to     store.FolderID
	drafts []store.Draft
	ready  []appended
	size   int64
}

type appended struct {
	entry store.Entry
	index []byte
	draft store.Draft // nil: a reference
}

// Message implements [folder.Append].
func (p *privateAppend) Message(size int64, flags folder.Flags, received time.Time, src io.Reader) error {
	h := p.r.h
	if size > h.o.MaxMessage {
		return folder.ErrTooBig
	}
	if len(flags.Keywords) > maxKeywords {
		return folder.ErrLimit
	}
	err := h.view(p.ctx, func(v store.View) error { return p.r.roomFor(v, p.size+size, int64(len(p.ready)+1)) })
	if err != nil {
		return err
	}
	draft, err := h.store.Create(p.ctx, size)
	if err != nil {
		return fmt.Errorf("starting a message: %w", err)
	}
	p.drafts = append(p.drafts, draft)
	scanner := letter.NewScanner(h.o.Reading)
	if _, err := io.Copy(io.MultiWriter(draft, scanner), src); err != nil {
		return fmt.Errorf("receiving a message: %w", err)
	}
	if err := draft.Finish(); err != nil {
		return fmt.Errorf("ending a message: %w", err)
	}
	reading, err := scanner.Close()
	if err != nil {
		return fmt.Errorf("reading a message: %w", err)
	}
	now := h.o.Now()
	if received.IsZero() {
		received = now
	}
	one := appended{draft: draft, entry: store.Entry{
		System: uint8(flags.System), Keywords: flags.Keywords, Size: draft.Size(), Received: received.Unix(), Saved: now.Unix(),
		Mail: store.MailID(h.ids.next(now)),
	}}
	if one.index, err = encodeIndex(reading.Index); err != nil {
		return err
	}
	if err := draft.Expect(p.r.a.ID.Owner()); err != nil {
		return fmt.Errorf("wrapping the key of a message: %w", err)
	}
	if err := p.posted(reading.Index, &one); err != nil {
		return err
	}
	p.size += one.entry.Size
	p.ready = append(p.ready, one)
	return nil
}

// posted makes of a mail that is on a thread already, and may be seen, a
// reference: the same id and the same body.
func (p *privateAppend) posted(idx *letter.Index, one *appended) error {
	if idx.Envelope.MessageID == "" {
		return nil
	}
	return p.r.h.view(p.ctx, func(v store.View) error {
		refs, err := v.MessagesByID(idx.Envelope.MessageID)
		if err != nil {
			return fmt.Errorf("looking up a message id: %w", err)
		}
		g := &gate{r: p.r, v: v}
		for _, ref := range refs {
			m, _, err := g.admit(store.MessageRef{Pathway: ref.Pathway, Message: ref.Message})
			if errors.Is(err, errGone) {
				continue
			}
			if err != nil {
				return err
			}
			if bytes.Equal(m.BodySum[:], idx.BodySum) {
				one.draft, one.index, one.entry.Mail = nil, nil, ""
				one.entry.Of, one.entry.Size = store.MessageRef{Pathway: m.Pathway, Message: m.ID}, m.Shown
				return nil
			}
		}
		return nil
	})
}

// Commit implements [folder.Append].
func (p *privateAppend) Commit(ctx context.Context) (uint32, []uint32, error) {
	defer p.Abort()
	var validity uint32
	var uids []uint32
	a := p.r.a.ID
	err := p.r.h.change(ctx, func(tx store.Tx) error {
		uids = uids[:0]
		f, err := tx.Folder(a, p.to)
		if errors.Is(err, store.ErrNotFound) || err == nil && f.Dropped {
			return folder.ErrNone
		}
		if err != nil {
			return err
		}
		if err := p.r.roomFor(tx, p.size, int64(len(p.ready))); err != nil {
			return err
		}
		validity = f.UIDValidity
		for i := range p.ready {
			one := &p.ready[i]
			e := one.entry
			if err := tx.AddEntry(a, p.to, &e, one.index, one.draft); err != nil {
				return err
			}
			uids = append(uids, e.UID)
		}
		return nil
	})
	if err != nil {
		return 0, nil, fmt.Errorf("storing messages: %w", err)
	}
	return validity, uids, nil
}

// Abort implements [folder.Append].
func (p *privateAppend) Abort() {
	for _, d := range p.drafts {
		d.Discard()
	}
	p.drafts = nil
}

// rubricAppend posts one message into a rubric. Several in one go could not be all or
// none: each is decided about by itself.
type rubricAppend struct {
	ctx     context.Context
	o       *opened
	receipt *Receipt
}

// Message implements [folder.Append]: the message is on its way when it
// returns, as mail is after its last dot.
func (p *rubricAppend) Message(size int64, _ folder.Flags, _ time.Time, src io.Reader) error {
	if p.receipt != nil {
		return folder.ErrLimit
	}
	r := p.o.r
	if size > r.h.o.MaxMessage {
		return folder.ErrTooBig
	}
	whole := &looked{r: src}
	if err := p.elsewhere(whole, size); err != nil {
		return err
	}
	env := Envelope{
		MailFrom: r.a.Mailbox, Via: ViaIMAP, Size: size, Received: r.h.o.Now(),
		Peer: Peer{Where: r.where, SpeaksFor: func(string) bool { return true }, Account: r.a},
	}
	rcpt, err := r.h.Recipient(p.ctx, &env, string(p.o.view.code)+"."+p.o.view.rubric+"@"+r.h.o.Domain)
	if err != nil {
		return err
	}
	env.Rcpts = []Recipient{rcpt}
	receipt, err := r.h.Intake(p.ctx, env, whole)
	if err != nil {
		return err
	}
	p.receipt = &receipt
	return nil
}

// looked is a message whose beginning was looked at.
type looked struct {
	begun bytes.Buffer
	r     io.Reader
}

func (b *looked) Read(p []byte) (int, error) {
	if b.begun.Len() > 0 {
		return b.begun.Read(p)
	}
	return b.r.Read(p)
}

// maxAppendHeader is how much of a message is looked at for its Message-ID.
const maxAppendHeader = 64 << 10

// elsewhere refuses a message of another pathway: what was shared for one child
// is not posted to another by dragging it. Only what the reader may see there is
// told apart; anything else is mail like any.
func (p *rubricAppend) elsewhere(b *looked, size int64) error {
	if _, err := io.CopyN(&b.begun, b.r, min(size, maxAppendHeader)); err != nil {
		return fmt.Errorf("receiving a message: %w", err)
	}
	reading, err := letter.Read(bytes.NewReader(b.begun.Bytes()), letter.Limits{})
	if err != nil || reading.Index.Envelope.MessageID == "" {
		return nil
	}
	r := p.o.r
	return r.h.view(p.ctx, func(v store.View) error {
		refs, err := v.MessagesByID(reading.Index.Envelope.MessageID)
		if err != nil {
			return fmt.Errorf("looking up a message id: %w", err)
		}
		g := &gate{r: r, v: v}
		other := false
		for _, ref := range refs {
			if ref.Pathway == p.o.view.code {
				return nil
			}
			_, _, err := g.admit(store.MessageRef{Pathway: ref.Pathway, Message: ref.Message})
			if err != nil && !errors.Is(err, errGone) {
				return err
			}
			other = other || err == nil
		}
		if other {
			return folder.ErrElsewhere
		}
		return nil
	})
}

// Commit implements [folder.Append]. What was held, or filed where the reader
// does not see it, has no UID here.
func (p *rubricAppend) Commit(ctx context.Context) (uint32, []uint32, error) {
	if p.receipt == nil {
		return 0, nil, nil
	}
	t, err := p.o.current(ctx)
	if err != nil {
		// It is posted all the same: a NO would have it sent again.
		p.o.r.h.log.Warn("a rubric could not be read after a post", "message", p.receipt.Message, "error", err)
		return 0, []uint32{0}, nil
	}
	for i, m := range t.page.of {
		if m.ID == p.receipt.Message {
			return t.page.UIDValidity, []uint32{t.page.Rows[i].UID}, nil
		}
	}
	return t.page.UIDValidity, []uint32{0}, nil
}

// Abort implements [folder.Append].
func (p *rubricAppend) Abort() {}
