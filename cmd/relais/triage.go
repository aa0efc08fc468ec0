package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/texts"
)

func (c *cli) triageCommands() *cobra.Command {
	return c.group("triage", []string{"tri"}, c.triageList(), c.triageShow(), c.triageAssign(), c.triageRelease(), c.triageReject())
}

func (c *cli) triageList() *cobra.Command {
	return c.command("list", []string{"lister"}, 0, 0, func(ctx context.Context, _ []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		list, err := hub.TriageList(ctx, nobody)
		if err != nil {
			return err
		}
		return c.show(list, func() {
			if len(list) == 0 {
				c.line(texts.T(c.locale, "cli.no-held", nil))
				return
			}
			var rows [][]string
			for _, h := range list {
				rows = append(rows, []string{h.ID, c.minute(h.Received), c.box(h.From), c.heldWord(h.Reason), texts.Size(c.locale, h.Size)})
			}
			c.table([]texts.ID{"cli.col-held", "cli.col-received", "cli.col-from", "cli.col-why", "cli.col-size"}, rows)
		})
	})
}

func (c *cli) triageShow() *cobra.Command {
	var raw bool
	cmd := c.command("show", []string{"voir"}, 1, 1, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		if raw {
			r, err := hub.RawHeld(ctx, nobody, args[0])
			if err != nil {
				return err
			}
			return c.copyOut(r)
		}
		h, err := hub.Held(ctx, nobody, args[0])
		if err != nil {
			return err
		}
		return c.show(h, func() {
			from := c.box(h.From)
			if h.FromName != "" {
				from = h.FromName + " <" + from + ">"
			}
			c.fields(
				texts.ID("cli.col-held"), h.ID,
				texts.ID("cli.col-why"), c.heldWord(h.Reason),
				texts.ID("cli.col-detail"), h.Detail,
				texts.ID("cli.col-from"), from,
				texts.ID("cli.col-addressed"), h.Addressed,
				texts.ID("cli.col-programme"), h.Programme,
				texts.ID("cli.col-subject"), h.Subject,
				texts.ID("cli.col-received"), c.minute(h.Received),
				texts.ID("cli.col-size"), texts.Size(c.locale, h.Size),
				texts.ID("cli.col-documents"), c.documents(h.Documents),
				texts.ID("cli.col-candidates"), strings.Join(h.Candidates, ", "),
			)
			if h.Text != "" {
				fmt.Fprintln(c.out)
				for _, line := range strings.Split(strings.TrimSpace(h.Text), "\n") {
					c.line("  │ " + strings.TrimRight(line, "\r"))
				}
			}
		})
	})
	cmd.Flags().BoolVar(&raw, "raw", false, "")
	return cmd
}

func (c *cli) triageAssign() *cobra.Command {
	var q mailbox.TriageRequest
	cmd := c.command("assign", []string{"affecter", "attribuer"}, 1, 2, func(ctx context.Context, args []string) error {
		if q.ID = args[0]; len(args) > 1 {
			q.Pathway = args[1]
		}
		if q.Pathway == "" {
			return misused(texts.T(c.locale, "cli.assign-where", nil))
		}
		hub, err := c.hub()
		if err != nil {
			return err
		}
		r, err := hub.Assign(ctx, nobody, q)
		return c.receipt(r, err)
	})
	f := cmd.Flags()
	f.StringVar(&q.Pathway, "pathway", "", "")
	f.StringVar(&q.Member, "member", "", "")
	f.StringArrayVar(&q.Rubrics, "rubric", nil, "")
	return cmd
}

func (c *cli) triageRelease() *cobra.Command {
	var q mailbox.TriageRequest
	cmd := c.command("release", []string{"liberer", "libérer"}, 1, 1, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		q.ID = args[0]
		r, err := hub.Release(ctx, nobody, q)
		return c.receipt(r, err)
	})
	f := cmd.Flags()
	f.StringVar(&q.Member, "member", "", "")
	f.StringArrayVar(&q.Rubrics, "rubric", nil, "")
	return cmd
}

func (c *cli) triageReject() *cobra.Command {
	var q mailbox.TriageRequest
	cmd := c.command("reject", []string{"rejeter"}, 1, 1, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		q.ID = args[0]
		if err := hub.Reject(ctx, nobody, q); err != nil {
			return err
		}
		return c.show(map[string]string{"id": q.ID, "state": "rejected"}, func() {
			c.line(texts.T(c.locale, "cli.rejected", map[string]any{"id": q.ID}))
		})
	})
	cmd.Flags().StringVar(&q.Reason, "reason", "", "")
	return cmd
}

// receipt says what became of a message that was held.
func (c *cli) receipt(r mailbox.Receipt, err error) error {
	if err != nil {
		return err
	}
	return c.show(r, func() {
		args := map[string]any{"pathway": string(r.Pathway), "message": string(r.Message)}
		switch {
		case r.Held != "":
			c.line(texts.T(c.locale, "cli.still-held", map[string]any{"id": string(r.Held), "why": c.heldWord(r.Reason)}))
		case r.Duplicate:
			c.line(texts.T(c.locale, "cli.duplicate", args))
		default:
			args["n"] = r.Deliveries
			c.line(texts.T(c.locale, "cli.filed", args))
		}
	})
}
