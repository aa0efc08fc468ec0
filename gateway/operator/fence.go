package operator

import (
	"bytes"
	"errors"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/relais-sante/relais/store/journal"
)

// Faults of a server that says more than it may.
const (
	errLine     = journal.Fault("a line of the server is too long")
	errLiteral  = journal.Fault("the server announces more bytes than may come here")
	errTooMuch  = journal.Fault("the server says more than it was asked")
	errSequence = journal.Fault("the server names message zero")
)

// maxLine bounds a line of the server; those the poller asks for have some
// hundred bytes.
const maxLine = 64 << 10

// fence is the connection imapclient talks on. That client has no time limit for
// a command, keeps what a server sends in memory however much it is, and can be
// made to wait for ever by a message number of zero. Here each step of the
// conversation is allowed a time, a number of responses and of bytes, and one
// literal of a size; beyond that the connection is at its end.
//
// The bytes are looked at as they pass and handed on unchanged. What is refused
// is not handed on.
type fence struct {
	net.Conn
	greeting []byte // for the client to read before anything of the server

	mu      sync.Mutex
	cause   error // of the first read or write that failed
	fenced  bool  // cause is the fence's own
	bytes   int64 // still allowed
	answers int
	literal int64

	// Of the reading side only.
	line     []byte
	inside   int64 // bytes of a literal still to come
	in       bool  // the line goes on a response after a literal
	fetching bool  // that response is a FETCH
}

// allow begins a step: until when it must be over, and what the server may send
// for it besides a literal of at most the given size.
func (f *fence) allow(d time.Duration, answers int, size, literal int64) {
	f.mu.Lock()
	f.bytes, f.answers, f.literal = size+literal, answers, literal
	f.mu.Unlock()
	_ = f.Conn.SetDeadline(time.Now().Add(d)) // of a closed connection: the next read tells
}

// rest takes the time limit off while the hub is busy and asks nothing.
func (f *fence) rest() { _ = f.Conn.SetDeadline(time.Time{}) }

// why is what ended the conversation: a fault of the network, or one that the
// fence found. Neither: the client did not understand the server.
func (f *fence) why() (cause error, fenced bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cause, f.fenced
}

// fail notes what ended the conversation. That this side has closed it already
// is no cause: the client does so when it does not understand the server, while
// a read or a write of its other goroutine is under way.
func (f *fence) fail(err error, fenced bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cause == nil && (fenced || !errors.Is(err, net.ErrClosed)) {
		f.cause, f.fenced = err, fenced
	}
	return err
}

// Read implements [net.Conn].
func (f *fence) Read(p []byte) (int, error) {
	if len(f.greeting) > 0 {
		n := copy(p, f.greeting)
		f.greeting = f.greeting[n:]
		return n, nil
	}
	n, err := f.Conn.Read(p)
	if n > 0 {
		if err := f.inspect(p[:n]); err != nil {
			err = f.fail(err, true) // before a write can find it closed
			f.Conn.Close()
			return 0, err
		}
	}
	if err != nil {
		err = f.fail(err, false)
	}
	return n, err
}

// Write implements [net.Conn].
func (f *fence) Write(p []byte) (int, error) {
	n, err := f.Conn.Write(p)
	if err != nil {
		err = f.fail(err, false)
	}
	return n, err
}

// inspect looks at what has come.
func (f *fence) inspect(b []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.bytes -= int64(len(b)); f.bytes < 0 {
		return errTooMuch
	}
	for len(b) > 0 {
		if f.inside > 0 {
			n := min(f.inside, int64(len(b)))
			f.inside, b = f.inside-n, b[n:]
			continue
		}
		end := bytes.IndexByte(b, '\n') + 1
		if end == 0 {
			end = len(b)
		}
		f.line = append(f.line, b[:end]...)
		b = b[end:]
		if len(f.line) > maxLine {
			return errLine
		}
		if f.line[len(f.line)-1] != '\n' {
			continue
		}
		if err := f.whole(bytes.TrimRight(f.line, "\r\n")); err != nil {
			return err
		}
		f.line = f.line[:0]
	}
	return nil
}

// whole looks at a line: a response, or a part of one between literals
// (RFC 3501 §7).
func (f *fence) whole(line []byte) error {
	if !f.in {
		if f.answers--; f.answers < 0 {
			return errTooMuch
		}
		name := responseName(line)
		if bytes.HasPrefix(line, []byte("* 0 ")) && (name == "FETCH" || name == "EXPUNGE") {
			return errSequence
		}
		f.fetching = name == "FETCH"
	}
	size, announced := literalAt(line)
	f.in = announced && f.fetching
	switch {
	case !announced || !f.fetching && endsInText(line):
		return nil
	case !f.fetching || size > f.literal:
		return errLiteral // of the answers asked for only FETCH has any
	}
	f.literal, f.inside = 0, size
	return nil
}

// responseName is the word that says what an untagged response is.
func responseName(line []byte) string {
	words := bytes.SplitN(line, []byte(" "), 4)
	if len(words) < 2 || string(words[0]) != "*" {
		return ""
	}
	name := words[1]
	if len(name) > 0 && name[0] >= '0' && name[0] <= '9' && len(words) > 2 {
		name = words[2]
	}
	return string(bytes.ToUpper(name))
}

// endsInText: status responses end in words for people, in which braces mean
// nothing.
func endsInText(line []byte) bool {
	switch responseName(line) {
	case "OK", "NO", "BAD", "BYE", "PREAUTH":
		return true
	case "": // tagged, or a continuation
		return true
	}
	return false
}

// literalAt reads {SIZE} at the end of a line.
func literalAt(line []byte) (int64, bool) {
	open := bytes.LastIndexByte(line, '{')
	if open < 0 || line[len(line)-1] != '}' {
		return 0, false
	}
	digits := string(line[open+1 : len(line)-1])
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	if digits == "" {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 1 << 62, true // larger than anything
	}
	return n, true
}

// The limits of a step are the fence's, not the client's.

// SetDeadline implements [net.Conn].
func (f *fence) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements [net.Conn].
func (f *fence) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements [net.Conn].
func (f *fence) SetWriteDeadline(time.Time) error { return nil }
