package imap

import (
	"strings"

	"github.com/relais-sante/relais/mailbox/letter"
)

// The fields of an ENVELOPE, in its order (RFC 9051 §7.5.2).
const (
	envDate = iota
	envSubject
	envFrom
	envSender
	envReplyTo
	envTo
	envCc
	envBcc
	envInReplyTo
	envMessageID
	envFields
)

// envelopeField tells which field of an envelope a name is; -1: none.
func envelopeField(name string) int {
	at, want := -1, ""
	switch len(name) {
	case 2:
		switch name[0] | 0x20 {
		case 't':
			at, want = envTo, "to"
		case 'c':
			at, want = envCc, "cc"
		}
	case 3:
		at, want = envBcc, "bcc"
	case 4:
		switch name[0] | 0x20 {
		case 'd':
			at, want = envDate, "date"
		case 'f':
			at, want = envFrom, "from"
		}
	case 6:
		at, want = envSender, "sender"
	case 7:
		at, want = envSubject, "subject"
	case 8:
		at, want = envReplyTo, "reply-to"
	case 10:
		at, want = envMessageID, "message-id"
	case 11:
		at, want = envInReplyTo, "in-reply-to"
	}
	if at >= 0 && !strings.EqualFold(name, want) {
		return -1
	}
	return at
}

// appendEnvelope appends an ENVELOPE. Texts stand as they are in the header,
// with encoded words: the client decodes them. It is made anew each time, from
// the fields in the index, since that is faster than any other way to keep it.
func (c *conn) appendEnvelope(b []byte, fields []letter.Field) []byte {
	var values [envFields]string
	for i := range fields {
		at := envelopeField(fields[i].Name)
		switch {
		case at < 0:
		case values[at] == "":
			values[at] = fields[i].Value
		case at >= envFrom && at <= envBcc:
			// A second From is not hidden behind the first.
			values[at] += ", " + fields[i].Value
		}
	}
	b = append(b, '(')
	b = appendNstring(b, values[envDate], c.utf8)
	b = append(b, ' ')
	b = appendNstring(b, values[envSubject], c.utf8)
	b = append(b, ' ')
	from := len(b)
	b = c.appendAddresses(b, values[envFrom])
	end := len(b)
	for at := envSender; at <= envBcc; at++ {
		b = append(b, ' ')
		start := len(b)
		b = c.appendAddresses(b, values[at])
		// RFC 9051 §7.5.2: the sender, and whom to answer, is From otherwise.
		if at <= envReplyTo && string(b[start:]) == "NIL" {
			b = append(b[:start], b[from:end]...)
		}
	}
	b = append(b, ' ')
	b = appendNstring(b, values[envInReplyTo], c.utf8)
	b = append(b, ' ')
	b = appendNstring(b, values[envMessageID], c.utf8)
	return append(b, ')')
}
