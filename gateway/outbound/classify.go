package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"strings"
	"unicode"

	"github.com/emersion/go-smtp"

	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store"
)

// stage is how far a conversation had come. Before stageMail nothing has been
// said about any copy: what goes wrong there is about the peer.
type stage int

const (
	stageRoute    stage = iota // where to
	stageDial                  // network connection
	stageGreeting              // 220, EHLO
	stageTLS                   // STARTTLS, handshake, certificate
	stageLogin                 // AUTH
	stageMail                  // MAIL
	stageRcpt                  // RCPT
	stageData                  // DATA
	stageBody                  // the bytes
	stageEnd                   // the answer to the final dot
)

// Reasons: our own words for how an attempt ended. They appear in `queue list`,
// in the journal and as a label of metrics.
const (
	reasonRefused    = "refused"     // 5xx about this copy
	reasonDeferred   = "deferred"    // 4xx about this copy
	reasonTooLarge   = "too-large"   // larger than the peer takes
	reasonService    = "service"     // the peer takes no mail now: 4xx, 5xx at greeting or EHLO, 421
	reasonDial       = "dial"        // no network connection
	reasonResolve    = "resolve"     // DNS does not answer
	reasonNoHost     = "no-host"     // the domain does not exist
	reasonNullMX     = "null-mx"     // the domain says that it takes no mail (RFC 7505)
	reasonTLS        = "tls"         // no STARTTLS, or the handshake failed
	reasonLogin      = "login"       // the operator does not let the hub in: our own trouble
	reasonToken      = "token"       // there is nothing to log in with: the identity provider is away
	reasonUntrusted  = "untrusted"   // the certificate is not the peer's; "untrusted-" and a trust.Reason
	reasonUnlisted   = "unlisted"    // the domain is not in the trusted space
	reasonTimeout    = "timeout"     // the peer stalled
	reasonDropped    = "dropped"     // the connection was cut
	reasonProtocol   = "protocol"    // the peer does not speak SMTP
	reasonUnclean    = "unclean"     // the mail cannot be sent unchanged
	reasonAddress    = "address"     // an address that SMTP cannot carry
	reasonErased     = "erased"      // the mail is no longer kept
	reasonStore      = "store"       // the mail cannot be read now
	reasonFault      = "fault"       // a defect of the hub
	reasonStopped    = "stopped"     // the hub stops: cut off before the final dot
	reasonNotStarted = "not-started" // claimed, and handed back
)

// NoRoute says that mail of a domain cannot go anywhere, for good.
type NoRoute struct {
	Reason   string
	Enhanced string // x.y.z of RFC 3463
	Text     string
}

func (e *NoRoute) Error() string { return e.Text }

// untrusted wraps why a peer's certificate was not accepted.
type untrusted struct{ error }

func (e untrusted) Unwrap() error { return e.error }

// unreadable wraps why the mail itself could not be read.
type unreadable struct{ error }

func (e unreadable) Unwrap() error { return e.error }

// failure is what went wrong, and when.
type failure struct {
	at  stage
	err error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// outcome classifies a failure. There is no other place that decides between
// trying again and giving up.
func (f *failure) outcome() mailbox.Outcome {
	out := mailbox.Outcome{Kind: mailbox.OutcomeTemporary, Text: clip(f.err.Error())}
	var (
		reply *smtp.SMTPError
		none  *NoRoute
	)
	switch {
	case refusedLogin(f.err):
		out.Reason = reasonLogin
		if errors.As(f.err, &reply) {
			out.Code, out.Text = reply.Code, clip(reply.Message)
		}
	case errors.As(f.err, &reply):
		f.reply(&out, reply)
	case errors.As(f.err, &none):
		out.Kind, out.Reason, out.Enhanced = mailbox.OutcomePermanent, none.Reason, none.Enhanced
	default:
		out.Kind, out.Reason = f.fault()
	}
	return out
}

// reply classifies what the peer said.
func (f *failure) reply(out *mailbox.Outcome, r *smtp.SMTPError) {
	out.Code, out.Text = r.Code, clip(r.Message)
	if c := r.EnhancedCode; c[0] > 0 {
		out.Enhanced = fmt.Sprintf("%d.%d.%d", c[0], c[1], c[2])
	}
	switch {
	case f.at == stageTLS:
		out.Reason = reasonTLS
	case r.Code == 421 || f.at < stageMail && r.Code >= 400:
		// 5xx here is about us or about the peer's configuration, never
		// about the copy: somebody will put it right.
		out.Reason = reasonService
	case r.Code >= 400 && r.Code < 500:
		out.Reason = reasonDeferred
	case r.Code >= 500 && tooLarge(f.at, r.Code, out.Enhanced):
		out.Kind, out.Reason = mailbox.OutcomeTooLarge, reasonTooLarge
	case r.Code >= 500 && r.Code < 600:
		out.Kind, out.Reason = mailbox.OutcomePermanent, reasonRefused
	default: // 2xx where 354 was due, or the like
		out.Reason = reasonProtocol
	}
}

// tooLarge: 5.3.4 and 5.2.3 are the mail's size (RFC 3463), whatever the code
// before them. A bare 552 is size only at MAIL (RFC 1870 §6.1); later it is as
// likely to be a full box (RFC 5321 §4.2.2).
func tooLarge(at stage, code int, enhanced string) bool {
	return enhanced == "5.3.4" || enhanced == "5.2.3" || code == 552 && enhanced == "" && at == stageMail
}

// fault classifies what went wrong without a reply.
func (f *failure) fault() (mailbox.OutcomeKind, string) {
	err := f.err
	var (
		notTrusted untrusted
		notRead    unreadable
		timeout    net.Error
		dns        *net.DNSError
		bad        textproto.ProtocolError
		nothing    noToken
	)
	switch {
	case errors.As(err, &nothing):
		return mailbox.OutcomeTemporary, reasonToken
	case errors.As(err, &notTrusted):
		var distrust *trust.Distrust
		if errors.As(err, &distrust) {
			return mailbox.OutcomeTemporary, reasonUntrusted + "-" + string(distrust.Reason)
		}
		return mailbox.OutcomeTemporary, reasonUntrusted
	case errors.Is(err, ErrUnclean):
		return mailbox.OutcomePermanent, reasonUnclean
	case errors.As(err, &notRead):
		if errors.Is(err, store.ErrErased) || errors.Is(err, store.ErrNotFound) {
			return mailbox.OutcomePermanent, reasonErased
		}
		return mailbox.OutcomeTemporary, reasonStore
	case f.at == stageRoute, errors.As(err, &dns):
		return mailbox.OutcomeTemporary, reasonResolve
	case f.at == stageDial:
		return mailbox.OutcomeTemporary, reasonDial
	case f.at == stageTLS, tlsFault(err):
		return mailbox.OutcomeTemporary, reasonTLS
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return mailbox.OutcomeTemporary, reasonTimeout
	case errors.Is(err, errAhead), errors.Is(err, errLongReply), errors.Is(err, errNotReply), errors.As(err, &bad):
		return mailbox.OutcomeTemporary, reasonProtocol
	}
	return mailbox.OutcomeTemporary, reasonDropped
}

// tlsFault recognises what TLS says outside the handshake: with TLS 1.3 it is
// over for us before the server has looked at our certificate, and its alert
// comes with the first read.
func tlsFault(err error) bool {
	var (
		record tls.RecordHeaderError
		alert  *net.OpError
	)
	return errors.As(err, &record) || errors.As(err, &alert) && (alert.Op == "remote error" || alert.Op == "local error")
}

// maxText bounds what is kept of a peer's answer, in bytes.
const maxText = 1000

// clip makes a peer's text fit to be kept and shown: bounded, one line, no
// control characters.
func clip(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == unicode.ReplacementChar:
			return '?'
		case unicode.IsControl(r):
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
