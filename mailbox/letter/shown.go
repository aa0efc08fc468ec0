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
		s.Line = "Reply-To: <" + replyTo + ">\r\n"
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
	out.Fields = make([]Field, 0, len(idx.Fields)+1)
	out.Fields = append(out.Fields, Field{
		Name: "Reply-To", End: int64(len(s.Line)), Value: strings.TrimSuffix(strings.TrimPrefix(s.Line, "Reply-To: "), "\r\n"),
	})
	shift := int64(len(s.Line))
	for _, f := range idx.Fields {
		if isReplyTo(&f) {
			shift -= f.End - f.Start
			continue
		}
		f.Start += shift
		f.End += shift
		out.Fields = append(out.Fields, f)
	}
	out.HeaderEnd += shift
	out.Envelope.ReplyTo = []Mailbox{{Address: strings.Trim(out.Fields[0].Value, "<>")}}
	out.Root = shifted(idx.Root, shift)
	out.Root.HeaderStart = 0
	out.FinalCRLF = idx.FinalCRLF || s.Size == int64(len(s.Line))
	out.Defects = nil // they are of the mail as received
	return &out
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
