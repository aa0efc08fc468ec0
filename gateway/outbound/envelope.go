package outbound

import (
	"fmt"
	"strconv"

	"github.com/relais-sante/relais/mailbox"
)

// accepted is what the answers to MAIL, RCPT and DATA begin with where a mail
// may go on.
var accepted = [...]string{"250", "25", "354"}

// envelope says MAIL, RCPT and DATA. Where the peer offers PIPELINING all three
// go out as one and their answers are read in order (RFC 2920), so that a copy
// takes two round trips. The failure is that of the first command refused.
func (c *conn) envelope(mail *mailbox.Outgoing, t Timeouts) *failure {
	ends := c.commands(mail)
	said := 0
	for i, end := range ends {
		at := stageMail + stage(i)
		c.wire.allow(t.Command, t.Command)
		if c.pipelining {
			end = len(c.line)
		}
		if said < end {
			if _, err := c.fence.Write(c.line[said:end]); err != nil {
				return &failure{at, err}
			}
			said = end
		}
		if err := c.fence.await(accepted[i]); err != nil {
			if c.pipelining && !broken(err) {
				c.lost = !c.catchUp(at, t)
			}
			return &failure{at, err}
		}
	}
	return nil
}

// catchUp reads what the peer makes of the commands that went out behind the one
// it refused. It reports whether the conversation can go on.
func (c *conn) catchUp(refused stage, t Timeouts) bool {
	recipient := false
	for at := refused + 1; at <= stageData; at++ {
		c.wire.allow(t.Command, t.Command)
		err := c.fence.await(accepted[at-stageMail])
		switch {
		case err != nil && broken(err):
			return false
		case err != nil:
		case at == stageRcpt:
			recipient = true
		case recipient:
			// It waits for a mail that somebody would get, and there is none.
			// Without the final dot it must forget it (RFC 5321 §4.1.1.4).
			return false
		default:
			// It waits for a mail that nobody would get: RFC 2920 §3.1 asks for a
			// lone dot, and the server to refuse that.
			code, _, err := c.fence.say(".")
			return err == nil && code >= 500
		}
	}
	return true
}

// commands writes MAIL, RCPT and DATA to c.line and gives the end of each.
func (c *conn) commands(mail *mailbox.Outgoing) (ends [len(accepted)]int) {
	b := append(append(c.line[:0], "MAIL FROM:<"...), mail.MailFrom...)
	b = append(b, '>')
	if c.eightBit && mail.EightBit {
		// Only then: a peer that is told so must convert or bounce (RFC 6152 §3)
		// what the next one could not have as it is.
		b = append(b, " BODY=8BITMIME"...)
	}
	if c.sized {
		b = strconv.AppendInt(append(b, " SIZE="...), mail.Size, 10)
	}
	if c.dsn {
		// A bounce must not carry the mail back: its header tells the delivery.
		b = append(b, " RET=HDRS"...)
		if mail.EnvID != "" {
			b = appendXtext(append(b, " ENVID="...), mail.EnvID)
		}
	}
	b = append(b, "\r\n"...)
	ends[0] = len(b)
	b = append(append(append(b, "RCPT TO:<"...), mail.RcptTo...), ">\r\n"...)
	ends[1] = len(b)
	b = append(b, "DATA\r\n"...)
	ends[2] = len(b)
	c.line = b
	return ends
}

// appendXtext writes s as xtext (RFC 3461 §4).
func appendXtext(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < '!' || c > '~' || c == '+' || c == '=' {
			b = fmt.Appendf(b, "+%02X", c)
		} else {
			b = append(b, c)
		}
	}
	return b
}
