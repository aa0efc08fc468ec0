package letter

import (
	"bytes"
	"io"
)

// transferEncoding is a content transfer encoding (RFC 2045 §6), as far as bytes go.
type transferEncoding uint8

const (
	asItIs transferEncoding = iota
	inBase64
	inQuotedPrintable
)

// encodingOf tells how a body is encoded; known is false for a name that no
// RFC knows, whose bytes are taken as they stand.
func encodingOf(name string) (enc transferEncoding, known bool) {
	switch name {
	case "", "7bit", "8bit", "binary":
		return asItIs, true
	case "base64":
		return inBase64, true
	case "quoted-printable":
		return inQuotedPrintable, true
	}
	return asItIs, false
}

// maxHeldSpace bounds the white space held back in case it ends a line of
// quoted-printable.
const maxHeldSpace = 1024

// decoder decodes a body that comes in pieces. It never fails: what the
// encoding does not allow is passed over (base64) or kept as it stands
// (quoted-printable), and noted.
type decoder struct {
	encoding transferEncoding
	strange  bool                 // something was in it that does not belong
	buffer   []byte               // decoded and not yet given on
	give     func(decoded []byte) // takes what is decoded
	quad     [4]byte              // base64: values of the open group
	quads    int                  // how many there are
	held     []byte               // quoted-printable: white space or an escape that is not complete
}

// decode takes a piece of a line.
func (d *decoder) decode(p []byte) {
	switch d.encoding {
	case inBase64:
		d.base64(p)
	case inQuotedPrintable:
		d.quotedPrintable(p)
	default:
		d.write(p)
	}
}

// decodeEOL takes the end of a line, of one byte (LF) or two (CRLF).
func (d *decoder) decodeEOL(eol int) {
	if d.encoding == inBase64 || d.encoding == inQuotedPrintable && d.releaseHeld() {
		return
	}
	if eol == 2 {
		d.write([]byte{'\r', '\n'})
	} else if eol == 1 {
		d.write([]byte{'\n'})
	}
}

// end gives on what is left.
func (d *decoder) end() {
	switch d.encoding {
	case inBase64:
		d.endQuad()
	case inQuotedPrintable:
		d.releaseHeld()
	}
	d.flush()
}

func (d *decoder) write(p []byte) {
	for len(p) > 0 {
		n := copy(d.buffer[len(d.buffer):cap(d.buffer)], p)
		d.buffer = d.buffer[:len(d.buffer)+n]
		p = p[n:]
		if len(d.buffer) == cap(d.buffer) {
			d.flush()
		}
	}
}

func (d *decoder) flush() {
	if len(d.buffer) > 0 {
		d.give(d.buffer)
		d.buffer = d.buffer[:0]
	}
}

// quotedPrintable takes a piece of a line (RFC 2045 §6.7). White space at the
// end of a line is no content, and neither is the end of a line behind "=".
func (d *decoder) quotedPrintable(p []byte) {
	if len(d.held) > 0 {
		d.held = append(d.held, p...)
		p = d.held // hold, which ends each way below, copies what is left to its beginning
	}
	for {
		i := bytes.IndexByte(p, '=')
		if i < 0 {
			text := bytes.TrimRight(p, " \t")
			d.write(text)
			d.hold(p[len(text):])
			return
		}
		d.write(p[:i])
		p = p[i:]
		switch {
		case len(p) >= 3 && isHex(p[1]) && isHex(p[2]):
			d.write([]byte{unhex(p[1])<<4 | unhex(p[2])})
			p = p[3:]
		case len(p) == 1, len(p) == 2 && isHex(p[1]), len(bytes.TrimLeft(p[1:], " \t")) == 0:
			d.hold(p)
			return
		default:
			d.strange = true
			d.write(p[:1])
			p = p[1:]
		}
	}
}

// hold keeps back p until it is known what follows; more white space than any
// line ends with is content.
func (d *decoder) hold(p []byte) {
	for len(p) > maxHeldSpace {
		d.write(p[:maxHeldSpace+1])
		p = p[maxHeldSpace+1:]
	}
	d.held = append(d.held[:0], p...)
}

// releaseHeld ends a line and reports whether it goes on in the next one.
func (d *decoder) releaseHeld() (soft bool) {
	held := d.held
	d.held = d.held[:0]
	if len(held) == 0 || held[0] != '=' {
		return false
	}
	if len(held) > 1 && isHex(held[1]) {
		d.strange = true
		d.write(held)
		return false
	}
	return true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'F' || 'a' <= c && c <= 'f'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	default:
		return c - 'a' + 10
	}
}

// Decode gives the content of an encoded body (a part's BodyStart to BodyEnd)
// exactly as it was counted and digested by the [Scanner]. It reports no
// errors but those of r.
func Decode(r io.Reader, encodingName string) io.Reader {
	enc, _ := encodingOf(encodingName)
	if enc == asItIs {
		return r
	}
	d := &decodingReader{source: r, chunk: make([]byte, 4<<10)}
	d.encoding = enc
	d.buffer = make([]byte, 0, 4<<10)
	d.give = func(p []byte) { d.ready = append(d.ready, p...) }
	return d
}

// decodingReader drives a decoder by what is read from it.
type decodingReader struct {
	decoder
	source io.Reader
	chunk  []byte
	ready  []byte
	read   int
	heldCR bool
	err    error
}

func (d *decodingReader) Read(p []byte) (int, error) {
	for d.read == len(d.ready) {
		if d.err != nil {
			return 0, d.err
		}
		if len(p) == 0 {
			return 0, nil
		}
		d.ready, d.read = d.ready[:0], 0
		n, err := d.source.Read(d.chunk)
		d.lines(d.chunk[:n])
		if err != nil {
			d.err = err
			if d.heldCR {
				d.decode([]byte{'\r'})
			}
			d.end()
		}
		d.flush()
	}
	n := copy(p, d.ready[d.read:])
	d.read += n
	return n, nil
}

// lines gives the decoder pieces of lines and ends of lines apart.
func (d *decodingReader) lines(p []byte) {
	for len(p) > 0 {
		if d.heldCR {
			d.heldCR = false
			if p[0] == '\n' {
				d.decodeEOL(2)
				p = p[1:]
				continue
			}
			d.decode([]byte{'\r'})
		}
		i := bytes.IndexByte(p, '\n')
		piece := p
		if i >= 0 {
			piece = p[:i]
		}
		cr := len(piece) > 0 && piece[len(piece)-1] == '\r'
		if cr {
			piece = piece[:len(piece)-1]
		}
		d.decode(piece)
		switch {
		case i < 0:
			d.heldCR = cr
			return
		case cr:
			d.decodeEOL(2)
		default:
			d.decodeEOL(1)
		}
		p = p[i+1:]
	}
}
