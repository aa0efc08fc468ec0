package gateway

import (
	"context"
	"time"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store/backup"
	"github.com/relais-sante/relais/store/bolt"
)

// SalvageReport is what a salvage brought back.
type SalvageReport struct {
	Dir   string `json:"dir"`
	Epoch uint32 `json:"epoch"` // whose file must be in epoch_dir
	*bolt.Salvaged
}

// Salvage makes a lost or torn index again from the message segments of a data
// folder or a backup, into another folder or the same. It needs the keys that
// the configuration names. keystore, if not empty, stands in for that found
// there.
func Salvage(ctx context.Context, c *configs.Config, from, dir, keystore string, progress func(done, total int64)) (*SalvageReport, error) {
	if err := backup.Gather(ctx, from, dir, keystore, progress); err != nil {
		return nil, err
	}
	keys, err := readKeys(c, dir)
	if err != nil {
		return nil, err
	}
	defer keys.Close()
	r := &SalvageReport{Dir: dir}
	r.Epoch, _ = keys.Epoch()
	r.Salvaged, err = bolt.Salvage(ctx, bolt.Options{Dir: dir, Keys: keys}, bolt.SalvageOptions{Index: mailbox.IndexOf, Progress: progress})
	if err != nil {
		return nil, err
	}
	return r, backup.Finish(dir, time.Now())
}
