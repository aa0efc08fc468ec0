package main

import (
	"context"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/texts"
)

func (c *cli) teamCommands() *cobra.Command {
	return c.group("team", []string{"equipe", "équipe"}, c.teamAdd(), c.teamUpdate(), c.teamRemove(), c.teamShow(), c.teamImport())
}

var boxTypes = []string{"PER", "ORG", "APP", "CAB", "MES"}

func (c *cli) teamAdd() *cobra.Command {
	var q mailbox.MemberRequest
	var yes bool
	cmd := c.command("add", []string{"ajouter"}, 1, 1, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		q.Pathway = args[0]
		if q.Mailbox == "" {
			if err := c.propose(ctx, hub, &q, yes); err != nil {
				return err
			}
		}
		m, err := hub.AddMember(ctx, nobody, q)
		return c.memberDone(m, err, texts.ID("cli.member-added"))
	})
	f := cmd.Flags()
	f.StringVar(&q.Name, "name", "", "")
	f.StringVar(&q.Role, "role", "", "")
	f.StringVar(&q.Mailbox, "mailbox", "", "")
	f.StringVar(&q.Type, "type", "", "")
	f.StringVar(&q.Establishment, "establishment", "", "")
	f.StringVar(&q.Service, "service", "", "")
	f.StringVar(&q.BoxName, "box-name", "", "")
	f.StringArrayVar(&q.AlsoFrom, "also-from", nil, "")
	f.StringVar(&q.RPPS, "rpps", "", "")
	f.StringVar(&q.Phone, "phone", "", "")
	f.BoolVarP(&yes, "yes", "y", false, "")
	required(cmd, "role")
	requiredWithout(cmd, "rpps", "name", "mailbox")
	choices(cmd, "type", boxTypes...)
	return cmd
}

func (c *cli) teamUpdate() *cobra.Command {
	var name, role, box, establishment, service, rpps, phone string
	var alsoFrom []string
	var cmd *cobra.Command
	cmd = c.command("update", []string{"modifier"}, 2, 2, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		if len(alsoFrom) == 1 && alsoFrom[0] == "" {
			alsoFrom = []string{} // --also-from= takes all of them away
		}
		m, err := hub.UpdateMember(ctx, nobody, mailbox.MemberUpdate{
			Pathway: args[0], Member: args[1],
			Name: changed(cmd, "name", &name), Role: changed(cmd, "role", &role), Mailbox: changed(cmd, "mailbox", &box),
			AlsoFrom:      changed(cmd, "also-from", &alsoFrom),
			Establishment: changed(cmd, "establishment", &establishment), Service: changed(cmd, "service", &service),
			RPPS: changed(cmd, "rpps", &rpps), Phone: changed(cmd, "phone", &phone),
		})
		return c.memberDone(m, err, texts.ID("cli.member-updated"))
	})
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "")
	f.StringVar(&role, "role", "", "")
	f.StringVar(&box, "mailbox", "", "")
	f.StringVar(&establishment, "establishment", "", "")
	f.StringVar(&service, "service", "", "")
	f.StringArrayVar(&alsoFrom, "also-from", nil, "")
	f.StringVar(&rpps, "rpps", "", "")
	f.StringVar(&phone, "phone", "", "")
	return cmd
}

func (c *cli) teamRemove() *cobra.Command {
	var q mailbox.MemberRemoval
	cmd := c.command("remove", []string{"retirer"}, 2, 2, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		q.Pathway, q.Member = args[0], args[1]
		m, err := hub.RemoveMember(ctx, nobody, q)
		return c.memberDone(m, err, texts.ID("cli.member-removed"))
	})
	cmd.Flags().StringVar(&q.Reason, "reason", "", "")
	cmd.Flags().BoolVar(&q.FIN, "fin", false, "")
	return cmd
}

func (c *cli) teamShow() *cobra.Command {
	var history bool
	cmd := c.command("show", []string{"voir"}, 1, 1, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		list, err := hub.Team(ctx, nobody, args[0], history)
		if err != nil {
			return err
		}
		return c.show(list, func() { c.team(list, history) })
	})
	cmd.Flags().BoolVar(&history, "history", false, "")
	return cmd
}

func (c *cli) teamImport() *cobra.Command {
	var dryRun bool
	cmd := c.command("import", []string{"importer"}, 2, 2, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		file, done, err := c.input(args[1], texts.T(c.locale, "cli.importing", nil))
		if err != nil {
			return err
		}
		defer done()
		list, err := hub.ImportTeam(ctx, nobody, args[0], file, dryRun)
		done()
		if err != nil {
			return err
		}
		added := 0
		for _, m := range list {
			c.warn(m.Warnings)
			if !slices.Contains(m.Warnings, "already-member") {
				added++
			}
		}
		return c.show(list, func() {
			id := texts.ID("cli.imported")
			if dryRun {
				id = texts.ID("cli.would-import")
			}
			c.line(texts.T(c.locale, id, map[string]any{"n": added}))
			c.team(list, false)
		})
	})
	cmd.ValidArgsFunction = nil
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "")
	return cmd
}

// input opens a file that is sent to the hub, "-" for standard input. On a
// terminal a bar shows how far it is.
func (c *cli) input(name, about string) (io.Reader, func(), error) {
	if name == "-" {
		return c.in, func() {}, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		f.Close()
		return nil, nil, failed(texts.T(c.locale, "cli.is-folder", map[string]any{"file": name}))
	}
	if err != nil || !terminal(c.errs) {
		return f, func() { f.Close() }, nil
	}
	bar := progressbar.NewOptions64(info.Size(),
		progressbar.OptionSetWriter(c.errs), progressbar.OptionSetDescription(about),
		progressbar.OptionShowBytes(true), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30))
	read := progressbar.NewReader(f, bar)
	return &read, func() { _ = bar.Finish(); f.Close() }, nil
}

func (c *cli) memberDone(m mailbox.MemberView, err error, done texts.ID) error {
	if err != nil {
		return err
	}
	c.warn(m.Warnings)
	return c.show(m, func() {
		c.line(texts.T(c.locale, done, map[string]any{"member": m.Member, "name": m.Name}))
		c.fields(
			texts.ID("cli.col-member"), m.Member,
			texts.ID("cli.col-name"), m.Name,
			texts.ID("cli.col-role"), m.Role,
			texts.ID("cli.col-mailbox"), c.box(m.Mailbox)+" ("+m.Type+")",
			texts.ID("cli.col-also-from"), strings.Join(m.AlsoFrom, ", "),
			texts.ID("cli.col-establishment"), m.Establishment,
			texts.ID("cli.col-service"), m.Service,
			texts.ID("cli.col-phone"), m.Phone,
			texts.ID("cli.col-rpps"), m.RPPS,
			texts.ID("cli.col-status"), c.memberWord(m.State),
		)
	})
}

func (c *cli) team(list []mailbox.MemberView, history bool) {
	if len(list) == 0 {
		c.line(texts.T(c.locale, "cli.no-member", nil))
		return
	}
	headings := []texts.ID{"cli.col-member", "cli.col-name", "cli.col-role", "cli.col-mailbox"}
	phones := slices.ContainsFunc(list, func(m mailbox.MemberView) bool { return m.Phone != "" })
	if phones {
		headings = append(headings, "cli.col-phone")
	}
	headings = append(headings, "cli.col-establishment", "cli.col-status")
	if history {
		headings = append(headings, texts.ID("cli.col-periods"))
	}
	var rows [][]string
	for _, m := range list {
		row := []string{m.Member, m.Name, m.Role, c.box(m.Mailbox)}
		if phones {
			row = append(row, m.Phone)
		}
		row = append(row, m.Establishment, c.memberWord(m.State))
		if history {
			row = append(row, c.periods(m.Periods))
		}
		rows = append(rows, row)
	}
	c.table(headings, rows)
}

func (c *cli) periods(list []mailbox.PeriodView) string {
	var all []string
	for _, p := range list {
		if p.To == nil {
			all = append(all, texts.T(c.locale, "cli.since", map[string]any{"from": c.day(p.From)}))
			continue
		}
		all = append(all, texts.T(c.locale, "cli.from-to", map[string]any{"from": c.day(p.From), "to": c.day(*p.To)}))
	}
	return strings.Join(all, ", ")
}
