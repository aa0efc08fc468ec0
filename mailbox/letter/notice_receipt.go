package letter

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// ApplicationError is why the hub could not file what it received, in the
// national numbering that hospital records know (HL7 France, volet
// "transmission d'un document CDA par courriel MSS", 1.1.3).
type ApplicationError int

// National application errors. NoError is for what was filed.
const (
	NoError           ApplicationError = 0
	WrongVersion      ApplicationError = 900 // of a document to replace or delete
	AuthorNotEntitled ApplicationError = 901
	UnknownPatient    ApplicationError = 902
	NoINS             ApplicationError = 903
	DifferentINS      ApplicationError = 904 // or traits
	IncompleteINS     ApplicationError = 905
	OtherError        ApplicationError = 906
)

// Label is the error in words, as the national table has it: French, and for a
// machine's eyes first.
func (e ApplicationError) Label() string {
	switch e {
	case NoError:
		return ""
	case WrongVersion:
		return "Version du document erronée"
	case AuthorNotEntitled:
		return "Auteur non habilité"
	case UnknownPatient:
		return "Identifiant de patient inconnu"
	case NoINS:
		return "INS absente"
	case DifferentINS:
		return "INS ou traits d'identité discordants"
	case IncompleteINS:
		return "INS incomplète"
	}
	return "Autre erreur"
}

// Code is the number as it is written.
func (e ApplicationError) Code() string { return strconv.Itoa(int(e)) }

// Journal implements journal.Safe.
func (e ApplicationError) Journal() string { return e.Code() }

// Receipt is the answer to a post that asked for one: a message disposition
// notification (RFC 8098). It never holds anything of the original but its id,
// and the subject if the caller repeats it.
type Receipt struct {
	Notice                   // Kind is "receipt" and AutoSubmitted "auto-replied" if empty
	OriginalID        string // of the post, without brackets; left out if invalid
	OriginalRecipient string // address the post was sent to; left out if empty
	FinalRecipient    string // the hub's address that answers for it; required
	ReportingUA       string // "host; product"; left out if empty
	Error             ApplicationError
}

// Render writes the whole mail: multipart/report with the text and the
// notification. The third part that RFC 8098 allows, the original, is left out.
func (r *Receipt) Render() ([]byte, error) {
	n := r.Notice
	if n.Kind == "" {
		n.Kind = "receipt"
	}
	if n.AutoSubmitted == "" {
		n.AutoSubmitted = AutoReplied
	}
	w, err := n.header()
	if err != nil {
		return nil, err
	}
	final, err := addrSpec(r.FinalRecipient)
	if err != nil {
		return nil, fmt.Errorf("writing a receipt: field Final-Recipient: %w", err)
	}
	// "=_" cannot come out of quoted-printable, nor stand in the fields below.
	sum := sha256.Sum256([]byte(n.MessageID))
	boundary := "=_relais_" + hex.EncodeToString(sum[:12])
	w.plain("Content-Type", "multipart/report;", "report-type=disposition-notification;", `boundary="`+boundary+`"`)
	w.end()
	w.b = append(w.b, "--"+boundary+"\r\n"...)
	w.textBody(n.Text)
	w.b = append(w.b, "\r\n--"+boundary+"\r\n"...)
	w.plain("Content-Type", "message/disposition-notification")
	w.end()
	w.notification(r, final)
	w.b = append(w.b, "\r\n--"+boundary+"--\r\n"...)
	return w.b, nil
}

// notification writes the fields of RFC 8098 §3.1, in the shape of version
// 1.1.3 of the national volet: the error on a line of its own.
func (w *fieldWriter) notification(r *Receipt, final string) {
	if r.ReportingUA != "" {
		w.plain("Reporting-UA", strings.Fields(asciiText(r.ReportingUA))...)
	}
	if original, err := addrSpec(r.OriginalRecipient); err == nil {
		w.plain("Original-Recipient", "rfc822;"+original)
	}
	w.plain("Final-Recipient", "rfc822;"+final)
	if ValidID(r.OriginalID) {
		w.ids("Original-Message-ID", r.OriginalID)
	}
	const mode = "automatic-action/MDN-sent-automatically;"
	if r.Error == NoError {
		w.plain("Disposition", mode, "processed")
		return
	}
	w.plain("Disposition", mode, "processed/error")
	// On one line: receivers take it apart at the carets.
	w.b = append(w.b, fmt.Sprintf("Error: %d^%s^applicationErrorCondition| E^Error^errorSeverity\r\n", r.Error, asciiText(r.Error.Label()))...)
}

// ReceiptSubject is the subject of a receipt: the original's where it was
// filed, and the national mark of failure before it otherwise.
func ReceiptSubject(original string, e ApplicationError) string {
	if e == NoError {
		return original
	}
	return fmt.Sprintf("[KO Intégration système !][%d] %s", e, original)
}

// asciiText is s without accents, on one line: a notification part is ASCII
// (RFC 8098 §3.1.1).
func asciiText(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Mn, r):
			return -1
		case r > '~':
			return '?'
		}
		return r
	}, norm.NFD.String(cleanText(s, maxName)))
}
