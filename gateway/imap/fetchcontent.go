package imap

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/mailbox/letter"
)

// maxHeader bounds a header of which fields are picked; the scanner of letters
// keeps no more either.
const maxHeader = 2 << 20

// planned is a message whose answer is begun, and what follows of its content.
type planned struct {
	uid    uint32
	begin  []byte
	places []place
}

// fetchContent answers with content, a few messages at a time.
func (c *conn) fetchContent(f *fetching, at []span) error {
	v := c.view
	for all := uids(v.rows, at); len(all) > 0 && c.err == nil; {
		batch := all[:min(len(all), contentBatch)]
		all = all[len(batch):]
		fresh, err := c.markSeen(f, batch)
		if err != nil {
			return err
		}
		var plans []planned
		err = v.each(c.ctx, batch, folder.Whole, func(uid uint32, m *folder.Shown) error {
			i, _ := find(v.rows, uid)
			p := planned{uid: uid, begin: c.fetchRow(nil, f, i, m, contains(fresh, uid))}
			sections := f.sections
			for _, k := range f.kinds {
				switch k {
				case itemSection:
					p.places = append(p.places, sections[0].locate(m.Index))
					sections = sections[1:]
				case itemBinarySize:
					sections = sections[1:]
				}
			}
			plans = append(plans, p)
			return nil
		})
		if err != nil {
			return err
		}
		for i := range plans {
			if err := c.fetchPlanned(f, &plans[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// markSeen sets \Seen on messages about to be read; it gives those that did
// not have it.
func (c *conn) markSeen(f *fetching, batch []uint32) (fresh []span, err error) {
	v := c.view
	if !f.seen || v.folder.ReadOnly() {
		return nil, nil
	}
	var list []uint32
	for _, uid := range batch {
		if i, _ := find(v.rows, uid); !v.rows[i].Flags.Has(folder.Seen) {
			list = append(list, uid)
			fresh = append(fresh, span{uid, uid})
		}
	}
	if len(list) == 0 {
		return nil, nil
	}
	rows, _, err := v.folder.SetFlags(c.ctx, list, folder.AddFlags, folder.Flags{System: folder.Seen}, nil)
	if errors.Is(err, folder.ErrDenied) || errors.Is(err, folder.ErrReadOnly) {
		return nil, nil // who may not flag may read
	}
	if err != nil {
		return nil, err
	}
	c.tell(false, rows...)
	return normal(fresh, 0), nil
}

// fetchPlanned writes the answer for one message.
func (c *conn) fetchPlanned(f *fetching, p *planned) error {
	v := c.view
	content, err := v.content(c.ctx, p.uid)
	if errors.Is(err, folder.ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer content.Close()
	c.begin()
	c.out = append(c.out, p.begin...)
	first := p.begin[len(p.begin)-1] == '('
	places, sections := p.places, f.sections
	for _, k := range f.kinds {
		if k == itemBinarySize {
			sections = sections[1:]
		}
		if k < itemSection {
			continue
		}
		if !first {
			c.out = append(c.out, ' ')
		}
		first = false
		if k == itemPreview {
			c.text("PREVIEW ")
			err = c.preview(content)
		} else {
			c.text(sections[0].label + " ")
			f.noCTE = f.noCTE || places[0].noCTE
			err = c.sendSection(content, sections[0], places[0])
			places, sections = places[1:], sections[1:]
		}
		if err != nil {
			c.drop(err)
			return nil
		}
		c.begin()
	}
	c.text(")\r\n")
	c.spill()
	return nil
}

// sendSection writes a section of an open message as a literal.
func (c *conn) sendSection(content folder.Content, s *section, p place) error {
	switch {
	case p.none || p.noCTE:
		c.text("NIL")
		return nil
	case p.pick:
		header, err := readRange(content, p.off, min(p.n, maxHeader))
		if err != nil {
			return err
		}
		picked := s.pickFields(header)
		from, n := s.clip(int64(len(picked)))
		c.literalHead(n, false)
		c.begin()
		c.out = append(c.out, picked[from:from+n]...)
		return nil
	case p.encoding != "":
		from, n := s.clip(p.decoded)
		c.literalHead(n, true)
		decoded := letter.Decode(newRangeReader(content, p.off, p.n), p.encoding)
		if _, err := io.CopyN(io.Discard, decoded, from); err != nil {
			return err
		}
		_, err := io.CopyN(connWriter{c}, decoded, n)
		return err
	}
	from, n := s.clip(p.n)
	c.literalHead(n, s.binary)
	if n == 0 {
		return nil
	}
	return content.Copy(connWriter{c}, p.off+from, n)
}

// literalHead announces a literal, or a literal8, which may hold NULs.
func (c *conn) literalHead(n int64, binary bool) {
	if binary {
		c.text("~")
	}
	c.text("{")
	c.number(uint64(n))
	c.text("}\r\n")
}

// connWriter puts content into the buffer of answers, and sends that when it
// is full.
type connWriter struct{ c *conn }

func (w connWriter) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		w.c.begin()
		n := min(len(p)-done, max(writeBuffer-len(w.c.out), 1))
		w.c.out = append(w.c.out, p[done:done+n]...)
		done += n
		if len(w.c.out) >= writeBuffer {
			if w.c.drain(); w.c.err != nil {
				return done, w.c.err
			}
		}
	}
	return len(p), nil
}

// ReadFrom reads straight into that buffer: a message of megabytes is copied
// once on its way from the floor below to TLS.
func (w connWriter) ReadFrom(r io.Reader) (read int64, err error) {
	for {
		w.c.begin()
		if cap(w.c.out)-len(w.c.out) < readBuffer { // of which bodies fill all
			if w.c.drain(); w.c.err != nil {
				return read, w.c.err
			}
		}
		room := w.c.out[len(w.c.out):cap(w.c.out)]
		n, err := r.Read(room)
		w.c.out = w.c.out[:len(w.c.out)+n]
		read += int64(n)
		if err == io.EOF {
			return read, nil
		}
		if err != nil {
			return read, err
		}
	}
}

func readRange(content folder.Content, off, n int64) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(int(n))
	err := content.Copy(&b, off, n)
	return b.Bytes(), err
}

// rangeReader reads a range of a message, a piece at a time.
type rangeReader struct {
	content folder.Content
	off, n  int64
	piece   bytes.Buffer
}

func newRangeReader(content folder.Content, off, n int64) *rangeReader {
	return &rangeReader{content: content, off: off, n: n}
}

func (r *rangeReader) Read(p []byte) (int, error) {
	if r.piece.Len() == 0 {
		if r.n == 0 {
			return 0, io.EOF
		}
		next := min(r.n, writeBuffer)
		r.piece.Reset()
		if err := r.content.Copy(&r.piece, r.off, next); err != nil {
			return 0, err
		}
		r.off += next
		r.n -= next
	}
	return r.piece.Read(p)
}

// What a preview is made of and how long it gets (RFC 8970 §3.1).
const (
	previewBytes = 64 << 10
	previewRunes = 200
)

// preview writes the beginning of the text that people read.
func (c *conn) preview(content folder.Content) error {
	n := min(content.Size(), previewBytes)
	reading, err := letter.Read(newRangeReader(content, 0, n), letter.Limits{TextBytes: 8 << 10, Parts: 50})
	if err != nil {
		return err
	}
	words := strings.Join(strings.Fields(letter.NewText(reading.Text)), " ")
	if runes := []rune(words); len(runes) > previewRunes {
		words = string(runes[:previewRunes])
	}
	c.begin()
	c.out = appendString(c.out, words, c.utf8)
	return nil
}
