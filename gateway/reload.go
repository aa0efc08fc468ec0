package gateway

import (
	"context"
	"fmt"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/store/journal"
)

// reloads reads certificates, white list and programmes again whenever asked.
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
// put to use. The configuration file itself is read for the paths only; other
// settings take a restart.
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
	if err := d.guard.Reload(trustOptions(fresh)); err != nil {
		return fmt.Errorf("reading certificates and white list: %w", err)
	}
	d.concerns()
	d.programmes.Store(set)
	useAccesses()
	d.outbound.Renew()
	return nil
}

const errProgrammeGone = journal.Fault("in use, but its file is gone")
