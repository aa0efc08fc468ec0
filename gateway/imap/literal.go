package imap

import (
	"io"
	"strconv"
)

// A literal is announced at the end of a line, and its bytes follow the line
// (RFC 9051 §4.3, RFC 7888). What is in doubt here is what the next byte is, so
// this file decides it alone:
//
//   - {n}: the client waits. It sends nothing if the command is answered.
//   - {n+}: the bytes come whatever is answered. They are read and thrown away
//     if the command does not want them; if they are more than the hub is ready
//     to read the connection is closed.
//   - The bytes of a literal that was accepted come, whatever goes wrong then.
type announcement struct {
	size   int64
	waits  bool // for "+"
	binary bool // literal8 (RFC 3516)
}

// announced reads the announcement that ends line, if one does.
func announced(line []byte) (a announcement, begin int, ok bool) {
	end := len(line) - 1
	if end < 2 || line[end] != '}' {
		return a, 0, false
	}
	a.waits = true
	i := end - 1
	if line[i] == '+' || line[i] == '-' {
		a.waits = false
		i--
	}
	digits := i
	for i >= 0 && digitChar[line[i]] {
		i--
	}
	if i < 0 || line[i] != '{' || i == digits {
		return a, 0, false
	}
	size, err := strconv.ParseInt(string(line[i+1:digits+1]), 10, 64)
	if err != nil {
		size = 1<<63 - 1 // more than anybody takes
	}
	a.size = size
	if i > 0 && line[i-1] == '~' {
		i--
		a.binary = true
	}
	return a, i, true
}

// load takes a line of the command.
func (p *parser) load(line []byte) {
	p.line, p.pending = line, nil
	p.budget -= len(line)
	if a, _, ok := announced(line); ok {
		p.pending = &a
	}
}

// announcement reads the announcement that must be next.
func (p *parser) announcement() (announcement, bool) {
	a, begin, ok := announced(p.line)
	if !ok || begin != 0 {
		p.fail("expected a literal")
		return a, false
	}
	p.line = nil
	return a, true
}

// accept lets the literal come.
func (p *parser) accept(a announcement) *literal {
	if a.waits {
		p.c.text("+ go on\r\n")
	}
	p.pending = nil
	p.open = &literal{c: p.c, left: a.size}
	return p.open
}

// after reads the line that follows a literal.
func (p *parser) after() {
	if err := p.open.discard(); err != nil {
		p.fail("literal without end")
		return
	}
	p.open = nil
	p.nextLine()
}

func (p *parser) nextLine() {
	line, err := p.c.readLine(max(p.budget, 0))
	if err != nil {
		p.c.ended(err)
		p.fail("command without end")
		return
	}
	p.load(line)
}

// shortLiteral reads a literal that is an argument like any other.
func (p *parser) shortLiteral() string {
	a, ok := p.announcement()
	if !ok {
		return ""
	}
	if a.size > int64(p.budget) {
		p.refused = codeTooBig
		p.fail("literal too large")
		return ""
	}
	p.budget -= int(a.size)
	lit := p.accept(a)
	s := make([]byte, a.size)
	if _, err := io.ReadFull(lit, s); err != nil {
		p.fail("literal without end")
		return ""
	}
	p.after()
	return string(s)
}

// abandon reads what still belongs to a command that was not read to its end.
// It reports whether the next byte is that of a command.
func (p *parser) abandon() bool {
	c := p.c
	room := c.server.limits.drain()
	for {
		if c.done || c.err != nil {
			return false
		}
		if p.open == nil {
			a := p.pending
			if a == nil || a.waits {
				return true
			}
			if a.size > room {
				c.bye("[TOOBIG] Trop volumineux / too large")
				return false
			}
			p.open = &literal{c: c, left: a.size}
		}
		room -= p.open.left
		p.budget = c.server.limits.CommandBytes
		p.after()
	}
}
