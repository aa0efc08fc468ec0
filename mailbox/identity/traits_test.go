package identity

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseBirthDate(t *testing.T) {
	for in, want := range map[string]string{
		"20150302":                "2015-03-02",
		"20150302101500":          "2015-03-02",
		"20150302101500.123+0100": "2015-03-02",
		"20150302-0500":           "2015-03-02",
		"2015-03-02":              "2015-03-02",
		"2015-03-02T10:15:00Z":    "2015-03-02",
		"2015-03-02 10:15":        "2015-03-02",
		"02/03/2015":              "2015-03-02",
		"2/3/2015":                "2015-03-02",
		"02.03.2015":              "2015-03-02",
		" 02-03-2015 ":            "2015-03-02",
		"201503":                  "2015-03",
		"2015-03":                 "2015-03",
		"2015":                    "2015",
		"29/02/2016":              "2016-02-29",
		"29/02/2015":              "",
		"20151301":                "",
		"00000000":                "",
		"1015-03-02":              "",
		"2015030":                 "",
		"02/03/15":                "",
		"hier":                    "",
		"":                        "",
		strings.Repeat("2", 1000): "",
	} {
		if got, ok := ParseBirthDate(in); got != want || ok != (want != "") {
			t.Errorf("ParseBirthDate(%q) = %q, %v; want %q", in, got, ok, want)
		}
	}
}

func TestFoldName(t *testing.T) {
	for in, want := range map[string]string{
		"LE GOFF-PÉRÈS":    "le goff peres",
		"  d'Œuvre ":       "d oeuvre",
		"Nguyễn":           "nguyen",
		"N\u0303un\u0303o": "nuno",
		"Łukasz ßtraus":    "lukasz sstraus",
		"Jean\u00adPierre": "jeanpierre",
		"ROUX_20150302":    "roux 20150302",
		"Léa2015":          "lea 2015",
		"":                 "",
		"--":               "",
		"\xff\xfeabc":      "abc",
	} {
		if got := FoldName(in); got != want {
			t.Errorf("FoldName(%q) = %q, want %q", in, got, want)
		}
	}
	if NameKey("de la Tour") != NameKey("DELATOUR") {
		t.Error("NameKey minds spaces")
	}
}

func TestAgree(t *testing.T) {
	child := Traits{Family: "Dupré", Given: "Maëlle", Birth: "2015-03-02", Sex: "F"}
	with := func(change func(*Traits)) Traits {
		t := child
		change(&t)
		return t
	}
	for _, c := range []struct {
		name string
		a, b Traits
		want Verdict
	}{
		{"themselves", child, child, Same},
		{"no accents, capitals, other date", child, Traits{Family: "DUPRE", Given: "MAELLE", Birth: "02/03/2015", Sex: "f"}, Same},
		{"list of given names", child, Traits{Family: "DUPRE", Given: "MAELLE ROSE MARIE-LOU", Birth: "20150302"}, Same},
		{"sex not known", child, with(func(t *Traits) { t.Sex = "U" }), Same},
		{"other sex", child, with(func(t *Traits) { t.Sex = "M" }), CannotTell},
		{"twin", child, with(func(t *Traits) { t.Given = "Maxence" }), Different},
		{"twin with a shared second name", child, with(func(t *Traits) { t.Given = "Rose Maëlle" }), CannotTell},
		{"initial", child, with(func(t *Traits) { t.Given = "M." }), CannotTell},
		{"another initial", child, with(func(t *Traits) { t.Given = "L." }), Different},
		{"born another day", child, with(func(t *Traits) { t.Birth = "2015-03-03" }), Different},
		{"born that year", child, with(func(t *Traits) { t.Birth = "2015" }), CannotTell},
		{"born another year", child, with(func(t *Traits) { t.Birth = "2014" }), Different},
		{"other family", child, with(func(t *Traits) { t.Family = "Dupont" }), Different},
		{"no given name", child, with(func(t *Traits) { t.Given = "" }), CannotTell},
		{"no birth date", child, with(func(t *Traits) { t.Birth = "" }), CannotTell},
		{"nothing", child, Traits{}, CannotTell},
		{"no birth date and another name", child, Traits{Family: "Martin", Given: "Maëlle"}, Different},
		{"compound family, one part", child, with(func(t *Traits) { t.Family = "DUPRÉ-LEGENDRE" }), Same},
		{"compound family in another order", with(func(t *Traits) { t.Family = "Legendre Dupré" }), with(func(t *Traits) { t.Family = "DUPRE-LEGENDRE" }), Same},
		{"spaces", with(func(t *Traits) { t.Family = "de la Tour" }), with(func(t *Traits) { t.Family = "DELATOUR" }), Same},
		{"only a particle in common", with(func(t *Traits) { t.Family = "Ben" }), with(func(t *Traits) { t.Family = "Ben Salah" }), Different},
		{"name in use", child, with(func(t *Traits) { t.Family, t.Used = "Legendre", "Dupré" }), Same},
		{"compound given name", with(func(t *Traits) { t.Given = "Jean-Pierre" }), with(func(t *Traits) { t.Given = "JEANPIERRE MARIE" }), Same},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Agree(c.a, c.b); got != c.want {
				t.Errorf("got %s, want %s", got.Journal(), c.want.Journal())
			}
			if got := Agree(c.b, c.a); got != c.want {
				t.Errorf("the other way round: got %s, want %s", got.Journal(), c.want.Journal())
			}
		})
	}
}

func TestTraitsDoNotPrint(t *testing.T) {
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, Traits{Family: "Dupré"}); strings.Contains(got, "Dup") {
			t.Errorf("%s shows %q", verb, got)
		}
	}
}

func TestMentionsChild(t *testing.T) {
	child := Traits{Family: "Le Goff", Used: "Legendre", Given: "Maëlle Rose", Birth: "2015-03-02"}
	for text, want := range map[string]bool{
		"PPS de Maëlle LE GOFF":                       true,
		"LEGOFF maelle":                               true,
		"20260105_PPS_LE-GOFF_MAELLE_IPP000123.pdf":   true,
		"legoffmaelle.pdf":                            true,
		"MaelleLegendre.pdf":                          true,
		"Legendre, née le 2 mars 2015":                true,
		"LE GOFF 02/03/2015":                          true,
		"LE GOFF 02-03-15":                            true,
		"LE GOFF 2.3.2015":                            true,
		"LEGOFF20150302.pdf":                          true,
		"Le  Goff\tné 02032015":                       true,
		"LE GOFF 2015-03-02":                          true,
		"XDM/1.0/DDM+CR LE GOFF Maëlle Rose 02/03/15": true,
		"M. Le Goff vous rappelle":                    false,
		"Maëlle va mieux":                             false,
		"Le Goffic Maëlle":                            false,
		"LE GOFF 03/02/2015":                          false,
		"02/03/2015":                                  false,
		"Legoffe maelle":                              false,
		"":                                            false,
	} {
		if got := MentionsChild(text, child); got != want {
			t.Errorf("MentionsChild(%q) = %v", text, got)
		}
	}
	same := Traits{Family: "Martin", Given: "Martin"}
	if MentionsChild("lettre du Dr Martin", same) {
		t.Error("one word counts as family and as given name")
	}
	if !MentionsChild("Martin Martin", same) {
		t.Error("the two names of Martin Martin are not found")
	}
	first := Traits{Family: "Petit", Given: "Ana", Birth: "2015-05-01"}
	if !MentionsChild("PETIT née le 1er mai 2015", first) {
		t.Error("the first of a month is not found")
	}
	if MentionsChild("Ana", Traits{Given: "Ana"}) || MentionsChild("Petit", Traits{Family: "Petit"}) {
		t.Error("traits that are not known match")
	}
}

func TestNameTokens(t *testing.T) {
	got := NameTokens("PPS Le Goff_20150302 Maëlle")
	for _, want := range []string{"le", "legoff", "ppslegoff", "goff", "maelle"} {
		if !slices.Contains(got, want) {
			t.Errorf("%q is not among %v", want, got)
		}
	}
	if slices.Contains(got, "goffmaelle") {
		t.Error("a run goes across a number")
	}
	if n := len(NameTokens(strings.Repeat("aa bb cc dd ee ff gg ", 10000))); n > maxNameTokens {
		t.Errorf("%d tokens", n)
	}
}

// Whoever is mentioned is found by the keys of the text: the look-up never
// misses what the comparison would have seen.
func TestTokensFindWhoIsMentioned(t *testing.T) {
	word := rapid.StringMatching(`[A-ZÉÈa-zéèïœ]{2,8}`)
	rapid.Check(t, func(t *rapid.T) {
		family := strings.Join(rapid.SliceOfN(word, 1, 3).Draw(t, "family"), rapid.SampledFrom([]string{" ", "-", "'"}).Draw(t, "sep"))
		given := word.Draw(t, "given")
		text := "CR_" + family + "_" + given + " " + word.Draw(t, "more")
		child := Traits{Family: strings.ToUpper(family), Given: given}
		if !MentionsChild(text, child) {
			t.Fatalf("%q is not seen in %q", child.Family, text)
		}
		if !slices.Contains(NameTokens(text), NameKey(child.Family)) {
			t.Fatalf("no key of %q finds %q", text, child.Family)
		}
	})
}

func BenchmarkMentionsChild(b *testing.B) {
	child := Traits{Family: "Le Goff", Given: "Maëlle", Birth: "2015-03-02"}
	for b.Loop() {
		MentionsChild("[PON k7f3q2x M.L.] CR de consultation du 12/11/2026, suite des soins à domicile", child)
	}
}
