package letter

import "strings"

// AutoKind says what made a mail.
type AutoKind string

// Kinds of makers.
const (
	ByPerson  AutoKind = ""          // as far as the mail tells
	Generated AutoKind = "generated" // by a program, and answering nobody
	Replied   AutoKind = "replied"   // an automatic answer
	Notified  AutoKind = "notified"  // auto-notified (RFC 5436): a notification of a mail
)

// Journal implements journal.Safe.
func (k AutoKind) Journal() string { return string(k) }

// Auto says what made a mail, and which sign told.
type Auto struct {
	Kind AutoKind
	Sign string // a word: auto-submitted, dsn, mdn, precedence, x-autoreply, null-sender…
}

// Answer reports whether the mail is an automatic answer, which is recorded
// and never goes on to anybody.
func (a Auto) Answer() bool { return a.Kind == Replied || a.Kind == Notified }

// autoReplyFields tell an automatic answer by being there. That a mail asks not
// to be answered automatically (X-Auto-Response-Suppress) tells nothing: people's
// mail from Exchange asks it too.
var autoReplyFields = []string{
	"x-autoreply", "x-autoreply-from", "x-autorespond", "x-autoresponder", "x-auto-reply", "x-mail-autoreply",
	"x-vacation",
}

// absenceSubjects begin the subject of absence answers. Only with another sign
// do they count: people write such words themselves.
var absenceSubjects = []string{
	"absence du bureau", "absent du bureau", "réponse automatique", "reponse automatique", "message d'absence",
	"automatic reply", "auto reply", "autoreply", "out of office", "out-of-office", "auto:", "[auto",
}

// Automatic tells whether a program made the mail, by RFC 3834 and by the
// signs that programs older than it set.
func Automatic(x *Index) Auto {
	absence := hasAbsenceSubject(x.Envelope.Subject)
	answers := len(x.Envelope.InReplyTo) > 0
	switch {
	case IsDSN(x):
		return Auto{Replied, "dsn"}
	case IsMDN(x):
		return Auto{Replied, "mdn"}
	}
	if v, ok := x.Value("Auto-Submitted"); ok {
		switch word := firstWord(v); {
		case word == "no" || word == "":
			return Auto{}
		case strings.HasPrefix(word, "auto-replied"):
			return Auto{Replied, "auto-submitted"}
		case strings.HasPrefix(word, "auto-notified"):
			return Auto{Notified, "auto-submitted"}
		case absence: // Exchange calls its absence answers auto-generated
			return Auto{Replied, "auto-submitted"}
		default: // auto-generated; RFC 3834 §5: a word not known is like it
			return Auto{Generated, "auto-submitted"}
		}
	}
	for i := range x.Fields {
		name := strings.ToLower(x.Fields[i].Name)
		for _, sign := range autoReplyFields {
			if name == sign && firstWord(x.Fields[i].Value) != "no" {
				return Auto{Replied, name}
			}
		}
	}
	for _, name := range []string{"Precedence", "X-Precedence", "Preference"} {
		v, _ := x.Value(name)
		switch word := firstWord(v); {
		case word == "auto_reply" || word == "auto-reply":
			return Auto{Replied, "precedence"}
		case word != "bulk" && word != "junk" && word != "list":
		case absence:
			return Auto{Replied, "precedence"}
		default:
			return Auto{Generated, "precedence"}
		}
	}
	if v, ok := x.Value("Return-Path"); ok && (strings.TrimSpace(v) == "<>" || strings.TrimSpace(v) == "") {
		if absence || answers {
			return Auto{Replied, "null-sender"}
		}
		return Auto{Generated, "null-sender"}
	}
	if _, suppress := x.Value("X-Auto-Response-Suppress"); absence && (suppress || answers) {
		return Auto{Replied, "absence"}
	}
	if _, list := x.Value("List-Id"); list {
		return Auto{Generated, "list"}
	}
	return Auto{}
}

func hasAbsenceSubject(subject string) bool {
	s := strings.ToLower(strings.TrimSpace(subject))
	for _, a := range absenceSubjects {
		if strings.HasPrefix(s, a) {
			return true
		}
	}
	return false
}

// firstWord gives the first word of a value, lower case, without what follows
// a semicolon or a comment.
func firstWord(v string) string {
	v = strings.ToLower(skipSpace(v))
	if i := strings.IndexAny(v, "; \t("); i >= 0 {
		v = v[:i]
	}
	return v
}

// IsDSN reports whether the mail is a delivery status notification (RFC 3464).
func IsDSN(x *Index) bool { return isReport(x, "delivery-status") }

// IsMDN reports whether the mail is a receipt (RFC 8098).
func IsMDN(x *Index) bool { return isReport(x, "disposition-notification") }

// isReport looks for a multipart/report of that kind: the mail itself, or the
// first part of what a gateway wrapped around it.
func isReport(x *Index, kind string) bool {
	p := &x.Root
	if p.Type == "multipart" && p.Subtype != "report" && len(p.Parts) > 0 {
		p = &p.Parts[0]
	}
	if p.Media() != "multipart/report" {
		return false
	}
	for i := range p.Parts {
		if q := &p.Parts[i]; q.Type == "message" && strings.TrimPrefix(q.Subtype, "global-") == kind {
			return true
		}
	}
	return strings.EqualFold(p.Params["report-type"], kind)
}

// bounceSubjects begin the subjects of bounces, in the programs that are met.
var bounceSubjects = []string{
	"undelivered mail returned to sender", "undeliverable", "mail delivery failed", "mail delivery failure",
	"delivery status notification", "delivery failure", "failure notice", "returned mail", "mail system error",
	"delivery notification", "message non distribué", "message non remis", "non remis", "non distribuable",
	"échec de la remise", "échec de remise", "avis de non-remise", "notification de non-remise", "warning: could not send",
	"mail non remis", "retour du courrier",
}

// LooksLikeBounce reports whether a mail that is no proper report says all the
// same that a mail was not delivered. The envelope sender must be empty or the
// mail from MAILER-DAEMON or postmaster, and the subject one of bounces, or the
// failed recipients be named as Exim does.
func LooksLikeBounce(x *Index, mailFrom string) bool {
	system := strings.Trim(mailFrom, "<> ") == ""
	for _, m := range x.Envelope.From {
		local, _, _ := strings.Cut(strings.ToLower(m.Address), "@")
		system = system || local == "mailer-daemon" || local == "postmaster"
	}
	if !system {
		return false
	}
	if _, ok := x.Value("X-Failed-Recipients"); ok {
		return true
	}
	s := strings.ToLower(strings.TrimSpace(x.Envelope.Subject))
	for _, b := range bounceSubjects {
		if strings.HasPrefix(s, b) {
			return true
		}
	}
	return false
}
