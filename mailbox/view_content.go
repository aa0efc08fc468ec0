package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/store"
)

// The bytes of a message as shown: read in order from the sealed message, with
// the hub's line put before them and the message's own Reply-To left out.

// Content implements [folder.Folder].
func (o *opened) Content(ctx context.Context, uid uint32) (folder.Content, error) {
	var (
		c   *content
		ref store.MessageRef
	)
	err := o.r.h.view(ctx, func(v store.View) error {
		var err error
		c, ref, err = o.contentAt(&gate{r: o.r, v: v}, uid)
		return err
	})
	if errors.Is(err, errGone) {
		return nil, folder.ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("opening a message: %w", err)
	}
	if ref != (store.MessageRef{}) {
		o.reads.opened = append(o.reads.opened, ref)
	}
	c.open = func() (io.ReadCloser, error) { return o.r.h.store.Open(ctx, *c.blob) }
	return c, nil
}

func (o *opened) contentAt(g *gate, uid uint32) (*content, store.MessageRef, error) {
	i, ok := o.row(uid)
	if !ok {
		return nil, store.MessageRef{}, errGone
	}
	var ref store.MessageRef
	switch o.kind {
	case kindSheet:
		c, err := o.sheetContent(uid)
		return c, ref, err
	case kindPrivate:
		var in entries
		if err := in.begin(o, g.v); err != nil {
			return nil, ref, err
		}
		k, err := in.kept(i, uid)
		if err != nil {
			return nil, ref, err
		}
		if k.mail != "" {
			m, err := g.v.Mail(o.r.a.ID, k.mail)
			if err != nil {
				return nil, ref, err
			}
			return &content{blob: m.Blob, shown: letter.Shown{Spans: []letter.Span{{End: m.Blob.Size}}, Size: m.Blob.Size}}, ref, nil
		}
		ref = *k.of
	default:
		ref = store.MessageRef{Pathway: o.page.of[i].Pathway, Message: o.page.of[i].ID}
	}
	m, s, err := g.admit(ref)
	if err != nil {
		return nil, ref, err
	}
	if m.Blob == nil {
		return nil, ref, errGone
	}
	b, err := g.v.Index(m.Pathway, m.ID)
	if err != nil {
		return nil, ref, fmt.Errorf("reading the index of %s: %w", m.ID, err)
	}
	idx, err := decodeIndex(b)
	if err != nil {
		return nil, ref, err
	}
	return &content{blob: m.Blob, shown: o.r.h.shownAs(s.p, idx)}, ref, nil
}

// content is a message as shown, read from its first byte on; going back opens
// it anew.
type content struct {
	shown letter.Shown
	blob  *store.Blob
	text  []byte // the relay sheet: its bytes
	open  func() (io.ReadCloser, error)
	r     io.ReadCloser
	at    int64 // of r, in the mail as received
}

// Size implements [folder.Content].
func (c *content) Size() int64 {
	if c.text != nil {
		return int64(len(c.text))
	}
	return c.shown.Size
}

// Copy implements [folder.Content].
func (c *content) Copy(w io.Writer, off, n int64) error {
	if c.text != nil {
		_, err := w.Write(c.text[off : off+n])
		return err
	}
	at := int64(0) // where a piece begins, as shown
	piece := func(length int64, copyFrom func(from, n int64) error) error {
		from, to := max(off, at), min(off+n, at+length)
		begin := at
		at += length
		if from >= to {
			return nil
		}
		return copyFrom(from-begin, to-from)
	}
	err := piece(int64(len(c.shown.Line)), func(from, n int64) error {
		_, err := io.WriteString(w, c.shown.Line[from:from+n])
		return err
	})
	for _, span := range c.shown.Spans {
		if err != nil {
			return err
		}
		err = piece(span.End-span.Start, func(from, n int64) error { return c.received(w, span.Start+from, n) })
	}
	return err
}

// received copies bytes of the mail as received.
func (c *content) received(w io.Writer, off, n int64) error {
	if c.r == nil || off < c.at {
		c.Close()
		r, err := c.open()
		if err != nil {
			return fmt.Errorf("opening a message: %w", err)
		}
		c.r, c.at = r, 0
	}
	if err := c.skip(off - c.at); err != nil {
		return fmt.Errorf("reading a message: %w", err)
	}
	c.at = off
	copied, err := io.CopyN(w, c.r, n)
	c.at += copied
	if err != nil {
		return fmt.Errorf("reading a message: %w", err)
	}
	return nil
}

// skip passes by bytes, at the cost of one chunk: who fetches a large message
// in pieces (RFC 9051 §6.4.5, partial) opens each chunk once or twice in all.
func (c *content) skip(n int64) error {
	if n == 0 {
		return nil
	}
	if s, ok := c.r.(store.Skipper); ok {
		return s.Skip(n)
	}
	_, err := io.CopyN(io.Discard, c.r, n)
	return err
}

// Close implements [folder.Content].
func (c *content) Close() error {
	if c.r == nil {
		return nil
	}
	r := c.r
	c.r = nil
	return r.Close()
}
