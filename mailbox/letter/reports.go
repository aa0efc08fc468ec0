package letter

import (
	"strings"

	"github.com/relais-sante/relais/store/journal"
)

// Faults of reports.
const (
	ErrNoRecipient   journal.Fault = "the delivery report names no recipient"
	ErrNoDisposition journal.Fault = "the receipt says no disposition"
)

const (
	maxReportRecipients = 1000
	maxReportValue      = 4096 // beyond it a value is not continued
)

// DSN is a delivery status notification (RFC 3464).
type DSN struct {
	EnvelopeID   string // Original-Envelope-Id: the ENVID that was sent
	ReportingMTA string // without its type
	Recipients   []DSNRecipient
}

// DSNRecipient is what became of one recipient. Addresses come without their
// type ("rfc822;").
type DSNRecipient struct {
	Final      string
	Original   string
	Action     string // lower case: failed, delayed, delivered, relayed, expanded
	Status     string // 5.1.1
	Diagnostic string // without its type
	RemoteMTA  string
}

// ReadDSN reads the message/delivery-status part of a report. Missing and
// superfluous empty lines are tolerated: each Final-Recipient begins another
// recipient.
func ReadDSN(report []byte) (DSN, error) {
	var d DSN
	var r *DSNRecipient
	for _, group := range fieldGroups(report) {
		r = nil
		for _, f := range group {
			name, v := strings.ToLower(f.Name), f.Value
			switch name {
			case "original-envelope-id":
				d.EnvelopeID = v
				continue
			case "reporting-mta":
				d.ReportingMTA = withoutType(v)
				continue
			case "final-recipient", "original-recipient", "action", "status", "diagnostic-code", "remote-mta":
			default:
				continue
			}
			if r == nil || name == "final-recipient" && r.Final != "" ||
				name == "original-recipient" && (r.Original != "" || r.Final != "" && r.Action != "") {
				if len(d.Recipients) == maxReportRecipients {
					return d, nil
				}
				d.Recipients = append(d.Recipients, DSNRecipient{})
				r = &d.Recipients[len(d.Recipients)-1]
			}
			switch name {
			case "final-recipient":
				r.Final = reportAddress(v)
			case "original-recipient":
				r.Original = reportAddress(v)
			case "action":
				r.Action = firstWord(v)
			case "status":
				r.Status = firstWord(v)
			case "diagnostic-code":
				r.Diagnostic = withoutType(v)
			case "remote-mta":
				r.RemoteMTA = withoutType(v)
			}
		}
	}
	for _, r := range d.Recipients {
		if r.Final != "" || r.Original != "" {
			return d, nil
		}
	}
	return d, ErrNoRecipient
}

// MDN is a receipt (RFC 8098), in any of the forms that MSSanté software has
// written it in.
type MDN struct {
	FinalRecipient    string // without its type
	OriginalRecipient string
	OriginalMessageID string // without brackets
	ReportingUA       string
	Action            string   // lower case: manual-action, automatic-action
	Sending           string   // lower case: mdn-sent-manually, mdn-sent-automatically
	Type              string   // lower case: displayed, processed, deleted, dispatched…
	Modifiers         []string // lower case: error…
	// ErrorCode and ErrorText are of the application error: "902" and what
	// follows its first circumflex. The national form has it in a field Error;
	// the older one inside Disposition.
	ErrorCode string
	ErrorText string
}

// Failed reports whether the receiver says that it could not take the mail.
func (m MDN) Failed() bool {
	for _, mod := range m.Modifiers {
		if mod == "error" || mod == "failure" || mod == "failed" {
			return true
		}
	}
	return m.ErrorCode != "" || m.Type == "failed" || m.Type == "denied"
}

// ReadMDN reads the message/disposition-notification part of a receipt.
func ReadMDN(report []byte) (MDN, error) {
	var m MDN
	for _, group := range fieldGroups(report) {
		for _, f := range group {
			v := f.Value
			switch strings.ToLower(f.Name) {
			case "final-recipient":
				m.FinalRecipient = reportAddress(v)
			case "original-recipient":
				m.OriginalRecipient = reportAddress(v)
			case "original-message-id":
				if ids := parseIDs(v, 1); len(ids) > 0 {
					m.OriginalMessageID = ids[0]
				}
			case "reporting-ua":
				m.ReportingUA = visible(v)
			case "disposition":
				if m.Type == "" {
					m.readDisposition(v)
				}
			case "error", "failure":
				if m.ErrorCode == "" && m.ErrorText == "" {
					m.readError(v)
				}
			}
		}
	}
	if m.Type == "" {
		return m, ErrNoDisposition
	}
	return m, nil
}

// readDisposition reads "action/sending; type/modifier,modifier". The older
// national form ends in "/Error: 902^text".
func (m *MDN) readDisposition(v string) {
	modes, what, ok := strings.Cut(v, ";")
	if !ok {
		modes, what = "", v
	}
	action, sending, _ := strings.Cut(modes, "/")
	m.Action, m.Sending = firstWord(action), firstWord(sending)
	kind, modifiers, _ := strings.Cut(what, "/")
	kind, _, _ = strings.Cut(kind, ";")
	m.Type = firstWord(kind)
	name, text, isError := strings.Cut(modifiers, ":")
	if name = strings.ToLower(strings.TrimSpace(name)); isError && (name == "error" || name == "failure") {
		m.Modifiers = []string{name}
		m.readError(text)
		return
	}
	for _, mod := range strings.Split(modifiers, ",") {
		if mod = firstWord(mod); mod != "" && len(m.Modifiers) < 16 {
			m.Modifiers = append(m.Modifiers, mod)
		}
	}
}

// readError reads "902^text^…": digits, then the text up to the next
// circumflex.
func (m *MDN) readError(v string) {
	v = strings.TrimSpace(visible(v))
	code, text, ok := strings.Cut(v, "^")
	if code = strings.TrimSpace(code); !ok || code == "" || len(code) > 8 || strings.Trim(code, "0123456789") != "" {
		m.ErrorText = v
		return
	}
	m.ErrorCode = code
	text, _, _ = strings.Cut(text, "^")
	m.ErrorText = strings.TrimSpace(text)
}

// withoutType takes the type off a typed value: "smtp; 550 no" gives "550 no".
func withoutType(v string) string {
	if kind, rest, ok := strings.Cut(v, ";"); ok && tokenEnd(strings.TrimSpace(kind)) == len(strings.TrimSpace(kind)) {
		v = rest
	}
	return visible(v)
}

// reportAddress gives the address of a typed one, without brackets.
func reportAddress(v string) string {
	return strings.Trim(withoutType(v), "<> \"")
}

// fieldGroups cuts the body of a report into groups of fields.
func fieldGroups(report []byte) [][]Field {
	var groups [][]Field
	var group []Field
	text, _ := rawText(report)
	for line := range strings.SplitSeq(plainText(text), "\n") {
		switch {
		case strings.TrimSpace(line) == "":
			if group != nil {
				groups = append(groups, group)
				group = nil
			}
		case (line[0] == ' ' || line[0] == '\t') && len(group) > 0:
			if f := &group[len(group)-1]; len(f.Value) < maxReportValue {
				f.Value += " " + strings.TrimSpace(line)
			}
		default:
			name, v, ok := strings.Cut(line, ":")
			if name = strings.TrimSpace(name); ok && isFieldName([]byte(name)) {
				group = append(group, Field{Name: name, Value: strings.TrimSpace(v)})
			}
		}
	}
	if group != nil {
		groups = append(groups, group)
	}
	return groups
}

// ReturnedIDs finds, in the header that came back with a report, or in the
// text of a bounce that is none, the identifier of the mail and that of the
// hub's delivery.
func ReturnedIDs(header []byte) (messageID, delivery string) {
	for _, group := range fieldGroups(unquoted(header)) {
		for _, f := range group {
			switch {
			case messageID == "" && strings.EqualFold(f.Name, "Message-ID"):
				if ids := parseIDs(f.Value, 1); len(ids) > 0 {
					messageID = ids[0]
				}
			case delivery == "" && strings.EqualFold(f.Name, "X-Relais-Delivery"):
				delivery = withoutSpace(f.Value)
			}
		}
	}
	return messageID, delivery
}

// unquoted takes quote marks off the beginnings of lines.
func unquoted(b []byte) []byte {
	lines := strings.Split(string(b), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ">") {
			lines[i] = strings.TrimLeft(l, "> ")
		}
	}
	return []byte(strings.Join(lines, "\n"))
}
