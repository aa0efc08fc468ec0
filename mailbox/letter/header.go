package letter

import (
	"bytes"
	"slices"
	"strings"
)

// header is the part of a Scanner that reads the header of the innermost
// entity, line by line.
type header struct {
	fields     []Field
	lineCount  int    // lines of this header so far
	inField    bool   // a field is open and may be continued
	skipField  bool   // it is not kept
	cutField   bool   // it is beyond FieldBytes
	fieldName  string // "" for a line that is no field
	fieldStart int64
	fieldEnd   int64
	fieldValue []byte
	media      media // of the first Content-Type, once it is complete
	budget     [2]int
	addresses  int // how many more are kept in envelopes
	sawNUL     bool
	inBody     bool // the header of the mail is over
}

// partFields are kept of a header inside the mail, envelopeFields besides at
// the root of an attached message.
var (
	partFields = [...]string{
		"content-type", "content-transfer-encoding", "content-disposition", "content-id",
		"content-description", "content-language", "content-location", "content-md5",
	}
	envelopeFields = [...]string{
		"date", "subject", "from", "sender", "reply-to", "to", "cc", "bcc",
		"message-id", "in-reply-to", "references",
	}
)

func (s *Scanner) beginHeader() {
	s.fields = nil
	s.lineCount = 0
	s.inField = false
	s.media = media{}
}

func (s *Scanner) hasFields() bool { return s.lineCount > 0 }

// headerLine takes a whole line of a header.
func (s *Scanner) headerLine(line []byte, eol int) {
	if len(line) == 0 {
		s.endHeader(s.pos, s.lfs+1)
		return
	}
	s.keepReturned(line)
	s.keepReturnedEOL(eol)
	s.lineOfField(line)
	s.fieldEnd = s.pos
}

// longHeaderLine takes the beginning of a line longer than maxLine.
func (s *Scanner) longHeaderLine(head []byte) {
	s.keepReturned(head)
	s.lineOfField(head)
}

// lineOfField continues the open field or begins one.
func (s *Scanner) lineOfField(line []byte) {
	s.lineCount++
	if folded := line[0] == ' ' || line[0] == '\t'; folded && s.inField {
		s.addToField(line)
		return
	}
	s.endField()
	s.inField = true
	s.fieldStart = s.lineStart
	s.fieldName = ""
	s.fieldValue = s.fieldValue[:0]
	name, rest, ok := bytes.Cut(line, []byte{':'})
	trimmed := bytes.TrimRight(name, " \t")
	switch {
	case ok && isFieldName(trimmed):
		s.fieldName = string(trimmed)
		if len(trimmed) < len(name) {
			s.defect(DefectHeaderSpace, s.lineStart)
		}
		line = bytes.TrimLeft(rest, " \t")
	case s.lineCount == 1 && bytes.HasPrefix(line, []byte("From ")):
		s.defect(DefectMboxFrom, s.lineStart)
	case line[0] == ' ' || line[0] == '\t':
		s.defect(DefectLeadingFold, s.lineStart)
	default:
		s.defect(DefectHeaderLine, s.lineStart)
	}
	s.skipField = !s.wanted(s.fieldName)
	s.cutField = false
	s.addToField(line)
}

// isFieldName reports whether b is a field name (RFC 5322 §2.2).
func isFieldName(b []byte) bool {
	for _, c := range b {
		if c < 33 || c > 126 {
			return false
		}
	}
	return len(b) > 0
}

// wanted reports whether the field is kept at all.
func (s *Scanner) wanted(name string) bool {
	return len(s.stack) == 1 || isOneOf(partFields[:], name) || s.top().root && isOneOf(envelopeFields[:], name)
}

func isOneOf(names []string, name string) bool {
	return slices.ContainsFunc(names, func(known string) bool { return strings.EqualFold(known, name) })
}

// addToField appends to the open field what its limit allows. Unfolding takes
// the line end away and leaves the white space (RFC 5322 §2.2.3).
func (s *Scanner) addToField(p []byte) {
	if s.skipField || s.cutField {
		return
	}
	if room := s.limits.FieldBytes - len(s.fieldValue); len(p) > room {
		p = p[:room]
		s.cutField = true
		s.defect(DefectFieldSize, s.fieldStart)
	}
	s.fieldValue = append(s.fieldValue, p...)
}

// endField keeps the open field, if the limits allow it.
func (s *Scanner) endField() {
	if !s.inField {
		return
	}
	s.inField = false
	if s.skipField {
		return
	}
	raw := bytes.TrimSpace(s.fieldValue)
	if s.cutField {
		raw = withoutCutRune(raw)
	}
	which, cost := 0, len(s.fieldName)+len(raw)
	if len(s.stack) > 1 {
		which = 1
	}
	// The last tenth of each limit is kept for the fields that structure and
	// envelope hang on: a flood of others does not push them out.
	fields, room := s.limits.Fields, s.budget[which]
	if !isOneOf(partFields[:], s.fieldName) && !isOneOf(envelopeFields[:], s.fieldName) {
		fields -= fields / 10
		room -= s.limits.HeaderBytes / 10
	}
	switch {
	case len(s.fields) >= fields:
		s.defect(DefectFields, s.fieldStart)
		return
	case cost > room:
		s.defect(DefectHeaderSize, s.fieldStart)
		return
	}
	s.budget[which] -= cost
	value, clean := rawText(raw)
	if !clean {
		s.defect(DefectRawHeader, s.fieldStart)
	}
	value = withoutLineEnds.Replace(value)
	if s.fields == nil && which == 0 {
		s.fields = make([]Field, 0, 16)
	}
	s.fields = append(s.fields, Field{Name: s.fieldName, Start: s.fieldStart, End: s.fieldEnd, Value: value})
	if strings.EqualFold(s.fieldName, "Content-Type") && !s.media.read {
		s.media = readMedia(value)
	}
}

// withoutLineEnds keeps a CR or NUL in a value from coming out again wherever
// the value is written. LF cannot stand in one.
var withoutLineEnds = strings.NewReplacer("\r", " ", "\x00", " ")

// ownBoundary reports whether line is a boundary of the very entity whose
// header is being read.
func (s *Scanner) ownBoundary(line []byte) bool {
	s.endField()
	if s.media.typ != "multipart" || s.media.params["boundary"] == "" {
		return false
	}
	match, _ := isBoundary(line, []byte(s.media.params["boundary"]))
	return match
}

// endHeader ends the header of the innermost entity. Its body begins at the
// offset at, with lfs line feeds before it.
func (s *Scanner) endHeader(at, lfs int64) {
	s.endField()
	e := s.top()
	e.part.BodyStart = at
	e.lfs = lfs
	s.returning = false
	fields := s.fields
	s.fields = nil
	s.describe(e, fields)
	if len(s.stack) == 1 {
		s.index.Fields = fields
		s.index.Envelope = s.envelope(fields)
		s.beginMailBody(at)
	} else {
		e.part.Header = fields
		if e.root {
			envelope := s.envelope(fields)
			s.stack[len(s.stack)-2].part.Message = &envelope
		}
	}
	s.enterBody(e)
}

// beginMailBody notes where the body of the mail begins. Where no empty line
// ended the header, the beginning of the line that did may have come with an
// earlier chunk.
func (s *Scanner) beginMailBody(at int64) {
	s.index.HeaderEnd = at
	s.inBody = true
	if early := int(s.base - at); early > 0 {
		s.bodyBytes(s.whole[:min(early, len(s.whole))])
		if early > len(s.whole) && s.wholeEOL == 2 {
			s.bodyBytes([]byte{'\r'})
		}
	}
}
