package rules_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/rules/strict"
)

// essai is a small programme without a fault; each line of a test's table
// changes something in it.
const essai = `id = "essai"
name = "Essai"
desk = ["desk@hopital.example"]
[[role]]
id = "medecin"
name = "Médecin"
care_team = true
coordinator = true
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
types = ["18776-5"]
[[rubric]]
id = "psy"
name = "Psychologie"
types = ["83901-9"]
visible_to = ["psychologue"]
[[rubric]]
id = "a-classer"
name = "À classer"
[[rule]]
name = "plan"
when = 'sender.role == "medecin"'
file = ["coordination"]
to = ["all", "ecole"]
[[source]]
mailbox = "dpi@chu.example"
establishment = "CHU"
`

// when puts an expression in place of the rule's; it begins at 31:9.
func when(expression string) [2]string {
	return [2]string{`sender.role == "medecin"`, expression}
}

func TestLoadProblems(t *testing.T) {
	met := map[strict.TextID]bool{}
	for _, c := range []struct {
		name string
		edit [2]string // old, new
		want string    // English, one line each; "" for none
	}{
		{"no fault", [2]string{}, ""},

		{"unknown key", [2]string{"types = [\"83901-9\"]", "kinds = [\"83901-9\"]"}, `essai.toml:24:1: There is no key "rubric.kinds". Keys allowed here: id, name, types, visible_to, default, unclassed, hidden_from_parents.`},
		{"unknown setting", [2]string{"desk =", "mixed = \"ask\"\ndesk ="}, `essai.toml:3:1: "mixed": "ask" is not allowed. Allowed values: send, hold.`},
		{"not TOML", [2]string{"[[source]]", "[[source"}, `essai.toml:34:9: This is not TOML: *`},
		{"no id", [2]string{`id = "essai"`, ``}, `essai.toml: "id" is missing or empty.`},
		{"no name", [2]string{`name = "Essai"`, `name = " "`}, `essai.toml:2:1: "name" is missing or empty.`},
		{"id taken for a code", [2]string{`"essai"`, `"k7f3q2x"`}, `essai.toml:1:1: "k7f3q2x" cannot be the id of a programme, *`},
		{"id too short", [2]string{`"essai"`, `"pa"`}, `essai.toml:1:1: "pa" cannot be the id of a programme, *`},
		{"id reserved", [2]string{`"essai"`, `"aide"`}, `essai.toml:1:1: "aide" cannot be the id of a programme, which is also its address: 3 to 32 lower-case letters without accents, digits or hyphens, with a vowel among them, and none of acces, aide, postmaster, abuse.`},
		{"id in capitals", [2]string{`"essai"`, `"PON"`}, `essai.toml:1:1: "PON" cannot be the id of a programme, *`},
		{"no desk", [2]string{`desk = ["desk@hopital.example"]`, ``}, `essai.toml: "desk" is missing: give at least one mailbox where *`},
		{"desk that is no address", [2]string{`desk@hopital.example`, `Desk <desk@hopital.example>`}, `essai.toml:3:9: "desk": "Desk <desk@hopital.example>" is not a mail address, *`},
		{"desk in the hub's box", [2]string{`desk@hopital.example`, `Parcours@grades.example`}, `essai.toml:3:9: "desk": "Parcours@grades.example" is the hub's own box at its operator *`},
		{"desk in the hub", [2]string{`desk@hopital.example`, `desk@Relais.Example`}, `essai.toml:3:9: "desk": "desk@Relais.Example" is in relais.example, the hub's own domain. *`},

		{"role named all", [2]string{`id = "ecole"`, `id = "all"`}, `essai.toml:15:1: "role.id": "all" is not allowed. *` + "\n" + `essai.toml:33:14: "rule.to": "ecole" is not allowed. Allowed values: medecin, psychologue, all, all.`},
		{"role twice", [2]string{`id = "ecole"`, `id = "medecin"`}, `essai.toml:15:1: "role.id": "medecin" is taken already, *` + "\n" + `essai.toml:33:14: "rule.to": "ecole" *`},
		{"role without name", [2]string{`name = "École"`, ``}, `essai.toml:14:3: "role.name" is missing or empty.`},
		{"unknown default rubric", [2]string{`default_rubric = "psy"`, `default_rubric = "psi"`}, `essai.toml:13:1: "role.default_rubric": "psi" is not allowed. Allowed values: coordination, psy, a-classer.`},
		{"no coordinator", [2]string{`coordinator = true`, ``}, `essai.toml: No role coordinates: *`},
		{"coordinator outside", [2]string{`name = "École"`, `coordinator = true`}, `essai.toml:14:3: "role.name" *` + "\n" + `essai.toml:16:1: The role "ecole" coordinates without being of the care team. *`},

		{"rubric like a member", [2]string{`id = "a-classer"`, `id = "m12"`}, `essai.toml:27:1: "rubric.id": "m12" is not allowed. *`},
		{"rubric like a reply", [2]string{`id = "a-classer"`, `id = "r-2345678923"`}, `essai.toml:27:1: "rubric.id": "r-2345678923" is not allowed. *`},
		{"rubric like a bounce", [2]string{`id = "a-classer"`, `id = "b-x"`}, `essai.toml:27:1: "rubric.id": "b-x" is not allowed. *`},
		{"rubric with a dot", [2]string{`id = "a-classer"`, `id = "a.classer"`}, `essai.toml:27:1: "rubric.id": "a.classer" is not allowed. *`},
		{"folder with a slash", [2]string{`"À classer"`, `"À classer/vite"`}, `essai.toml:28:1: "À classer/vite" cannot be the name of a folder: *`},
		{"folder twice", [2]string{`"À classer"`, `"PSYCHOLOGIE"`}, `essai.toml:28:1: "rubric.name": "PSYCHOLOGIE" is taken already, *`},
		{"code claimed twice", [2]string{`["83901-9"]`, `["83901-9", "18776-5"]`}, `essai.toml:24:21: The document code "18776-5" is taken already by the rubric "coordination". *`},
		{"empty code", [2]string{`["83901-9"]`, `[""]`}, `essai.toml:24:10: "rubric.types" is missing or empty.`},
		{"unknown seer", [2]string{`visible_to = ["psychologue"]`, `visible_to = ["psy"]`}, `essai.toml:25:15: "rubric.visible_to": "psy" is not allowed. Allowed values: medecin, psychologue, ecole.`},
		{"two defaults", [2]string{`types = ["18776-5"]`, "default = true\n[[rubric]]\nid = \"x\"\nname = \"X\"\ndefault = true"}, `essai.toml:24:1: "rubric.default": the rubric "coordination" has it already. Only one can.`},
		{"two for the unclassed", [2]string{`types = ["18776-5"]`, "unclassed = true\nvisible_to = [\"medecin\", \"ecole\"]\n[[rubric]]\nid = \"x\"\nname = \"X\"\nunclassed = true"}, `essai.toml:25:1: "rubric.unclassed": the rubric "coordination" has it already. Only one can.`},
		{"no default", [2]string{`id = "coordination"`, `id = "general"`}, `essai.toml: There is no default rubric: *` + "\n" + `essai.toml:32:9: "rule.file": "coordination" *`},

		{"rule without name", [2]string{`name = "plan"`, ``}, `essai.toml:29:3: "rule.name" is missing or empty.`},
		{"rule twice", [2]string{`[[source]]`, "[[rule]]\nname = \"plan\"\nwhen = 'true'\nhold = true\n[[source]]"}, `essai.toml:35:1: "rule.name": "plan" is taken already, *`},
		{"rule without when", when(``), `essai.toml:31:1: "rule.when" is missing or empty.`},
		{"unknown rubric", [2]string{`file = ["coordination"]`, `file = ["coordination", "x"]`}, `essai.toml:32:25: "rule.file": "x" is not allowed. Allowed values: coordination, psy, a-classer.`},
		{"unknown role", [2]string{`to = ["all", "ecole"]`, `to = ["tous"]`}, `essai.toml:33:7: "rule.to": "tous" is not allowed. Allowed values: medecin, psychologue, ecole, all.`},
		{"only all", [2]string{`to = ["all", "ecole"]`, `only = ["all"]`}, `essai.toml:33:9: "rule.only": "all" is not allowed. Allowed values: medecin, psychologue, ecole.`},
		{"unknown to notify", [2]string{`to = ["all", "ecole"]`, `notify = ["x"]`}, `essai.toml:33:11: "rule.notify": "x" is not allowed. *`},
		{"empty list", [2]string{`to = ["all", "ecole"]`, `only = []`}, `essai.toml:33:1: "rule.only" is an empty list. *`},
		{"bad duration", [2]string{`to = ["all", "ecole"]`, `ack_within = "4 h"`}, `essai.toml:33:1: "rule.ack_within": "4 h" is not a duration. *`},
		{"rule that does nothing", [2]string{"file = [\"coordination\"]\nto = [\"all\", \"ecole\"]", ""}, `essai.toml:29:3: warning: The rule "plan" does nothing. *`},
		{"outsider without rubric", [2]string{`file = ["coordination"]`, ``}, `essai.toml:33:14: warning: The role "ecole", outside the care team, will get nothing by this rule: *`},
		{"outsider and a closed rubric", [2]string{`file = ["coordination"]`, `file = ["psy"]`}, `essai.toml:33:14: warning: The role "ecole" will get nothing by this rule: it may not see the rubric "psy" (visible_to).`},

		{"syntax", when(`sender.role == `), `essai.toml:31:23: This condition is not understood: unexpected token EOF.`},
		{"unknown fact", when(`true and patient.name == "x"`), `essai.toml:31:18: "patient" does not exist at this place of a condition. Allowed: sender, message, answers, documents, pathway, mentions, *`},
		{"unknown field", when(`message.subjet contains "x"`), `essai.toml:31:17: "subjet" does not exist at this place of a condition. Allowed: subject, urgent, auto, size.`},
		{"unknown field of a document", when(`any(documents, .kind == "x")`), `essai.toml:31:25: "kind" does not exist at this place of a condition. Allowed: type, code, filename, media, confidentiality.`},
		{"types", when(`message.size == "x"`), `essai.toml:31:22: This condition is not understood: invalid operation: == (mismatched types int and string).`},
		{"no truth", when(`message.subject`), `essai.toml:31:9: This condition must be true or false, but it gives a value (string). *`},
		{"misspelt role", when(`sender.role in ["medecin", "oncologe"]`), `essai.toml:31:36: "sender.role" is never "oncologe". Possible values: medecin, psychologue, ecole.`},
		{"misspelt rubric", when(`"psi" in answers.rubrics`), `essai.toml:31:9: "answers.rubrics" is never "psi". Possible values: coordination, psy, a-classer.`},
		{"misspelt type", when(`any(documents, .type != "psi")`), `essai.toml:31:33: "documents.type" is never "psi". *`},
		{"unknown kind of box", when(`sender.mailbox_type == "BAL"`), `essai.toml:31:32: "sender.mailbox_type" is never "BAL". Possible values: PER, ORG, APP, CAB, MES.`},
		{"unknown status", when(`pathway.status == "ouvert"`), `essai.toml:31:27: "pathway.status" is never "ouvert". *`},
		{"another programme", when(`pathway.programme == "pon"`), `essai.toml:31:30: "pathway.programme" is never "pon". Possible values: essai.`},
		{"a clock", when(`now().Year() > 2000`), `essai.toml:31:9: "now" does not exist at this place of a condition. *`},
		{"names", when(`let x = 1; x == 1`), `*"let" is not allowed in a condition.*`},
		{"numbers without end", when(`any(1..1000000, # == 0)`), `essai.toml:31:14: ".." is not allowed in a condition.`},
		{"a loop in a loop", when(`any(documents, any(documents, true))`), `essai.toml:31:28: A condition does not go through "documents" *`},
		{"too long", when(`true` + strings.Repeat(" and true", 500)), `essai.toml:31:9: This condition is too long (at most 4096 characters). *`},
		{"too many terms", when(`true` + strings.Repeat(" and true", 400)), `essai.toml:31:*: This condition is not understood: *`},

		{"source without box", [2]string{`mailbox = "dpi@chu.example"`, ``}, `essai.toml:34:3: "source.mailbox" is missing or empty.`},
		{"source in the hub", [2]string{`dpi@chu.example`, `dpi@relais.example`}, `essai.toml:35:1: "source.mailbox": "dpi@relais.example" is in relais.example, *`},
		{"source without establishment", [2]string{`establishment = "CHU"`, ``}, `essai.toml:34:3: "source.establishment" is missing or empty.`},
		{"source twice", [2]string{`establishment = "CHU"`, "establishment = \"CHU\"\n[[source]]\nmailbox = \"DPI@chu.example\"\nestablishment = \"CHU\""}, `essai.toml:38:1: "source.mailbox": "DPI@chu.example" is taken already, *`},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := strings.Replace(essai, c.edit[0], c.edit[1], 1)
			if c.edit != [2]string{} && src == essai {
				t.Fatal("the edit changes nothing")
			}
			_, problems := rules.Load("essai.toml", []byte(src), rules.LoadOptions{Domain: "relais.example", Boxes: []string{"parcours@grades.example"}})
			var got []string
			for _, p := range problems {
				met[p.ID] = true
				got = append(got, configs.Explain(p, texts.English))
				for _, l := range texts.Locales() {
					if text := configs.Explain(p, l); strings.Contains(text, "<no value>") || strings.Contains(text, "check.") {
						t.Errorf("%s: text with holes: %s", l, text)
					}
				}
			}
			if !matchLines(c.want, got) {
				t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), c.want)
			}
		})
	}
	for _, id := range rules.TextIDs {
		if !met[id] && id != rules.Unreadable && !strings.Contains(string(id), "programme") {
			t.Errorf("no line of the table meets %s", id)
		}
	}
}

// matchLines compares lines with patterns in which * stands for anything.
func matchLines(want string, got []string) bool {
	patterns := strings.Split(want, "\n")
	if want == "" {
		patterns = nil
	}
	if len(patterns) != len(got) {
		return false
	}
	for i, pattern := range patterns {
		rest, parts := got[i], strings.Split(pattern, "*")
		for j, part := range parts {
			at := strings.Index(rest, part)
			if at < 0 || j == 0 && at > 0 {
				return false
			}
			rest = rest[at+len(part):]
		}
		if rest != "" && parts[len(parts)-1] != "" {
			return false
		}
	}
	return true
}

func TestDevNeedsNoDesk(t *testing.T) {
	src := strings.Replace(essai, `desk = ["desk@hopital.example"]`, "", 1)
	if _, problems := rules.Load("essai.toml", []byte(src), rules.LoadOptions{Dev: true}); problems != nil {
		t.Error(problems)
	}
}

func TestByConvention(t *testing.T) {
	p, _ := rules.Load("essai.toml", []byte(essai), rules.LoadOptions{})
	if got := p.DefaultRubric().ID; got != "coordination" {
		t.Errorf("the default rubric is %q", got)
	}
	if diff := cmp.Diff(&rules.Rubric{ID: "a-classer", Name: "À classer", Unclassed: true, VisibleTo: []string{"medecin"}}, p.Unclassed()); diff != "" {
		t.Errorf("unclassed documents are for the coordinators (-want +got):\n%s", diff)
	}
}

func TestSet(t *testing.T) {
	other := strings.Replace(strings.Replace(essai, `"essai"`, `"autre"`, 1), "dpi@", "DPI@", 1)
	files := fstest.MapFS{
		"p/a.toml": {Data: []byte(essai)}, "p/b.toml": {Data: []byte(other)}, "p/c.toml": {Data: []byte(essai)},
		"p/d.toml": {Data: []byte("id = 1")}, "p/read.me": {Data: []byte("x")},
	}
	set, problems := rules.LoadFS(files, "p", rules.LoadOptions{})
	var got []string
	for _, p := range problems {
		got = append(got, configs.Explain(p, texts.English))
	}
	want := `p/c.toml: The programme "essai" is already defined in p/a.toml. *
p/d.toml:1:1: "id" wants a text in quotes.`
	if !matchLines(want, got) {
		t.Errorf("got %q", got)
	}
	if set.ByID("essai") == nil || set.ByID("autre") == nil || set.ByID("x") != nil {
		t.Error("ByID does not find what is there")
	}
	found := set.ByBox("dpi@CHU.example")
	if len(found) != 2 || found[0].Programme.ID != "essai" || found[1].Programme.ID != "autre" || found[0].Source.Establishment != "CHU" {
		t.Errorf("ByBox found %v", found)
	}
	if len(set.ByBox("autre@chu.example")) != 0 {
		t.Error("ByBox found a box nobody named")
	}
	if _, problems := rules.LoadFS(fstest.MapFS{}, "p", rules.LoadOptions{}); len(problems) != 1 || problems[0].ID != "check.no-programme" {
		t.Errorf("an empty folder: %v", problems)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(essai))
	for _, expression := range []string{`any(documents, .code in ["a"])`, `len(documents) > 0 and documents[0].type == "psy"`, `mentions(message.subject, "a", "b")`} {
		f.Add([]byte(strings.Replace(essai, `sender.role == "medecin"`, expression, 1)))
	}
	in := rules.Input{Facts: rules.Facts{
		Sender: rules.SenderFacts{Role: "medecin"}, Message: rules.MessageFacts{Subject: "Bilan"},
		Documents: []rules.DocumentFacts{{Code: "83901-9"}, {Code: "x"}, {}},
	}}
	f.Fuzz(func(t *testing.T, src []byte) {
		p, problems := rules.Load("essai.toml", src, rules.LoadOptions{Domain: "relais.example"})
		if strict.Fatal(problems) {
			return
		}
		if d := p.Decide(in); len(d.Rubrics) == 0 {
			t.Error("filed nowhere")
		}
	})
}

// docs/programmes.md names everything a programme file can say.
func TestGuideIsComplete(t *testing.T) {
	guide, err := os.ReadFile("../docs/programmes.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range slices.Concat(rules.Vocabulary(), rules.Functions()) {
		if !regexp.MustCompile("[`. (]" + word + "[`, (.]").Match(guide) {
			t.Errorf("the guide does not speak of %q", word)
		}
	}
}
