package letter

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/relais-sante/relais/mailbox/identity"
)

const (
	maxAuthorName     = 100 // characters
	maxSignatureLines = 10
	maxSignatureWidth = 120 // characters
	signatureReach    = 60  // lines from the end in which a signature begins
)

// authorLabels begin the line by which a person at a shared box says who
// writes. The contract names the first and the last.
var authorLabels = []string{"auteure", "auteur", "autrice", "author"}

// maxLabel is more than the bytes of any label, whatever its capitals are.
const maxLabel = 32

// MayNameAuthor reports whether a text may hold such a line, which is quick to
// say no to for most.
func MayNameAuthor(text string) bool {
	for i := 0; i+2 < len(text); i++ {
		if text[i]|0x20 != 'a' || text[i+1]|0x20 != 'u' || text[i+2]|0x20 != 't' { // as every label begins
			continue
		}
		lower := strings.ToLower(text[i:min(i+maxLabel, len(text))])
		for _, l := range authorLabels {
			if strings.HasPrefix(lower, l) {
				return true
			}
		}
	}
	return false
}

// AuthorLine reads "Auteur : NAME" from the first line of new text that is not
// empty, and from no other.
func AuthorLine(newText string) (name string, ok bool) {
	line := ""
	for line == "" && newText != "" {
		line, newText, _ = strings.Cut(newText, "\n")
		line = trimEmphasis(line)
	}
	lower := strings.ToLower(line[:min(len(line), 16)])
	for _, l := range authorLabels {
		if !strings.HasPrefix(lower, l) {
			continue
		}
		rest := trimEmphasis(line[len(l):])
		value, found := strings.CutPrefix(rest, ":")
		if !found {
			value, found = strings.CutPrefix(rest, "\uff1a")
		}
		name = strings.TrimRight(trimEmphasis(value), ".,; ")
		if found && utf8.RuneCountInString(name) <= maxAuthorName && strings.ContainsFunc(name, unicode.IsLetter) {
			return name, true
		}
	}
	return "", false
}

// trimEmphasis takes off white space, invisible characters and the asterisks
// that stand for bold type in the text of an HTML mail.
func trimEmphasis(s string) string {
	return strings.TrimFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || r == '*' || r == '_' || r == '\u200b' || r == '\ufeff'
	})
}

// Signature gives the lines of new text that likely sign it: those behind a
// closing formula and those behind the "-- " line (RFC 3676 §4.3), else the
// last lines if they look like a name and what goes with it. At most ten.
func Signature(newText string) []string {
	lines := strings.Split(plainText(newText), "\n")
	if n := len(lines) - signatureReach; n > 0 {
		lines = lines[n:]
	}
	var formal []string // behind "-- "
	for i := len(lines) - 1; i >= 0; i-- {
		if l := strings.TrimRight(lines[i], " \u00a0\t"); l == "--" {
			formal, lines = lines[i+1:], lines[:i]
			break
		}
	}
	found := behindFormula(lines)
	if found == nil && formal == nil {
		found = lastBlock(lines)
	}
	return signatureLines(append(found, formal...))
}

// signatureLines keeps the lines that can hold a name.
func signatureLines(lines []string) []string {
	var kept []string
	for _, l := range lines {
		l = strings.TrimSpace(l)
		if l == "" || utf8.RuneCountInString(l) > maxSignatureWidth || isDeviceLine(l) {
			continue
		}
		if kept = append(kept, l); len(kept) == maxSignatureLines {
			break
		}
	}
	return kept
}

// isDeviceLine tells the line that a telephone adds.
func isDeviceLine(l string) bool {
	folded := identity.FoldName(l)
	for _, p := range []string{"envoye de mon", "envoye depuis", "envoye a partir de", "obtenir outlook", "obtenez outlook", "telecharger outlook", "sent from", "get outlook"} {
		if strings.HasPrefix(folded, p) {
			return true
		}
	}
	return false
}

// closings end a mail before its signature; alone on their line or before a
// comma. closingStarts begin a longer formula.
var (
	closings = map[string]bool{
		"merci": true, "merci d avance": true, "merci a vous": true, "merci beaucoup": true, "merci par avance": true,
		"cdt": true, "cdlt": true, "bien cdt": true, "bien a vous": true, "bien a toi": true, "a bientot": true,
		"bonne journee": true, "bonne soiree": true, "bonne reception": true, "bonne fin de journee": true,
		"bon week end": true, "amities": true, "regards": true, "best regards": true, "kind regards": true,
		"best": true, "sincerely": true, "thanks": true, "thank you": true, "many thanks": true,
	}
	closingStarts = []string{
		"cordialement", "bien cordialement", "tres cordialement", "confraternellement", "bien confraternellement",
		"amicalement", "bien amicalement", "respectueusement", "sinceres salutations", "salutations", "sincerement",
		"veuillez agreer", "veuillez recevoir", "je vous prie", "nous vous prions", "recevez", "avec mes", "en vous remerciant",
		"bien sincerement", "yours",
	}
)

// behindFormula gives the lines behind the last closing formula, with what
// follows on its own line behind a comma; nil if there is no formula.
func behindFormula(lines []string) []string {
	for i := len(lines) - 1; i >= 0; i-- {
		head, rest, comma := strings.Cut(lines[i], ",")
		if utf8.RuneCountInString(head) > maxSignatureWidth {
			continue
		}
		if !comma {
			head, rest = lines[i], ""
		}
		folded := identity.FoldName(head)
		is := closings[folded]
		for _, start := range closingStarts {
			is = is || folded == start || strings.HasPrefix(folded, start+" ")
		}
		if !is {
			continue
		}
		found := []string{}
		if strings.TrimSpace(rest) != "" {
			found = append(found, rest)
		}
		for _, l := range lines[i+1:] {
			if strings.TrimSpace(l) != "" {
				found = append(found, l)
			}
		}
		return found
	}
	return nil
}

// lastBlock gives the last lines of the last paragraph from the first one that
// looks like a name, if the paragraph is short.
func lastBlock(lines []string) []string {
	end := len(lines)
	for end > 0 && (strings.TrimSpace(lines[end-1]) == "" || isDeviceLine(lines[end-1])) {
		end--
	}
	start := end
	for start > 0 && end-start < 6 && strings.TrimSpace(lines[start-1]) != "" {
		start--
	}
	for i := start; i < end; i++ {
		if likeName(lines[i]) {
			return lines[i:end]
		}
	}
	return nil
}

// notNames begin lines in capitals that sign nothing.
var notNames = map[string]bool{
	"bonjour": true, "bonsoir": true, "cher": true, "chere": true, "chers": true, "hello": true,
	"ok": true, "vu": true, "voir": true, "oui": true, "non": true, "patient": true, "patiente": true, "enfant": true,
}

// likeName reports whether a line, up to what follows the name, has a name's
// form: one to five words, each with a capital.
func likeName(line string) bool {
	line = strings.TrimSpace(line)
	if i := strings.IndexAny(line, ",(|/;"); i >= 0 {
		line = line[:i]
	}
	line, _, _ = strings.Cut(line, " - ")
	if strings.HasSuffix(line, "?") || strings.HasSuffix(line, "!") {
		return false
	}
	words := strings.Fields(strings.TrimRight(line, "."))
	if len(words) == 0 || len(words) > 5 || notNames[identity.FoldName(words[0])] {
		return false
	}
	for _, w := range words {
		r, _ := utf8.DecodeRuneInString(w)
		if !unicode.IsUpper(r) && !particles[w] && !titles[identity.FoldName(w)] {
			return false
		}
	}
	return true
}

var particles = map[string]bool{"de": true, "du": true, "des": true, "la": true, "le": true, "van": true, "von": true, "el": true, "ben": true, "d'": true}
