package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/texts"
)

func (c *cli) messageShow() *cobra.Command {
	var raw bool
	cmd := c.command("show", []string{"voir"}, 1, 1, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		if raw {
			r, err := hub.RawMessage(ctx, nobody, args[0])
			if err != nil {
				return err
			}
			return c.copyOut(r)
		}
		m, err := hub.Message(ctx, nobody, args[0])
		return c.messageDone(ctx, hub, m, err, "")
	})
	cmd.Flags().BoolVar(&raw, "raw", false, "")
	return cmd
}

func (c *cli) messageRetract() *cobra.Command {
	var q mailbox.MessageRequest
	cmd := c.command("retract", []string{"retirer"}, 1, 1, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		q.Message = args[0]
		m, err := hub.Retract(ctx, nobody, q)
		return c.messageDone(ctx, hub, m, err, texts.ID("cli.message-retracted"))
	})
	cmd.Flags().StringVar(&q.Reason, "reason", "", "")
	return cmd
}

// What a message is moved, refiled, resent or given to may stand after it or
// be named by a flag: `message move ID PATHWAY`, `message move ID --pathway P`.

func (c *cli) messageMove() *cobra.Command {
	var q mailbox.MessageRequest
	cmd := c.command("move", []string{"deplacer", "déplacer"}, 1, 2, func(ctx context.Context, args []string) error {
		var err error
		if q.Message = args[0]; len(args) > 1 {
			q.Pathway = args[1]
		}
		if q.Pathway == "" {
			return misused(texts.T(c.locale, "cli.move-where", nil))
		}
		hub, err := c.hub()
		if err != nil {
			return err
		}
		m, err := hub.MoveMessage(ctx, nobody, q)
		return c.messageDone(ctx, hub, m, err, texts.ID("cli.message-moved"))
	})
	cmd.Flags().StringVar(&q.Pathway, "pathway", "", "")
	return cmd
}

func (c *cli) messageRefile() *cobra.Command {
	var q mailbox.MessageRequest
	cmd := c.command("refile", []string{"reclasser"}, 1, -1, func(ctx context.Context, args []string) error {
		q.Message, q.Rubrics = args[0], append(args[1:], q.Rubrics...)
		if len(q.Rubrics) == 0 {
			return misused(texts.T(c.locale, "cli.refile-where", nil))
		}
		hub, err := c.hub()
		if err != nil {
			return err
		}
		m, err := hub.Refile(ctx, nobody, q)
		return c.messageDone(ctx, hub, m, err, texts.ID("cli.message-refiled"))
	})
	cmd.Flags().StringArrayVar(&q.Rubrics, "rubric", nil, "")
	return cmd
}

func (c *cli) messageResend() *cobra.Command {
	var q mailbox.MessageRequest
	cmd := c.command("resend", []string{"renvoyer"}, 1, -1, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		q.Message, q.Members = args[0], append(args[1:], q.Members...)
		m, err := hub.Resend(ctx, nobody, q)
		return c.messageDone(ctx, hub, m, err, texts.ID("cli.message-resent"))
	})
	cmd.Flags().StringArrayVar(&q.Members, "member", nil, "")
	return cmd
}

func (c *cli) messageAuthor() *cobra.Command {
	var q mailbox.MessageRequest
	cmd := c.command("author", []string{"auteur"}, 1, 2, func(ctx context.Context, args []string) error {
		if q.Message = args[0]; len(args) > 1 {
			q.Member = args[1]
		}
		if q.Member == "" {
			return misused(texts.T(c.locale, "cli.author-who", nil))
		}
		hub, err := c.hub()
		if err != nil {
			return err
		}
		m, err := hub.SetAuthor(ctx, nobody, q)
		return c.messageDone(ctx, hub, m, err, texts.ID("cli.message-authored"))
	})
	cmd.Flags().StringVar(&q.Member, "member", "", "")
	return cmd
}
