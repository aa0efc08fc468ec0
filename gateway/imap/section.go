package imap

import (
	"bytes"
	"strings"

	"github.com/relais-sante/relais/mailbox/letter"
)

// section is a part of a message that is asked for (RFC 9051 §6.4.5: section).
type section struct {
	label  string // as it is answered
	part   string // "1.2", or "" for the message
	spec   string // "", "HEADER", "HEADER.FIELDS", "HEADER.FIELDS.NOT", "TEXT", "MIME"
	fields []string
	binary bool // without its transfer encoding (RFC 3516)

	partial     bool
	from, count int64
}

// place is where a section lies in the bytes of one message.
type place struct {
	none     bool // there is no such section
	off, n   int64
	pick     bool   // only fields of that header
	encoding string // to be taken off, to decoded bytes; "" if it stands as it is
	decoded  int64
	noCTE    bool // nobody knows how
}

// whole is the size of the section.
func (p *place) whole() int64 {
	if p.encoding != "" {
		return p.decoded
	}
	return p.n
}

// locate finds a section by the index.
func (s *section) locate(x *letter.Index) place {
	p := &x.Root
	message := s.part == ""
	if message {
		switch {
		case s.spec == "":
			return place{n: x.Size}
		case s.spec == "TEXT":
			return place{off: x.HeaderEnd, n: x.Size - x.HeaderEnd}
		default:
			return place{n: x.HeaderEnd, pick: s.fields != nil}
		}
	}
	if p = p.Find(s.part); p == nil {
		return place{none: true}
	}
	switch s.spec {
	case "":
		at := place{off: p.BodyStart, n: p.BodyEnd - p.BodyStart}
		if s.binary && p.Leaf() {
			switch p.Encoding {
			case "", "7bit", "8bit", "binary":
			case "base64", "quoted-printable":
				at.encoding, at.decoded = p.Encoding, p.Size
			default:
				at.noCTE = true
			}
		}
		return at
	case "MIME":
		return place{off: p.HeaderStart, n: p.BodyStart - p.HeaderStart}
	}
	// The rest speaks of the message that the part is.
	if p.Type != "message" || len(p.Parts) != 1 {
		return place{none: true}
	}
	inner := &p.Parts[0]
	if s.spec == "TEXT" {
		return place{off: inner.BodyStart, n: inner.BodyEnd - inner.BodyStart}
	}
	return place{off: inner.HeaderStart, n: inner.BodyStart - inner.HeaderStart, pick: s.fields != nil}
}

// clip gives the part of n bytes that is asked for.
func (s *section) clip(n int64) (from, count int64) {
	if !s.partial {
		return 0, n
	}
	from = min(s.from, n)
	return from, min(s.count, n-from)
}

// pickFields gives the fields of a header that are asked for, as they stand,
// and the empty line that ends a header (RFC 9051 §6.4.5).
func (s *section) pickFields(header []byte) []byte {
	not := s.spec == "HEADER.FIELDS.NOT"
	var picked []byte
	take := false
	for len(header) > 0 {
		line := header
		if i := bytes.IndexByte(header, '\n'); i >= 0 {
			line = header[:i+1]
		}
		header = header[len(line):]
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			break
		}
		if line[0] != ' ' && line[0] != '\t' {
			name, _, isField := bytes.Cut(line, []byte{':'})
			take = isField && s.names(string(bytes.TrimRight(name, " \t"))) != not
		}
		if take {
			picked = append(picked, line...)
		}
	}
	return append(picked, "\r\n"...)
}

func (s *section) names(field string) bool {
	for _, f := range s.fields {
		if strings.EqualFold(f, field) {
			return true
		}
	}
	return false
}
