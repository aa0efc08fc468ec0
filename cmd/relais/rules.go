package main

import (
	"context"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/rules/strict"
)

func (c *cli) rulesCommands() *cobra.Command {
	return c.group("rules", []string{"regles", "règles"}, c.rulesCheck(), c.rulesExplain())
}

// rulesCheck checks the programme files of the configuration, or those named,
// before they are put where the hub reads them.
func (c *cli) rulesCheck() *cobra.Command {
	cmd := c.command("check", []string{"verifier", "vérifier"}, 0, -1, func(_ context.Context, args []string) error {
		config, _, err := c.settings()
		if err != nil {
			return err
		}
		if len(args) == 0 {
			set, problems := config.LoadProgrammes()
			return c.checked(problems, len(set.Programmes))
		}
		var problems []strict.Problem
		for _, name := range args {
			src, err := readBounded(name)
			if err != nil {
				return err
			}
			_, found := rules.Load(name, src, config.ProgrammeOptions())
			problems = append(problems, found...)
		}
		return c.checked(problems, len(args))
	})
	cmd.ValidArgsFunction = nil
	return cmd
}

// readBounded reads a file that people write; one that is too large is cut one
// byte beyond what the check allows, so that it says so.
func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, strict.MaxBytes+1))
}

func (c *cli) rulesExplain() *cobra.Command {
	var pathway, from string
	cmd := c.command("explain", []string{"expliquer"}, 1, 1, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		mail, done, err := c.input(args[0], texts.T(c.locale, "cli.sending", nil))
		if err != nil {
			return err
		}
		defer done()
		e, err := hub.Explain(ctx, nobody, pathway, from, mail)
		if err != nil {
			return err
		}
		return c.show(e, func() { c.explanation(e) })
	})
	cmd.ValidArgsFunction = nil
	cmd.Flags().StringVar(&pathway, "pathway", "", "")
	cmd.Flags().StringVar(&from, "from", "", "")
	required(cmd, "pathway")
	return cmd
}

// explanation tells what would become of a mail, and why, member by member.
func (c *cli) explanation(e mailbox.ExplainView) {
	verdict := word(texts.T(c.locale, texts.ID("cli.verdict-"+e.Verdict), nil), texts.ID("cli.verdict-"+e.Verdict))
	if e.Reason != "" {
		verdict += " : " + c.reason(e.Verdict, e.Reason)
	}
	var clues []string
	for _, clue := range e.Clues {
		clues = append(clues, c.clue(clue.Kind)+" → "+clue.Pathway)
	}
	filed := texts.List(c.locale, e.Rubrics)
	if e.Filed != "" {
		filed += " (" + word(texts.T(c.locale, texts.ID("cli.by-"+e.Filed), nil), texts.ID("cli.by-"+e.Filed)) + ")"
	}
	urgent := ""
	if e.Urgent {
		urgent = c.yesNo(true)
	}
	c.fields(
		texts.ID("cli.col-verdict"), verdict,
		texts.ID("cli.col-pathway"), e.Pathway,
		texts.ID("cli.col-author"), c.author(e.Author),
		texts.ID("cli.col-answers"), e.Answers,
		texts.ID("cli.col-clues"), strings.Join(clues, ", "),
		texts.ID("cli.col-rubrics"), filed,
		texts.ID("cli.col-urgent"), urgent,
		texts.ID("cli.col-documents"), c.documents(e.Documents),
	)
	if len(e.Rules) > 0 {
		c.section(texts.ID("cli.title-rules"))
		var rows [][]string
		for _, r := range e.Rules {
			state := c.yesNo(r.Matched)
			if r.Error != "" {
				state = r.Error
			}
			rows = append(rows, []string{r.Rule, state, r.File + ":" + strconv.Itoa(r.Line)})
		}
		c.table([]texts.ID{"cli.col-rule", "cli.col-matched", "cli.col-place"}, rows)
	}
	if len(e.Members) > 0 {
		c.section(texts.ID("cli.title-members"))
		var rows [][]string
		for _, m := range e.Members {
			rows = append(rows, []string{m.Member, m.Name, m.Role, c.yesNo(m.Gets), c.why(m)})
		}
		c.table([]texts.ID{"cli.col-member", "cli.col-name", "cli.col-role", "cli.col-gets", "cli.col-why"}, rows)
	}
	if len(e.Copies) > 0 {
		c.section(texts.ID("cli.title-copies"))
		var rows [][]string
		for _, copy := range e.Copies {
			rows = append(rows, []string{c.box(copy.Mailbox), strings.Join(copy.Members, ", "), copy.Subject})
		}
		c.table([]texts.ID{"cli.col-mailbox", "cli.col-members", "cli.col-subject"}, rows)
	}
}

func (c *cli) section(id texts.ID) {
	c.line("")
	c.line(texts.T(c.locale, id, nil))
}

// reason says why a mail would be held or refused.
func (c *cli) reason(verdict, reason string) string {
	if verdict == "refused" {
		return word(texts.T(c.locale, texts.ID("refusal."+reason), nil), texts.ID("refusal."+reason))
	}
	return c.heldWord(reason)
}

// why says a reason of the rights function; the hub's own text, in the hub's
// language, stands in where this program does not know the word.
func (c *cli) why(m mailbox.RecipientView) string {
	id := texts.ID("why." + m.Why)
	if text := texts.T(c.locale, id, map[string]any{"rule": m.Rule}); text != string(id) {
		return text
	}
	return m.Text
}
