package letter

import "bytes"

// lines cuts p into lines. A line of up to maxLine bytes is given whole, so
// that it can be a boundary or a field; the beginning of a longer one is given
// as soon as that many bytes are there, wherever the chunks were cut.
func (s *Scanner) lines(p []byte) {
	for len(p) > 0 {
		if s.inEncoded() {
			if p = s.encodedLines(p); len(p) == 0 {
				return
			}
		}
		i := bytes.IndexByte(p, '\n')
		switch {
		case s.long && i < 0:
			s.moreOfLong(p)
			return
		case s.long:
			s.moreOfLong(p[:i])
			s.endLong()
			p = p[i+1:]
		case i >= 0 && len(s.line) == 0 && i <= maxLine:
			s.wholeLine(p[:i], true)
			p = p[i+1:]
		default:
			n := min(len(p), maxLine-len(s.line))
			if i >= 0 && i <= n {
				s.line = append(s.line, p[:i]...)
				s.wholeLine(s.line, true)
				s.line = s.line[:0]
				p = p[i+1:]
				break
			}
			s.line = append(s.line, p[:n]...)
			p = p[n:]
			if len(s.line) == maxLine && len(p) > 0 && p[0] != '\n' {
				s.beginLong()
			}
		}
	}
}

// inEncoded reports whether a line of a base64 leaf begins.
func (s *Scanner) inEncoded() bool {
	return s.encoding == inBase64 && !s.long && len(s.line) == 0 && s.top().phase == inLeaf
}

// encodedLines takes whole lines of a base64 leaf as wholeLine does, with less
// ado: attachments are nearly all that mail is made of. It stops at a line that
// may be a boundary or is not an ordinary one.
func (s *Scanner) encodedLines(p []byte) []byte {
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 1 || i > maxLine || p[i-1] != '\r' || p[0] == '-' {
			return p
		}
		s.lineStart = s.pos
		s.pos += int64(i + 1)
		s.index.LongLine = max(s.index.LongLine, i-1)
		s.base64(p[:i-1])
		s.owed, s.eol = 2, 2
		s.crlfs++
		s.lfs++
		p = p[i+1:]
	}
}

// wholeLine takes a line without its LF; lf is false at the end of the mail.
func (s *Scanner) wholeLine(line []byte, lf bool) {
	s.lineStart = s.pos
	eol := 0
	if lf {
		eol = 1
		if n := len(line); n > 0 && line[n-1] == '\r' {
			s.crlfs++
			eol = 2
			line = line[:n-1]
		}
	}
	s.pos += int64(len(line) + eol)
	s.index.LongLine = max(s.index.LongLine, len(line))
	s.whole, s.wholeEOL = line, eol
	s.take(line, eol)
	s.whole = nil
	s.eol = eol
	if lf {
		s.lfs++
	}
}

// beginLong takes the beginning of a line longer than maxLine.
func (s *Scanner) beginLong() {
	s.long = true
	s.lineStart = s.pos
	head := s.line
	if n := len(head); head[n-1] == '\r' {
		s.heldCR, head = true, head[:n-1]
	}
	s.pos += int64(len(head))
	s.takeLong(head)
	s.line = s.line[:0]
}

func (s *Scanner) moreOfLong(p []byte) {
	if len(p) == 0 {
		return
	}
	if s.heldCR {
		s.heldCR = false
		s.pos++
		s.takeMore([]byte{'\r'})
	}
	if n := len(p); p[n-1] == '\r' {
		s.heldCR, p = true, p[:n-1]
	}
	s.pos += int64(len(p))
	s.takeMore(p)
}

func (s *Scanner) endLong() {
	s.index.LongLine = max(s.index.LongLine, int(s.pos-s.lineStart))
	s.eol = 1
	if s.heldCR {
		s.heldCR = false
		s.crlfs++
		s.eol = 2
	}
	s.pos += int64(s.eol)
	s.long = false
	s.takeEnd()
	s.lfs++
}

// lastLine takes what is left when the mail ends inside a line.
func (s *Scanner) lastLine() {
	switch {
	case s.long:
		if s.heldCR {
			s.pos++
			s.takeMore([]byte{'\r'})
		}
		s.index.LongLine = max(s.index.LongLine, int(s.pos-s.lineStart))
		s.eol = 0
		s.takeEnd()
	case len(s.line) > 0:
		s.wholeLine(s.line, false)
	}
}
