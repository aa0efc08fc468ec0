// Package texts holds every text that people read, in French and English:
// notices, refusals, command output, problems in files.
//
// Texts live in catalogue/NAME.fr.toml and catalogue/NAME.en.toml, one pair per
// subject; the ids in a pair begin with its name:
//
//	"held.subject" = "Message en attente"           # one form
//	["held.waiting"]                                # plural forms follow {{.n}}
//	one   = "{{.n}} message attend."
//	other = "{{.n}} messages attendent."
//
// Texts of one form stand first: in TOML, what follows a table belongs to it.
//
// Rules that hold here, kept by the tests of this package, which read the
// source of the whole module: both languages have the same ids with the same
// arguments; every id the source names exists, and every id is named somewhere;
// a literal map of arguments gives all of them and no other. So a text is never
// missing where somebody would stumble on it.
//
// The package is a leaf: it imports nothing else of the module.
package texts

import (
	"embed"
	"io/fs"
	"strings"
	"unicode"

	"github.com/nicksnyder/go-i18n/v2/i18n"
	"github.com/pelletier/go-toml/v2"
	"golang.org/x/text/language"
	"golang.org/x/text/unicode/norm"
)

// ID names a text. Ids are constants of this type, or literals handed to the
// functions below, so that the tests see which are used. An id that must be put
// together begins with a literal: ID("held.reason-" + reason).
type ID string

// Locale is a language people are spoken to in.
type Locale string

// Locales.
const (
	French  Locale = "fr"
	English Locale = "en"
)

// Locales lists all of them, the default first.
func Locales() []Locale { return []Locale{French, English} }

// ParseLocale reads a locale as settings, --lang and LANG write it: "fr",
// "fr_FR.UTF-8", "en-GB". It reports false for anything else, among them ""
// and "C", which say nothing of the person's language.
func ParseLocale(s string) (Locale, bool) {
	s, _, _ = strings.Cut(strings.ToLower(s), ".")
	s, _, _ = strings.Cut(strings.ReplaceAll(s, "-", "_"), "_")
	switch l := Locale(s); l {
	case French, English:
		return l, true
	}
	return French, false
}

// LocaleFromEnv reads the locale from the environment in the order POSIX gives
// (LC_ALL, LC_MESSAGES, LANG); the first that is set decides, and otherwise is
// the answer where it says nothing.
func LocaleFromEnv(getenv func(string) string, otherwise Locale) Locale {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if v := getenv(name); v != "" {
			if l, ok := ParseLocale(v); ok {
				return l
			}
			return otherwise
		}
	}
	return otherwise
}

//go:embed catalogue/*.toml
var catalogue embed.FS

var (
	localizers = map[Locale]*i18n.Localizer{}
	faults     []error // files that could not be read; the tests want none
)

func init() {
	bundle := i18n.NewBundle(language.French)
	bundle.RegisterUnmarshalFunc("toml", toml.Unmarshal)
	files, err := fs.Glob(catalogue, "catalogue/*.toml")
	if err != nil {
		faults = append(faults, err)
	}
	for _, file := range files {
		if _, err := bundle.LoadMessageFileFS(catalogue, file); err != nil {
			faults = append(faults, err)
		}
	}
	for _, l := range Locales() {
		localizers[l] = i18n.NewLocalizer(bundle, string(l))
	}
}

// T gives the text in a language. The argument n, if there is one, chooses the
// plural form. A text that is missing falls back to French, then to its id: a
// poor text is better than a lost notice.
func T(l Locale, id ID, args map[string]any) string {
	localizer := localizers[l]
	if localizer == nil {
		localizer = localizers[French]
	}
	config := &i18n.LocalizeConfig{MessageID: string(id), TemplateData: args, PluralCount: args["n"]}
	// The error says that a language or a plural form was missing; the text is
	// then the fallback's.
	text, err := localizer.Localize(config)
	if text == "" && err != nil && config.PluralCount != nil {
		config.PluralCount = nil // not a number
		text, _ = localizer.Localize(config)
	}
	if text == "" {
		return string(id)
	}
	return text
}

// Both gives the text in French and English on one line, for places where the
// reader's language is not known: "Français / English".
func Both(id ID, args map[string]any) string {
	return oneLine(T(French, id, args)) + " / " + oneLine(T(English, id, args))
}

// ASCII is [Both] without accents, for SMTP replies: their text is ASCII
// without SMTPUTF8 (RFC 5321 §4.2, RFC 6531 §3.7.4).
func ASCII(id ID, args map[string]any) string { return Fold(Both(id, args)) }

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

var unfolded = strings.NewReplacer(
	"œ", "oe", "Œ", "OE", "æ", "ae", "Æ", "AE", "ß", "ss",
	"’", "'", "‘", "'", "“", `"`, "”", `"`, "« ", `"`, " »", `"`, "«", `"`, "»", `"`,
	"–", "-", "—", "-", "…", "...", "•", "-", "→", "->", "°", "o", "€", "EUR",
)

// Fold writes s in printable ASCII on one line: accents are taken off, French
// punctuation becomes its plain form, anything else becomes "?".
func Fold(s string) string {
	s = unfolded.Replace(oneLine(s))
	var b strings.Builder
	for _, r := range norm.NFD.String(s) {
		switch {
		case r >= ' ' && r <= '~':
			b.WriteRune(r)
		case unicode.Is(unicode.Mn, r):
		case unicode.IsSpace(r):
			b.WriteByte(' ')
		default:
			b.WriteByte('?')
		}
	}
	return b.String()
}
