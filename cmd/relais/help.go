package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/relais-sante/relais/mailbox/texts"
)

// speak gives every command and flag its texts. Those of `pathway include` are
// help.pathway-include.short, .long, .args, .example; of its flag --sex
// help.pathway-include.flag-sex, or help.flag-sex where every command means
// the same by it. Of these .short and the flags' must be there.
func (c *cli) speak(cmd *cobra.Command) {
	key := helpKey(cmd)
	if args, ok := c.helpText(key + ".args"); ok {
		cmd.Use += " " + args
	}
	cmd.Short, _ = c.helpText(key + ".short")
	cmd.Long, _ = c.helpText(key + ".long")
	cmd.Example, _ = c.helpText(key + ".example")
	cmd.Flags().BoolP("help", "h", false, "")
	about := func(f *pflag.Flag) {
		var ok bool
		if f.Usage, ok = c.helpText(key + ".flag-" + f.Name); !ok {
			f.Usage, _ = c.helpText("flag-" + f.Name)
		}
	}
	cmd.Flags().VisitAll(about)
	cmd.PersistentFlags().VisitAll(about)
	for _, sub := range cmd.Commands() {
		c.speak(sub)
	}
}

// helpKey is "pathway-include" for `relais pathway include`.
func helpKey(cmd *cobra.Command) string {
	path := cmd.Name()
	for p := cmd.Parent(); p != nil && p.HasParent(); p = p.Parent() {
		path = p.Name() + "-" + path
	}
	return path
}

func (c *cli) helpText(key string) (string, bool) {
	id := texts.ID("help." + key)
	if t := texts.T(c.locale, id, nil); t != string(id) {
		return t, true
	}
	return "", false
}

// helpCommand is `relais help COMMAND`.
func (c *cli) helpCommand() *cobra.Command {
	var help *cobra.Command
	help = c.command("help", []string{"aide"}, 0, -1, func(_ context.Context, args []string) error {
		cmd, rest, err := help.Root().Find(args)
		if err != nil || cmd == nil || len(rest) > 0 {
			return misused(texts.T(c.locale, "cli.unknown-command", map[string]any{"command": strings.Join(args, " "), "of": "relais"}))
		}
		c.help(cmd)
		return nil
	})
	c.speak(help) // cobra puts it into the tree when it runs
	return help
}

// help writes the help of a command.
func (c *cli) help(cmd *cobra.Command) {
	about := cmd.Long
	if about == "" {
		about = cmd.Short
	}
	for i, paragraph := range strings.Split(about, "\n\n") {
		if i > 0 {
			fmt.Fprintln(c.out)
		}
		c.grid(nil, [][]string{{paragraph}}, 0)
	}
	c.heading(texts.ID("help.label-usage"))
	fmt.Fprintln(c.out, "  "+c.usageLine(cmd))
	if len(cmd.Aliases) > 0 {
		c.heading(texts.ID("help.label-aliases"))
		fmt.Fprintln(c.out, "  "+strings.Join(cmd.Aliases, ", "))
	}
	if cmd.Example != "" {
		c.heading(texts.ID("help.label-examples"))
		fmt.Fprintln(c.out, "  "+strings.ReplaceAll(cmd.Example, "\n", "\n  "))
	}
	if cmd.HasAvailableSubCommands() {
		c.heading(texts.ID("help.label-commands"))
		c.commandList(cmd)
	}
	global := cmd.InheritedFlags()
	if !cmd.HasParent() {
		global = cmd.PersistentFlags()
	}
	c.flagList(texts.ID("help.label-flags"), cmd.LocalFlags(), global)
	c.flagList(texts.ID("help.label-global"), global, nil)
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintln(c.out)
		fmt.Fprintln(c.out, texts.T(c.locale, "help.more", map[string]any{"command": cmd.CommandPath()}))
	}
}

func (c *cli) heading(id texts.ID) {
	fmt.Fprintln(c.out)
	fmt.Fprintln(c.out, texts.T(c.locale, id, nil))
}

func (c *cli) usageLine(cmd *cobra.Command) string {
	line := cmd.UseLine()
	if cmd.HasAvailableSubCommands() {
		return line + " " + texts.T(c.locale, "help.label-command", nil)
	}
	return line + " " + texts.T(c.locale, "help.label-options", nil)
}

// commandList lists the commands under cmd; in French with the word a French
// reader may type instead.
func (c *cli) commandList(cmd *cobra.Command) {
	var rows [][]string
	for _, sub := range cmd.Commands() {
		name := sub.Name()
		if c.locale == texts.French && len(sub.Aliases) > 0 {
			name += " (" + sub.Aliases[0] + ")"
		}
		rows = append(rows, []string{name, sub.Short})
	}
	c.grid(nil, rows, 2)
}

// flagList lists flags but those of except.
func (c *cli) flagList(title texts.ID, flags, except *pflag.FlagSet) {
	var rows [][]string
	flags.VisitAll(func(f *pflag.Flag) {
		if except != nil && except.Lookup(f.Name) != nil {
			return
		}
		name := "    --" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", --" + f.Name
		}
		value, about := pflag.UnquoteUsage(f)
		switch mark := f.Annotations[requiredMark]; {
		case mark == nil:
		case mark[0] == "":
			about += " " + texts.T(c.locale, "help.required", nil)
		default:
			about += " " + texts.T(c.locale, "help.required-without", map[string]any{"flag": "--" + mark[0]})
		}
		rows = append(rows, []string{strings.TrimRight(name+" "+value, " "), about})
	})
	if len(rows) > 0 {
		c.heading(title)
		c.grid(nil, rows, 2)
	}
}
