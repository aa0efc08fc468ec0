package mailbox

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store"
)

// Open gives the bytes to send for a delivery: the copy, rendered while it is
// read from the one sealed message; the text in place of a copy too large; or
// a notice. The same delivery always gives the same bytes.
func (h *Hub) Open(ctx context.Context, job Job) (*Outgoing, error) {
	d := &job.Delivery
	out := &Outgoing{MailFrom: d.Sender, RcptTo: d.Mailbox, EnvID: string(d.ID)}
	if d.Notice != nil {
		out.Size = int64(len(d.Notice))
		out.ReadCloser = io.NopCloser(bytes.NewReader(d.Notice))
		return out, nil
	}
	var (
		m       *store.Message
		indexed []byte
	)
	err := h.view(ctx, func(v store.View) error {
		var err error
		if m, err = v.Message(d.Pathway, d.Message); err != nil {
			return err
		}
		indexed, err = v.Index(d.Pathway, d.Message)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading message %s: %w", d.Message, err)
	}
	idx, err := decodeIndex(indexed)
	if err != nil {
		return nil, err
	}
	c := h.copyFields(d, m)
	if len(d.Withheld) > 0 {
		return h.openPartial(out, d, m, idx, c)
	}
	return out, h.openCopy(ctx, out, m, idx, c, job.Attempt == 1)
}

// openCopy renders the copy: its own header, then every byte of the body.
func (h *Hub) openCopy(ctx context.Context, out *Outgoing, m *store.Message, idx *letter.Index, c letter.Copy, first bool) error {
	if first {
		h.countMissing(idx, m)
	}
	if m.Blob == nil {
		return fmt.Errorf("opening message %s: %w", m.ID, store.ErrNotFound)
	}
	r, err := h.store.Open(ctx, *m.Blob)
	if err != nil {
		return fmt.Errorf("opening message %s: %w", m.ID, err)
	}
	original := make([]byte, idx.HeaderEnd)
	if _, err := io.ReadFull(r, original); err != nil {
		r.Close()
		return fmt.Errorf("reading the header of %s: %w", m.ID, err)
	}
	header, err := letter.RenderHeader(original, idx, c)
	if err != nil {
		r.Close()
		return fmt.Errorf("writing the header of %s: %w", m.ID, err)
	}
	out.Size = letter.CopySize(header, idx)
	out.EightBit, out.LongLine = idx.EightBit, idx.LongLine
	out.ReadCloser = joined{io.MultiReader(bytes.NewReader(header), r), r}
	return nil
}

// countMissing counts the national headers that a copy leaves without: the
// product's reference always, and where there is a CDA what its sender should
// have said of it (REF2 ECO.2.4.1 to 2.4.3). Relaying adds neither of the
// latter: they are the author's words.
func (h *Hub) countMissing(idx *letter.Index, m *store.Message) {
	if h.o.MissingHeader == nil {
		return
	}
	if h.o.NIL == "" {
		h.o.MissingHeader("nil")
	}
	if !slices.ContainsFunc(m.Documents, func(d store.Document) bool { return d.Code != "" }) {
		return
	}
	for _, header := range []string{"ins", "codecda"} {
		if fieldOf(idx, "X-MSS-"+header) == "" {
			h.o.MissingHeader(header)
		}
	}
}

type joined struct {
	io.Reader
	io.Closer
}

// openPartial writes the text that goes in place of a copy too large.
func (h *Hub) openPartial(out *Outgoing, d *store.Delivery, m *store.Message, idx *letter.Index, c letter.Copy) (*Outgoing, error) {
	text := texts.T(h.o.Locale, "copy.partial", map[string]any{
		"author": d.From, "size": texts.Size(h.o.Locale, m.Size),
	})
	c.RawSubject = false
	if c.Subject == "" {
		c.Subject = m.Subject
	}
	mail, err := letter.PartialCopy(idx, c, text, d.Withheld)
	if err != nil {
		return nil, fmt.Errorf("writing the text in place of %s: %w", m.ID, err)
	}
	out.Size = int64(len(mail))
	out.ReadCloser = io.NopCloser(bytes.NewReader(mail))
	return out, nil
}

// copyFields are the hub's own fields of a copy. What might change while the
// copy waits (names, rubrics, settings) was fixed when it was queued.
func (h *Hub) copyFields(d *store.Delivery, m *store.Message) letter.Copy {
	return letter.Copy{
		From: letter.Mailbox{Name: d.From, Address: d.FromAddress}, ReplyTo: d.ReplyTo,
		To:      letter.Mailbox{Name: d.To, Address: string(d.Mailbox)},
		Subject: d.Subject, RawSubject: d.Subject == "", Date: m.Received,
		MessageID: d.RFCID, InReplyTo: d.InReplyTo, References: d.References,
		ThreadTopic: m.Topic, ThreadIndex: m.ThreadIndex,
		NIL: h.o.NIL, Pathway: string(d.Pathway), Rubrics: d.Rubrics, Author: d.From, For: d.For,
		Delivery: string(d.ID), NotifyTo: d.NotifyTo,
	}
}
