package letter

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestBaseSubject(t *testing.T) {
	for _, c := range []struct{ subject, want string }{
		{"Bilan", "Bilan"},
		{"Re: Bilan", "Bilan"},
		{"RE : Bilan", "Bilan"},
		{"RE\u00a0: Bilan", "Bilan"},
		{"Ré: Bilan", "Bilan"},
		{"Rép : Bilan", "Bilan"},
		{"RE: RE: Re : Bilan", "Bilan"},
		{"TR : Bilan", "Bilan"},
		{"TR: RE : Bilan", "Bilan"},
		{"Fwd: Bilan", "Bilan"},
		{"FW: Bilan (fwd)", "Bilan"},
		{"[TR] Bilan", "Bilan"},
		{"[Fwd: Bilan]", "Bilan"},
		{"Re[2]: Bilan", "Bilan"},
		{"Re(3) : Bilan", "Bilan"},
		{"AW: WG: Bilan", "Bilan"},
		{"[PON k7f3q2x L.M.] Bilan", "Bilan"},
		{"RE: [PON k7f3q2x L.M.] RE: [PON k7f3q2x] Bilan", "Bilan"},
		{"XDM/1.0/DDM+Compte rendu", "Compte rendu"},
		{"[PON k7f3q2x] RE: XDM/1.0/DDM+Compte rendu", "Compte rendu"},
		{"[Annule et remplace]", "[Annule et remplace]"},
		{"  Bilan \t du  jour ", "Bilan du jour"},
		{"Retour de bilan", "Retour de bilan"},
		{"Trans: x", "x"},
		{"Re:", ""},
		{"Re: Re:", ""},
		{"", ""},
		{"[", "["},
		{"Re[: x", "Re[: x"},
	} {
		if got := BaseSubject(c.subject); got != c.want {
			t.Errorf("%q: got %q, want %q", c.subject, got, c.want)
		}
	}
	long := strings.Repeat("Re: ", 100_000) + "x"
	BaseSubject(long) // is quick
}

func TestCutXDM(t *testing.T) {
	for _, c := range []struct {
		subject, want string
		was           bool
	}{
		{"XDM/1.0/DDM+Compte rendu ESSAI Léo", "Compte rendu ESSAI Léo", true},
		{"xdm/1.0/ddm+CR", "CR", true},
		{"XDM/1.0/DDM", "", true},
		{"XDM/1.0/DDM CR", "CR", true},
		{"RE : XDM/1.0/DDM+CR ", "RE : CR", true},
		{"[KO Intégration système !][902] XDM/1.0/DDM+CR", "[KO Intégration système !][902] CR", true},
		{"  XDM/1.0/DDM+CR", "CR", true},
		{"XDM/1.0/DDMX", "XDM/1.0/DDMX", false},
		{"À propos de XDM/1.0/DDM+CR", "À propos de XDM/1.0/DDM+CR", false},
		{"", "", false},
	} {
		got, was := CutXDM(c.subject)
		if got != c.want || was != c.was {
			t.Errorf("%q: got %q, %v", c.subject, got, was)
		}
	}
}

func TestTags(t *testing.T) {
	for _, c := range []struct{ subject, codes, cut string }{
		{"[PON k7f3q2x L.M.] Bilan", "PON k7f3q2x", "Bilan"},
		{"RE: [PON k7f3q2x L.M.] Bilan", "PON k7f3q2x", "RE: Bilan"},
		{"RE : [pon K7F3Q2X] Bilan", "pon k7f3q2x", "RE : Bilan"},
		{"[PON k7f3q2x] RE: [PON k7f3q2x A.B. pour Anne] Bilan", "PON k7f3q2x|PON k7f3q2x", "RE: Bilan"},
		{"[PON k7f3q2x][NUTRIPAC bcdfghj] x", "PON k7f3q2x|NUTRIPAC bcdfghj", "x"},
		{"Bilan [PON\u00a0k7f3q2x]", "PON k7f3q2x", "Bilan"},
		{"Bilan[PON k7f3q2x]du jour", "PON k7f3q2x", "Bilan du jour"},
		{"[PON k7f3q2x", "", "[PON k7f3q2x"},
		{"[PON k7f3q2] x", "", "[PON k7f3q2] x"},
		{"[PON a7f3q2x] x", "", "[PON a7f3q2x] x"},
		{"[k7f3q2x] x", "", "[k7f3q2x] x"},
		{"PON k7f3q2x x", "", "PON k7f3q2x x"},
		{"[[PON k7f3q2x] x", "PON k7f3q2x", "[ x"},
		{"[TR] Bilan", "", "[TR] Bilan"},
	} {
		var codes []string
		for _, tag := range FindTags(c.subject) {
			codes = append(codes, tag.Programme+" "+tag.Code)
		}
		if got := strings.Join(codes, "|"); got != c.codes {
			t.Errorf("%q: found %q, want %q", c.subject, got, c.codes)
		}
		_, code, ok := FindTag(c.subject)
		if ok != (c.codes != "") || ok && !strings.Contains(c.codes, code) {
			t.Errorf("%q: first is %q, %v", c.subject, code, ok)
		}
		if got := CutTag(c.subject); got != c.cut {
			t.Errorf("%q: cut gives %q, want %q", c.subject, got, c.cut)
		}
	}
}

// However often a subject is answered, it is about the same and carries no tag
// once it is cut.
func TestSubjectAnswered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		about := rapid.StringMatching(`[A-Z][a-zé]{2,8}( [a-z]{1,8}){0,3}`).Draw(t, "about")
		s := about
		for range rapid.IntRange(0, 6).Draw(t, "answers") {
			s = rapid.SampledFrom([]string{"Re: ", "RE : ", "TR : ", "Fwd: ", "[PON k7f3q2x L.M.] ", "XDM/1.0/DDM+"}).Draw(t, "mark") + s
		}
		if got := BaseSubject(s); got != about {
			t.Fatalf("%q is about %q, want %q", s, got, about)
		}
		if tags := FindTags(CutTag(s)); len(tags) > 0 {
			t.Fatalf("%q keeps %v", s, tags)
		}
		if BaseSubject(BaseSubject(s)) != BaseSubject(s) {
			t.Fatal("not stable")
		}
	})
}
