package inbound

import (
	"bytes"
	"io"

	"github.com/relais-sante/relais/mailbox"
)

// frame gives the next bytes of the message without what belongs to the
// protocol. It returns 0, io.EOF at the end.
func (m *message) frame(p []byte) (int, error) {
	if m.wire.chunked {
		return m.frameChunks(p)
	}
	return m.frameDots(p)
}

// frameDots reads DATA: the message ends at CRLF.CRLF and nowhere else; a dot
// that begins any other line was put there by the client (RFC 5321 §4.5.2).
func (m *message) frameDots(p []byte) (n int, err error) {
	in := &m.wire.in
	for n < len(p) {
		b := in.unread()
		if m.lineStart && len(b) > 0 && b[0] == '.' {
			switch {
			case bytes.HasPrefix(b, []byte(".\r\n")):
				if n > 0 {
					return n, nil // the end is for the next call
				}
				in.skip(3)
				return 0, io.EOF
			case len(b) > 2 || len(b) == 2 && b[1] != '\r':
				in.skip(1)
				m.lineStart = false
				continue
			}
			b = nil // not decided yet
		}
		if len(b) == 0 {
			if n > 0 {
				return n, nil
			}
			if err := m.need(); err != nil {
				return 0, err
			}
			continue
		}
		k, err := m.takeLines(b[:min(len(b), len(p)-n)])
		n += copy(p[n:], b[:k])
		in.skip(k)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// takeLines takes lines up to the next that begins with a dot, looking at each
// once. It gives how many bytes that was; the first is none of those dots.
func (m *message) takeLines(b []byte) (n int, err error) {
	for n < len(b) && (n == 0 || !m.lineStart || b[n] != '.') {
		line, lf := b[n:], false
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line, lf = line[:i+1], true
		}
		if err := m.takeLine(line, lf); err != nil {
			return n, err
		}
		n += len(line)
	}
	return n, nil
}

// frameChunks reads BDAT: the message ends with the chunk that says so.
func (m *message) frameChunks(p []byte) (int, error) {
	w := m.wire
	if m.size+w.chunk.left > w.server.limits.MessageBytes {
		return 0, &mailbox.Refusal{Reason: mailbox.RefuseTooBig}
	}
	for w.chunk.left == 0 {
		if w.chunk.last {
			return 0, io.EOF
		}
		if err := m.nextChunk(); err != nil {
			return 0, err
		}
		if m.size+w.chunk.left > w.server.limits.MessageBytes {
			return 0, &mailbox.Refusal{Reason: mailbox.RefuseTooBig}
		}
	}
	if w.in.len() == 0 {
		if err := m.need(); err != nil {
			return 0, err
		}
	}
	b := w.in.unread()
	n := copy(p[:min(int64(len(p)), w.chunk.left)], b)
	w.in.skip(n)
	w.chunk.left -= int64(n)
	for left := b[:n]; len(left) > 0; {
		line, lf := left, false
		if i := bytes.IndexByte(left, '\n'); i >= 0 {
			line, lf = left[:i+1], true
		}
		if err := m.takeLine(line, lf); err != nil {
			return n, err
		}
		left = left[len(line):]
	}
	return n, nil
}

// nextChunk answers for the chunk that was read and reads the next BDAT.
func (m *message) nextChunk() error {
	w := m.wire
	w.reply(chunkTaken)
	for {
		line, ok := w.in.line()
		if !ok {
			if w.in.len() >= maxCommandLine {
				return errCommandLine
			}
			if err := m.need(); err != nil {
				return err
			}
			continue
		}
		w.counted++
		if w.errors >= w.server.limits.Errors || w.counted > w.server.limits.Commands {
			w.dismiss(tooManyCommands)
			return errAborted
		}
		switch verbOf(line) {
		case "BDAT":
			c, ok := parseChunk(string(bytes.TrimRight(line[4:], "\r\n")))
			if !ok {
				w.linger = true
				w.dismiss(badParameter)
				return errAborted
			}
			w.chunk = c
			return nil
		case "NOOP":
			w.reply(nothingDone)
		case "RSET", "QUIT":
			w.again = append([]byte(nil), line...)
			return errAborted
		default:
			w.reply(badSequence)
		}
	}
}
