package mailbox

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store"
)

// The relay sheet (fiche de liaison): in a pathway's own folder one message,
// made for the rights of who reads it, in place of the paper one. It is written
// when it is read; kept are only its UID, its flags and a hash. When what it
// says has changed there is a new message and the old one is gone, once a
// minute at most: a mail client shows it as new.

// sheetUse marks the hidden folder that keeps UID and flags of a sheet.
const sheetUse = "relay-sheet"

const sheetInterval = time.Minute

// sheet is the text of a relay sheet as last shown to an account.
type sheet struct {
	folder store.FolderID
	uid    uint32
	sum    [32]byte
	bytes  []byte
}

// sheetPage gives the folder with the relay sheet. The desk is locked.
func (r *Reader) sheetPage(ctx context.Context, code store.PathwayCode) (*tables, error) {
	sources, err := r.sources(ctx, code)
	if err != nil {
		return nil, err
	}
	if len(sources) == 0 || len(sources[0].members) == 0 {
		delete(r.desk.sheets, code)
		return nil, folder.ErrNone
	}
	s := &sources[0]
	raw, changed, err := r.writeSheet(ctx, s)
	if err != nil {
		return nil, err
	}
	known := r.desk.sheets[code]
	sum := sha256.Sum256(raw)
	now := r.h.o.Now()
	next := &sheet{sum: sum, bytes: raw}
	var row folder.Row
	var f *store.Folder
	err = r.h.change(ctx, func(tx store.Tx) error {
		var e *store.Entry
		if f, e, err = r.sheetEntry(tx, code); err != nil {
			return err
		}
		switch {
		case e != nil && string(e.Sum) == string(sum[:]):
		case e != nil && known != nil && string(e.Sum) == string(known.sum[:]) && now.Unix()-e.Saved < int64(sheetInterval/time.Second) && now.Unix() >= e.Saved:
			next = known
		default:
			if e != nil {
				if err := tx.DropEntry(r.a.ID, f.ID, e.UID); err != nil {
					return err
				}
			}
			e = &store.Entry{
				Size: int64(len(raw)), Received: changed.Unix(), Saved: now.Unix(), Sum: sum[:],
				Of: store.MessageRef{Pathway: code},
			}
			if err := tx.AddEntry(r.a.ID, f.ID, e, nil, nil); err != nil {
				return err
			}
			if f, err = tx.Folder(r.a.ID, f.ID); err != nil {
				return err
			}
		}
		row = entryRow(e)
		next.folder, next.uid = f.ID, e.UID
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("keeping a relay sheet: %w", err)
	}
	r.desk.sheets[code] = next
	key := "sheet:" + string(code)
	t := r.desk.tables[key]
	if t == nil {
		t = &tables{}
		r.desk.tables[key] = t
	}
	if t.page != nil && t.page.HighestModSeq == f.HighestModSeq && len(t.page.Rows) == 1 && t.page.Rows[0].ModSeq == row.ModSeq {
		return t, nil
	}
	p := &page{of: []*store.Message{nil}}
	p.State = folder.State{UIDValidity: f.UIDValidity, UIDNext: f.UIDNext, HighestModSeq: f.HighestModSeq}
	p.Rows = []folder.Row{row}
	p.count(&row)
	p.Keywords = row.Flags.Keywords
	t.turn(p, nil)
	return t, nil
}

// sheetEntry finds the folder that keeps a sheet, made if need be, and the one
// entry in it, or nil.
func (r *Reader) sheetEntry(tx store.Tx, code store.PathwayCode) (*store.Folder, *store.Entry, error) {
	all, err := tx.Folders(r.a.ID)
	if err != nil {
		return nil, nil, err
	}
	i := slices.IndexFunc(all, func(f *store.Folder) bool { return f.Use == sheetUse && f.Name == string(code) })
	if i < 0 {
		now := r.h.o.Now()
		f := &store.Folder{ID: store.FolderID(r.h.ids.next(now)), Name: string(code), Use: sheetUse, Created: now}
		return f, nil, tx.PutFolder(r.a.ID, f)
	}
	entries, err := tx.Entries(r.a.ID, all[i].ID, 0, 1)
	if err != nil || len(entries) == 0 {
		return all[i], nil, err
	}
	return all[i], &entries[0], nil
}

// sheetFolder is the folder that keeps the sheet shown last.
func (o *opened) sheetFolder() store.FolderID {
	o.r.desk.mu.Lock()
	defer o.r.desk.mu.Unlock()
	if s := o.r.desk.sheets[o.view.code]; s != nil {
		return s.folder
	}
	return ""
}

// sheetText gives the bytes of the sheet with a UID.
func (o *opened) sheetText(uid uint32) ([]byte, error) {
	o.r.desk.mu.Lock()
	defer o.r.desk.mu.Unlock()
	if s := o.r.desk.sheets[o.view.code]; s != nil && s.uid == uid {
		return s.bytes, nil
	}
	return nil, errGone
}

func (o *opened) sheetIndex(uid uint32) (folder.Shown, error) {
	b, err := o.sheetText(uid)
	if err != nil {
		return folder.Shown{}, err
	}
	reading, err := letter.Read(strings.NewReader(string(b)), letter.Limits{})
	if err != nil {
		return folder.Shown{}, fmt.Errorf("reading a relay sheet: %w", err)
	}
	sum := sha256.Sum256(b)
	env := &reading.Index.Envelope
	o.reads.opened = append(o.reads.opened, store.MessageRef{Pathway: o.view.code})
	return folder.Shown{
		Index: reading.Index, EmailID: fmt.Sprintf("S%x", sum[:12]), Saved: env.Date, ID: env.MessageID, References: env.References,
	}, nil
}

func (o *opened) sheetContent(uid uint32) (*content, error) {
	b, err := o.sheetText(uid)
	if err != nil {
		return nil, err
	}
	o.reads.opened = append(o.reads.opened, store.MessageRef{Pathway: o.view.code})
	return &content{text: b}, nil
}

// sheetDocuments is how many of the last documents of a rubric are listed.
const sheetDocuments = 5

// writeSheet writes the sheet for a reader, and tells when what it says last
// changed.
func (r *Reader) writeSheet(ctx context.Context, s *source) (raw []byte, changed time.Time, err error) {
	var b strings.Builder
	l := r.h.o.Locale
	say := func(id texts.ID, args map[string]any) { b.WriteString(texts.T(l, id, args) + "\n") }
	p := s.p
	changed = p.Changed
	address, tag := r.h.publicAddress(p)
	say("sheet.patient", map[string]any{
		"family": p.Patient.FamilyName, "given": p.Patient.GivenName, "birth": sheetDate(l, p.Patient.BirthDate),
		"ins": identity.Mask(p.Patient.INS), "programme": s.prog.Name, "establishment": p.Establishment,
	})
	say(texts.ID("sheet.status-"+string(p.Status)), nil)
	say("sheet.write", map[string]any{"address": address, "tag": tag})
	if p.Phone != "" {
		say("sheet.phone", map[string]any{"phone": unbroken(p.Phone)})
	}
	b.WriteString("\n")
	r.sheetTeam(&b, s)
	b.WriteString("\n")
	r.sheetConsent(&b, s)
	latest, err := r.sheetMessages(ctx, &b, s)
	if err != nil {
		return nil, changed, err
	}
	if latest.After(changed) {
		changed = latest
	}
	b.WriteString("\n")
	say("sheet.end", map[string]any{"at": texts.DateTime(l, changed)})
	sum := sha256.Sum256([]byte(b.String()))
	n := letter.Notice{
		Kind: sheetUse, From: letter.Mailbox{Name: s.prog.Name, Address: address}, ReplyTo: address,
		To: letter.Mailbox{Address: string(r.a.Mailbox)}, Subject: texts.T(l, "sheet.subject", map[string]any{"label": level(subjectLabel(s.prog, &p.Patient)), "pathway": string(p.Code)}),
		Text: b.String(), Date: changed, MessageID: fmt.Sprintf("fiche.%x@%s", sum[:10], r.h.o.Domain),
		References: []string{r.h.pathwayRoot(p.Code)}, NIL: r.h.o.NIL, Pathway: string(p.Code),
	}
	raw, err = n.Render()
	if err != nil {
		return nil, changed, fmt.Errorf("writing a relay sheet: %w", err)
	}
	return raw, changed, nil
}

// unbroken keeps a telephone number on one line: no-break spaces part its groups.
func unbroken(phone string) string {
	b := []rune(phone)
	digit := func(r rune) bool { return r >= '0' && r <= '9' }
	for i := 1; i+1 < len(b); i++ {
		if b[i] == ' ' && digit(b[i-1]) && digit(b[i+1]) {
			b[i] = '\u00a0'
		}
	}
	return string(b)
}

func sheetDate(l texts.Locale, iso string) string {
	at, err := time.Parse(time.DateOnly, iso)
	if err != nil {
		return iso
	}
	return texts.Date(l, at)
}

// sheetTeam lists the team with its boxes.
func (r *Reader) sheetTeam(b *strings.Builder, s *source) {
	l, now := r.h.o.Locale, r.h.o.Now()
	b.WriteString(texts.T(l, "sheet.team", nil) + "\n")
	for i := range s.p.Members {
		m := &s.p.Members[i]
		if !m.ActiveAt(now) {
			continue
		}
		role := m.Role
		if known := s.prog.Role(m.Role); known != nil {
			role = known.Name
		}
		line := "- " + m.Name + ", " + role
		for _, more := range []string{m.Service, m.Establishment} {
			if more != "" {
				line += ", " + more
			}
		}
		line += " : " + r.h.shownBox(m.Mailbox)
		if m.Phone != "" {
			line += ", " + texts.T(l, "sheet.member-phone", map[string]any{"phone": unbroken(m.Phone)})
		}
		b.WriteString(line)
		if !mayAct(s.p, s.prog, m, now).ok {
			b.WriteString(" (" + texts.T(l, "sheet.no-consent", nil) + ")")
		}
		b.WriteString("\n")
	}
}

func (r *Reader) sheetConsent(b *strings.Builder, s *source) {
	l := r.h.o.Locale
	for i := len(s.p.Consents) - 1; i >= 0; i-- {
		if c := &s.p.Consents[i]; c.For == "" {
			b.WriteString(texts.T(l, texts.ID("sheet.consent-"+c.Kind), map[string]any{"at": texts.Date(l, c.At), "from": c.From, "by": c.By}) + "\n")
			return
		}
	}
}

// sheetMessages lists the last documents of each rubric that the reader may see.
func (r *Reader) sheetMessages(ctx context.Context, b *strings.Builder, s *source) (latest time.Time, err error) {
	l := r.h.o.Locale
	for i := range s.prog.Rubrics {
		rubric := &s.prog.Rubrics[i]
		var last []store.MessageID
		for j := len(s.on.items) - 1; j >= 0 && len(last) < sheetDocuments; j-- {
			m := s.on.items[j].m
			if slices.ContainsFunc(m.Filings, func(f store.Filing) bool { return f.Rubric == rubric.ID }) && s.sees(m) {
				last = append(last, m.ID)
				if m.Received.After(latest) {
					latest = m.Received
				}
			}
		}
		if len(last) == 0 {
			continue
		}
		b.WriteString("\n" + rubric.Name + "\n")
		err := r.h.view(ctx, func(v store.View) error {
			for _, id := range last {
				m, err := v.Message(s.p.Code, id)
				if errors.Is(err, store.ErrNotFound) {
					continue
				}
				if err != nil {
					return err
				}
				b.WriteString("- " + texts.DateTime(l, m.Received) + ", " + m.Author.Name + " : " + sheetTitle(m) + "\n")
			}
			return nil
		})
		if err != nil {
			return latest, fmt.Errorf("reading the thread of %s: %w", s.p.Code, err)
		}
	}
	return latest, nil
}

// sheetTitle names a message by its documents, else by its subject.
func sheetTitle(m *store.Message) string {
	var names []string
	for i := range m.Documents {
		d := &m.Documents[i]
		switch {
		case d.Title != "":
			names = append(names, d.Title)
		case d.Filename != "":
			names = append(names, d.Filename)
		}
	}
	if len(names) == 0 {
		return m.Subject
	}
	return strings.Join(slices.Compact(names), " ; ")
}
