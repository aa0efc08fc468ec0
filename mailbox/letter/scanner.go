package letter

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"slices"
	"sync"

	"github.com/relais-sante/relais/store/journal"
)

// ErrScannerClosed is the only error of a [Scanner]: it was used after Close.
const ErrScannerClosed journal.Fault = "the scanner was closed"

const (
	// maxLine is how much of a line is looked at as a whole. What follows is
	// content, whatever it holds: no boundary is longer.
	maxLine = 8 << 10
	// stride is how much is taken at a time, so that each byte is hashed,
	// looked at and decoded while it is in the processor's cache.
	stride = 32 << 10
	// maxSameDefects bounds the defects noted of one kind.
	maxSameDefects = 8
	// maxScratchText bounds the memory for a text that is kept for the next mail.
	maxScratchText = 64 << 10
)

// Scanner reads a mail as it arrives. Write takes chunks of any size and the
// outcome does not depend on how they were cut; Close gives the reading. What
// it keeps is bounded by its [Limits], whatever it is fed.
//
// A line ends with LF, with or without CR before it: a mail with the wrong
// line ends is understood all the same, and flagged.
type Scanner struct {
	limits Limits
	index  *Index
	closed bool
	*scratch

	// Lines.
	size      int64  // bytes taken
	base      int64  // offset of the chunk being taken
	pos       int64  // offset past the line, or the piece of a line, being taken
	lineStart int64  // offset of the line being taken
	whole     []byte // the line being taken, if it is whole
	wholeEOL  int
	long      bool  // inside a line longer than maxLine
	heldCR    bool  // a CR at the end of what is known of a long line
	eol       int   // bytes that ended the line before: 0, 1 or 2
	lfs       int64 // line feeds before the line being taken
	last      byte  // of the chunk before
	crlfs     int64
	crs       int64

	tree
	header
	texts
}

// scratch is the memory of a scanner that another may use after it.
type scratch struct {
	line []byte // beginning of a line cut between chunks, at most maxLine
	out  []byte // decoded bytes on their way to digest and text
	kept []byte // the text that people read, as it came
	body hash.Hash
	leaf hash.Hash
}

var scratches = sync.Pool{New: func() any {
	return &scratch{
		line: make([]byte, 0, maxLine),
		out:  make([]byte, 0, 8<<10),
		body: sha256.New(),
		leaf: sha256.New(),
	}
}}

// NewScanner begins to read a mail.
func NewScanner(limits Limits) *Scanner {
	s := &Scanner{
		limits:  limits.orDefault(),
		index:   &Index{Version: IndexVersion},
		scratch: scratches.Get().(*scratch),
	}
	s.body.Reset()
	s.leaf.Reset()
	s.line, s.out = s.line[:0], s.out[:0]
	s.plain.bytes = s.kept[:0]
	s.budget = [2]int{s.limits.HeaderBytes, s.limits.HeaderBytes}
	s.addresses = maxAddresses
	s.give = s.leafBytes
	s.open(0, "", false)
	return s
}

// Read reads a mail to its end. The error, if any, is the reader's.
func Read(r io.Reader, limits Limits) (*Reading, error) {
	s := NewScanner(limits)
	_, err := io.CopyBuffer(struct{ io.Writer }{s}, r, make([]byte, stride))
	reading, closeErr := s.Close()
	if err = errors.Join(err, closeErr); err != nil {
		return nil, err
	}
	return reading, nil
}

// Write takes the next bytes of the mail.
func (s *Scanner) Write(p []byte) (int, error) {
	if s.closed {
		return 0, ErrScannerClosed
	}
	n := len(p)
	for len(p) > 0 {
		chunk := p[:min(len(p), stride)]
		s.chunk(chunk)
		p = p[len(chunk):]
	}
	return n, nil
}

// Close ends the mail. The scanner is of no further use.
func (s *Scanner) Close() (*Reading, error) {
	if s.closed {
		return nil, ErrScannerClosed
	}
	s.closed = true
	s.base = s.size
	s.lastLine()
	s.finish()
	x := s.index
	x.Size = s.size
	x.BodySum = s.body.Sum(nil)
	x.BareCRLF = s.crs != s.crlfs || s.lfs != s.crlfs
	x.FinalCRLF = s.eol == 2
	slices.SortStableFunc(x.Defects, func(a, b Defect) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Kind, b.Kind))
	})
	reading := &Reading{
		Index:          x,
		Text:           s.text(s.limits.TextBytes),
		Report:         s.report,
		ReportType:     s.reportType,
		ReturnedHeader: s.returned,
	}
	if cap(s.plain.bytes) <= maxScratchText {
		s.kept = s.plain.bytes
	}
	scratches.Put(s.scratch)
	s.scratch, s.plain.bytes = nil, nil
	return reading, nil
}

// chunk takes at most stride bytes.
func (s *Scanner) chunk(p []byte) {
	s.base = s.size
	s.size += int64(len(p))
	s.crs += int64(bytes.Count(p, []byte{'\r'}))
	if i := bytes.IndexByte(p, 0); i >= 0 {
		if !s.sawNUL {
			s.sawNUL = true
			s.defect(DefectNUL, s.base+int64(i))
		}
		begins := i == 0 && (s.base == 0 || s.last == '\n')
		s.index.NULLine = s.index.NULLine || begins || bytes.Contains(p, []byte("\n\x00"))
	}
	s.last = p[len(p)-1]
	s.lines(p)
	if s.inBody {
		if from := s.index.HeaderEnd - s.base; from > 0 {
			p = p[from:]
		}
		s.bodyBytes(p)
	}
}

// bodyBytes counts bytes after the header of the mail.
func (s *Scanner) bodyBytes(p []byte) {
	s.body.Write(p)
	s.index.EightBit = s.index.EightBit || eightBit(p)
}

// eightBit reports whether a byte is above 127.
func eightBit(p []byte) bool {
	const high = 0x8080808080808080
	for len(p) >= 32 {
		v := binary.LittleEndian.Uint64(p) | binary.LittleEndian.Uint64(p[8:]) |
			binary.LittleEndian.Uint64(p[16:]) | binary.LittleEndian.Uint64(p[24:])
		if v&high != 0 {
			return true
		}
		p = p[32:]
	}
	for _, c := range p {
		if c >= 0x80 {
			return true
		}
	}
	return false
}

// defect notes what does not follow the format.
func (s *Scanner) defect(kind string, at int64) {
	same := 0
	for i := range s.index.Defects {
		if s.index.Defects[i].Kind == kind {
			same++
		}
	}
	if same < maxSameDefects {
		s.index.Defects = append(s.index.Defects, Defect{Kind: kind, At: at})
	}
}
