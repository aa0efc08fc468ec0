package texts

import (
	"testing"
	"time"
)

func TestText(t *testing.T) {
	// A space that does not break the line is written ~ below.
	at := time.Date(2026, 3, 12, 14, 5, 0, 0, time.UTC)
	for _, c := range []struct{ got, want string }{
		{T(French, "time.days", map[string]any{"n": 1}), "1~jour"},
		{T(French, "time.days", map[string]any{"n": 0}), "0~jour"}, // French counts none as one
		{T(French, "time.days", map[string]any{"n": 2_000_000}), "2000000~jours"},
		{T(English, "time.days", map[string]any{"n": 0}), "0 days"},
		{T(English, "time.days", map[string]any{"n": "some"}), "some days"},
		{T("xx", "time.month-8", nil), "août"},
		{T(English, ID("no."+"such"), nil), "no.such"},
		{Both("time.month-8", nil), "août / August"},
		{ASCII("time.month-8", nil), "aout / August"},
		{DateTime(French, at), "12 mars 2026 à 14~h~05"},
		{DateTime(English, at), "12 March 2026 at 14:05"},
		{Date(French, at.AddDate(0, 0, -11)), "1er mars 2026"},
		{Duration(French, 48*time.Hour), "2~jours"},
		{Duration(French, 90*time.Minute), "1~heure 30~minutes"},
		{Duration(English, 25*time.Hour+time.Second), "1 day 1 hour"},
		{Duration(English, 24*time.Hour+time.Minute), "1 day"},
		{Duration(English, 0), "0 seconds"},
		{Size(French, 25<<20), "25~Mio"},
		{Size(French, 1536), "1,5~Kio"},
		{Size(English, 1536), "1.5 KiB"},
		{Size(English, 1<<20-1), "1 MiB"},
		{Size(English, 12), "12 bytes"},
		{List(French, []string{"a", "b", "c"}), "a, b et c"},
		{List(English, []string{"a", "b"}), "a and b"},
		{List(English, []string{"a"}), "a"},
		{List(English, nil), ""},
	} {
		want := ""
		for _, r := range c.want {
			if r == '~' {
				r = '\u00a0'
			}
			want += string(r)
		}
		if c.got != want {
			t.Errorf("got %q, want %q", c.got, want)
		}
	}
}

func TestFold(t *testing.T) {
	for in, want := range map[string]string{
		"Reçu à l’hôpital\r\n250 OK":      "Recu a l'hopital 250 OK",
		"« Cœur » – été…":                 `"Coeur" - ete...`,
		"«\u00a0Élève\u00a0» n°\u202f3 ☎": `"Eleve" no 3 ?`,
		"\x00\x7f":                        "??",
	} {
		if got := Fold(in); got != want {
			t.Errorf("Fold(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestLocale(t *testing.T) {
	for in, want := range map[string]Locale{"fr": French, "fr_FR.UTF-8": French, "en-GB": English, "EN": English} {
		if got, ok := ParseLocale(in); !ok || got != want {
			t.Errorf("ParseLocale(%q) = %q, %v", in, got, ok)
		}
	}
	for _, in := range []string{"", "C", "C.UTF-8", "POSIX", "de_DE", "french"} {
		if _, ok := ParseLocale(in); ok {
			t.Errorf("ParseLocale(%q) found a locale", in)
		}
	}
	env := func(pairs ...string) func(string) string {
		return func(name string) string {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == name {
					return pairs[i+1]
				}
			}
			return ""
		}
	}
	for _, c := range []struct {
		env  func(string) string
		want Locale
	}{
		{env(), French},
		{env("LANG", "en_GB.UTF-8"), English},
		{env("LANG", "en_GB.UTF-8", "LC_ALL", "fr_FR"), French},
		{env("LANG", "en_GB.UTF-8", "LC_MESSAGES", "C"), French},
	} {
		if got := LocaleFromEnv(c.env, French); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
