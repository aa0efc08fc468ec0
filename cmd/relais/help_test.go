package main

import (
	"bytes"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/relais-sante/relais/mailbox/texts"
)

// everyCommand calls fn for all commands, the root and help included.
func everyCommand(c *cli, fn func(*cobra.Command)) {
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		fn(cmd)
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	root := c.root()
	root.InitDefaultHelpCmd()
	walk(root)
}

func newCLI(l texts.Locale) (*cli, *bytes.Buffer) {
	var out bytes.Buffer
	return &cli{in: strings.NewReader(""), out: &out, errs: &out, getenv: func(string) string { return "" }, locale: l}, &out
}

// TestHelp wants a text for every command and flag, and a use for every text.
func TestHelp(t *testing.T) {
	used := map[string]bool{}
	for _, l := range texts.Locales() {
		c, out := newCLI(l)
		everyCommand(c, func(cmd *cobra.Command) {
			key := helpKey(cmd)
			for _, part := range []string{".short", ".long", ".args", ".example"} {
				used["help."+key+part] = true
			}
			if cmd.Short == "" {
				t.Errorf("%s: %s has no help", l, cmd.CommandPath())
			}
			for _, flags := range []*pflag.FlagSet{cmd.LocalNonPersistentFlags(), cmd.PersistentFlags()} {
				flags.VisitAll(func(f *pflag.Flag) {
					used["help."+key+".flag-"+f.Name], used["help.flag-"+f.Name] = true, true
					value, about := pflag.UnquoteUsage(f)
					if about == "" {
						t.Errorf("%s: %s --%s has no help", l, cmd.CommandPath(), f.Name)
					}
					// Without a word in back quotes the help would show Go's
					// name of the type.
					if f.Value.Type() != "bool" && !strings.Contains(f.Usage, "`") {
						t.Errorf("%s: %s --%s: what stands for its value? (%q)", l, cmd.CommandPath(), f.Name, value)
					}
				})
			}
			out.Reset()
			c.help(cmd)
			example := false
			for _, line := range strings.Split(out.String(), "\n") {
				if example = example && line != "" || line == texts.T(l, "help.label-examples", nil); !example && len([]rune(line)) > 80 {
					t.Errorf("%s: help of %s is wider than 80: %s", l, cmd.CommandPath(), line)
				}
				if strings.Contains(line, "help.") {
					t.Errorf("%s: help of %s shows %q", l, cmd.CommandPath(), line)
				}
			}
		})
	}
	src, err := os.ReadFile("../../mailbox/texts/catalogue/help.fr.toml")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := toml.Unmarshal(src, &all); err != nil {
		t.Fatal(err)
	}
	for id := range all {
		if !used[id] && !strings.HasPrefix(id, "help.label-") && id != "help.more" && !strings.HasPrefix(id, "help.required") {
			t.Errorf("%s explains nothing", id)
		}
	}
}

// TestNames wants what a person may type to mean one thing.
func TestNames(t *testing.T) {
	c, _ := newCLI(texts.French)
	everyCommand(c, func(cmd *cobra.Command) {
		taken := map[string]string{}
		for _, sub := range cmd.Commands() {
			for _, name := range append([]string{sub.Name()}, sub.Aliases...) {
				if other := taken[name]; other != "" {
					t.Errorf("%s %s is both %s and %s", cmd.CommandPath(), name, other, sub.Name())
				}
				taken[name] = sub.Name()
			}
		}
	})
}

// TestContractNames pins the commands that the contract names for today.
func TestContractNames(t *testing.T) {
	want := map[string]string{
		"relais":  "init serve check status pathway consent team mailbox thread message triage queue rules version completion",
		"pathway": "include list show update merge suspend close reopen",
		"consent": "record withdraw show",
		"team":    "add update remove show import",
		"mailbox": "list show update",
		"thread":  "show",
		"message": "show retract move refile resend author",
		"triage":  "list show assign release reject",
		"queue":   "list show retry hold drop",
		"rules":   "check explain",
	}
	c, _ := newCLI(texts.French)
	got := map[string][]string{}
	everyCommand(c, func(cmd *cobra.Command) {
		if cmd.HasParent() {
			got[cmd.Parent().Name()] = append(got[cmd.Parent().Name()], cmd.Name())
		}
	})
	for _, group := range slices.Sorted(maps.Keys(want)) {
		for _, name := range strings.Fields(want[group]) {
			if !slices.Contains(got[group], name) {
				t.Errorf("there is no %s under %s", name, group)
			}
		}
	}
}
