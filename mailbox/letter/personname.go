package letter

import (
	"slices"
	"strings"
	"unicode"

	"github.com/relais-sante/relais/mailbox/identity"
)

// Bounds of a person's name.
const (
	maxNameBytes = 200
	maxNameWords = 8
)

// titles stand before a name and are no part of it.
var titles = map[string]bool{
	"dr": true, "docteur": true, "doctor": true, "pr": true, "prof": true, "professeur": true, "professor": true,
	"mme": true, "madame": true, "mlle": true, "mademoiselle": true, "m": true, "mr": true, "monsieur": true, "mrs": true, "ms": true,
}

// ofSomebody stand before a name that is not the writer's: "secrétariat du
// Dr Roux", "pour Mme Roux".
var ofSomebody = map[string]bool{
	"de": true, "du": true, "des": true, "d": true, "pour": true, "po": true, "p": true, "o": true, "avec": true, "par": true,
	"chez": true, "a": true, "au": true, "cc": true, "of": true, "for": true, "with": true, "by": true, "to": true, "et": true,
}

// PersonShown gives of a display name what names the person. The national form
// is TITLE_GIVEN_FAMILY_ENTITY (REF2 ECO.2.2.7); what follows the family name is
// no part of it, whoever it names. Any other display name is given back as it
// is.
func PersonShown(display string) string {
	parts := strings.Split(display[:min(len(display), maxNameBytes)], "_")
	if len(parts) < 3 {
		return display
	}
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	title := strings.TrimRight(identity.FoldName(parts[0]), ".")
	if title != "" && !titles[title] || parts[1] == "" && parts[2] == "" {
		return display
	}
	return strings.TrimSpace(strings.Join(parts[:3], " "))
}

// NameIn reports whether one of the lines names that person. Accents, case,
// hyphens and titles do not count, nor whether the family name stands first;
// an initial does for the given name ("A. Roux"), and so does a title alone
// ("Dr Roux"). Only whole words count, and not those of a name that stands for
// somebody else ("secrétariat du Dr Roux").
func NameIn(lines []string, name string) bool {
	if len(name) > maxNameBytes {
		return false
	}
	forms := nameForms(name)
	for _, l := range lines {
		words := strings.Fields(identity.FoldName(l))
		for _, form := range forms {
			if signs(words, form) {
				return true
			}
		}
	}
	return false
}

// IsFamilyName reports whether text is the family name of that person and
// nothing else: "Lenoir" says who writes where a line asks for nothing but a
// name, and would say nothing in a sentence.
func IsFamilyName(text, name string) bool {
	if len(name) > maxNameBytes {
		return false
	}
	_, family := splitName(name)
	return len(family) > 0 && slices.Equal(strings.Fields(identity.FoldName(text)), family)
}

// signs reports whether words hold form, not as somebody else's name.
func signs(words, form []string) bool {
	for i := 0; i+len(form) <= len(words); i++ {
		if !slices.Equal(words[i:i+len(form)], form) {
			continue
		}
		before := i
		for before > 0 && titles[words[before-1]] {
			before--
		}
		if before == 0 || !ofSomebody[words[before-1]] {
			return true
		}
	}
	return false
}

// nameForms gives the word sequences by which a person is named.
func nameForms(name string) [][]string {
	given, family := splitName(name)
	if len(family) == 0 {
		return nil
	}
	all := slices.Concat(given, family)
	forms := [][]string{all}
	if len(given) == 0 {
		return forms
	}
	forms = append(forms, slices.Concat(family, given))
	if len(given)+len(family) > 2 && strings.ToUpper(name) != name {
		// Which words are the family name is a guess: "Anne Le Goff".
		for k := 1; k < len(all); k++ {
			forms = append(forms, slices.Concat(all[k:], all[:k]))
			forms = append(forms, initialForms(all[:k], all[k:])...)
		}
	}
	forms = append(forms, initialForms(given, family)...)
	for t := range titles {
		if t != "m" { // "M. Roux" is an initial as well
			forms = append(forms, slices.Concat([]string{t}, family))
		}
	}
	return forms
}

// initialForms gives the family name with the initials of the given names:
// "j p roux", "jp roux", "j roux", and behind it.
func initialForms(given, family []string) [][]string {
	letters := make([]string, len(given))
	for i, g := range given {
		letters[i] = string([]rune(g)[:1])
	}
	var forms [][]string
	for _, initials := range [][]string{letters, {strings.Join(letters, "")}, letters[:1]} {
		forms = append(forms, slices.Concat(initials, family), slices.Concat(family, initials))
	}
	return forms
}

// splitName parts a person's name into folded given and family names.
func splitName(name string) (given, family []string) {
	_, g, f := partName(name)
	return foldAll(g), foldAll(f)
}

func foldAll(words []string) (folded []string) {
	for _, w := range words {
		folded = append(folded, strings.Fields(identity.FoldName(w))...)
	}
	return folded
}

// partName parts a person's name into titles, given and family names. Words in
// capitals are the family name, else the last word and the particles before
// it.
func partName(name string) (title, given, family []string) {
	words := strings.Fields(name)
	words = words[:min(len(words), maxNameWords)]
	for len(words) > 1 && titles[identity.FoldName(words[0])] {
		title, words = append(title, words[0]), words[1:]
	}
	for _, w := range words {
		if isCapitals(w) {
			family = append(family, w)
		} else {
			given = append(given, w)
		}
	}
	if len(family) > 0 && len(given) > 0 {
		return title, given, family
	}
	last := len(words) - 1
	for last > 1 && particles[strings.ToLower(words[last-1])] {
		last--
	}
	last = max(last, 0)
	return title, words[:last], words[last:]
}

func isCapitals(w string) bool {
	letters := 0
	for _, r := range w {
		if unicode.IsLower(r) {
			return false
		}
		if unicode.IsUpper(r) {
			letters++
		}
	}
	return letters > 1
}

// PersonKey is the name of a person folded, without titles, given names first:
// "Dr Anne LE GOFF" and "Anne Le Goff" give "anne.le.goff". It is what accounts
// of one person are named by.
func PersonKey(name string) string {
	given, family := splitName(name)
	return strings.Join(append(given, family...), ".")
}
