package texts

import (
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"text/template"
	"text/template/parse"

	"github.com/google/go-cmp/cmp"
	"github.com/nicksnyder/go-i18n/v2/i18n"
	"github.com/pelletier/go-toml/v2"
)

// entry is one text of one language.
type entry struct {
	file string
	args []string // names of its arguments, sorted
}

// load reads the catalogues of all languages and reports every text that could
// not be shown.
func load(t *testing.T) map[Locale]map[string]entry {
	t.Helper()
	for _, err := range faults {
		t.Errorf("loading: %v", err)
	}
	all := map[Locale]map[string]entry{}
	for _, l := range Locales() {
		all[l] = map[string]entry{}
	}
	files, err := fs.Glob(catalogue, "catalogue/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name, rest, _ := strings.Cut(path.Base(file), ".")
		l, ok := ParseLocale(strings.TrimSuffix(rest, ".toml"))
		if !ok || path.Ext(file) != ".toml" {
			t.Errorf("%s: want NAME.fr.toml or NAME.en.toml", file)
			continue
		}
		src, err := catalogue.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := i18n.ParseMessageFileBytes(src, file, map[string]i18n.UnmarshalFunc{"toml": toml.Unmarshal})
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		for _, m := range parsed.Messages {
			if !strings.HasPrefix(m.ID, name+".") {
				t.Errorf("%s: id %q does not begin with %q", file, m.ID, name+".")
			}
			all[l][m.ID] = entry{file, arguments(t, file, m)}
		}
	}
	return all
}

// arguments lists the arguments a text uses, over all of its plural forms.
func arguments(t *testing.T, file string, m *i18n.Message) []string {
	t.Helper()
	names := map[string]bool{}
	plural := m.One != "" || m.Many != "" || m.Zero != "" || m.Two != "" || m.Few != ""
	if plural {
		names["n"] = true
	}
	if m.Other == "" {
		t.Errorf("%s: %s has no text (or no form \"other\")", file, m.ID)
	}
	for _, form := range []string{m.Zero, m.One, m.Two, m.Few, m.Many, m.Other} {
		if form != strings.TrimSpace(form) {
			t.Errorf("%s: %s begins or ends with a space", file, m.ID)
		}
		tree, err := template.New(m.ID).Parse(form)
		if err != nil {
			t.Errorf("%s: %s: %v", file, m.ID, err)
			continue
		}
		if tree.Tree != nil {
			fields(tree.Root, names)
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func fields(n parse.Node, names map[string]bool) {
	switch n := n.(type) {
	case *parse.ListNode:
		if n != nil {
			for _, child := range n.Nodes {
				fields(child, names)
			}
		}
	case *parse.ActionNode:
		fields(n.Pipe, names)
	case *parse.IfNode:
		branch(&n.BranchNode, names)
	case *parse.RangeNode:
		branch(&n.BranchNode, names)
	case *parse.WithNode:
		branch(&n.BranchNode, names)
	case *parse.PipeNode:
		if n != nil {
			for _, c := range n.Cmds {
				for _, arg := range c.Args {
					fields(arg, names)
				}
			}
		}
	case *parse.FieldNode:
		names[n.Ident[0]] = true
	}
}

func branch(n *parse.BranchNode, names map[string]bool) {
	fields(n.Pipe, names)
	fields(n.List, names)
	fields(n.ElseList, names)
}

func TestLanguagesAgree(t *testing.T) {
	all := load(t)
	for id, fr := range all[French] {
		en, ok := all[English][id]
		if !ok {
			t.Errorf("%s: %s is missing in English", fr.file, id)
			continue
		}
		if diff := cmp.Diff(fr.args, en.args); diff != "" {
			t.Errorf("%s: arguments of %s differ (-French +English):\n%s", fr.file, id, diff)
		}
	}
	for id, en := range all[English] {
		if _, ok := all[French][id]; !ok {
			t.Errorf("%s: %s is missing in French", en.file, id)
		}
	}
}

func TestArgumentsAreFound(t *testing.T) {
	m := &i18n.Message{
		ID: "x.y", One: "{{.n}} {{if .urgent}}{{.phone}}{{else}}{{.mail}}{{end}}",
		Other: "{{range .list}}{{.}}{{end}}{{with .who}}{{.}}{{end}} {{printf \"%s\" .word}}",
	}
	got := arguments(t, "", m)
	want := []string{"list", "mail", "n", "phone", "urgent", "who", "word"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
