package letter

import (
	"bytes"
	"strconv"
)

// maxBoundary is the longest boundary that a line can hold besides its dashes.
const maxBoundary = maxLine - 8

// phase is what the innermost open entity is at.
type phase uint8

const (
	inHeader  phase = iota
	inLeaf          // content of a leaf
	inMulti         // before the first boundary, or between parts
	inEnd           // after the closing boundary
	inSkipped       // parts beyond the limit
	inMessage       // a message is open inside
)

// entity is an open entity: its header or content is being read, or that of
// an entity inside it.
type entity struct {
	part     Part
	phase    phase
	boundary []byte
	prefix   string // of the section numbers inside: "", "2.", "2.1."
	root     bool   // root of a message
	digest   bool   // child of a multipart/digest
	report   bool   // child of the multipart/report that is the mail
	attached bool   // inside an attached message
	skipped  bool   // not all of its parts were looked into
	lfs      int64  // line feeds before the body
}

// tree is the part of a Scanner that knows where in the mail it is. Only the
// innermost entity takes lines; a boundary of any open multipart closes all
// that is inside it.
type tree struct {
	stack []entity
	parts int
	owed  int // line end of the last line, content only if no boundary follows
	decoder
}

func (s *Scanner) top() *entity { return &s.stack[len(s.stack)-1] }

// open begins the header of an entity.
func (s *Scanner) open(at int64, number string, digest bool) {
	e := entity{root: true, digest: digest}
	e.part.HeaderStart = at
	if number != "" {
		e.part.Number, e.prefix = number, number+"."
	}
	if n := len(s.stack); n > 0 {
		parent := &s.stack[n-1]
		e.attached = parent.attached || parent.phase == inMessage
		if e.root = parent.phase == inMessage; e.root {
			e.prefix = parent.prefix
		}
		e.report = !e.attached && parent.part.Type == "multipart" && parent.part.Subtype == "report"
	}
	s.parts++
	s.stack = append(s.stack, e)
	s.beginHeader()
}

// take takes a line of at most maxLine bytes, without its end.
func (s *Scanner) take(line []byte, eol int) {
	if len(line) >= 2 && line[0] == '-' && line[1] == '-' && s.boundaryLine(line) {
		return
	}
	e := s.top()
	switch e.phase {
	case inHeader:
		s.headerLine(line, eol)
	case inLeaf, inMulti:
		s.content(line, eol)
	}
}

// takeLong takes the beginning of a longer line, takeMore what follows,
// takeEnd its end.
func (s *Scanner) takeLong(head []byte) {
	switch s.top().phase {
	case inHeader:
		s.longHeaderLine(head)
	case inLeaf, inMulti:
		s.content(head, 0)
	}
}

func (s *Scanner) takeMore(p []byte) {
	switch s.top().phase {
	case inHeader:
		s.keepReturned(p)
		s.addToField(p)
	case inLeaf, inMulti:
		s.decode(p)
	}
}

func (s *Scanner) takeEnd() {
	switch s.top().phase {
	case inHeader:
		s.keepReturnedEOL(s.eol)
		s.fieldEnd = s.pos
	case inLeaf, inMulti:
		s.owed = s.eol
	}
}

// content takes a line of a leaf. What stands before the first boundary of a
// multipart is taken in the same way, in case no boundary follows.
func (s *Scanner) content(line []byte, eol int) {
	if s.owed > 0 {
		s.decodeEOL(s.owed)
	}
	s.decode(line)
	s.owed = eol
}

// boundaryLine acts on a line that begins with two dashes, if it is a boundary
// of an open multipart: the innermost one that it fits. A boundary is followed
// by nothing or white space (RFC 2046 §5.1.1 would take any line that begins
// with one; mail programs do not, and one boundary is often the beginning of
// another).
func (s *Scanner) boundaryLine(line []byte) bool {
	if e := s.top(); e.phase == inHeader && s.ownBoundary(line) {
		// The empty line after the header is missing.
		s.defect(DefectHeaderEnd, s.lineStart)
		s.endHeader(s.lineStart, s.lfs)
	}
	for i := len(s.stack) - 1; i >= 0; i-- {
		e := &s.stack[i]
		if e.phase == inEnd || e.boundary == nil {
			continue
		}
		match, last := isBoundary(line, e.boundary)
		if !match || last && e.phase == inMulti && i == len(s.stack)-1 {
			continue // or closed before any part: content
		}
		for len(s.stack) > i+1 {
			s.closeTop(s.lineStart, s.eol)
		}
		s.owed = 0
		e = s.top()
		switch {
		case last:
			e.phase = inEnd
		case s.parts >= s.limits.Parts:
			s.defect(DefectParts, s.lineStart)
			e.phase, e.skipped = inSkipped, true
		default:
			if len(e.part.Parts) == 0 {
				s.dropLeaf()
			}
			number := e.prefix + strconv.Itoa(len(e.part.Parts)+1)
			s.open(s.pos, number, e.part.Subtype == "digest")
		}
		return true
	}
	return false
}

// isBoundary reports whether line is a delimiter with that boundary, and
// whether it is the closing one.
func isBoundary(line, boundary []byte) (match, last bool) {
	rest, ok := bytes.CutPrefix(line[2:], boundary)
	if !ok {
		return false, false
	}
	if rest, ok := bytes.CutPrefix(rest, []byte("--")); ok && endsWord(rest) {
		return true, true
	}
	return endsWord(rest), false
}

func endsWord(rest []byte) bool {
	return len(rest) == 0 || rest[0] == ' ' || rest[0] == '\t'
}

// finish closes everything at the end of the mail.
func (s *Scanner) finish() {
	if s.owed > 0 {
		s.decodeEOL(s.owed)
	}
	for len(s.stack) > 0 {
		s.closeTop(s.size, 0)
	}
}

// closeTop ends the innermost entity and hangs it into the one around it. At
// is where it ends, but for the line end before, which is a boundary's.
func (s *Scanner) closeTop(at int64, before int) {
	if s.top().phase == inHeader {
		// A boundary, or the end of the mail, where an empty line was due.
		if s.hasFields() {
			s.defect(DefectHeaderEnd, at)
		}
		s.endHeader(at, s.lfs)
		if s.top().phase == inHeader { // a message opened inside, without a byte
			s.closeTop(at, before)
		}
	}
	e := s.top()
	p := &e.part
	p.BodyEnd = at
	p.Lines = s.lfs - e.lfs
	least := p.BodyStart // the line end may be that of the last header inside
	if n := len(p.Parts); n > 0 {
		least = p.Parts[n-1].BodyEnd
	}
	if at-int64(before) >= least && before > 0 {
		p.BodyEnd -= int64(before)
		p.Lines--
	}
	switch e.phase {
	case inLeaf:
		s.endLeaf(e)
	case inMessage:
		p.Size = p.BodyEnd - p.BodyStart
	default:
		if e.phase != inEnd {
			s.defect(DefectUnclosed, p.HeaderStart)
		}
		if len(p.Parts) > 0 || e.skipped {
			p.Size = p.BodyEnd - p.BodyStart
			break
		}
		s.defect(DefectNoPart, p.HeaderStart)
		if p.Number == "" {
			p.Number = e.prefix + "1"
		}
		s.endLeaf(e)
	}
	done := e.part
	s.stack = s.stack[:len(s.stack)-1]
	if len(s.stack) == 0 {
		s.index.Root = done
		return
	}
	parent := s.top()
	parent.part.Parts = append(parent.part.Parts, done)
}
