package rules

import (
	"os"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"
)

// spaced is what appendSpaced does, said plainly.
func spaced(s string) string {
	words := strings.FieldsFunc(fold(s), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	if len(words) == 0 {
		return " "
	}
	return " " + strings.Join(words, " ") + " "
}

func TestSpacedRunes(t *testing.T) {
	last := rune(0x3400)
	if os.Getenv("RELAIS_LONG") != "" {
		last = unicode.MaxRune
	}
	for r := rune(0); r <= last; r++ {
		s := "a" + string(r) + "b"
		if got, want := string(appendSpaced(nil, s)), spaced(s); got != want {
			t.Fatalf("%U: %q, want %q", r, got, want)
		}
	}
}

func TestSpacedTexts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.RuneFrom([]rune("aEé’œ\u0301\u00a0-–. 1\U0001F600"))),
			rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "text")
		if got, want := string(appendSpaced(nil, s)), spaced(s); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	})
}

func TestMentionsAny(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		some := rapid.StringOf(rapid.RuneFrom([]rune("abÉ -")))
		text, words := some.Draw(t, "text"), rapid.SliceOf(some).Draw(t, "words")
		want := false
		for _, w := range words {
			want = want || spaced(w) != " " && strings.Contains(spaced(text), spaced(w))
		}
		if mentions(text, words...) != want {
			t.Fatalf("%q mentions one of %q: %v", text, words, !want)
		}
	})
}

func BenchmarkMentions(b *testing.B) {
	text := strings.Repeat("Surveillance de routine, rien à signaler aujourd'hui. Bien à vous.\n", 60)
	words := alone(defaultSecretWords)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if mentionsAny(text, words) {
			b.Fatal("mentioned")
		}
	}
}
