package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/relais-sante/relais/mailbox/texts"
)

var shells = []string{"bash", "zsh", "fish", "powershell"}

// completionCommand writes a shell's completion script.
func (c *cli) completionCommand() *cobra.Command {
	var cmd *cobra.Command
	cmd = c.command("completion", []string{"completer", "compléter"}, 1, 1, func(_ context.Context, args []string) error {
		root := cmd.Root()
		switch args[0] {
		case "bash":
			return root.GenBashCompletionV2(c.out, true)
		case "zsh":
			return root.GenZshCompletion(c.out)
		case "fish":
			return root.GenFishCompletion(c.out, true)
		case "powershell":
			return root.GenPowerShellCompletionWithDesc(c.out)
		}
		return misused(texts.T(c.locale, "cli.unknown-shell", map[string]any{"shell": args[0], "allowed": texts.List(c.locale, slices.Clone(shells))}))
	})
	cmd.ValidArgsFunction = cobra.FixedCompletions(shells, cobra.ShellCompDirectiveNoFileComp)
	return cmd
}
