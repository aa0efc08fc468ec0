package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/texts"
)

func (c *cli) mailboxCommands() *cobra.Command {
	return c.group("mailbox", []string{"boite", "boîte", "bal"}, c.mailboxList(), c.mailboxShow(), c.mailboxUpdate())
}

func (c *cli) mailboxList() *cobra.Command {
	var after string
	var limit int
	cmd := c.command("list", []string{"lister"}, 0, 0, func(ctx context.Context, _ []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		list, err := hub.Boxes(ctx, nobody, after, limit)
		if err != nil {
			return err
		}
		return c.show(list, func() {
			if len(list) == 0 {
				c.line(texts.T(c.locale, "cli.no-mailbox", nil))
				return
			}
			var rows [][]string
			for _, b := range list {
				rows = append(rows, []string{c.box(b.Mailbox), b.Type, b.Name, b.Establishment, count(len(b.Pathways)), c.mark(b)})
			}
			c.table([]texts.ID{"cli.col-mailbox", "cli.col-type", "cli.col-name", "cli.col-establishment", "cli.col-pathways", "cli.col-mark"}, rows)
		})
	})
	cmd.Flags().StringVar(&after, "after", "", "")
	cmd.Flags().IntVar(&limit, "limit", 0, "")
	return cmd
}

func (c *cli) mailboxShow() *cobra.Command {
	return c.command("show", []string{"voir"}, 1, 1, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		b, err := hub.Box(ctx, nobody, args[0])
		return c.boxDone(b, err)
	})
}

func (c *cli) mailboxUpdate() *cobra.Command {
	var name, establishment string
	var software, copyBack, clearMark bool
	var cmd *cobra.Command
	cmd = c.command("update", []string{"modifier"}, 1, 1, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		b, err := hub.UpdateBox(ctx, nobody, mailbox.BoxUpdate{
			Mailbox: args[0], ClearMark: clearMark,
			Name: changed(cmd, "name", &name), Establishment: changed(cmd, "establishment", &establishment),
			Software: changed(cmd, "software", &software), CopyBack: changed(cmd, "copy-back", &copyBack),
		})
		return c.boxDone(b, err)
	})
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "")
	f.StringVar(&establishment, "establishment", "", "")
	f.BoolVar(&software, "software", false, "")
	f.BoolVar(&copyBack, "copy-back", false, "")
	f.BoolVar(&clearMark, "clear-mark", false, "")
	return cmd
}

func (c *cli) boxDone(b mailbox.BoxView, err error) error {
	if err != nil {
		return err
	}
	return c.show(b, func() {
		c.fields(
			texts.ID("cli.col-mailbox"), c.box(b.Mailbox),
			texts.ID("cli.col-type"), b.Type,
			texts.ID("cli.col-name"), b.Name,
			texts.ID("cli.col-establishment"), b.Establishment,
			texts.ID("cli.col-software"), c.yesNo(b.Software),
			texts.ID("cli.col-copy-back"), c.yesNo(b.CopyBack),
			texts.ID("cli.col-pathways"), strings.Join(b.Pathways, ", "),
			texts.ID("cli.col-members"), strings.Join(b.Members, ", "),
			texts.ID("cli.col-mark"), c.mark(b),
		)
	})
}

// mark says that the box refused mail for reasons of its address.
func (c *cli) mark(b mailbox.BoxView) string {
	if b.MarkedAt == nil {
		return ""
	}
	return texts.T(c.locale, "cli.marked", map[string]any{"date": c.day(*b.MarkedAt), "code": b.MarkedCode})
}
