package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/store/journal"
)

// reloads reads what a reload takes again whenever asked.
func (d *daemon) reloads(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-d.o.Reload:
			if !ok {
				<-ctx.Done()
				return
			}
			if err := d.reload(); err != nil {
				d.log.Error("reload refused: what was there stays", "error", err)
				continue
			}
			d.log.Info("reloaded")
		}
	}
}

// reload is all or nothing: everything is read and checked before anything is
// put to use: certificates, white list, programmes; who may log in by password;
// the identity provider, unless there was none; administrators. Other settings
// take a restart: those that changed are named in the journal and by `status`.
func (d *daemon) reload() error {
	fresh := d.cfg
	if d.cfg.File != "" {
		c, problems := configs.Load(d.cfg.File)
		if n := len(serious(problems)); n > 0 {
			return fmt.Errorf("checking the configuration: %w", problemsFound(n))
		}
		fresh = c
	}
	set, problems := fresh.LoadProgrammes()
	if n := len(serious(problems)); n > 0 {
		return fmt.Errorf("checking the programmes: %w", problemsFound(n))
	}
	for _, p := range d.programmes.Load().Programmes {
		if set.ByID(p.ID) == nil {
			// Its pathways would be left without rules.
			return fmt.Errorf("programme %s: %w", p.ID, errProgrammeGone)
		}
	}
	useAccesses, err := d.prepareAccesses()
	if err != nil {
		return fmt.Errorf("reading the certificates for operators: %w", err)
	}
	granted, err := grants(fresh)
	if err != nil {
		return fmt.Errorf("reading who may administer: %w", err)
	}
	provider, err := newProvider(fresh)
	if err != nil {
		return err
	}
	if err := d.guard.Reload(trustOptions(fresh)); err != nil {
		return fmt.Errorf("reading certificates and white list: %w", err)
	}
	d.concerns()
	d.programmes.Store(set)
	useAccesses()
	d.outbound.Renew()
	d.passwords.Store(&fresh.IMAP.Password)
	d.admin.SetGrants(granted)
	if d.tokens != nil {
		d.tokens.provider.Store(provider)
	}
	d.noteWaiting(fresh)
	return nil
}

// reloaded reports whether a reload takes a setting.
func (d *daemon) reloaded(name string) bool {
	section, _, _ := strings.Cut(name, ".")
	switch section {
	case "tls", "trust", "programmes", "administrator":
		return true
	case "oauth":
		return d.tokens != nil // else the servers do not offer tokens at all
	}
	return name == "imap.password"
}

// noteWaiting remembers and tells which settings wait for a restart.
func (d *daemon) noteWaiting(fresh *configs.Config) {
	waiting := slices.DeleteFunc(d.cfg.Differs(fresh), d.reloaded)
	d.waiting.Store(&waiting)
	if len(waiting) > 0 {
		names := make([]journal.Word, len(waiting)) // of settings: a closed vocabulary
		for i, name := range waiting {
			names[i] = journal.Word(name)
		}
		d.log.Warn("settings that changed wait for a restart", "settings", names)
	}
}

const errProgrammeGone = journal.Fault("in use, but its file is gone")
