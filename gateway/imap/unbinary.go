package imap

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strings"

	"github.com/relais-sante/relais/mailbox/letter"
)

// unbinary reads a message that came as literal8 and puts parts sent without
// any encoding into base64 (RFC 3516 §4.4): what is kept can then be fetched by
// clients that do not know BINARY, which must never see a NUL.
//
// It reads the tree of parts as it goes, as far as that is needed: where parts
// begin, and which say "binary". What it cannot make sense of passes unchanged.
type unbinary struct {
	in         *bufio.Reader
	out        bytes.Buffer
	boundaries []string // of the multiparts around, outermost first
	header     []byte   // being read
	inHeader   bool
	encoder    io.WriteCloser
	lines      *wrapper
	held       []byte // the line end before what may be a boundary
	err        error
}

const (
	maxUnbinaryHeader = 256 << 10
	maxUnbinaryDepth  = 32
)

func newUnbinary(r io.Reader) *unbinary {
	return &unbinary{in: bufio.NewReaderSize(r, 8<<10), inHeader: true}
}

// Read implements io.Reader.
func (u *unbinary) Read(p []byte) (int, error) {
	for u.out.Len() == 0 {
		if u.err != nil {
			return 0, u.err
		}
		line, err := u.in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			err = nil
		}
		u.line(line)
		if err != nil {
			u.end()
			u.err = err
		}
	}
	return u.out.Read(p)
}

// line takes a line, or a piece of a long one.
func (u *unbinary) line(line []byte) {
	if u.inHeader {
		u.header = append(u.header, line...)
		if len(bytes.TrimRight(line, "\r\n")) == 0 || len(u.header) > maxUnbinaryHeader {
			u.endHeader()
		}
		return
	}
	if depth := u.boundary(line); depth >= 0 {
		u.endBody(true)
		u.out.Write(line)
		closing := bytes.HasPrefix(bytes.TrimRight(line, " \t\r\n"), []byte("--"+u.boundaries[depth]+"--"))
		u.boundaries = u.boundaries[:depth+1]
		if closing {
			u.boundaries = u.boundaries[:depth]
			return
		}
		u.inHeader = true
		return
	}
	u.body(line)
}

// body takes bytes of a body.
func (u *unbinary) body(line []byte) {
	if u.encoder == nil {
		u.out.Write(line)
		return
	}
	u.encoder.Write(u.held)
	u.held = u.held[:0]
	text := bytes.TrimSuffix(line, []byte{'\n'})
	text = bytes.TrimSuffix(text, []byte{'\r'})
	u.encoder.Write(text)
	u.held = append(u.held, line[len(text):]...)
}

// boundary gives the multipart whose boundary a line is, or -1.
func (u *unbinary) boundary(line []byte) int {
	if !bytes.HasPrefix(line, []byte("--")) {
		return -1
	}
	text := string(bytes.TrimRight(line[2:], " \t\r\n"))
	for i := len(u.boundaries) - 1; i >= 0; i-- {
		if text == u.boundaries[i] || text == u.boundaries[i]+"--" {
			return i
		}
	}
	return -1
}

// endHeader looks at a header and passes it on.
func (u *unbinary) endHeader() {
	u.inHeader = false
	header := u.header
	u.header = nil
	reading, err := letter.Read(bytes.NewReader(header), letter.Limits{})
	if err != nil {
		u.out.Write(header)
		return
	}
	root := &reading.Index.Root
	boundary := root.Params["boundary"]
	switch {
	case root.Type == "multipart" && boundary != "" && len(u.boundaries) < maxUnbinaryDepth:
		u.boundaries = append(u.boundaries, boundary)
		u.out.Write(header)
	case root.Type == "message" && (root.Subtype == "rfc822" || root.Subtype == "global"):
		u.inHeader = true // of the message inside
		u.out.Write(header)
	case root.Encoding == "binary":
		u.out.Write(recoded(header, reading.Index))
		u.lines = &wrapper{out: &u.out}
		u.encoder = base64.NewEncoder(base64.StdEncoding, u.lines)
	default:
		u.out.Write(header)
	}
}

// recoded is a header that says base64.
func recoded(header []byte, x *letter.Index) []byte {
	var out []byte
	at := int64(0)
	for _, f := range x.Fields {
		if strings.EqualFold(f.Name, "Content-Transfer-Encoding") && f.End <= int64(len(header)) {
			out = append(out, header[at:f.Start]...)
			out = append(out, "Content-Transfer-Encoding: base64\r\n"...)
			at = f.End
		}
	}
	return append(out, header[at:]...)
}

// endBody ends an encoded body; the line end before a boundary is the
// boundary's.
func (u *unbinary) endBody(boundary bool) {
	if u.encoder == nil {
		return
	}
	if !boundary {
		u.encoder.Write(u.held)
	}
	u.encoder.Close()
	u.lines.end()
	u.encoder, u.held = nil, nil
}

func (u *unbinary) end() {
	if u.inHeader {
		u.out.Write(u.header)
		u.header = nil
	}
	u.endBody(false)
}

// wrapper breaks base64 into lines (RFC 2045 §6.8).
type wrapper struct {
	out *bytes.Buffer
	at  int
}

func (w *wrapper) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		n := min(len(p)-done, 76-w.at)
		w.out.Write(p[done : done+n])
		done += n
		if w.at += n; w.at == 76 {
			w.out.WriteString("\r\n")
			w.at = 0
		}
	}
	return len(p), nil
}

func (w *wrapper) end() {
	if w.at > 0 {
		w.out.WriteString("\r\n")
		w.at = 0
	}
}
