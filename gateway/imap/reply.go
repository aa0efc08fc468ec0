package imap

import (
	"errors"

	"github.com/emersion/go-imap/v2"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store/journal"
)

// reply is the tagged answer to a command (RFC 9051 §7.1). Text for people is
// French and English; it never says more than the client may know.
type reply struct {
	kind journal.Word // "OK", "NO" or "BAD"
	code string       // without brackets
	text string
}

// Response codes that go-imap does not name.
const (
	codeTooBig     = string(imap.ResponseCodeTooBig)
	codeTryCreate  = string(imap.ResponseCodeTryCreate)
	codeBadURL     = "BADURL"
	codeNoUpdate   = "NOUPDATE"
	codeUnknownCTE = string(imap.ResponseCodeUnknownCTE)
	codeLimit      = string(imap.ResponseCodeLimit)
	codeCannot     = string(imap.ResponseCodeCannot)
	codeGone       = "EXPUNGEISSUED"
	codeReadOnly   = "READ-ONLY"
)

func ok() reply                 { return reply{kind: "OK"} }
func okCode(code string) reply  { return reply{kind: "OK", code: code} }
func no(code, why string) reply { return reply{kind: "NO", code: code, text: why} }
func bad(why string) reply      { return reply{kind: "BAD", text: why} }

// someGone is the answer to a command that reads, by number, messages which are
// no longer there though the client could not be told yet: done for the others
// (RFC 5530 §3, EXPUNGEISSUED). RFC 2180 §4.1 lets a server say NO; clients then
// show people an error where there is none.
func someGone() reply {
	return reply{kind: "OK", code: codeGone, text: "Des messages ont disparu / some messages no longer exist"}
}

// refusals are the answers to faults of the floor below.
var refusals = []struct {
	fault journal.Fault
	code  imap.ResponseCode
	text  string
}{
	{folder.ErrNone, imap.ResponseCodeNonExistent, "Dossier inexistant / no such folder"},
	{folder.ErrExists, imap.ResponseCodeAlreadyExists, "Ce dossier existe déjà / folder exists"},
	{folder.ErrName, imap.ResponseCodeCannot, "Nom de dossier impossible / not a folder's name"},
	{folder.ErrNotEmpty, imap.ResponseCodeHasChildren, "Le dossier contient des dossiers / folder has folders below it"},
	{folder.ErrFixed, imap.ResponseCodeNoPerm, "Ce dossier est tenu par le parcours / folder belongs to the hub"},
	{folder.ErrDenied, imap.ResponseCodeNoPerm, "Non autorisé / not allowed"},
	{folder.ErrElsewhere, imap.ResponseCodeCannot, "Ce message est d'un autre parcours / belongs to another pathway"},
	{folder.ErrReadOnly, codeReadOnly, "Ouvert en lecture seule / opened read-only"},
	{folder.ErrQuota, imap.ResponseCodeOverQuota, "Plus de place / over quota"},
	{folder.ErrTooBig, imap.ResponseCodeTooBig, "Message trop volumineux / message too large"},
	{folder.ErrLimit, imap.ResponseCodeLimit, "Trop en une fois / limit reached"},
	{folder.ErrGone, codeGone, "Message disparu / message is gone"},
}

// failed is the answer to an error of the floor below. What it does not know
// is the hub's fault and written down.
func (c *conn) failed(err error) reply {
	for _, r := range refusals {
		if errors.Is(err, r.fault) {
			return no(string(r.code), r.text)
		}
	}
	var refusal *mailbox.Refusal
	if errors.As(err, &refusal) { // of what was to be posted
		code := imap.ResponseCodeCannot
		switch refusal.Reason {
		case mailbox.RefuseFull, mailbox.RefuseUnavailable, mailbox.RefuseUnscanned:
			code = imap.ResponseCodeUnavailable // the client may try again
		}
		return no(string(code), texts.Both(texts.ID("refusal."+string(refusal.Reason)), nil))
	}
	if c.ctx.Err() == nil && c.err == nil && !c.done { // and not the network's
		c.server.log.Error("IMAP command failed", "session", c.id, "command", c.command, "error", err)
	}
	return no(string(imap.ResponseCodeUnavailable), "Réessayez plus tard / try again later")
}

// answer appends the tagged answer.
func (c *conn) answer(tag string, r reply) {
	c.begin()
	c.out = append(c.out, tag...)
	c.out = append(c.out, ' ')
	c.out = append(c.out, r.kind...)
	c.out = append(c.out, ' ')
	if r.code != "" {
		c.out = append(c.out, '[')
		c.out = append(c.out, r.code...)
		c.out = append(c.out, "] "...)
	}
	if r.text == "" {
		r.text = string(c.command) + " completed"
	}
	c.out = append(c.out, r.text...)
	c.out = append(c.out, "\r\n"...)
}
