package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/relais-sante/relais/gateway/admin"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store"
)

func (c *cli) queueCommands() *cobra.Command {
	return c.group("queue", []string{"file"},
		c.queueList(), c.queueShow(),
		c.queueAct("retry", []string{"relancer"}, (*admin.Client).RetryDelivery),
		c.queueAct("hold", []string{"retenir"}, (*admin.Client).HoldDelivery),
		c.queueDrop())
}

func (c *cli) queueList() *cobra.Command {
	var q mailbox.QueueFilter
	cmd := c.command("list", []string{"lister"}, 0, 0, func(ctx context.Context, _ []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		list, err := hub.Queue(ctx, nobody, q)
		if err != nil {
			return err
		}
		return c.show(list, func() {
			if len(list) == 0 {
				c.line(texts.T(c.locale, "cli.no-delivery", nil))
				return
			}
			var rows [][]string
			for _, d := range list {
				rows = append(rows, []string{
					d.ID, d.Pathway, c.box(d.Mailbox), c.deliveryWord(d.State), count(d.Attempts), c.minuteAt(d.NextAttempt), c.lastError(d.LastError),
				})
			}
			c.table([]texts.ID{
				"cli.col-delivery", "cli.col-pathway", "cli.col-mailbox", "cli.col-status", "cli.col-attempts", "cli.col-next", "cli.col-last-error",
			}, rows)
		})
	})
	f := cmd.Flags()
	f.StringVar(&q.Pathway, "pathway", "", "")
	f.StringVar(&q.Mailbox, "mailbox", "", "")
	f.StringVar(&q.State, "state", "", "")
	f.StringVar(&q.After, "after", "", "")
	f.IntVar(&q.Limit, "limit", 0, "")
	choices(cmd, "state", string(store.Queued), string(store.Sending), string(store.Failed), string(store.OnHold))
	return cmd
}

func (c *cli) queueShow() *cobra.Command {
	return c.command("show", []string{"voir"}, 1, 1, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		d, err := hub.QueueEntry(ctx, nobody, args[0])
		return c.deliveryDone(d, err)
	})
}

func (c *cli) queueAct(name string, aliases []string, do func(*admin.Client, context.Context, mailbox.Actor, mailbox.QueueRequest) (mailbox.QueueView, error)) *cobra.Command {
	return c.command(name, aliases, 1, 1, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		d, err := do(hub, ctx, nobody, mailbox.QueueRequest{ID: args[0]})
		return c.deliveryDone(d, err)
	})
}

// queueDrop gives a copy up. At a terminal it asks first, showing which.
func (c *cli) queueDrop() *cobra.Command {
	var q mailbox.QueueRequest
	var yes bool
	cmd := c.command("drop", []string{"abandonner"}, 1, 1, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		q.ID = args[0]
		if !yes && terminal(c.in) {
			d, err := hub.QueueEntry(ctx, nobody, q.ID)
			if err != nil {
				return err
			}
			ok, err := c.confirm(texts.T(c.locale, "cli.drop-confirm", map[string]any{"mailbox": c.box(d.Mailbox), "pathway": d.Pathway}))
			if err != nil || !ok {
				return failed(texts.T(c.locale, "cli.drop-kept", map[string]any{"id": q.ID}))
			}
		}
		d, err := hub.DropDelivery(ctx, nobody, q)
		return c.deliveryDone(d, err)
	})
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "")
	return cmd
}

// confirm asks a question whose answer is no unless it is yes.
func (c *cli) confirm(question string) (bool, error) {
	fmt.Fprint(c.errs, clean(question)+" ")
	answer, err := bufio.NewReader(c.in).ReadString('\n')
	if err != nil {
		return false, err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "o", "oui", "y", "yes":
		return true, nil
	}
	return false, nil
}

func (c *cli) deliveryDone(d mailbox.QueueView, err error) error {
	if err != nil {
		return err
	}
	return c.show(d, func() {
		c.fields(
			texts.ID("cli.col-delivery"), d.ID,
			texts.ID("cli.col-mailbox"), c.box(d.Mailbox),
			texts.ID("cli.col-pathway"), d.Pathway,
			texts.ID("cli.col-message"), d.Message,
			texts.ID("cli.col-kind"), c.kindWord(d.Kind),
			texts.ID("cli.col-status"), c.deliveryWord(d.State),
			texts.ID("cli.col-attempts"), count(d.Attempts),
			texts.ID("cli.col-next"), c.minuteAt(d.NextAttempt),
			texts.ID("cli.col-last-error"), c.lastError(d.LastError),
			texts.ID("cli.col-queued"), c.minute(d.Created),
		)
	})
}
