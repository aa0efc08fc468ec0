package rules_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/relais-sante/relais/rules"
)

var (
	roleIDs   = []string{"idec", "kine", "psychologue", "ecole"}
	rubricIDs = []string{"coordination", "bio", "plan", "psy", "a-classer"}
	codes     = []string{"BIO", "PLAN", "PSY", "99999-9", "-"}
	whens     = []string{
		"true", "message.urgent", "len(documents) > 0", `sender.role == "kine"`, `any(documents, .type == "psy")`,
		`"psy" in answers.rubrics`, `documents[0].code == "BIO"`,
	}
)

func some(t *rapid.T, label string, of []string) []string {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(of), 0, len(of), rapid.ID).Draw(t, label)
}

// drawRule makes a rule of the test programme.
func drawRule(t *rapid.T) string {
	rule := "when = '" + rapid.SampledFrom(whens).Draw(t, "when") + "'"
	for key, of := range map[string][]string{"file": rubricIDs, "to": append([]string{"all"}, roleIDs...), "only": roleIDs, "notify": roleIDs} {
		if list := some(t, key, of); len(list) > 0 && rapid.Bool().Draw(t, "has "+key) {
			rule += "; " + key + " = [\""
			for i, id := range list {
				if i > 0 {
					rule += `", "`
				}
				rule += id
			}
			rule += `"]`
		}
	}
	if rapid.Bool().Draw(t, "hold") {
		rule += "; hold = true"
	}
	return rule
}

func drawMail(t *rapid.T) rules.Input {
	in := mail(rapid.SampledFrom(append([]string{""}, roleIDs...)).Draw(t, "author"), rapid.SliceOfN(rapid.SampledFrom(codes), 0, 4).Draw(t, "codes")...)
	in.Facts.Message.Urgent = rapid.Bool().Draw(t, "urgent")
	if rapid.Bool().Draw(t, "answers") {
		in = answering(in, some(t, "answered", append([]string{"gone"}, rubricIDs...))...)
	}
	if rapid.Bool().Draw(t, "to a rubric") {
		in = writtenTo(in, some(t, "written to", rubricIDs)...)
	}
	return in
}

func TestDecisionsHold(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var rule []string
		for range rapid.IntRange(0, 5).Draw(rt, "rules") {
			rule = append(rule, drawRule(rt))
		}
		settings := rapid.SampledFrom([]string{"", `mixed = "hold"`}).Draw(rt, "settings")
		p := programme(t, settings, rule...)
		in := drawMail(rt)
		d := p.Decide(in)
		reach := p.Reach(d)

		if len(d.Rubrics) == 0 {
			rt.Fatal("filed nowhere")
		}
		for _, rubric := range d.Rubrics {
			if p.Rubric(rubric) == nil {
				rt.Fatalf("filed in %q", rubric)
			}
		}
		for i, r := range p.Rules {
			if !d.Trail[i].Matched {
				continue
			}
			for _, role := range reach {
				if len(r.Only) > 0 && !slices.Contains(r.Only, role) {
					rt.Fatalf("%s is reached beside only %v", role, r.Only)
				}
			}
		}
		// Nobody is reached who may not see where a document belongs, or what
		// is answered; the school least of all.
		narrow := slices.Concat(d.DocumentRubrics, d.Rubrics)
		if in.Answers {
			narrow = append(narrow, in.Facts.Answers.Rubrics...)
		}
		for _, role := range reach {
			for _, rubric := range narrow {
				if p.Role(role).CareTeam && rubric != "" && rubric != "gone" && !p.MayRole(role, rubric) {
					rt.Fatalf("%s is reached in spite of %s", role, rubric)
				}
			}
			if slices.Contains(narrow, "gone") && !p.Role(role).Coordinator {
				rt.Fatalf("%s is reached though nobody knows who could see it", role)
			}
			if !p.Role(role).CareTeam && !slices.ContainsFunc(d.Grants, func(g rules.Grant) bool { return slices.Contains(g.Roles, role) }) {
				rt.Fatalf("%s is reached without a rule that names it", role)
			}
		}

		// The order of rules and of documents makes no difference but to which
		// rule is named as holding, and to lists that follow their order.
		shuffled := programme(t, settings, rapid.Permutation(rule).Draw(rt, "order")...)
		again := in
		again.Facts.Documents = slices.Clone(in.Facts.Documents)
		if !slices.ContainsFunc(p.Rules, func(r rules.Rule) bool { return r.When == whens[len(whens)-1] }) {
			slices.Reverse(again.Facts.Documents)
		}
		other := shuffled.Decide(again)
		same := cmpopts.IgnoreFields(rules.Decision{}, "Trail", "HeldBy", "DocumentRubrics", "Grants")
		if diff := cmp.Diff(d, other, same, cmpopts.EquateEmpty()); diff != "" {
			rt.Fatalf("another order (-first +second):\n%s", diff)
		}
		if diff := cmp.Diff(reach, shuffled.Reach(other), cmpopts.EquateEmpty()); diff != "" {
			rt.Fatalf("another order reaches others:\n%s", diff)
		}
	})
}

// More rules that only narrow never reach anybody more.
func TestOnlyNarrows(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rule := drawRule(rt)
		in := drawMail(rt)
		less := programme(t, "", rule)
		more := programme(t, "", rule, `when = 'true'; only = ["`+rapid.SampledFrom(roleIDs).Draw(rt, "only")+`"]`)
		before, after := less.Reach(less.Decide(in)), more.Reach(more.Decide(in))
		for _, role := range after {
			if !slices.Contains(before, role) {
				rt.Fatalf("%s is reached by narrowing: %v then %v", role, before, after)
			}
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	rule := []string{
		`when = 'any(documents, .type == "bio") and (message.urgent or mentions(message.subject, "urgent", "alerte"))'; urgent = true`,
		`when = 'any(documents, any(.confidentiality, # in ["R", "V"]))'; only = ["idec"]`,
		`when = 'len(documents) > 0 and all(documents, .code == "PLAN")'; file = ["plan"]; to = ["all", "ecole"]`,
		`when = 'sender.role in ["idec", "kine"] and len(documents) > 0'; notify = ["idec"]`,
	}
	for len(rule) < 20 {
		rule = append(rule, rule[len(rule)-4])
	}
	p := programme(b, "", rule...)
	for _, c := range []struct {
		name string
		in   rules.Input
	}{{"plain", mail("kine")}, {"three documents", mail("kine", "BIO", "PLAN", "-")}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Decide(c.in)
			}
		})
	}
}
