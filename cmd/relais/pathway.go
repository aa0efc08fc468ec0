package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/relais-sante/relais/gateway/admin"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/texts"
)

func (c *cli) pathwayCommands() *cobra.Command {
	return c.group("pathway", []string{"parcours"},
		c.pathwayInclude(), c.pathwayList(), c.pathwayShow(), c.pathwayUpdate(), c.pathwayMerge(), c.pathwayExport(), c.pathwayErase(),
		c.pathwayStatus("suspend", []string{"suspendre"}, (*admin.Client).SuspendPathway),
		c.pathwayStatus("close", []string{"clore", "fermer"}, (*admin.Client).ClosePathway),
		c.pathwayStatus("reopen", []string{"rouvrir"}, (*admin.Client).ReopenPathway),
	)
}

func (c *cli) pathwayInclude() *cobra.Command {
	var q mailbox.IncludeRequest
	cmd := c.command("include", []string{"inclure"}, 0, 0, func(ctx context.Context, _ []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		v, err := hub.Include(ctx, nobody, q)
		return c.pathwayDone(v, err, texts.ID("cli.included"))
	})
	f := cmd.Flags()
	f.StringVar(&q.Programme, "programme", "", "")
	c.patientFlags(cmd, &q.INS, &q.INSOID, &q.FamilyName, &q.GivenName, &q.BirthDate, &q.Sex, &q.Establishment, &q.Phone)
	f.StringVar(&q.Consent, "consent", "", "")
	f.StringVar(&q.ConsentFrom, "consent-from", "", "")
	f.StringVar(&q.ConsentBy, "consent-by", "", "")
	f.StringVar(&q.ConsentNotice, "consent-notice", "", "")
	required(cmd, "programme", "family-name", "given-name", "birth-date", "sex")
	choices(cmd, "sex", "F", "M", "U")
	choices(cmd, "consent", "oral", "written")
	return cmd
}

func (c *cli) patientFlags(cmd *cobra.Command, ins, oid, family, given, birth, sex, establishment, phone *string) {
	f := cmd.Flags()
	f.StringVar(ins, "ins", "", "")
	f.StringVar(oid, "ins-oid", "", "")
	f.StringVar(family, "family-name", "", "")
	f.StringVar(given, "given-name", "", "")
	f.StringVar(birth, "birth-date", "", "")
	f.StringVar(sex, "sex", "", "")
	f.StringVar(establishment, "establishment", "", "")
	f.StringVar(phone, "phone", "", "")
}

// choices completes a flag's value in the shell.
func choices(cmd *cobra.Command, flag string, values ...string) {
	complete := cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err)
	}
}

func (c *cli) pathwayList() *cobra.Command {
	var q mailbox.PathwayFilter
	cmd := c.command("list", []string{"lister"}, 0, 0, func(ctx context.Context, _ []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		list, err := hub.Pathways(ctx, nobody, q)
		if err != nil {
			return err
		}
		return c.show(list, func() {
			if len(list) == 0 {
				c.line(texts.T(c.locale, "cli.no-pathway", nil))
				return
			}
			var rows [][]string
			for _, p := range list {
				rows = append(rows, []string{
					p.ID, p.FamilyName + " " + p.GivenName, c.birth(p.BirthDate), p.Programme, c.statusWord(p.Status), c.consentWord(p.Consent), count(p.Members),
				})
			}
			c.table([]texts.ID{"cli.col-pathway", "cli.col-patient", "cli.col-born", "cli.col-programme", "cli.col-status", "cli.col-consent", "cli.col-members"}, rows)
		})
	})
	f := cmd.Flags()
	f.StringVar(&q.Programme, "programme", "", "")
	f.StringVar(&q.Status, "status", "", "")
	f.StringVar(&q.INS, "ins", "", "")
	f.StringVar(&q.Mailbox, "mailbox", "", "")
	f.StringVar(&q.After, "after", "", "")
	f.IntVar(&q.Limit, "limit", 0, "")
	choices(cmd, "status", "open", "suspended", "closed", "erasing", "erased")
	return cmd
}

func (c *cli) pathwayShow() *cobra.Command {
	return c.command("show", []string{"voir"}, 1, 1, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		v, err := hub.Pathway(ctx, nobody, args[0])
		return c.pathwayDone(v, err, "")
	})
}

func (c *cli) pathwayUpdate() *cobra.Command {
	var ins, oid, family, given, birth, sex, establishment, phone string
	var cmd *cobra.Command
	cmd = c.command("update", []string{"corriger"}, 1, 1, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		v, err := hub.UpdatePathway(ctx, nobody, mailbox.PathwayUpdate{
			Pathway: args[0],
			INS:     changed(cmd, "ins", &ins), INSOID: changed(cmd, "ins-oid", &oid),
			FamilyName: changed(cmd, "family-name", &family), GivenName: changed(cmd, "given-name", &given),
			BirthDate: changed(cmd, "birth-date", &birth), Sex: changed(cmd, "sex", &sex),
			Establishment: changed(cmd, "establishment", &establishment), Phone: changed(cmd, "phone", &phone),
		})
		return c.pathwayDone(v, err, texts.ID("cli.updated"))
	})
	c.patientFlags(cmd, &ins, &oid, &family, &given, &birth, &sex, &establishment, &phone)
	choices(cmd, "sex", "F", "M", "U")
	return cmd
}

func (c *cli) pathwayMerge() *cobra.Command {
	return c.command("merge", []string{"fusionner"}, 2, 2, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		v, err := hub.MergePathways(ctx, nobody, args[0], args[1])
		return c.pathwayDone(v, err, texts.ID("cli.merged"))
	})
}

// pathwayStatus makes the commands that change where a pathway is in its life.
func (c *cli) pathwayStatus(name string, aliases []string, do func(*admin.Client, context.Context, mailbox.Actor, mailbox.StatusChange) (mailbox.PathwayView, error)) *cobra.Command {
	var q mailbox.StatusChange
	cmd := c.command(name, aliases, 1, 1, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		q.Pathway = args[0]
		v, err := do(hub, ctx, nobody, q)
		return c.pathwayDone(v, err, texts.ID("cli.updated"))
	})
	cmd.Flags().StringVar(&q.Reason, "reason", "", "")
	if name == "close" {
		cmd.Flags().BoolVar(&q.Deceased, "deceased", false, "")
		cmd.Flags().BoolVar(&q.FIN, "fin", false, "")
	}
	return cmd
}

// pathwayStatusWord says where a pathway is in its life; how it ended, too.
func (c *cli) pathwayStatusWord(p mailbox.PathwayView) string {
	if p.Deceased {
		return texts.T(c.locale, "cli.status-deceased", nil)
	}
	return c.statusWord(p.Status)
}

// pathwayDone shows a pathway after what was done to it.
func (c *cli) pathwayDone(p mailbox.PathwayView, err error, done texts.ID) error {
	if err != nil {
		return err
	}
	c.warn(p.Warnings)
	return c.show(p, func() {
		if p.Erasure != nil {
			c.erasure(p.Erasure)
			return
		}
		if done != "" {
			c.line(texts.T(c.locale, done, map[string]any{"pathway": p.ID}))
		}
		c.fields(
			texts.ID("cli.col-pathway"), p.ID,
			texts.ID("cli.col-address"), p.Address,
			texts.ID("cli.col-tag"), p.Tag,
			texts.ID("cli.col-status"), c.pathwayStatusWord(p),
			texts.ID("cli.col-merged-into"), p.MergedInto,
			texts.ID("cli.col-programme"), p.Programme,
			texts.ID("cli.col-patient"), p.FamilyName+" "+p.GivenName,
			texts.ID("cli.col-born"), c.birth(p.BirthDate),
			texts.ID("cli.col-sex"), p.Sex,
			texts.ID("cli.col-ins"), p.INS,
			texts.ID("cli.col-establishment"), p.Establishment,
			texts.ID("cli.col-phone"), p.Phone,
			texts.ID("cli.col-consent"), c.consentWord(p.Consent),
			texts.ID("cli.col-members"), count(p.Members),
			texts.ID("cli.col-included"), c.day(p.Created),
		)
	})
}
