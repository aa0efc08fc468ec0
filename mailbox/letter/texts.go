package letter

import (
	"bytes"
	"strings"
)

// texts is the part of a Scanner that keeps, within limits, the few decoded
// texts needed at intake: what people read, and the machine part of a report.
type texts struct {
	plain, html keptText
	report      []byte
	reportType  string
	returned    []byte
	returning   bool // the header being read is that of a returned message
	keep        *[]byte
	keepRoom    int
	keepCut     bool
	leafSize    int64
	leafIsBody  bool // all of the body as it stands: one digest does for both
}

// keptText is a text in its own charset.
type keptText struct {
	bytes   []byte
	charset string
	cut     bool
	done    bool
}

func (k *keptText) blank() bool { return len(bytes.TrimSpace(k.bytes)) == 0 }

// keepText decides whether the leaf that begins is one of the texts.
func (s *Scanner) keepText(e *entity) {
	s.keep, s.keepCut = nil, false
	if e.attached {
		return
	}
	p := &e.part
	if e.report && p.Type == "message" && s.reportType == "" && e.phase == inLeaf && isReportType(p.Subtype) {
		s.reportType = strings.TrimPrefix(p.Subtype, "global-")
		s.keep, s.keepRoom = &s.report, s.limits.ReportBytes
		return
	}
	if e.report && s.returned == nil && isReturned(p) {
		s.keep, s.keepRoom = &s.returned, s.limits.ReportBytes
		return
	}
	k := s.textFor(e)
	if k == nil {
		return
	}
	k.bytes = k.bytes[:0]
	k.charset = p.Params["charset"]
	s.keep, s.keepRoom = &k.bytes, s.limits.TextBytes
}

// isReportType tells the machine parts of reports (RFC 6522, RFC 3464, RFC
// 8098, RFC 6533, RFC 5965) from other messages.
func isReportType(subtype string) bool {
	switch strings.TrimPrefix(subtype, "global-") {
	case "delivery-status", "disposition-notification", "feedback-report":
		return true
	}
	return false
}

// isReturned reports whether a leaf of a report is what came back: a header
// alone, or a message that is encoded.
func isReturned(p *Part) bool {
	switch p.Media() {
	case "text/rfc822-headers", "message/rfc822-headers", "message/global-headers", "message/rfc822", "message/global":
		return true
	}
	return false
}

// textFor gives the place of a leaf that people read, nil for any other: a text
// with a file name is a document, unless it is all there is. A multipart
// without parts stands in for a missing text.
func (s *Scanner) textFor(e *entity) *keptText {
	p := &e.part
	switch {
	case p.Disposition == "attachment" || p.Filename != "" && !e.root || s.plain.done && !s.plain.blank():
		return nil
	case p.Type == "multipart" || p.Media() == "text/plain":
		return &s.plain
	case p.Media() == "text/html" && !s.html.done:
		return &s.html
	}
	return nil
}

func (s *Scanner) keepBytes(p []byte) {
	if s.keep == nil || s.keepCut {
		return
	}
	if room := s.keepRoom - len(*s.keep); len(p) > room {
		p = p[:room]
		s.keepCut = true
	}
	*s.keep = append(*s.keep, p...)
}

func (s *Scanner) dropText() {
	if s.keep != nil {
		*s.keep = (*s.keep)[:0]
	}
	s.keep = nil
}

func (s *Scanner) endText(e *entity) {
	switch s.keep {
	case nil:
		return
	case &s.plain.bytes:
		s.plain.done, s.plain.cut = true, s.keepCut
	case &s.html.bytes:
		s.html.done, s.html.cut = true, s.keepCut
	case &s.returned:
		s.returned = untilEmptyLine(s.returned)
	}
	if s.keepCut {
		kind := DefectText
		if s.keep == &s.report || s.keep == &s.returned {
			kind = DefectReport
		}
		s.defect(kind, e.part.BodyStart)
	}
	s.keep = nil
}

// untilEmptyLine gives a header block without what follows it.
func untilEmptyLine(b []byte) []byte {
	for at := 0; at < len(b); {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			break
		}
		if line := b[at : at+i]; len(bytes.TrimRight(line, "\r")) == 0 {
			return b[:at]
		}
		at += i + 1
	}
	return b
}

// keepReturned keeps a piece of the header of a returned message.
func (s *Scanner) keepReturned(p []byte) {
	if s.returning {
		room := s.limits.ReportBytes - len(s.returned)
		s.returned = append(s.returned, p[:min(len(p), room)]...)
	}
}

func (s *Scanner) keepReturnedEOL(eol int) {
	if s.returning && eol > 0 {
		s.keepReturned([]byte("\r\n")[2-eol:])
	}
}

// text gives what people read, as UTF-8 with LF line ends.
func (s *Scanner) text(limit int) string {
	k, convert := &s.plain, plainText
	if s.plain.blank() && !s.html.blank() {
		k, convert = &s.html, htmlText
	}
	if len(k.bytes) == 0 {
		return ""
	}
	enc, _ := charsetOf(k.charset)
	if enc == nil && k == &s.plain {
		k.bytes = lineFeeds(k.bytes) // where it costs no second text
	}
	text := convert(decodeCharset(k.bytes, k.charset, k.cut))
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "")
	}
	return text
}

// lineFeeds is plainText in place.
func lineFeeds(b []byte) []byte {
	out := b[:0]
	for {
		i := bytes.IndexByte(b, '\r')
		if i < 0 {
			return append(out, b...)
		}
		out = append(append(out, b[:i]...), '\n')
		b = bytes.TrimPrefix(b[i+1:], []byte{'\n'})
	}
}

func plainText(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}
