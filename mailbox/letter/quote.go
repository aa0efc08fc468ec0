package letter

import (
	"strings"
	"unicode"
)

const (
	// maxMarkLine is the longest line that can be a mark of quotation.
	maxMarkLine = 500
	// maxAttribution is how many lines an attribution is wrapped over.
	maxAttribution = 4
	// maxHeaderBlock is how many lines of a quoted header are looked at.
	maxHeaderBlock = 12
)

// NewText gives the part of a text that its author wrote now. Quoted lines go,
// wherever they stand, and so do the lines that introduce them; answers
// between quoted lines stay. Behind the mark of an earlier or forwarded mail
// that is not quoted line by line (Outlook, Zimbra, mobiles) nothing is new.
//
// It knows the marks that the mail programs in use write in French and
// English. In doubt less is new: what is read here tells who wrote, and a name
// in an earlier mail must never count.
func NewText(text string) string {
	lines := strings.Split(plainText(text), "\n")
	marks := make([]string, len(lines))
	for i, line := range lines {
		marks[i] = markOf(line)
	}
	var kept []string
	for i := 0; i < len(lines); i++ {
		if isQuoted(lines[i]) {
			continue
		}
		if isSeparator(marks[i]) || isHeaderBlock(marks[i:]) {
			kept = withoutRule(kept)
			break
		}
		if n := attribution(marks[i:]); n > 0 {
			if !quoteFollows(lines[i+n:]) {
				break
			}
			i += n - 1
			continue
		}
		kept = append(kept, lines[i])
	}
	return strings.Trim(strings.Join(kept, "\n"), "\n \t")
}

func isQuoted(line string) bool {
	return strings.HasPrefix(strings.TrimLeft(line, " \t\u00a0"), ">")
}

// quoteFollows reports whether the next line with text is quoted, or there is
// none.
func quoteFollows(lines []string) bool {
	for _, l := range lines {
		if strings.TrimSpace(l) != "" {
			return isQuoted(l)
		}
	}
	return true
}

// withoutRule takes off the line of underscores that Outlook draws above an
// earlier mail.
func withoutRule(lines []string) []string {
	for n := len(lines); n > 0; n-- {
		last := strings.TrimSpace(lines[n-1])
		if last == "" {
			continue
		}
		if len(last) >= 5 && strings.Trim(last, "_-") == "" {
			return lines[:n-1]
		}
		return lines[:n]
	}
	return nil
}

// markOf reduces a line to what marks are recognised by: lower case, single
// plain spaces, no emphasis, none before a colon; "" for a line without text
// or too long to be one.
func markOf(line string) string {
	if len(line) > maxMarkLine {
		return ""
	}
	words := strings.FieldsFunc(strings.ToLower(line), func(r rune) bool {
		return unicode.IsSpace(r) || r == '*' || r == '\u200b' || r == '\ufeff'
	})
	mark := strings.Join(words, " ")
	mark = strings.ReplaceAll(mark, "\uff1a", ":")
	mark = strings.ReplaceAll(mark, "\u2019", "'")
	return strings.ReplaceAll(mark, " :", ":")
}

// mailNouns and earlierWords make up separators: "-----Message d'origine-----",
// "---------- Forwarded message ---------", "----- Mail original -----".
var (
	mailNouns    = []string{"message", "mail", "courriel", "courrier"}
	earlierWords = []string{"origin", "transf", "forward", "réexp", "reexp", "initial", "transmi", "réponse", "reply"}
	passedOnBy   = []string{"transféré par", "transmis par", "réacheminé par", "forwarded by"}
	separators   = []string{
		"begin forwarded message:", "début du message transféré:", "début du message réexpédié:",
		"début du message renvoyé:", "message transféré:", "forwarded message:",
	}
)

// isSeparator reports whether a line says that an earlier or a forwarded mail
// begins.
func isSeparator(mark string) bool {
	for _, s := range separators {
		if mark == s {
			return true
		}
	}
	inner := strings.Trim(mark, "-_=# ")
	if !strings.HasPrefix(mark, "--") && !strings.HasPrefix(mark, "__") && !strings.HasPrefix(mark, "==") {
		return false
	}
	for _, s := range passedOnBy {
		if strings.HasPrefix(inner, s) {
			return true
		}
	}
	closed := strings.TrimRight(mark, ": ")
	return (strings.HasSuffix(closed, "--") || strings.HasSuffix(closed, "__") || strings.HasSuffix(closed, "==")) &&
		containsAny(inner, mailNouns) && containsAny(inner, earlierWords)
}

func containsAny(s string, words []string) bool {
	for _, w := range words {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

// wrote ends an attribution line.
var wrote = []string{"a écrit:", "a ecrit:", "écrivait:", "wrote:", "writes:", "a répondu:"}

// attribution gives how many lines the attribution takes that marks begin
// with: "Le 12 mars 2026 à 10:33, Anne Roux <…> a écrit :", wrapped or not.
// 0 if they begin with none.
func attribution(marks []string) int {
	joined := ""
	dated := false
	for n := 0; n < maxAttribution && n < len(marks); n++ {
		mark := marks[n]
		if mark == "" || isQuoted(mark) {
			return 0
		}
		starts := strings.HasPrefix(mark, "le ") || strings.HasPrefix(mark, "on ")
		if n == 0 {
			dated = starts
		} else if !dated || starts && hasSuffixOf(mark, wrote) {
			return 0 // the attribution begins further down
		}
		joined += " " + mark
		if len(joined) > maxMarkLine {
			return 0
		}
		if !hasSuffixOf(mark, wrote) && !hasSuffixOf(joined, wrote) {
			continue
		}
		if dated && strings.ContainsAny(joined, "0123456789") || strings.Contains(joined, "@") {
			return n + 1
		}
		return 0
	}
	return 0
}

func hasSuffixOf(s string, suffixes []string) bool {
	for _, suffix := range suffixes {
		if strings.HasSuffix(s, suffix) {
			return true
		}
	}
	return false
}

// headerLabels are the field names of quoted headers, by what they stand for.
var headerLabels = map[string]string{
	"de": "from", "from": "from", "expéditeur": "from", "envoyé par": "from",
	"envoyé": "date", "envoyée": "date", "envoyé le": "date", "sent": "date", "date": "date",
	"à": "to", "a": "to", "to": "to", "pour": "to", "destinataire": "to", "destinataires": "to",
	"objet": "subject", "sujet": "subject", "subject": "subject",
	"cc": "copy", "cci": "copy", "bcc": "copy", "copie": "copy", "copie à": "copy",
	"importance": "other", "répondre à": "other", "reply-to": "other", "pièces jointes": "other", "attachments": "other",
}

// label gives what the field name stands for that a line begins with.
func label(mark string) string {
	name, _, ok := strings.Cut(mark[:min(len(mark), 24)], ":")
	if !ok {
		return ""
	}
	return headerLabels[strings.TrimSpace(name)]
}

// isHeaderBlock reports whether marks begin with the header of an earlier
// mail: "De :", "Envoyé :", "À :", "Objet :", in any order, or all in one.
func isHeaderBlock(marks []string) bool {
	first := marks[0]
	if label(first) == "" {
		return false
	}
	if label(first) == "from" && containsAny(first, []string{" envoyé:", " sent:", " date:"}) &&
		containsAny(first, []string{" objet:", " subject:", " sujet:"}) {
		return true
	}
	seen := make(map[string]bool, 4)
	stray := 0 // lines in a row without a label: a long list of recipients
	for n := 0; n < maxHeaderBlock && n < len(marks); n++ {
		kind := label(marks[n])
		if kind == "" {
			if stray++; stray > 3 {
				break
			}
			continue
		}
		stray = 0
		seen[kind] = true
	}
	others := 0
	for _, kind := range []string{"date", "to", "subject"} {
		if seen[kind] {
			others++
		}
	}
	return seen["from"] && others >= 2
}
