package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/relais-sante/relais/gateway/setup"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store/seal"
)

// initView is what init made, for scripts.
type initView struct {
	Dir    string   `json:"dir"`
	Config string   `json:"config"`
	Files  []string `json:"files"` // relative to dir
}

// initCommand makes the folder of a new hub.
func (c *cli) initCommand() *cobra.Command {
	o := setup.Options{Locale: c.locale}
	cmd := c.command("init", []string{"initialiser"}, 1, 1, func(_ context.Context, args []string) error {
		o.Dir = args[0]
		files, err := setup.Init(o)
		var invalid *setup.Invalid
		switch {
		case errors.Is(err, setup.ErrNotEmpty):
			return failed(texts.T(c.locale, "cli.init-not-empty", map[string]any{"dir": o.Dir}))
		case errors.Is(err, seal.ErrRecoveryKey):
			return failed(texts.T(c.locale, "cli.init-recovery", map[string]any{"file": o.RecoveryKey}))
		case errors.Is(err, seal.ErrRecoverySecret):
			return failed(texts.T(c.locale, "cli.init-recovery-secret", map[string]any{"file": o.RecoveryKey}))
		case errors.As(err, &invalid):
			return failed(texts.T(c.locale, texts.ID(invalid.Problem.ID), invalid.Problem.Args))
		case err != nil:
			return err
		}
		v := initView{Dir: o.Dir, Config: filepath.Join(o.Dir, setup.ConfigName), Files: files}
		return c.show(v, func() { c.initDone(v, o) })
	})
	cmd.ValidArgsFunction = nil
	f := cmd.Flags()
	f.StringVar(&o.Domain, "domain", "", "")
	f.BoolVar(&o.Dev, "dev", false, "")
	f.StringVar(&o.RecoveryKey, "recovery-key", "", "")
	required(cmd, "domain")
	return cmd
}

// initDone says what was made and what comes next.
func (c *cli) initDone(v initView, o setup.Options) {
	c.line(texts.T(c.locale, "cli.init-made", map[string]any{"dir": v.Dir}))
	for _, name := range v.Files {
		c.line("  " + name)
	}
	args := map[string]any{"dir": v.Dir, "config": v.Config}
	next := texts.T(c.locale, "cli.init-next", args)
	if o.Dev {
		next = texts.T(c.locale, "cli.init-next-dev", args)
	}
	fmt.Fprintf(c.out, "\n%s\n", next)
	if !o.Dev && o.RecoveryKey == "" {
		fmt.Fprintln(c.errs, texts.T(c.locale, "cli.warning", map[string]any{"text": texts.T(c.locale, "cli.init-no-recovery", nil)}))
	}
}
