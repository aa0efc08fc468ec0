package rules_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/relais-sante/relais/rules"
)

// head has a care team of three, a psychologist among them, and a school
// outside; tests add their rules.
const head = `id = "essai"
name = "Essai"
MIXED
[[role]]
id = "idec"
name = "IDEC"
care_team = true
coordinator = true
[[role]]
id = "kine"
name = "Kinésithérapeute"
care_team = true
[[role]]
id = "psychologue"
name = "Psychologue"
care_team = true
default_rubric = "psy"
[[role]]
id = "ecole"
name = "École"
[[rubric]]
id = "coordination"
name = "Coordination"
[[rubric]]
id = "bio"
name = "Biologie"
types = ["BIO"]
[[rubric]]
id = "plan"
name = "Plan"
types = ["PLAN"]
[[rubric]]
id = "psy"
name = "Psychologie"
types = ["PSY"]
visible_to = ["idec", "psychologue"]
[[rubric]]
id = "a-classer"
name = "À classer"
`

func programme(t testing.TB, settings string, rule ...string) *rules.Programme {
	t.Helper()
	src := strings.Replace(head, "MIXED", settings, 1)
	for i, r := range rule {
		src += fmt.Sprintf("[[rule]]\nname = \"r%d\"\n%s\n", i+1, strings.ReplaceAll(r, "; ", "\n"))
	}
	p, problems := rules.Load("essai.toml", []byte(src), rules.LoadOptions{Dev: true})
	for _, problem := range problems {
		if !problem.Warning {
			t.Fatalf("line %d: %s %v", problem.Line, problem.ID, problem.Args)
		}
	}
	return p
}

// mail makes facts: who writes, and the codes of the documents ("-": untyped).
func mail(role string, codes ...string) rules.Input {
	in := rules.Input{Facts: rules.Facts{Sender: rules.SenderFacts{Role: role}, Message: rules.MessageFacts{Subject: "Bilan de Zoé"}}}
	for _, code := range codes {
		in.Facts.Documents = append(in.Facts.Documents, rules.DocumentFacts{Code: strings.Trim(code, "-")})
	}
	return in
}

func answering(in rules.Input, rubrics ...string) rules.Input {
	in.Answers, in.Facts.Answers.Rubrics = true, rubrics
	return in
}

func writtenTo(in rules.Input, rubrics ...string) rules.Input {
	in.Rubrics = rubrics
	return in
}

// story tells a decision on one line.
func story(p *rules.Programme, d rules.Decision) string {
	s := strings.Join(d.Rubrics, "+") + " by " + d.Filed + " to " + strings.Join(p.Reach(d), "+")
	if d.Limited {
		s += " only " + strings.Join(d.Only, "+")
	}
	if d.Urgent {
		s += " urgent"
	}
	if d.AckWithin > 0 {
		s += " within " + d.AckWithin.String()
	}
	if len(d.Notify) > 0 {
		s += " notify " + strings.Join(d.Notify, "+")
	}
	if d.Hold {
		s += " held by " + d.HeldBy
	}
	return s
}

func TestDecide(t *testing.T) {
	for _, c := range []struct {
		name     string
		settings string
		rules    []string
		in       rules.Input
		want     string
	}{
		// No rule matches.
		{"a plain mail", "", nil, mail("kine"), "coordination by default to idec+kine+psychologue"},
		{"of an unknown author", "", nil, mail(""), "coordination by default to idec+kine+psychologue"},
		{"of a psychologist", "", nil, mail("psychologue"), "psy by default-rubric to idec+psychologue"},
		{"of a psychologist, with a plain PDF", "", nil, mail("psychologue", "-"), "psy by default-rubric to idec+psychologue"},
		{"a typed document", "", nil, mail("kine", "BIO"), "bio by type to idec+kine+psychologue"},
		{"a typed document of a psychologist", "", nil, mail("psychologue", "BIO"), "bio by type to idec+kine+psychologue"},
		{"an untyped one beside it adds nothing", "", nil, mail("psychologue", "-", "BIO"), "bio by type to idec+kine+psychologue"},
		{"two types, in the programme's order", "", nil, mail("kine", "PLAN", "BIO"), "bio+plan by type to idec+kine+psychologue"},
		{"two types, one narrow", "", nil, mail("kine", "BIO", "PSY"), "bio+psy by type to idec+psychologue"},
		{"a code nobody claims", "", nil, mail("kine", "99999-9"), "a-classer by type to idec"},
		{"it narrows what comes with it", "", nil, mail("kine", "99999-9", "BIO"), "bio+a-classer by type to idec"},

		// Written to a rubric.
		{"straight into a rubric", "", nil, writtenTo(mail("kine"), "bio"), "bio by address to idec+kine+psychologue"},
		{"a document's own rubric stays its limit", "", nil, writtenTo(mail("kine", "PSY"), "bio"), "bio by address to idec+psychologue only idec+psychologue"},
		{"rules do not file it elsewhere", "", []string{`when = 'true'; file = ["plan"]`}, writtenTo(mail("kine"), "bio"), "bio by address to idec+kine+psychologue"},
		{"into a rubric that is not there", "", nil, writtenTo(mail("kine"), "x"), "coordination by default to idec+kine+psychologue"},

		// An answer.
		{"where what it answers is", "", nil, answering(mail("kine"), "psy"), "psy by answer to idec+psychologue"},
		{"in all of its rubrics", "", nil, answering(mail("kine"), "psy", "bio"), "bio+psy by answer to idec+psychologue"},
		{"with a document of another type", "", nil, answering(mail("kine", "PSY"), "bio"), "bio by answer to idec+psychologue only idec+psychologue"},
		{"written to a rubric, it stays as narrow", "", nil, writtenTo(answering(mail("kine"), "psy"), "bio"), "bio by address to idec+psychologue only idec+psychologue"},
		{"rules do not file it elsewhere either", "", []string{`when = 'true'; file = ["plan"]`}, answering(mail("kine"), "bio"), "bio by answer to idec+kine+psychologue"},
		{"to what lay in a rubric gone since", "", nil, answering(mail("kine"), "gone"), "coordination by default to idec only idec"},

		// Rules.
		{"file adds up", "", []string{`when = 'true'; file = ["plan"]`, `when = 'true'; file = ["bio"]`}, mail("kine"), "bio+plan by rule to idec+kine+psychologue"},
		{"to adds up, and replaces all", "", []string{`when = 'true'; to = ["kine"]`, `when = 'true'; to = ["idec"]`}, mail("kine"), "coordination by default to idec+kine"},
		{"all is the care team", "", []string{`when = 'true'; to = ["all"]`, `when = 'true'; to = ["kine"]`}, mail("kine"), "coordination by default to idec+kine+psychologue"},
		{"only meets", "", []string{`when = 'true'; only = ["kine", "idec"]`, `when = 'true'; only = ["idec", "psychologue"]`}, mail("kine"), "coordination by default to idec only idec"},
		{"only may leave nobody", "", []string{`when = 'true'; only = ["kine"]`, `when = 'true'; only = ["idec"]`}, mail("kine"), "coordination by default to  only "},
		{"a rule that does not match says nothing", "", []string{`when = 'message.urgent'; to = ["kine"]; only = ["kine"]; hold = true`}, mail("kine"), "coordination by default to idec+kine+psychologue"},
		{"to does not open a rubric", "", []string{`when = 'true'; to = ["all", "kine"]`}, mail("kine", "PSY"), "psy by type to idec+psychologue"},
		{"file apart from a narrow document", "", []string{`when = 'true'; file = ["bio"]`}, mail("kine", "PSY"), "bio by rule to idec+psychologue only idec+psychologue"},
		{"urgent, soonest, told besides", "", []string{`when = 'true'; urgent = true; ack_within = "4h"; notify = ["psychologue"]`, `when = 'true'; ack_within = "1h"; notify = ["idec", "psychologue"]`}, mail("kine"), "coordination by default to idec+kine+psychologue urgent within 1h0m0s notify idec+psychologue"},
		{"held", "", []string{`when = 'true'; hold = true`, `when = 'true'; hold = true`}, mail("kine"), "coordination by default to idec+kine+psychologue held by r1"},
		{"a rule that fails holds", "", []string{`when = 'documents[0].code == "BIO"'; to = ["kine"]`}, mail("kine"), "coordination by default to idec+kine+psychologue held by r1"},

		// Outside the care team.
		{"by role and rubric", "", []string{`when = 'any(documents, .type == "plan")'; file = ["plan"]; to = ["all", "ecole"]`}, mail("kine", "PLAN"), "plan by rule to idec+kine+psychologue+ecole"},
		{"not without the rule", "", nil, mail("kine", "PLAN"), "plan by type to idec+kine+psychologue"},
		{"not in another rubric", "", []string{`when = 'true'; file = ["plan"]; to = ["all", "ecole"]`, `when = 'true'; file = ["bio"]`}, mail("kine", "PLAN"), "bio+plan by rule to idec+kine+psychologue"},
		{"not with another document", "", []string{`when = 'true'; file = ["plan"]; to = ["all", "ecole"]`}, mail("kine", "PLAN", "BIO"), "plan by rule to idec+kine+psychologue only idec+kine+psychologue"},
		{"not where it may not see", "", []string{`when = 'true'; file = ["psy"]; to = ["all", "ecole"]`}, mail("kine"), "psy by rule to idec+psychologue"},
		{"not without a rubric", "", []string{`when = 'true'; to = ["all", "ecole"]`}, mail("kine", "PLAN"), "plan by type to idec+kine+psychologue"},

		// mixed = "hold".
		{"different sight is held", `mixed = "hold"`, nil, mail("kine", "BIO", "PSY"), "bio+psy by type to idec+psychologue held by mixed"},
		{"the same sight is not", `mixed = "hold"`, nil, mail("kine", "BIO", "PLAN", "-"), "bio+plan by type to idec+kine+psychologue"},
		{"wherever it was written to", `mixed = "hold"`, nil, writtenTo(mail("kine", "BIO", "PSY"), "psy"), "psy by address to idec+psychologue only idec+kine+psychologue held by mixed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := programme(t, c.settings, c.rules...)
			if got := story(p, p.Decide(c.in)); got != c.want {
				t.Errorf("\ngot  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestTrailAndGrants(t *testing.T) {
	p := programme(t, "",
		`when = 'any(documents, .code == "PLAN")'; file = ["plan"]; to = ["all", "ecole", "kine"]`,
		`when = 'message.urgent'; to = ["ecole"]`,
		`when = 'documents[3].code == "x"'; hold = true`,
		`when = 'true'; to = ["all"]`)
	d := p.Decide(mail("kine", "PLAN", "-", "none"))
	trail := []rules.Outcome{
		{Rule: "r1", File: "essai.toml", Matched: true},
		{Rule: "r2", File: "essai.toml"},
		{Rule: "r3", File: "essai.toml", Error: "failed"},
		{Rule: "r4", File: "essai.toml", Matched: true},
	}
	if diff := cmp.Diff(trail, d.Trail, cmpopts.IgnoreFields(rules.Outcome{}, "Line")); diff != "" {
		t.Errorf("trail (-want +got):\n%s", diff)
	}
	for i, line := range []int{40, 45, 49, 53} {
		if d.Trail[i].Line != line {
			t.Errorf("rule %d is at line %d, want %d", i+1, d.Trail[i].Line, line)
		}
	}
	if diff := cmp.Diff([]rules.Grant{{Rule: "r1", Roles: []string{"ecole", "kine"}, Rubrics: []string{"plan"}}}, d.Grants); diff != "" {
		t.Errorf("grants (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"plan", "", "a-classer"}, d.DocumentRubrics); diff != "" {
		t.Errorf("rubrics of the documents (-want +got):\n%s", diff)
	}
}

func TestDecideLeavesItsInputAlone(t *testing.T) {
	p := programme(t, "", `when = 'any(documents, .type == "bio")'; only = ["kine", "idec"]`, `when = 'true'; only = ["idec"]`)
	in := mail("kine", "BIO")
	for range 2 {
		if got := p.Decide(in); got.Only[0] != "idec" || len(got.Only) != 1 {
			t.Errorf("only %v", got.Only)
		}
	}
	if in.Facts.Documents[0].Type != "" {
		t.Error("Decide wrote to the facts it was given")
	}
	if got := p.Rules[0].Only; len(got) != 2 {
		t.Errorf("Decide wrote to the rule: %v", got)
	}
}

// What an expression can say, on one message.
func TestWhen(t *testing.T) {
	in := rules.Input{Facts: rules.Facts{
		Sender:    rules.SenderFacts{Role: "kine", Establishment: "CHU de Caen", MailboxType: "ORG"},
		Message:   rules.MessageFacts{Subject: "Compte-rendu d’hospitalisation : éval. kiné", Urgent: true, Size: 2048},
		Answers:   rules.AnswerFacts{Rubrics: []string{"psy"}, Role: "idec"},
		Documents: []rules.DocumentFacts{{Code: "BIO", Filename: "Résultats.PDF", Media: "application/pdf", Confidentiality: []string{"N", "INVISIBLE_PATIENT"}}, {Filename: "photo.jpg"}},
		Pathway:   rules.PathwayFacts{Status: "open", Programme: "essai"},
	}}
	for expression, want := range map[string]bool{
		`message.subject contains "EVAL"`:                           true,
		`message.subject contains "d'hospitalisation"`:              true,
		`message.subject startsWith "compte"`:                       true,
		`message.subject endsWith "KINE"`:                           true,
		`not (message.subject contains "imagerie")`:                 true,
		`message.subject matches "éval"`:                            true,
		`message.subject matches "EVAL"`:                            false, // matches is a pattern, as it is written
		`mentions(message.subject, "eval", "imagerie")`:             true,
		`mentions(message.subject, "compte rendu")`:                 true,
		`mentions(message.subject, "hospital")`:                     false, // whole words
		`mentions(message.subject)`:                                 false,
		`message.urgent and message.size > 1000`:                    true,
		`message.auto`:                                              false,
		`sender.role in ["kine", "idec"]`:                           true,
		`sender.establishment contains "caen"`:                      true,
		`sender.mailbox_type == "ORG"`:                              true,
		`"psy" in answers.rubrics`:                                  true,
		`answers.role == "idec"`:                                    true,
		`any(documents, .type == "bio")`:                            true,
		`any(documents, .code in ["BIO", "PLAN"])`:                  true,
		`all(documents, .code != "")`:                               false,
		`count(documents, .code == "") == 1`:                        true,
		`len(filter(documents, .media == "application/pdf")) == 1`:  true,
		`any(documents, .filename endsWith ".pdf")`:                 true,
		`any(documents, "INVISIBLE_PATIENT" in .confidentiality)`:   true,
		`any(documents, any(.confidentiality, # startsWith "inv"))`: true,
		`documents[0].type == "bio"`:                                true,
		`pathway.status == "open" and pathway.programme == "essai"`: true,
		`none(documents, .code == "PSY") ? message.urgent : false`:  true,
		`"a" == "b"`: false,
	} {
		p := programme(t, "", "when = '''"+expression+"'''; hold = true")
		d := p.Decide(in)
		if d.Trail[0].Error != "" || d.Trail[0].Matched != want {
			t.Errorf("%s: %+v, want %v", expression, d.Trail[0], want)
		}
	}
}

// An expression costs at most its length times the documents.
func TestCostIsBounded(t *testing.T) {
	p := programme(t, "", `when = 'len(map(documents, map(.confidentiality, "x" + #))) > 0'; hold = true`)
	in := mail("kine")
	for range 1000 {
		in.Facts.Documents = append(in.Facts.Documents, rules.DocumentFacts{Confidentiality: make([]string, 1000)})
	}
	begin := time.Now()
	d := p.Decide(in)
	if d.Trail[0].Error == "" || !d.Hold {
		t.Error("a million elements were made")
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("took %v", took)
	}
}
