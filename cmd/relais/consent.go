package main

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/texts"
)

func (c *cli) consentCommands() *cobra.Command {
	return c.group("consent", []string{"consentement"}, c.consentRecord(), c.consentWithdraw(), c.consentShow())
}

func (c *cli) consentRecord() *cobra.Command {
	var q mailbox.ConsentRequest
	cmd := c.command("record", []string{"recueillir", "enregistrer"}, 1, 1, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		q.Pathway = args[0]
		list, err := hub.RecordConsent(ctx, nobody, q)
		return c.consents(list, err)
	})
	f := cmd.Flags()
	f.StringVar(&q.Kind, "kind", "", "")
	f.StringVar(&q.From, "from", "", "")
	f.StringVar(&q.By, "by", "", "")
	f.StringVar(&q.For, "for", "", "")
	f.StringVar(&q.Notice, "notice", "", "")
	required(cmd, "kind", "from")
	choices(cmd, "kind", "oral", "written")
	// `pathway include` has the same flags under longer names; whoever has its
	// habit is understood here too.
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		switch name {
		case "consent":
			name = "kind"
		case "consent-from":
			name = "from"
		case "consent-by":
			name = "by"
		case "consent-notice":
			name = "notice"
		}
		return pflag.NormalizedName(name)
	})
	return cmd
}

func (c *cli) consentWithdraw() *cobra.Command {
	var q mailbox.WithdrawRequest
	cmd := c.command("withdraw", []string{"retirer"}, 1, 1, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		q.Pathway = args[0]
		list, err := hub.WithdrawConsent(ctx, nobody, q)
		return c.consents(list, err)
	})
	f := cmd.Flags()
	f.StringVar(&q.For, "for", "", "")
	f.StringVar(&q.By, "by", "", "")
	f.StringVar(&q.Reason, "reason", "", "")
	return cmd
}

func (c *cli) consentShow() *cobra.Command {
	return c.command("show", []string{"voir"}, 1, 1, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		list, err := hub.Consents(ctx, nobody, args[0])
		return c.consents(list, err)
	})
}

func (c *cli) consents(list []mailbox.ConsentView, err error) error {
	if err != nil {
		return err
	}
	return c.show(list, func() {
		if len(list) == 0 {
			c.line(texts.T(c.locale, "cli.no-consent", nil))
			return
		}
		var rows [][]string
		for _, v := range list {
			whom := v.For
			if whom == "" {
				whom = texts.T(c.locale, "cli.whole-pathway", nil)
			}
			state := c.consentWord("recorded")
			if v.Withdrawn != nil {
				state = texts.T(c.locale, "cli.withdrawn-on", map[string]any{"date": c.day(*v.Withdrawn), "by": v.WithdrawnBy})
			}
			rows = append(rows, []string{c.minute(v.At), c.kindOfConsent(v.Kind), v.From, v.By, whom, v.Notice, state})
		}
		c.table([]texts.ID{"cli.col-date", "cli.col-consent", "cli.col-from", "cli.col-by", "cli.col-for", "cli.col-notice", "cli.col-status"}, rows)
	})
}

func (c *cli) kindOfConsent(kind string) string {
	return word(texts.T(c.locale, texts.ID("cli.given-"+kind), nil), texts.ID("cli.given-"+kind))
}
