// Package rules decides: facts about a message in, a decision out. It holds
// the programme files (PON, NUTRIPAC, PARSAC…): loading, checking, evaluating,
// explaining.
//
// It is pure: no clock, no I/O beyond the file system it is handed at load, no
// store. The same facts always give the same decision, so that a decision can
// be explained long after. It knows roles and rubrics, not people: who of a
// team may see a message is the rights function's to say (mailbox), from the
// decision, the team and consent.
//
// docs/programmes.md is the guide for those who write programme files, with
// everything an expression can say.
package rules

import (
	"time"

	"github.com/expr-lang/expr/vm"
)

// Programme is one care programme, loaded from one file and type-checked.
// It is not changed after loading.
type Programme struct {
	ID           string
	Name         string
	SubjectLabel string   // code, initials, name
	Desk         []string // boxes that answer for the programme
	Conversation string   // pathway, post
	Mixed        string   // send, hold
	Receipts     string   // none, urgent, all
	// MissingIdentity says what becomes of a CDA or XDM document that names
	// nobody: hold, file.
	MissingIdentity string
	// SecretWords in subject, text or a file name mark a message secret for
	// parents.
	SecretWords []string
	Roles       []Role
	Rubrics     []Rubric
	Rules       []Rule
	Sources     []Source
	File        string // for messages

	secretWords *wordList // SecretWords as they are looked for
}

// Role is what a member does in the team.
type Role struct {
	ID            string
	Name          string
	CareTeam      bool // of the legal care team (CSP L.1110-12)
	Coordinator   bool
	Codes         []string // national profession codes
	DefaultRubric string
	// Family: parents and other legal representatives, who see nothing that is
	// marked secret for them, and whom the child's majority suspends.
	Family bool
}

// Rubric is a folder of the mailbox.
type Rubric struct {
	ID        string
	Name      string   // folder name
	Types     []string // document codes filed here
	VisibleTo []string // role ids; empty: the whole care team
	Default   bool
	Unclassed bool // takes documents whose code no rubric claims
	// HiddenFromParents: what is filed here is secret for parents.
	HiddenFromParents bool
}

// Rule is one rule; When is an expression over [Facts].
type Rule struct {
	Name      string
	When      string
	File      []string // rubric ids
	To        []string // role ids, or "all"
	Only      []string // role ids
	Urgent    bool
	AckWithin time.Duration
	Notify    []string // role ids told besides, without content
	Hold      bool
	// HiddenFromParents marks the message secret for parents.
	HiddenFromParents bool
	Line              int         // in the programme's file
	program           *vm.Program // When, compiled
}

// Source is the box of a hospital record that may send for any child of its
// establishment.
type Source struct {
	Mailbox       string
	Establishment string
	Name          string
}

// Facts are what the expressions of rules may speak of. Field names in
// expressions are those of the expr tags.
type Facts struct {
	Sender    SenderFacts     `expr:"sender"`
	Message   MessageFacts    `expr:"message"`
	Answers   AnswerFacts     `expr:"answers"`
	Documents []DocumentFacts `expr:"documents"`
	Pathway   PathwayFacts    `expr:"pathway"`
}

// SenderFacts are about the author.
type SenderFacts struct {
	Role          string `expr:"role"`
	Establishment string `expr:"establishment"`
	MailboxType   string `expr:"mailbox_type"`
}

// MessageFacts are about the mail.
type MessageFacts struct {
	Subject string `expr:"subject"`
	Urgent  bool   `expr:"urgent"`
	Auto    bool   `expr:"auto"`
	Size    int    `expr:"size"`
}

// AnswerFacts are about the message it answers; zero when it answers none.
type AnswerFacts struct {
	Rubrics []string `expr:"rubrics"`
	Role    string   `expr:"role"` // of the author of what it answers
}

// DocumentFacts are about one document. Type is the rubric its code belongs
// to, or "" for an untyped one.
type DocumentFacts struct {
	Type            string   `expr:"type"`
	Code            string   `expr:"code"`
	Filename        string   `expr:"filename"`
	Media           string   `expr:"media"`
	Confidentiality []string `expr:"confidentiality"`
}

// PathwayFacts are about the pathway.
type PathwayFacts struct {
	Status    string `expr:"status"`
	Programme string `expr:"programme"`
}

// Input is what Decide needs besides the facts an expression may see.
type Input struct {
	Facts Facts
	// Rubrics are those written to directly (CODE.RUBRIC@), if any.
	Rubrics []string
	// Answers is true when the message answers another; its rubrics are then
	// Facts.Answers.Rubrics.
	Answers bool
	// Replaces is true when it carries a later version of a document: it is
	// filed by its type even if it answers, which still limits it.
	Replaces bool
	// Text of the mail, looked through for words that mark it secret for
	// parents; what it quotes counts.
	Text string
}

// Decision is what the programme's rules say of one message.
type Decision struct {
	Rubrics []string // where it is filed, never empty
	// Filed says by what: address, answer, rule, type, default-rubric, default.
	Filed string
	All   bool     // mailed to every role of the legal care team
	To    []string // roles mailed besides
	// Limited: only the roles in Only may see it at all (the intersection of
	// every Only that matched; possibly empty).
	Limited   bool
	Only      []string
	Grants    []Grant
	Urgent    bool
	AckWithin time.Duration // the shortest; 0: none wanted
	Notify    []string
	Hold      bool
	HeldBy    string // name of the rule that holds
	// HiddenFromParents: no role of the family may see it, nor anybody at the
	// child's own box.
	HiddenFromParents bool
	// DocumentRubrics gives for each document of the facts the rubric its code
	// belongs to ("" for untyped).
	DocumentRubrics []string
	Trail           []Outcome // every rule, in order
}

// Grant is a matched rule that names roles.
type Grant struct {
	Rule    string
	Roles   []string
	Rubrics []string
}

// Outcome is what one rule did.
type Outcome struct {
	Rule    string
	File    string
	Line    int
	Matched bool
	Error   string // set when the expression failed on this message, which holds it
}
