package identity

import (
	"slices"
	"strconv"
	"strings"
)

// MentionsChild reports whether text, a subject or a file name, names the
// person: the whole family name (birth name or name in use) together with the
// first given name or the birth date, as whole words, in any usual spelling.
// A family name alone does not count: too many are shared, or are words.
func MentionsChild(text string, t Traits) bool {
	words := foldWords(text)
	given := givenForms(t.Given)
	dates := dateForms(t.Birth)
	for _, name := range []string{t.Family, t.Used} {
		family := NameKey(name)
		if len(family) < 2 {
			continue
		}
		for _, g := range given {
			// Run together, as some programs name files.
			if slices.Contains(words, family+g) || slices.Contains(words, g+family) {
				return true
			}
		}
		for _, f := range runs(words, family) {
			for _, g := range given {
				if slices.ContainsFunc(runs(words, g), f.apart) {
					return true
				}
			}
			for _, d := range dates {
				if len(runs(words, d)) > 0 {
					return true
				}
			}
		}
	}
	return false
}

// run is a stretch of words, from first to before end.
type run struct{ first, end int }

func (r run) apart(s run) bool { return r.end <= s.first || s.end <= r.first }

// runs finds where consecutive words, set together, spell key. Hyphens and
// spaces inside a name are thus of no account, and only whole words match.
func runs(words []string, key string) []run {
	var found []run
	for i := range words {
		rest, j := key, i
		for rest != "" && j < len(words) {
			var ok bool
			if rest, ok = strings.CutPrefix(rest, words[j]); !ok {
				break
			}
			j++
			if rest == "" {
				found = append(found, run{i, j})
			}
		}
	}
	return found
}

// givenForms are the keys a given name is looked for under: whole, and its
// first word ("Jean" for "Jean-Pierre", the first of a list).
func givenForms(given string) []string {
	words := foldWords(given)
	var forms []string
	if len(words) > 1 {
		forms = append(forms, strings.Join(words, ""))
	}
	if len(words) > 0 && len(words[0]) > 1 {
		forms = append(forms, words[0])
	}
	return forms
}

// frenchMonths are the folded month names, and their usual short forms.
var frenchMonths = [12][]string{
	{"janvier", "janv", "jan"},
	{"fevrier", "fevr", "fev"},
	{"mars"},
	{"avril", "avr"},
	{"mai"},
	{"juin"},
	{"juillet", "juil"},
	{"aout"},
	{"septembre", "sept", "sep"},
	{"octobre", "oct"},
	{"novembre", "nov"},
	{"decembre", "dec"},
}

// dateForms are the spellings of a whole birth date, as keys for runs.
func dateForms(birth string) []string {
	date, ok := ParseBirthDate(birth)
	if !ok || len(date) != len("2006-01-02") {
		return nil
	}
	y, m, d := date[:4], date[5:7], date[8:]
	months := []string{m}
	days := []string{d}
	if m[0] == '0' {
		months = append(months, m[1:])
	}
	if d[0] == '0' {
		days = append(days, d[1:])
	}
	number, _ := strconv.Atoi(m)
	months = append(months, frenchMonths[number-1]...)
	forms := []string{y + m + d}
	for _, month := range months {
		for _, day := range days {
			forms = append(forms, day+month+y, day+month+y[2:])
		}
	}
	if d == "01" {
		for _, month := range frenchMonths[number-1] {
			forms = append(forms, "1er"+month+y)
		}
	}
	return forms
}
