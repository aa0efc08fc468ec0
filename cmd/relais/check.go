package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/rules/strict"
)

// checkCommand checks the configuration and the programme files, without a
// hub.
func (c *cli) checkCommand() *cobra.Command {
	srv := false
	cmd := c.command("check", []string{"verifier", "vérifier"}, 0, 0, func(context.Context, []string) error {
		config, problems, err := c.settings()
		if err != nil {
			return err
		}
		if strict.Fatal(problems) {
			return c.checked(problems, 0) // the paths in it mean nothing yet
		}
		if srv {
			return c.records(config)
		}
		problems = append(problems, config.CheckFiles()...)
		problems = append(problems, gateway.Check(config)...)
		set, found := config.LoadProgrammes()
		return c.checked(append(problems, found...), len(set.Programmes))
	})
	cmd.Flags().BoolVar(&srv, "srv", false, "")
	return cmd
}

// records writes the SRV records by which mail clients find the hub, for its
// zone.
func (c *cli) records(config *configs.Config) error {
	published := gateway.Published(config)
	all := published.SRV()
	return c.show(all, func() {
		for _, r := range all {
			c.line(r.String())
		}
	})
}

// checkView is what a check found, for scripts.
type checkView struct {
	OK       bool          `json:"ok"`
	Problems []problemView `json:"problems"`
}

type problemView struct {
	File    string `json:"file"`
	Line    int    `json:"line"` // 0: the whole file
	Column  int    `json:"column"`
	Warning bool   `json:"warning"`
	Text    string `json:"text"`
}

// checked tells what a check found: a line on standard error for each problem,
// the place first.
func (c *cli) checked(problems []strict.Problem, programmes int) error {
	strict.Sort(problems)
	v := checkView{OK: !strict.Fatal(problems)}
	wrong := 0
	for _, p := range problems {
		v.Problems = append(v.Problems, problemView{p.File, p.Line, p.Column, p.Warning, texts.T(c.locale, texts.ID(p.ID), p.Args)})
		if !p.Warning {
			wrong++
		}
	}
	err := c.show(v, func() {
		for _, p := range problems {
			fmt.Fprintln(c.errs, clean(configs.Explain(p, c.locale)))
		}
		if wrong == 0 {
			c.line(texts.T(c.locale, "cli.checked", map[string]any{"n": programmes}))
		}
	})
	if err == nil && wrong > 0 {
		return failed(texts.T(c.locale, "cli.check-failed", map[string]any{"n": wrong}))
	}
	return err
}
