package letter

import (
	"slices"
	"strings"
)

// describe fills in what the header says of an entity.
func (s *Scanner) describe(e *entity, fields []Field) {
	p := &e.part
	s.noteRepeated(fields)
	if _, there := value(fields, "Content-Type"); there && s.media.ok {
		p.Type, p.Subtype, p.Params = s.media.typ, s.media.subtype, s.media.params
	} else {
		p.Type, p.Subtype = "text", "plain"
		if there {
			s.defect(DefectContentType, p.HeaderStart)
		} else if e.digest {
			p.Type, p.Subtype = "message", "rfc822" // RFC 2046 §5.1.5
		}
	}
	p.Encoding = encodingName(fields)
	if _, known := encodingOf(p.Encoding); !known {
		s.defect(DefectEncoding, p.HeaderStart)
	}
	if v, ok := value(fields, "Content-Disposition"); ok {
		p.Disposition, p.DispParams = readDisposition(v)
	}
	p.Filename = p.DispParams["filename"]
	if p.Filename == "" {
		p.Filename = p.Params["name"]
	}
	p.ContentID, _ = value(fields, "Content-ID")
	if v, ok := value(fields, "Content-Description"); ok {
		p.Description = decodeWords(v)
	}
	if v, ok := value(fields, "Content-Language"); ok {
		p.Language = languages(v)
	}
	if v, ok := value(fields, "Content-Location"); ok {
		p.Location = withoutSpace(v) // RFC 2557 §4.4.2
	}
	p.MD5, _ = value(fields, "Content-MD5")
	if p.Type == "text" && !knownCharset(p.Params["charset"]) {
		s.defect(DefectCharset, p.HeaderStart)
	}
}

// noteRepeated notes Content-* fields that stand again: mail programs do not
// agree on which one counts. Here it is the first.
func (s *Scanner) noteRepeated(fields []Field) {
	var seen [len(partFields)]bool
	for i := range fields {
		place := slices.IndexFunc(partFields[:], func(known string) bool { return strings.EqualFold(known, fields[i].Name) })
		if place < 0 {
			continue
		}
		if seen[place] {
			s.defect(DefectRepeated, fields[i].Start)
		}
		seen[place] = true
	}
}

// encodingName reads Content-Transfer-Encoding: its first word, whatever
// stands around it.
func encodingName(fields []Field) string {
	v, _ := value(fields, "Content-Transfer-Encoding")
	v = strings.TrimLeft(v, " \t\"';")
	if i := strings.IndexFunc(v, func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}); i >= 0 {
		v = v[:i]
	}
	return strings.ToLower(v[:min(len(v), 64)])
}

// languages reads Content-Language (RFC 3282): at most sixteen tags.
func languages(v string) []string {
	tags := strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
	return tags[:min(len(tags), 16)]
}

// withoutSpace takes out white space and control characters.
func withoutSpace(v string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f {
			return -1
		}
		return r
	}, v)
}

// enterBody decides how the body of an entity whose header is over is read.
func (s *Scanner) enterBody(e *entity) {
	p := &e.part
	enc, _ := encodingOf(p.Encoding)
	multipart := p.Type == "multipart"
	message := p.Type == "message" && (p.Subtype == "rfc822" || p.Subtype == "global")
	boundary := p.Params["boundary"]
	switch {
	case !multipart && !message: // a leaf by its type
	case multipart && (boundary == "" || len(boundary) > maxBoundary):
		s.defect(DefectBoundary, p.HeaderStart)
		multipart = false
	case message && enc != asItIs:
		s.defect(DefectEncodedMulti, p.HeaderStart)
		message = false
	case len(s.stack) >= s.limits.Depth:
		s.defect(DefectDepth, p.HeaderStart)
		multipart, message = false, false
	case message && s.parts >= s.limits.Parts:
		s.defect(DefectParts, p.HeaderStart)
		message = false
	}
	if multipart && enc != asItIs {
		s.defect(DefectEncodedMulti, p.HeaderStart)
	}
	if e.root && !multipart {
		p.Number = e.prefix + "1"
		e.prefix = p.Number + "."
	}
	switch {
	case message:
		e.phase = inMessage
		s.returning = e.report && s.returned == nil
		s.open(p.BodyStart, "", false)
	case multipart:
		e.phase, e.boundary = inMulti, []byte(boundary)
		s.beginLeaf(e, enc)
	default:
		e.phase = inLeaf
		s.beginLeaf(e, enc)
	}
}

// beginLeaf begins the content of a leaf, or what stands in a multipart before
// its first part.
func (s *Scanner) beginLeaf(e *entity, enc transferEncoding) {
	s.encoding = enc
	s.buffer, s.held, s.quads = s.out, s.held[:0], 0
	s.strange = false
	s.leafSize = 0
	s.leafIsBody = e.phase == inLeaf && len(s.stack) == 1 && enc == asItIs
	s.leaf.Reset()
	s.keepText(e)
}

// leafBytes takes decoded bytes of the open leaf.
func (s *Scanner) leafBytes(p []byte) {
	s.leafSize += int64(len(p))
	if !s.leafIsBody {
		s.leaf.Write(p)
	}
	s.keepBytes(p)
}

// dropLeaf forgets what stood before the first part of a multipart.
func (s *Scanner) dropLeaf() {
	s.buffer = s.out
	s.dropText()
}

// endLeaf ends the content of a leaf.
func (s *Scanner) endLeaf(e *entity) {
	s.end()
	if s.strange {
		s.defect(DefectEncodedData, e.part.HeaderStart)
	}
	e.part.Size = s.leafSize
	digest := s.leaf
	if s.leafIsBody {
		digest = s.body
	}
	e.part.Sum = digest.Sum(nil)
	s.endText(e)
}

// envelope reads the fields of an envelope (RFC 9051 §7.5.2). Addresses of
// repeated fields are put together, so that nobody hides a second From behind
// the first; of other fields the first counts.
func (s *Scanner) envelope(fields []Field) Envelope {
	var env Envelope
	var seen [len(envelopeFields)]string
	n := 0
	for i := range fields {
		name := strings.ToLower(fields[i].Name)
		if !slices.Contains(envelopeFields[:], name) {
			continue
		}
		again := slices.Contains(seen[:n], name)
		if again {
			s.defect(DefectRepeated, fields[i].Start)
		} else {
			seen[n] = name
			n++
		}
		v := fields[i].Value
		if list := env.addressField(name); list != nil {
			more := parseAddresses(v, min(s.addresses, maxAddressesInField))
			s.addresses -= len(more)
			*list = append(*list, more...)
		} else if !again {
			env.textField(name, v)
		}
	}
	return env
}

func (env *Envelope) addressField(name string) *[]Mailbox {
	switch name {
	case "from":
		return &env.From
	case "sender":
		return &env.Sender
	case "reply-to":
		return &env.ReplyTo
	case "to":
		return &env.To
	case "cc":
		return &env.Cc
	case "bcc":
		return &env.Bcc
	}
	return nil
}

func (env *Envelope) textField(name, v string) {
	switch name {
	case "date":
		env.DateText = visible(v)
		env.Date = parseDate(v)
	case "subject":
		env.Subject = decodeWords(v)
	case "message-id":
		if ids := parseIDs(v, 1); len(ids) > 0 {
			env.MessageID = ids[0]
		}
	case "in-reply-to":
		env.InReplyTo = ParseIDs(v)
	case "references":
		env.References = ParseIDs(v)
	}
}
