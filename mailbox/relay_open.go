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
	p := job.opening
	// A copy that waited for long is opened for itself. So is the text in place of
	// one, which is written from the index as it is kept.
	if len(d.Withheld) > 0 || !p.use() {
		p = &opening{all: &h.openings, readers: 1, closed: true}
	}
	err := h.open(ctx, out, job, p)
	if err != nil || len(d.Withheld) > 0 {
		p.leave()
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (h *Hub) open(ctx context.Context, out *Outgoing, job Job, p *opening) error {
	d := &job.Delivery
	if err := h.openRecord(ctx, p, d); err != nil {
		return err
	}
	c := h.copyFields(d, p.m)
	if len(d.Withheld) > 0 {
		return h.openPartial(out, d, p.m, p.idx, c)
	}
	if job.Attempt == 1 {
		h.countMissing(p.idx, p.m)
	}
	return h.openCopy(ctx, out, p, c)
}

// openRecord reads the record and the index of a message, or makes sure that it is
// still there.
func (h *Hub) openRecord(ctx context.Context, p *opening, d *store.Delivery) error {
	p.reading.Lock()
	defer p.reading.Unlock()
	var indexed []byte
	err := h.view(ctx, func(v store.View) (err error) {
		if p.idx != nil {
			code, err := v.Locate(d.Message)
			if err == nil && code != d.Pathway {
				err = store.ErrNotFound
			}
			return err
		}
		if p.m == nil {
			if p.m, err = v.Message(d.Pathway, d.Message); err != nil {
				return err
			}
		}
		indexed, err = v.Index(d.Pathway, d.Message)
		return err
	})
	if err != nil {
		return fmt.Errorf("reading message %s: %w", d.Message, err)
	}
	if p.idx == nil {
		p.idx, err = decodeIndex(indexed)
	}
	return err
}

// openCopy renders the copy: its own header, then every byte of the body.
func (h *Hub) openCopy(ctx context.Context, out *Outgoing, p *opening, c letter.Copy) error {
	own, err := h.openBody(ctx, p)
	if err != nil {
		return err
	}
	header, err := p.kept.Header(c)
	if err != nil {
		if own != nil {
			own.Close()
		}
		return fmt.Errorf("writing the header of %s: %w", p.m.ID, err)
	}
	out.Size = letter.CopySize(header, p.idx)
	out.EightBit, out.LongLine = p.idx.EightBit, p.idx.LongLine
	body := io.Reader(own)
	if own == nil {
		body = bytes.NewReader(p.body)
	}
	out.ReadCloser = &rendered{io.MultiReader(bytes.NewReader(header), body), own, p}
	return nil
}

// openBody sees that what is kept of the header is there and opens the bytes
// after it: nil if they are in memory.
func (h *Hub) openBody(ctx context.Context, p *opening) (own io.ReadCloser, err error) {
	p.reading.Lock()
	defer p.reading.Unlock()
	if p.body != nil {
		if p.kept == nil {
			p.kept = letter.Keep(p.header, p.idx)
		}
		return nil, nil
	}
	if p.m.Blob == nil {
		return nil, fmt.Errorf("opening message %s: %w", p.m.ID, store.ErrNotFound)
	}
	r, err := h.store.Open(ctx, *p.m.Blob)
	if err != nil {
		return nil, fmt.Errorf("opening message %s: %w", p.m.ID, err)
	}
	original := make([]byte, p.idx.HeaderEnd)
	if _, err := io.ReadFull(r, original); err != nil {
		r.Close()
		return nil, fmt.Errorf("reading the header of %s: %w", p.m.ID, err)
	}
	if p.kept == nil {
		p.kept = letter.Keep(original, p.idx)
	}
	body := p.room(p.m.Blob.Size - p.idx.HeaderEnd)
	if body == nil {
		return r, nil
	}
	_, err = io.ReadFull(r, body)
	r.Close()
	p.hold(body, err == nil)
	if err != nil {
		return nil, fmt.Errorf("reading message %s: %w", p.m.ID, err)
	}
	return nil, nil
}

// rendered is a copy being read.
type rendered struct {
	io.Reader
	own io.Closer // nil: the body is the opening's
	p   *opening
}

// Close implements [io.Closer].
func (r *rendered) Close() error {
	if r.p == nil {
		return nil
	}
	r.p.leave()
	r.p = nil
	if r.own == nil {
		return nil
	}
	return r.own.Close()
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

// openPartial writes the text that goes in place of a copy too large.
func (h *Hub) openPartial(out *Outgoing, d *store.Delivery, m *store.Message, idx *letter.Index, c letter.Copy) error {
	text := texts.T(h.o.Locale, "copy.partial", map[string]any{
		"author": d.From, "size": texts.Size(h.o.Locale, m.Size),
	})
	c.RawSubject = false
	if c.Subject == "" {
		c.Subject = m.Subject
	}
	mail, err := letter.PartialCopy(idx, c, text, d.Withheld)
	if err != nil {
		return fmt.Errorf("writing the text in place of %s: %w", m.ID, err)
	}
	out.Size = int64(len(mail))
	out.ReadCloser = io.NopCloser(bytes.NewReader(mail))
	return nil
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
