package letter

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/relais-sante/relais/store/journal"
)

// Copy says what the relayed copy of a mail has in its header, for one box.
// (The contract's "Mail out" is the source of every line.) Everything not
// named here or in the list of kept fields is dropped.
type Copy struct {
	From        Mailbox // author and the author's address at the hub
	ReplyTo     string
	To          Mailbox
	Subject     string    // decoded, tag included; written as RFC 2047 when not ASCII
	RawSubject  bool      // an APP box: the original Subject field passes unchanged
	Date        time.Time // used only when the mail has no readable Date
	MessageID   string    // without brackets
	InReplyTo   string
	References  []string
	ThreadTopic string
	ThreadIndex []byte
	NIL         string // X-MSS-NIL
	Pathway     string // X-Relais-Pathway, and so on
	Rubrics     []string
	Author      string
	For         []string
	Delivery    string
	// NotifyTo asks for a receipt (Disposition-Notification-To); empty: none.
	NotifyTo string
}

// Faults of a copy that cannot be written.
const (
	ErrMessageID journal.Fault = "not a message id"
	ErrNoDate    journal.Fault = "no date"
)

// kept are the fields of the original that pass as they are, by lower-case
// name; so does every Content-* field. None may stand twice in a mail: only the
// first of each is kept, which is the one that was read.
//
// A missing MIME-Version is not added, Content-* fields or not: it would change
// how strict readers take a body that is passed on untouched, and the encoded
// words written here do not need it (RFC 2047 §5).
var kept = map[string]bool{
	"mime-version": true, "date": true, "importance": true, "x-priority": true, "sensitivity": true,
	"x-mss-ins": true, "x-mss-codecda": true, "x-mss-mes": true,
}

// Kept is what the copies of a mail keep of its header, as they write it. It is
// the same for all of them.
type Kept struct {
	subject, date []byte // whole fields, or nil
	rest          []byte
}

// Keep reads from a header, as received, what its copies keep; idx is the index
// of that mail.
//
// Kept fields are the sender's own bytes and may hold 8-bit ones (a file name in
// a Content-Type): nobody can tell their charset, so encoding them anew would
// change them, and they pass as they came.
func Keep(header []byte, idx *Index) *Kept {
	k := new(Kept)
	var seen []string
	for _, f := range idx.Fields {
		name := strings.ToLower(f.Name)
		if name != "subject" && !kept[name] && !strings.HasPrefix(name, "content-") || slices.Contains(seen, name) {
			continue
		}
		raw := rawField(header, f)
		if raw == nil {
			continue
		}
		seen = append(seen, name)
		switch name {
		case "subject":
			k.subject = raw
		case "date":
			if !idx.Envelope.Date.IsZero() {
				k.date = raw
			}
		default:
			k.rest = append(k.rest, raw...)
		}
	}
	return k
}

// headerRoom is what the header of a copy usually takes, in bytes.
const headerRoom = 1536

// Header writes the header of a relayed copy, blank line included: put before
// the bytes after the original header, it makes the copy. The same arguments
// give the same bytes. What is written here is ASCII.
//
// It fails only if an address or the message id of c cannot be written, or no
// date is known.
func (k *Kept) Header(c Copy) ([]byte, error) {
	w := fieldWriter{b: make([]byte, 0, headerRoom+len(k.rest))}
	subject := k.subject
	if !c.RawSubject {
		subject = nil
	}
	if err := w.heading(c, subject, k.date); err != nil {
		return nil, fmt.Errorf("writing the header of a copy: %w", err)
	}
	w.b = append(w.b, k.rest...)
	w.relais(c)
	w.end()
	return w.b, nil
}

// RenderHeader writes the header of one copy: see [Keep] and [Kept.Header].
func RenderHeader(header []byte, idx *Index, c Copy) ([]byte, error) {
	return Keep(header, idx).Header(c)
}

// CopySize is the size in bytes of a relayed copy: its header, as rendered, and
// the body of the original.
func CopySize(rendered []byte, idx *Index) int64 {
	return int64(len(rendered)) + idx.Size - idx.HeaderEnd
}

// rawField gives the bytes of a field, or nil if they are not there or are
// malformed. Every line ends in CRLF and all but the first begin with white
// space; where a mail came by a way that lets bare CR or LF through (IMAP
// APPEND), what they would split off is dropped rather than become a field.
func rawField(header []byte, f Field) []byte {
	if f.Start < 0 || f.End > int64(len(header)) || f.Start >= f.End {
		return nil
	}
	raw := header[f.Start:f.End]
	name, _, ok := strings.Cut(string(raw), ":")
	if name = strings.TrimRight(name, " \t"); !ok || len(safeTokens([]string{name})) == 0 || !strings.EqualFold(name, f.Name) {
		return nil
	}
	var out []byte
	for line := range strings.FieldsFuncSeq(string(raw), func(r rune) bool { return r == '\r' || r == '\n' }) {
		if out != nil && line[0] != ' ' && line[0] != '\t' {
			break
		}
		out = append(append(out, line...), "\r\n"...)
	}
	return out
}

// heading writes what every mail of the hub begins with. subject and date are
// whole fields of an original, or nil to write those of c.
func (w *fieldWriter) heading(c Copy, subject, date []byte) error {
	if !ValidID(c.MessageID) {
		return ErrMessageID
	}
	if date == nil && c.Date.IsZero() {
		return ErrNoDate
	}
	if err := w.mailbox("From", c.From); err != nil {
		return fmt.Errorf("field From: %w", err)
	}
	if c.ReplyTo != "" {
		if err := w.mailbox("Reply-To", Mailbox{Address: c.ReplyTo}); err != nil {
			return fmt.Errorf("field Reply-To: %w", err)
		}
	}
	if err := w.mailbox("To", c.To); err != nil {
		return fmt.Errorf("field To: %w", err)
	}
	if c.NotifyTo != "" {
		if err := w.mailbox("Disposition-Notification-To", Mailbox{Address: c.NotifyTo}); err != nil {
			return fmt.Errorf("field Disposition-Notification-To: %w", err)
		}
	}
	if subject != nil {
		w.b = append(w.b, subject...)
	} else {
		w.text("Subject", c.Subject, maxSubject)
	}
	if date != nil {
		w.b = append(w.b, date...)
	} else {
		w.plain("Date", c.Date.Format(time.RFC1123Z))
	}
	w.ids("Message-ID", c.MessageID)
	if ValidID(c.InReplyTo) {
		w.ids("In-Reply-To", c.InReplyTo)
	}
	if len(c.References) > 0 {
		if ids := References(c.References[0], c.References[1:]); len(ids) > 0 {
			w.ids("References", ids...)
		}
	}
	w.text("Thread-Topic", c.ThreadTopic, maxSubject)
	if len(c.ThreadIndex) > 0 && len(c.ThreadIndex) <= threadIndexMax {
		w.plain("Thread-Index", base64.StdEncoding.EncodeToString(c.ThreadIndex))
	}
	return nil
}

// relais writes the national and the hub's own fields.
func (w *fieldWriter) relais(c Copy) {
	for _, f := range []struct {
		name   string
		tokens []string
	}{
		{"X-MSS-NIL", []string{c.NIL}},
		{"X-Relais-Pathway", []string{c.Pathway}},
		{"X-Relais-Rubric", c.Rubrics},
		{"X-Relais-Delivery", []string{c.Delivery}},
	} {
		if tokens := safeTokens(f.tokens); len(tokens) > 0 {
			for i := range tokens[:len(tokens)-1] {
				tokens[i] += ","
			}
			w.plain(f.name, tokens...)
		}
	}
	w.text("X-Relais-Author", c.Author, maxName)
	w.text("X-Relais-For", strings.Join(c.For, ", "), maxSubject)
}
