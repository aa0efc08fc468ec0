package letter

import (
	"slices"
	"strings"
)

// A mail as it is shown to those who read it in the structured mailbox: without
// its own Reply-To fields, and with one line of the hub's before its first byte,
// so that an answer goes to the pathway whoever wrote. Every other byte is as
// received.

// Span is a stretch of the mail as received.
type Span struct{ Start, End int64 }

// Shown says what the bytes of a mail as shown are made of: a line, then
// stretches of the mail as received.
type Shown struct {
	Line  string // "Reply-To: …" CRLF; empty: the mail as received
	Spans []Span // in order, none empty
	Size  int64
}

// Show places the mail of an index as shown. replyTo is the address of the
// line; empty, the mail is shown as received.
func Show(idx *Index, replyTo string) Shown {
	var s Shown
	at := int64(0)
	cut := func(end, next int64) {
		if end > at {
			s.Spans = append(s.Spans, Span{at, end})
			s.Size += end - at
		}
		at = next
	}
	if replyTo != "" {
		s.Line = ReplyLine(replyTo)
		s.Size = int64(len(s.Line))
		for i := range idx.Fields {
			if f := &idx.Fields[i]; isReplyTo(f) {
				cut(f.Start, f.End)
			}
		}
	}
	cut(idx.Size, idx.Size)
	return s
}

// ReplyLine is the hub's line for an address.
func ReplyLine(address string) string { return "Reply-To: <" + address + ">\r\n" }

func isReplyTo(f *Field) bool { return strings.EqualFold(f.Name, "Reply-To") }

// IndexOf is the index of the bytes as shown: fields, offsets and sizes follow,
// defects are not told.
// idx is not changed; what did not change is shared with it.
func (s *Shown) IndexOf(idx *Index) *Index {
	if s.Line == "" {
		return idx
	}
	out := *idx
	out.Size = s.Size
	var shift int64
	out.Fields, shift = s.Fields(make([]Field, 0, len(idx.Fields)+1), idx.Fields)
	out.HeaderEnd += shift
	out.Envelope.ReplyTo = []Mailbox{{Address: strings.Trim(out.Fields[0].Value, "<>")}}
	out.Root = shifted(idx.Root, shift)
	out.Root.HeaderStart = 0
	out.FinalCRLF = idx.FinalCRLF || s.Size == int64(len(s.Line))
	out.Defects = nil // they are of the mail as received
	return &out
}

// Fields appends to dst the fields of the mail as shown, and tells by how much
// all that follows them lies further back. It looks at the line alone.
func (s *Shown) Fields(dst, fields []Field) (shown []Field, shift int64) {
	if s.Line == "" {
		return append(dst, fields...), 0
	}
	shift = int64(len(s.Line))
	dst = append(dst, Field{
		Name: "Reply-To", End: shift, Value: strings.TrimSuffix(strings.TrimPrefix(s.Line, "Reply-To: "), "\r\n"),
	})
	for _, f := range fields {
		if isReplyTo(&f) {
			shift -= f.End - f.Start
			continue
		}
		f.Start += shift
		f.End += shift
		dst = append(dst, f)
	}
	return dst, shift
}

func shifted(p Part, by int64) Part {
	p.HeaderStart += by
	p.BodyStart += by
	p.BodyEnd += by
	p.Header = slices.Clone(p.Header)
	for i := range p.Header {
		p.Header[i].Start += by
		p.Header[i].End += by
	}
	p.Parts = slices.Clone(p.Parts)
	for i := range p.Parts {
		p.Parts[i] = shifted(p.Parts[i], by)
	}
	return p
}
