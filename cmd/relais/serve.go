package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway"
	"github.com/relais-sante/relais/gateway/admin"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/backup"
	"github.com/relais-sante/relais/store/journal"
	"github.com/relais-sante/relais/store/seal"
)

// serveCommand runs the daemon until SIGTERM; SIGHUP has it read again what a
// reload takes.
func (c *cli) serveCommand() *cobra.Command {
	return c.command("serve", []string{"servir"}, 0, 0, func(ctx context.Context, _ []string) error {
		config, err := c.usable()
		if err != nil {
			return err
		}
		var level slog.Level
		if err := level.UnmarshalText([]byte(config.Log.Level)); err != nil {
			return err
		}
		var pacing sync.WaitGroup
		defer pacing.Wait()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		pacing.Go(func() { paceCollector(ctx) })
		// A limit on the size of files is a full disk like another: an error of the
		// write, not the end of the hub.
		signal.Ignore(syscall.SIGXFSZ)
		hangup := make(chan os.Signal, 1)
		signal.Notify(hangup, syscall.SIGHUP)
		defer signal.Stop(hangup)
		reload := make(chan struct{})
		go func() {
			for {
				select {
				case <-hangup:
				case <-ctx.Done():
					return
				}
				select {
				case reload <- struct{}{}:
				case <-ctx.Done():
					return
				}
			}
		}()
		err = gateway.Serve(ctx, gateway.Options{
			Config: config, Log: journal.New(c.errs, level), Version: buildInfo().Version, Reload: reload,
		})
		if err != nil {
			return failed(c.serveFault(err, config))
		}
		return nil
	})
}

// serveFault says why the hub could not go on.
func (c *cli) serveFault(err error, config *configs.Config) string {
	var network *net.OpError
	_, programmes := config.LoadProgrammes()
	for _, p := range slices.Concat(config.CheckFiles(), gateway.Check(config), programmes) {
		if !p.Warning || p.ID == configs.SecretAway {
			return texts.T(c.locale, "cli.bad-config", map[string]any{"problem": configs.Explain(p, c.locale)})
		}
	}
	if said := c.keyFault(err, config); said != "" {
		return said
	}
	switch {
	case errors.Is(err, backup.ErrUnfinished), errors.Is(err, backup.ErrForged):
		id := texts.ID("backup.unfinished")
		if errors.Is(err, backup.ErrForged) {
			id = "backup.forged"
		}
		return texts.T(c.locale, id, map[string]any{"dir": string(config.DataDir)})
	case errors.Is(err, store.ErrCorrupt):
		return texts.T(c.locale, "backup.corrupt", map[string]any{"problem": err.Error(), "dir": string(config.DataDir)})
	case errors.Is(err, seal.ErrInUse), errors.Is(err, admin.ErrInUse):
		return texts.T(c.locale, "cli.serve-twice", map[string]any{"dir": string(config.DataDir)})
	case errors.Is(err, syscall.EADDRINUSE) && errors.As(err, &network) && network.Addr != nil:
		return texts.T(c.locale, "cli.serve-port", map[string]any{"address": network.Addr.String()})
	}
	return texts.T(c.locale, "cli.serve-failed", map[string]any{"problem": err.Error()})
}
