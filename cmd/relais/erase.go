package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/texts"
)

// pathwayErase erases a pathway for good. It asks first, showing which.
func (c *cli) pathwayErase() *cobra.Command {
	var q mailbox.ErasureRequest
	var yes bool
	cmd := c.command("erase", []string{"effacer"}, 1, 1, func(ctx context.Context, args []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		q.Pathway = args[0]
		if !yes {
			p, err := hub.Pathway(ctx, nobody, q.Pathway)
			if err != nil {
				return err
			}
			if p.Erasure == nil {
				err = c.sure(false, texts.T(c.locale, "erase.confirm", map[string]any{
					"pathway": p.ID, "patient": p.FamilyName + " " + p.GivenName, "status": c.statusWord(p.Status), "n": p.Members,
				}))
			}
			if err != nil {
				return err
			}
		}
		v, err := hub.ErasePathway(ctx, nobody, q)
		if err != nil {
			return err
		}
		return c.show(v, func() { c.erasure(&v) })
	})
	cmd.Flags().StringVar(&q.Reason, "reason", "", "")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "")
	return cmd
}

// erasure says an erasure, or its proof.
func (c *cli) erasure(v *mailbox.ErasureView) {
	for _, line := range strings.Split(v.Text(c.locale), "\n") {
		c.grid(nil, [][]string{{line}}, 0)
	}
}
