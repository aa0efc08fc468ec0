package main

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/relais-sante/relais/gateway/admin"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/texts"
)

// cli is one run of the program.
type cli struct {
	in        io.Reader
	out, errs io.Writer
	getenv    func(string) string
	locale    texts.Locale

	// Flags that every command takes.
	config string
	json   bool
	remote admin.Remote
}

// nobody is the Actor handed to the admin client, which does not send it: the
// hub sees who connects.
var nobody mailbox.Actor

// locale finds the language before the commands are built, since their help
// is in it: --lang, else LC_ALL, LC_MESSAGES, LANG, else French.
func locale(args []string, getenv func(string) string) texts.Locale {
	for i, arg := range args {
		value, inline := strings.CutPrefix(arg, "--lang=")
		switch {
		case arg == "--":
			return texts.LocaleFromEnv(getenv, texts.French)
		case arg == "--lang" && i+1 < len(args):
			value = args[i+1]
		case !inline:
			continue
		}
		if l, ok := texts.ParseLocale(value); ok {
			return l
		}
	}
	return texts.LocaleFromEnv(getenv, texts.French)
}

// root builds the tree of commands.
func (c *cli) root() *cobra.Command {
	root := c.group("relais", nil,
		c.demoCommand(), c.initCommand(), c.serveCommand(), c.checkCommand(), c.statusCommand(),
		c.pathwayCommands(), c.consentCommands(), c.teamCommands(), c.mailboxCommands(), c.accountCommands(),
		c.threadCommands(), c.messageCommands(), c.triageCommands(), c.queueCommands(), c.rulesCommands(),
		c.directoryCommands(), c.auditCommands(), c.keyCommands(),
		c.backupCommand(), c.restoreCommand(), c.verifyCommand(),
		c.versionCommand(), c.completionCommand(),
	)
	root.SilenceErrors, root.SilenceUsage = true, true
	cobra.EnableCommandSorting = false // as added: in the order of the work
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.errs)
	root.SetHelpCommand(c.helpCommand())
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { c.help(cmd) })
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return c.flagFault(cmd, err) })
	global := root.PersistentFlags()
	global.StringVar(&c.config, "config", "", "")
	global.String("lang", "", "")
	global.BoolVar(&c.json, "json", false, "")
	global.StringVar(&c.remote.URL, "hub", "", "")
	global.StringVar(&c.remote.Cert, "cert", "", "")
	global.StringVar(&c.remote.Key, "key", "", "")
	global.StringVar(&c.remote.Authority, "ca", "", "")
	c.speak(root)
	return root
}

// action is what a command does.
type action func(ctx context.Context, args []string) error

// command makes a command that takes from least to most arguments (most < 0:
// any number). Its texts come later, from the catalogue.
func (c *cli) command(name string, aliases []string, least, most int, do action) *cobra.Command {
	cmd := &cobra.Command{
		Use: name, Aliases: aliases,
		DisableFlagsInUseLine: true,
		ValidArgsFunction:     cobra.NoFileCompletions,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) < least:
				return misused(texts.T(c.locale, "cli.too-few", map[string]any{"command": cmd.CommandPath(), "usage": cmd.UseLine()}))
			case most >= 0 && len(args) > most:
				return misused(texts.T(c.locale, "cli.too-many", map[string]any{
					"command": cmd.CommandPath(), "argument": args[most], "usage": cmd.UseLine(),
				}))
			}
			return c.langFault(cmd)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.missing(cmd); err != nil {
				return err
			}
			return do(cmd.Context(), args)
		},
	}
	cmd.Flags().SortFlags = false // in the order a person would give them
	return cmd
}

// group makes a command that only has others under it.
func (c *cli) group(name string, aliases []string, under ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{
		Use: name, Aliases: aliases,
		DisableFlagsInUseLine: true,
		Args:                  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				c.help(cmd)
				return nil
			}
			text := texts.T(c.locale, "cli.unknown-command", map[string]any{"command": args[0], "of": cmd.CommandPath()})
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				text += " " + texts.T(c.locale, "cli.did-you-mean", map[string]any{"command": cmd.CommandPath() + " " + near[0]})
			}
			return misused(text)
		},
	}
	g.SuggestionsMinimumDistance = 2
	g.AddCommand(under...)
	return g
}

const requiredMark = "relais-required"

// required marks flags without which a command makes no sense.
func required(cmd *cobra.Command, names ...string) { requiredWithout(cmd, "", names...) }

// requiredWithout marks flags that another one stands in for.
func requiredWithout(cmd *cobra.Command, other string, names ...string) {
	for _, name := range names {
		if err := cmd.Flags().SetAnnotation(name, requiredMark, []string{other}); err != nil {
			panic(err)
		}
	}
}

// missing tells of required flags that were not given.
func (c *cli) missing(cmd *cobra.Command) error {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if mark := f.Annotations[requiredMark]; mark != nil && !f.Changed && !cmd.Flags().Changed(mark[0]) {
			names = append(names, "--"+f.Name)
		}
	})
	if len(names) == 0 {
		return nil
	}
	return misused(texts.T(c.locale, "cli.flags-missing", map[string]any{
		"n": len(names), "command": cmd.CommandPath(), "flags": texts.List(c.locale, names),
	}))
}

// langFault refuses a --lang that is none of ours.
func (c *cli) langFault(cmd *cobra.Command) error {
	f := cmd.Flags().Lookup("lang")
	if f == nil || !f.Changed {
		return nil
	}
	if _, ok := texts.ParseLocale(f.Value.String()); ok {
		return nil
	}
	return misused(texts.T(c.locale, "cli.flag-value", map[string]any{"flag": "--lang", "value": f.Value.String(), "command": cmd.CommandPath()}))
}

// flagFault says in the reader's language what is wrong with a flag.
func (c *cli) flagFault(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var empty *pflag.ValueRequiredError
	var wrong *pflag.InvalidValueError
	args := map[string]any{"command": cmd.CommandPath()}
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return err
	case errors.As(err, &unknown):
		args["flag"] = dashes(unknown.GetSpecifiedName(), unknown.GetSpecifiedShortnames())
		return misused(texts.T(c.locale, "cli.flag-unknown", args))
	case errors.As(err, &empty):
		args["flag"] = dashes(empty.GetSpecifiedName(), empty.GetSpecifiedShortnames())
		return misused(texts.T(c.locale, "cli.flag-empty", args))
	case errors.As(err, &wrong):
		args["flag"], args["value"] = "--"+wrong.GetFlag().Name, wrong.GetValue()
		return misused(texts.T(c.locale, "cli.flag-value", args))
	}
	args["problem"] = err.Error()
	return misused(texts.T(c.locale, "cli.flag-other", args))
}

// dashes writes a flag as it was typed.
func dashes(name, short string) string {
	if short != "" {
		return "-" + short
	}
	return "--" + name
}

// changed gives a pointer to a flag's value if it was given: requests that
// change something leave alone what is nil.
func changed[T any](cmd *cobra.Command, name string, value *T) *T {
	if cmd.Flags().Changed(name) {
		return value
	}
	return nil
}
