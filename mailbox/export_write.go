package mailbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

// What was chosen for an export becomes an archive, while it is read.

// stream makes the archive while it is read.
func (x *export) stream(ctx context.Context) (io.ReadCloser, error) {
	e, err := x.describe(ctx)
	if err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	s := &exportStream{PipeReader: r, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		defer func() {
			if p := recover(); p != nil { // a document that nobody foresaw ends its export, not the hub
				journal.Recovered(x.h.log, p, "export of pathway", x.p.Code)
				w.CloseWithError(errExportPanic)
			}
		}()
		err := letter.WriteXDM(w, e)
		switch {
		case errors.Is(err, letter.ErrNothingToExport): // everything found was left out
			err = fail("export-empty", map[string]any{"pathway": string(x.p.Code)})
		case err != nil:
			err = fmt.Errorf("exporting pathway %s: %w", x.p.Code, err)
		}
		w.CloseWithError(err)
	}()
	return s, nil
}

const errExportPanic journal.Fault = "export panicked"

// exportStream is an archive under way. Whoever closes it waits for its writer.
type exportStream struct {
	*io.PipeReader
	done chan struct{}
}

func (s *exportStream) Close() error {
	err := s.PipeReader.Close()
	<-s.done
	return err
}

// describe says what the archive is, and whose.
func (x *export) describe(ctx context.Context) (letter.Export, error) {
	h, p := x.h, x.p
	sender := h.o.Domain
	if x.prog != nil {
		sender = x.prog.Name
	}
	e := letter.Export{
		ID: h.oid("export", h.ids.next(h.o.Now())), SourceID: h.oid("export-source", h.o.Domain), Time: h.o.Now(), Locale: h.o.Locale,
		Title: texts.T(h.o.Locale, "export.title", map[string]any{"pathway": string(p.Code)}), Software: "Relais",
		LocalID: string(p.Code), Author: letter.Writer{Institution: sender}, Codes: h.o.XDM, Dev: h.o.Dev,
	}
	t := &p.Patient
	e.Patient.Traits = identity.Traits{Family: t.FamilyName, Given: t.GivenName, Birth: t.BirthDate, Sex: t.Sex}
	if t.INS != "" {
		ins, err := identity.ParseINS(t.INS, t.INSOID)
		if err != nil {
			return e, fmt.Errorf("reading the INS of pathway %s: %w", p.Code, err)
		}
		e.Patient.INS = ins
	}
	for _, f := range x.found {
		e.Documents = append(e.Documents, x.document(ctx, f, sender))
	}
	return e, nil
}

// document says what the hub knows of a document. Its ids stay the same as
// long as what would be written of it does.
func (x *export) document(ctx context.Context, f exported, sender string) letter.ExportDocument {
	d, t := &f.m.Documents[f.n], &x.p.Patient
	name := []string{string(f.m.ID), strconv.Itoa(f.n)}
	doc := letter.ExportDocument{
		SetID: x.h.oid("export-set", name...), Title: d.Title, Filename: d.Filename, Media: d.Media, Code: d.Code,
		Confidentiality: x.confidentiality(f.m, d), Written: f.m.Received, Author: x.author(f.m, d),
		Open: func() (io.ReadCloser, error) { return x.h.openDocument(ctx, f.m, d) },
	}
	if at := f.m.Date; !at.IsZero() && at.Before(doc.Written) {
		doc.Written = at
	}
	w := &doc.Author
	said := []string{t.INS, t.INSOID, t.FamilyName, t.GivenName, t.BirthDate, t.Sex, w.ID, w.Title, w.Given, w.Family, w.Institution, sender}
	doc.ID = x.h.oid("export-document", append(name, said...)...)
	return doc
}

// author tells who wrote a document that does not say so itself: who posted
// it. A box whose person is not known is a place, not a person.
func (x *export) author(m *store.Message, d *store.Document) letter.Writer {
	a := &m.Author
	if a.Certainty == store.ByBox || a.Certainty == store.Unknown {
		return letter.Writer{Institution: strings.Join(strings.Fields(a.Name+" "+a.Establishment), " ")}
	}
	name := d.Author
	if name == "" {
		name = a.Name
	}
	w := letter.NewWriter(name)
	w.Institution = a.Establishment
	if mem := member(x.p, a.Member); mem != nil && mem.RPPS != "" && mem.Name == name {
		w.ID = "8" + mem.RPPS // 8: the kind of national number
	}
	return w
}

// oid makes an identifier for other systems: the same for the same words,
// which nobody can work out from it.
func (h *Hub) oid(use string, parts ...string) string {
	sum := h.store.Mac(use, parts...)
	return letter.OIDOf([16]byte(sum[:16]))
}

// openDocument gives the bytes of a document. Those of an archive are held in
// memory, within the limits of reading one.
func (h *Hub) openDocument(ctx context.Context, m *store.Message, d *store.Document) (io.ReadCloser, error) {
	var indexed []byte
	err := h.view(ctx, func(v store.View) (err error) {
		indexed, err = v.Index(m.Pathway, m.ID)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the index of %s: %w", m.ID, err)
	}
	idx, err := decodeIndex(indexed)
	if err != nil {
		return nil, err
	}
	part := idx.Root.Find(d.Part)
	if part == nil {
		return nil, fmt.Errorf("finding a part of %s: %w", m.ID, store.ErrCorrupt)
	}
	parts := &partReader{open: func() (io.ReadCloser, error) { return h.store.Open(ctx, *m.Blob) }}
	content, err := parts.part(part)
	if err != nil {
		parts.close()
		return nil, fmt.Errorf("opening a document of %s: %w", m.ID, err)
	}
	if d.Entry == "" {
		return joined{content, parts}, nil
	}
	defer parts.close()
	packed, err := io.ReadAll(content)
	if err != nil {
		return nil, fmt.Errorf("reading an archive of %s: %w", m.ID, err)
	}
	return letter.OpenEntry(bytes.NewReader(packed), int64(len(packed)), d.Entry, h.o.Archives)
}

type joined struct {
	io.Reader
	io.Closer
}
