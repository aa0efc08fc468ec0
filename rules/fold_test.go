package rules

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAppendFolded(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "",
		"Léa, LÉA et lea":            "lea, lea et lea",
		"Éval. du CŒUR, l’été":       "eval. du coeur, l'ete",
		"e\u0301 \u00c6 \u00df":      "e ae \u00df",
		"Ελλάδα Ж 中":                 "ελλάδα ж 中",
		"\xe9t\xe9":                  "\xe9t\xe9",
		"Nguyễn":                     "nguyen",
		strings.Repeat("É", 100_000): strings.Repeat("e", 100_000),
	} {
		if have := string(AppendFolded(nil, text)); have != want {
			t.Errorf("%.40q is folded to %.40q, want %.40q", text, have, want)
		}
		if have := string(AppendFolded([]byte("x"), []byte(text))); have != "x"+want {
			t.Errorf("%.40q as bytes is folded to %.40q", text, have)
		}
	}
}

// TestFoldsEveryASCII: each letter alike wherever it stands.
func TestFoldsEveryASCII(t *testing.T) {
	for c := range byte(utf8.RuneSelf) {
		for n := range 20 {
			text := strings.Repeat(string(rune(c)), n) + "é" + strings.Repeat(string(rune(c)), n)
			low := strings.ToLower(text)
			if have := string(AppendFolded(nil, text)); have != strings.Replace(low, "é", "e", 1) {
				t.Fatalf("%q is folded to %q", text, have)
			}
		}
	}
}

// FuzzAppendFolded: folding twice changes nothing more, and a text may be cut
// between any two characters.
func FuzzAppendFolded(f *testing.F) {
	f.Add("Éléonore d’Œuvre \xff\u0301", 3)
	f.Fuzz(func(t *testing.T, s string, at int) {
		whole := AppendFolded(nil, s)
		if again := AppendFolded(nil, whole); string(again) != string(whole) && utf8.ValidString(s) {
			t.Errorf("%q is folded to %q, then to %q", s, whole, again)
		}
		var one []byte
		for _, r := range s {
			one = AppendFolded(one, string(r))
		}
		if utf8.ValidString(s) && string(one) != string(whole) {
			t.Errorf("%q letter by letter is folded to %q, whole to %q", s, one, whole)
		}
		if at < 0 || at > len(s) || at < len(s) && !utf8.RuneStart(s[at]) || !utf8.ValidString(s) {
			return
		}
		if parts := AppendFolded(AppendFolded(nil, s[:at]), s[at:]); string(parts) != string(whole) {
			t.Errorf("%q cut at %d is folded to %q, whole to %q", s, at, parts, whole)
		}
	})
}
