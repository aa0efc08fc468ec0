package rules_test

import (
	"strings"
	"testing"

	"github.com/relais-sante/relais/rules"
)

// families is a programme with a role of the family, and a rubric hidden from it.
func families(t *testing.T, settings string) *rules.Programme {
	t.Helper()
	p, problems := rules.Load("familles.toml", []byte(`id = "familles"
name = "Familles"
`+settings+`
[[role]]
id = "idec"
name = "IDEC"
care_team = true
coordinator = true
[[role]]
id = "parent"
name = "Parent"
[[role]]
id = "tuteur"
name = "Tuteur"
family = true
[[role]]
id = "ecole"
name = "École"
[[rubric]]
id = "coordination"
name = "Coordination"
default = true
types = ["PLAN"]
[[rubric]]
id = "ado"
name = "Ado"
types = ["ADO"]
hidden_from_parents = true
[[rule]]
name = "plan"
when = 'any(documents, .code == "PLAN")'
file = ["coordination"]
to = ["all", "parent", "tuteur", "ecole"]
[[rule]]
name = "contraception"
when = 'mentions(message.subject, "contraception")'
hidden_from_parents = true
`), rules.LoadOptions{Dev: true})
	for _, problem := range problems {
		t.Errorf("line %d: %s %v", problem.Line, problem.ID, problem.Args)
	}
	return p
}

func TestSecretForParents(t *testing.T) {
	const everybody, noFamily, careTeam = "idec parent tuteur ecole", "idec ecole", "idec"
	labelled := func(words ...string) rules.Input {
		in := mail("idec", "PLAN")
		in.Facts.Documents[0].Confidentiality = words
		return in
	}
	saying := func(change func(*rules.Input)) rules.Input {
		in := mail("idec", "PLAN")
		change(&in)
		return in
	}
	for _, c := range []struct {
		name, settings, reach string
		in                    rules.Input
	}{
		{"an ordinary plan", "", everybody, mail("idec", "PLAN")},
		{"normal and restricted documents", "", everybody, labelled("N", "R")},
		{"hidden from the legal representatives", "", noFamily, labelled("N", "INVISIBLE_REPRESENTANTS_LEGAUX")},
		{"hidden from the patient, whose box parents read", "", noFamily, labelled("INVISIBLE_PATIENT")},
		{"hidden from third persons", "", careTeam, labelled("MASQUE_PT")},
		{"a document of a hidden rubric among others", "", "idec", mail("idec", "PLAN", "ADO")},
		{"a rule", "", noFamily, saying(func(in *rules.Input) { in.Facts.Message.Subject = "Contraception" })},
		{"a word of the subject", "", noFamily, saying(func(in *rules.Input) { in.Facts.Message.Subject = "[SECRET PARENTS] Suivi" })},
		{"a word of the text", "", noFamily, saying(func(in *rules.Input) { in.Text = "À ne pas montrer aux parents, merci." })},
		{"a word of a file name", "", noFamily, saying(func(in *rules.Input) { in.Facts.Documents[0].Filename = "suivi_confidentiel-parents.pdf" })},
		{"half a word", "", everybody, saying(func(in *rules.Input) { in.Text = "Les parents ont un secret." })},
		{"words of the programme's own", `secret_words = ["jardin secret"]`, noFamily, saying(func(in *rules.Input) { in.Text = "Jardin  secret" })},
		{"which replace the others", `secret_words = ["jardin secret"]`, everybody, saying(func(in *rules.Input) { in.Text = "secret parents" })},
		{"an answer to what is in a hidden rubric", "", "idec", answering(mail("idec"), "ado")},
		{"written to a hidden rubric", "", "idec", writtenTo(mail("idec", "PLAN"), "ado")},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := families(t, c.settings)
			d := p.Decide(c.in)
			if got := strings.Join(p.Reach(d), " "); got != c.reach {
				t.Errorf("reaches %q, want %q", got, c.reach)
			}
			if d.HiddenFromParents != (c.reach != everybody) {
				t.Errorf("hidden from parents: %v", d.HiddenFromParents)
			}
		})
	}
}
