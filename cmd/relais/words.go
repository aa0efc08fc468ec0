package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/identity"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store"
)

// What views hold, said for people.

// day and minute write dates short, in local time.
func (c *cli) day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(texts.T(c.locale, "cli.layout-day", nil))
}

func (c *cli) minute(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(texts.T(c.locale, "cli.layout-minute", nil))
}

func (c *cli) minuteAt(t *time.Time) string {
	if t == nil {
		return ""
	}
	return c.minute(*t)
}

// birth writes a birth date, which is a day of the calendar and of no zone.
func (c *cli) birth(date string) string {
	t, err := time.Parse(time.DateOnly, date)
	if err != nil {
		return date
	}
	return t.Format(texts.T(c.locale, "cli.layout-day", nil))
}

// ago writes how long something has lasted.
func (c *cli) ago(t *time.Time) string {
	if t == nil {
		return ""
	}
	return texts.Duration(c.locale, time.Since(*t))
}

// word says a word of a closed vocabulary; one that this program does not know
// stands for itself.
func word(text string, id texts.ID) string {
	if text == string(id) {
		return text[strings.LastIndexByte(text, '-')+1:]
	}
	return text
}

func (c *cli) statusWord(s string) string {
	return word(texts.T(c.locale, texts.ID("cli.status-"+s), nil), texts.ID("cli.status-"+s))
}

func (c *cli) consentWord(s string) string {
	return word(texts.T(c.locale, texts.ID("cli.consent-"+s), nil), texts.ID("cli.consent-"+s))
}

func (c *cli) memberWord(s string) string {
	return word(texts.T(c.locale, texts.ID("cli.member-"+s), nil), texts.ID("cli.member-"+s))
}

func (c *cli) deliveryWord(s string) string {
	return word(texts.T(c.locale, texts.ID("cli.delivery-"+s), nil), texts.ID("cli.delivery-"+s))
}

func (c *cli) seenWord(s string) string {
	return word(texts.T(c.locale, texts.ID("cli.seen-"+s), nil), texts.ID("cli.seen-"+s))
}

func (c *cli) kindWord(s string) string {
	return word(texts.T(c.locale, texts.ID("cli.kind-"+s), nil), texts.ID("cli.kind-"+s))
}

// lastError says how the last attempt ended: the peer's codes and our own word.
func (c *cli) lastError(s string) string {
	codes, reason := "", s
	if i := strings.LastIndexByte(s, ' '); i >= 0 {
		codes, reason = s[:i], s[i+1:]
	}
	id := texts.ID("cli.reason-" + reason)
	text := texts.T(c.locale, id, nil)
	switch {
	case text == string(id):
		return s
	case codes != "":
		return text + " (" + codes + ")"
	}
	return text
}

// cancelled says why a copy was not sent after all: somebody's doing, or a
// right that was gone.
func (c *cli) cancelled(reason string) string {
	id := texts.ID("cli.cancelled-" + reason)
	if text := texts.T(c.locale, id, nil); text != string(id) {
		return text
	}
	id = texts.ID("why." + reason)
	if text := texts.T(c.locale, id, map[string]any{"rule": ""}); text != string(id) {
		return text
	}
	return reason
}

// clue says by what a pathway or an author was recognised.
func (c *cli) clue(s string) string {
	return word(texts.T(c.locale, texts.ID("cli.clue-"+s), nil), texts.ID("cli.clue-"+s))
}

func (c *cli) heldWord(s string) string {
	return word(texts.T(c.locale, texts.ID("cli.held-"+s), nil), texts.ID("cli.held-"+s))
}

func (c *cli) yesNo(b bool) string {
	if b {
		return texts.T(c.locale, "cli.yes", nil)
	}
	return texts.T(c.locale, "cli.no", nil)
}

// box shows an address. The hub masks a citizen's, which is an INS; should one
// come unmasked all the same, it goes no further.
func (c *cli) box(address string) string {
	a := store.NewAddress(address)
	if !a.Citizen() {
		return address
	}
	return texts.T(c.locale, "op.citizen-box", map[string]any{"ins": identity.Mask(strings.ToUpper(a.Local()))})
}

// author says who wrote, and what that is worth.
func (c *cli) author(a mailbox.AuthorView) string {
	who := a.Name
	if who == "" {
		who = c.box(a.Mailbox)
	}
	args := map[string]any{"who": who, "role": a.Role, "mailbox": c.box(a.Mailbox)}
	switch store.Certainty(a.Certainty) {
	case store.Likely:
		return texts.T(c.locale, "cli.author-likely", args)
	case store.ByBox:
		return texts.T(c.locale, "cli.author-box", args)
	case store.Unknown:
		return texts.T(c.locale, "cli.author-unknown", args)
	}
	return texts.T(c.locale, "cli.author-sure", args)
}

// documents lists documents on one line.
func (c *cli) documents(docs []mailbox.DocumentView) string {
	var names []string
	for _, d := range docs {
		name := d.Filename
		if name == "" {
			name = d.Title
		}
		if name == "" {
			name = d.Type
		}
		names = append(names, name+" ("+strings.Join(append([]string{texts.Size(c.locale, d.Size)}, c.versions(d)...), ", ")+")")
	}
	return strings.Join(names, ", ")
}

// versions says what version of a document this is, and what became of it.
func (c *cli) versions(d mailbox.DocumentView) []string {
	var said []string
	if d.Version != "" && (d.Replaces != "" || d.ReplacedBy != "") {
		said = append(said, texts.T(c.locale, "cli.document-version", map[string]any{"version": d.Version}))
	}
	if d.Replaces != "" {
		said = append(said, texts.T(c.locale, "cli.document-replaces", map[string]any{"document": d.Replaces}))
	}
	if d.ReplacedBy != "" {
		said = append(said, texts.T(c.locale, "cli.document-replaced", map[string]any{"document": d.ReplacedBy}))
	}
	if d.Deleted != nil {
		said = append(said, texts.T(c.locale, "cli.document-deleted", nil))
	}
	return said
}

func count(n int) string { return strconv.Itoa(n) }
