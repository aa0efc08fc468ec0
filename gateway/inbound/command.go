package inbound

import (
	"bytes"
	"crypto/tls"
	"errors"
	"strconv"
	"strings"

	"github.com/relais-sante/relais/mailbox"
)

// command looks at a command line before go-smtp does. It returns what go-smtp
// is to read; nothing if the wire answered by itself. The slice may be line.
func (w *wire) command(line []byte) []byte {
	w.counted++
	if w.counted > w.server.limits.Commands {
		w.dismiss(tooManyCommands)
		return nil
	}
	text := strings.TrimRight(string(line), "\r\n")
	for _, c := range []byte(text) {
		// Without SMTPUTF8 commands are ASCII (RFC 5321 §2.4), and go-smtp
		// would repeat a lone CR in its reply.
		if (c < ' ' && c != '\t') || c > '~' {
			w.reply(badCommand)
			return nil
		}
	}
	verb, rest, _ := strings.Cut(text, " ")
	switch strings.ToUpper(verb) {
	case "STARTTLS":
		w.startTLS(rest)
		return nil
	case "BDAT":
		return w.bdat(rest)
	case "MAIL":
		if w.announcesTooMuch(rest) {
			w.reply(answerTo(&mailbox.Refusal{Reason: mailbox.RefuseTooBig}))
			return nil
		}
	case "RCPT":
		return w.rcpt(line, rest)
	case "AUTH":
		if w.busyNow() { // RFC 4954 §4
			w.reply(badSequence)
			return nil
		}
	}
	if strings.HasPrefix(strings.ToUpper(verb), "STARTTLS") {
		w.reply(badCommand) // go-smtp would take it for the real one
		return nil
	}
	return line
}

// startTLS hands the connection to a new wire and a fresh go-smtp connection:
// nothing that was said before counts (RFC 3207 §4.2).
func (w *wire) startTLS(argument string) {
	switch {
	case strings.TrimSpace(argument) != "":
		w.reply(badParameter)
	case w.tls != nil:
		w.reply(tlsAlready)
	case w.in.len() > 0:
		// What came along in clear would otherwise be taken for having come
		// under TLS (CVE-2011-0411).
		w.dismiss(badSequence)
	default:
		w.reply(readyForTLS)
		w.flush()
		if w.hangup {
			return
		}
		w.moved = true
		w.server.upgrade(w)
	}
}

// announcesTooMuch looks for SIZE (RFC 1870) in the arguments of MAIL. go-smtp
// does so too, but takes a size of more than 32 bits for a slip of the pen.
func (w *wire) announcesTooMuch(arguments string) bool {
	for field := range strings.FieldsSeq(arguments) {
		if name, digits, _ := strings.Cut(field, "="); strings.EqualFold(name, "SIZE") {
			size, err := strconv.ParseUint(digits, 10, 64)
			return size > uint64(w.server.limits.MessageBytes) && (err == nil || errors.Is(err, strconv.ErrRange))
		}
	}
	return false
}

// rcpt lets <postmaster> without a domain mean ours (RFC 5321 §4.5.1); go-smtp
// knows only whole addresses.
func (w *wire) rcpt(line []byte, argument string) []byte {
	const bare = "TO:<POSTMASTER>"
	argument = strings.TrimSpace(argument)
	if len(argument) < len(bare) || !strings.EqualFold(argument[:len(bare)], bare) {
		return line
	}
	return []byte("RCPT TO:<postmaster@" + w.server.domain + ">" + argument[len(bare):] + "\r\n")
}

// chunk is a chunk of a BDAT sequence (RFC 3030), as far as it is still to come.
type chunk struct {
	left int64
	last bool
}

// parseChunk reads the argument of BDAT.
func parseChunk(argument string) (chunk, bool) {
	fields := strings.Fields(argument)
	if len(fields) == 0 || len(fields) > 2 || len(fields) == 2 && !strings.EqualFold(fields[1], "LAST") {
		return chunk{}, false
	}
	size, err := strconv.ParseUint(fields[0], 10, 62)
	if err != nil {
		return chunk{}, false
	}
	return chunk{left: int64(size), last: len(fields) == 2}, true
}

// bdat turns a first chunk into a DATA command: go-smtp then asks the session
// for the message, and the message reads the chunks. (go-smtp's own BDAT reads
// the message beside the connection, and reads bytes as commands after a chunk
// size that it does not understand.)
func (w *wire) bdat(argument string) []byte {
	c, ok := parseChunk(argument)
	if !ok {
		w.linger = true
		w.dismiss(badParameter) // where the next command begins is not known
		return nil
	}
	w.chunk, w.chunked = c, true
	w.hush = "354"
	return []byte("DATA\r\n")
}

// throwChunk throws away what is left of a chunk that nobody wanted, and
// reports whether the next thing on the wire is a command.
func (w *wire) throwChunk() bool {
	w.chunked = false
	if w.chunk.left == 0 {
		return true
	}
	if w.chunk.left > w.server.limits.drain() {
		w.chunk = chunk{}
		w.linger, w.hangup = true, true
		return false
	}
	m := w.message()
	for w.chunk.left > 0 {
		if w.in.len() == 0 && m.need() != nil {
			w.chunk = chunk{}
			w.hangup = true
			return false
		}
		n := min(int64(w.in.len()), w.chunk.left)
		w.in.skip(int(n))
		w.chunk.left -= n
	}
	return true
}

// greeting is the reply of go-smtp that a client does not expect after STARTTLS.
const greeting = "220"

// secured makes the wire that goes on over TLS.
func (w *wire) secured(config *tls.Config) *wire {
	over := tls.Server(w.raw, config)
	return &wire{
		server: w.server, id: w.id, slot: w.slot, raw: w.raw, conn: over, tls: over,
		hush: greeting, counted: w.counted, errors: w.errors,
	}
}

// verbOf gives the verb of a command line, in capitals.
func verbOf(line []byte) string {
	verb, _, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(" "))
	return strings.ToUpper(string(verb))
}
