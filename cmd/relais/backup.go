package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/backup"
)

func (c *cli) backupCommand() *cobra.Command {
	var o backup.Options
	cmd := c.command("backup", []string{"sauvegarder"}, 1, 1, func(ctx context.Context, args []string) error {
		config, err := c.usable()
		if err != nil {
			return err
		}
		hub, err := c.hub()
		if err != nil {
			return err
		}
		if o.Keep < 0 {
			return misused(texts.T(c.locale, "cli.flag-value", map[string]any{"flag": "--keep", "value": o.Keep, "command": "relais backup"}))
		}
		own := []string{string(config.DataDir), string(config.Keys.EpochDir)}
		for _, place := range config.Keys.Copies {
			own = append(own, string(place))
		}
		if err := backup.Outside(args[0], own...); err != nil {
			return c.backupFault(err, args[0])
		}
		var done func()
		o.Progress, done = c.progress(texts.T(c.locale, "backup.writing", nil))
		r, err := backup.Write(ctx, hub.Backup(), args[0], o)
		done()
		if err != nil {
			if c.json {
				_ = c.show(r, nil) // how far it came
			}
			return c.backupFault(err, args[0])
		}
		return c.show(r, func() { c.backedUp(r) })
	})
	cmd.ValidArgsFunction = nil
	f := cmd.Flags()
	f.IntVar(&o.Keep, "keep", 7, "")
	f.BoolVar(&o.Check, "check", false, "")
	return cmd
}

func (c *cli) backedUp(r *backup.Report) {
	c.line(texts.T(c.locale, "backup.written", map[string]any{
		"generation": r.Generation, "dir": r.Dest, "copied": texts.Size(c.locale, r.Copied), "bytes": texts.Size(c.locale, r.Bytes),
	}))
	for _, name := range r.Mended {
		c.line(texts.T(c.locale, "backup.mended", map[string]any{"file": name}))
	}
	for _, name := range r.Removed {
		c.line(texts.T(c.locale, "backup.removed", map[string]any{"generation": name}))
	}
	for _, name := range r.Broken {
		c.line(texts.T(c.locale, "backup.broken", map[string]any{"generation": name}))
	}
	c.line(texts.T(c.locale, "backup.besides", map[string]any{"epoch": r.Epoch}))
}

// progress gives what tells how far long work is, on a terminal, and what ends it.
func (c *cli) progress(about string) (func(done, total int64), func()) {
	if !terminal(c.errs) {
		return nil, func() {}
	}
	var bar *progressbar.ProgressBar
	return func(done, total int64) {
			if bar == nil {
				bar = progressbar.NewOptions64(total,
					progressbar.OptionSetWriter(c.errs), progressbar.OptionSetDescription(about),
					progressbar.OptionShowBytes(true), progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30))
			}
			bar.ChangeMax64(max(total, 1))
			_ = bar.Set64(done)
		}, func() {
			if bar != nil {
				_ = bar.Finish()
			}
		}
}

// backupFault says what is wrong and what to do about it.
func (c *cli) backupFault(err error, dir string) error {
	for fault, id := range map[error]texts.ID{
		backup.ErrInside: "backup.inside", backup.ErrOtherHub: "backup.other-hub", backup.ErrBusy: "backup.busy",
		backup.ErrDestFull: "backup.full", backup.ErrNoBackup: "backup.none", backup.ErrNotEmpty: "backup.not-empty",
		backup.ErrDamaged: "backup.damaged", backup.ErrOtherKeys: "backup.other-keys", backup.ErrUnfinished: "backup.unfinished",
		gateway.ErrRunning: "traces.running",
	} {
		if errors.Is(err, fault) {
			return failed(texts.T(c.locale, id, map[string]any{"dir": dir, "problem": err.Error()}))
		}
	}
	return err
}

func (c *cli) restoreCommand() *cobra.Command {
	var o backup.RestoreOptions
	var salvage bool
	cmd := c.command("restore", []string{"restaurer"}, 2, 2, func(ctx context.Context, args []string) error {
		if salvage {
			return c.salvage(ctx, args[0], args[1], o.Keystore)
		}
		var done func()
		o.Progress, done = c.progress(texts.T(c.locale, "backup.restoring", nil))
		r, err := backup.Restore(ctx, args[0], args[1], o)
		done()
		if err != nil {
			return c.backupFault(err, args[1])
		}
		return c.show(r, func() {
			c.line(texts.T(c.locale, "backup.restored", map[string]any{
				"dir": r.Dir, "taken": texts.DateTime(c.locale, r.Taken.Local()), "bytes": texts.Size(c.locale, r.Bytes),
			}))
			c.next(r.Dir, r.Epoch, r.Held)
		})
	})
	cmd.ValidArgsFunction = nil
	f := cmd.Flags()
	f.StringVar(&o.Generation, "generation", "", "")
	f.StringVar(&o.Keystore, "keystore", "", "")
	f.BoolVar(&o.ResumeQueue, "resume-queue", false, "")
	f.BoolVar(&salvage, "salvage", false, "")
	return cmd
}

// next says what a restored folder needs to become a hub.
func (c *cli) next(dir string, epoch uint32, held bool) {
	fmt.Fprintln(c.out)
	for _, id := range []texts.ID{"backup.needs", "backup.needs-epoch", "backup.needs-key", "backup.needs-config"} {
		c.line(texts.T(c.locale, id, map[string]any{"dir": dir, "epoch": fmt.Sprintf("epoch-%08d.key", epoch)}))
	}
	if held {
		c.line(texts.T(c.locale, "backup.held", nil))
	}
	c.line(texts.T(c.locale, "backup.then", nil))
}

func (c *cli) verifyCommand() *cobra.Command {
	var offline bool
	cmd := c.command("verify", []string{"controler", "contrôler"}, 0, 0, func(ctx context.Context, _ []string) error {
		config, err := c.usable()
		if err != nil {
			return err
		}
		progress, done := c.progress(texts.T(c.locale, "backup.reading", nil))
		var v *store.Verification
		if offline {
			v, err = gateway.Verify(ctx, config, progress)
		} else {
			v, err = c.verifyOnline(ctx, progress)
		}
		done()
		if err != nil {
			return c.verifyFault(err, config)
		}
		if err := c.show(v, func() { c.verifiedAll(v) }); err != nil {
			return err
		}
		if !v.OK {
			return failed(texts.T(c.locale, "backup.flawed", map[string]any{"n": v.Count}))
		}
		return nil
	})
	cmd.Flags().BoolVar(&offline, "offline", false, "")
	return cmd
}

// verifyOnline has the hub do it, and asks how far it is.
func (c *cli) verifyOnline(ctx context.Context, progress func(done, total int64)) (*store.Verification, error) {
	hub, err := c.hub()
	if err != nil {
		return nil, err
	}
	defer hub.Close()
	id := ""
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		v, err := hub.Verify(ctx, id)
		if err != nil || v.Result != nil {
			return v.Result, err
		}
		if id = v.ID; progress != nil && v.Total > 0 {
			progress(v.Done, v.Total)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// verifyFault says why nothing could be verified.
func (c *cli) verifyFault(err error, config *configs.Config) error {
	if said := c.keyFault(err, config); said != "" {
		return failed(said)
	}
	if errors.Is(err, store.ErrCorrupt) { // a keystore that cannot be read is a finding too
		return failed(texts.T(c.locale, "keys.fault-no-keystore", map[string]any{"keystore": filepath.Join(string(config.DataDir), "keystore")}))
	}
	return c.backupFault(err, string(config.DataDir))
}

func (c *cli) verifiedAll(v *store.Verification) {
	if len(v.Flaws) > 0 {
		var rows [][]string
		for _, f := range v.Flaws {
			at := ""
			if f.Offset >= 0 {
				at = fmt.Sprint(f.Offset)
			}
			rows = append(rows, []string{f.File, at, f.ID, texts.T(c.locale, texts.ID("backup.flaw-"+string(f.Kind)), nil)})
		}
		c.table([]texts.ID{"backup.col-file", "backup.col-offset", "backup.col-id", "backup.col-flaw"}, rows)
		fmt.Fprintln(c.out)
		told := map[store.FlawKind]bool{}
		for _, f := range v.Flaws {
			if !told[f.Kind] {
				told[f.Kind] = true
				c.line(texts.T(c.locale, texts.ID("backup.todo-"+string(f.Kind)), nil))
			}
		}
	}
	c.line(texts.T(c.locale, "backup.read", map[string]any{
		"messages": v.Messages, "segments": v.Segments, "records": v.Records, "traces": v.Traces, "bytes": texts.Size(c.locale, v.Bytes),
	}))
	if v.Erased > 0 {
		c.line(texts.T(c.locale, "backup.erased", map[string]any{"n": v.Erased}))
	}
	if v.Unfinished {
		c.line(texts.T(c.locale, "backup.unclean", nil))
	}
	if v.OK {
		c.line(texts.T(c.locale, "backup.sound", nil))
	}
}

// salvage makes a lost index again.
func (c *cli) salvage(ctx context.Context, from, dir, keystore string) error {
	config, err := c.usable()
	if err != nil {
		return err
	}
	progress, done := c.progress(texts.T(c.locale, "backup.salvaging", nil))
	r, err := gateway.Salvage(ctx, config, from, dir, keystore, progress)
	done()
	if err != nil {
		if said := c.keyFault(err, config); said != "" {
			return failed(said)
		}
		if errors.Is(err, os.ErrExist) {
			err = backup.ErrNotEmpty
		}
		return c.backupFault(err, dir)
	}
	return c.show(r, func() {
		c.line(texts.T(c.locale, "backup.salvaged", map[string]any{"messages": r.Messages, "pathways": r.Pathways, "dir": r.Dir}))
		for _, line := range []struct {
			id texts.ID
			n  int64
		}{
			{"backup.salvaged-held", r.HeldCopies},
			{"backup.salvaged-erased", r.Erased},
			{"backup.salvaged-damaged", r.Damaged},
			{"backup.salvaged-unread", int64(len(r.Unread))},
			{"backup.salvaged-unconfirmed", int64(len(r.Unconfirmed))},
		} {
			if line.n > 0 {
				c.line(texts.T(c.locale, line.id, map[string]any{"n": line.n}))
			}
		}
		for _, id := range append(r.Unread, r.Unconfirmed...) {
			c.line("  " + id)
		}
		c.next(r.Dir, r.Epoch, true)
	})
}
