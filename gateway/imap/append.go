package imap

import (
	"errors"
	"io"

	"github.com/relais-sante/relais/mailbox/folder"
)

// doAppend is RFC 9051 §6.3.12, with several messages (RFC 3502), messages put
// together from others (RFC 4469), binary ones (RFC 3516 §4.4) and UTF-8
// headers (RFC 6855 §4). Bytes go from the network into the floor below as
// they come; either all messages are taken or none.
func (c *conn) doAppend(p *parser) reply {
	p.spaces()
	name := p.mailbox()
	p.spaces()
	if p.failed() {
		return p.result()
	}
	target, err := c.user.Append(c.ctx, name)
	if errors.Is(err, folder.ErrNone) {
		return no(codeTryCreate, "Dossier inexistant / no such folder")
	}
	if err != nil {
		return c.failed(err)
	}
	defer target.Abort()
	messages := 0
	for {
		if messages++; messages > c.server.limits.AppendMessages {
			return no(codeLimit, "Trop de messages en une fois / too many messages")
		}
		if r := c.appendOne(p, target); r != nil {
			return *r
		}
		if !p.take(' ') {
			break
		}
		if p.atEnd() { // some clients send one
			break
		}
	}
	if !p.end() {
		return p.result()
	}
	validity, put, err := target.Commit(c.ctx)
	if err != nil {
		return c.failed(err)
	}
	code := appendUint([]byte("APPENDUID "), uint64(validity))
	code = append(code, ' ')
	for _, u := range put {
		if u == 0 { // it waits for a human: it has no UID to tell
			return ok()
		}
	}
	return okCode(string(appendSet(code, put)))
}

// appendOne reads one message with its flags and date.
func (c *conn) appendOne(p *parser, target folder.Append) *reply {
	var flags folder.Flags
	if p.peek() == '(' {
		flags = p.flags(false)
		p.spaces()
	}
	received := c.server.now()
	if p.peek() == '"' {
		received = p.dateTime()
		p.spaces()
	}
	size := int64(-1)
	var source io.Reader
	var pieces *catenation
	wrapped := false // UTF8 (…)
	switch {
	case p.word("CATENATE"):
		p.spaces()
		p.need('(')
		pieces = &catenation{c: c, p: p}
		source = pieces
	default:
		if wrapped = p.word("UTF8"); wrapped {
			p.spaces()
			p.need('(')
		}
		a, found := p.announcement()
		if !found {
			break
		}
		if a.size > c.server.limits.MessageBytes {
			r := no(codeTooBig, "Message trop volumineux / message too large")
			return &r
		}
		lit := p.accept(a)
		source, size = lit, a.size
		if a.binary && !wrapped {
			source, size = newUnbinary(lit), -1
		}
	}
	if p.failed() {
		r := p.result()
		return &r
	}
	bounded := &atMost{source: source, left: c.server.limits.MessageBytes}
	err := target.Message(size, flags, received, bounded)
	if pieces != nil && pieces.refusal != nil {
		return pieces.refusal
	}
	if err != nil {
		r := c.failed(err)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			r = bad("message without end")
		}
		return &r
	}
	if pieces == nil {
		p.after()
		if wrapped {
			p.need(')')
		}
	}
	if p.failed() {
		r := p.result()
		return &r
	}
	return nil
}

// atMost gives an error where a message is longer than allowed.
type atMost struct {
	source io.Reader
	left   int64
}

func (r *atMost) Read(b []byte) (int, error) {
	n, err := r.source.Read(b)
	if r.left -= int64(n); r.left < 0 {
		return n, folder.ErrTooBig
	}
	return n, err
}
