package gateway

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/backup"
	"github.com/relais-sante/relais/store/bolt"
	"github.com/relais-sante/relais/store/seal"
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
	keys, lost, err := salvageKeys(c, dir)
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
	r.Damaged += int64(lost)
	return r, backup.Finish(dir, time.Now())
}

// salvageKeys opens the keystore in a folder; one that is damaged, as far as it can
// still be read: lost counts the stretches that cannot be.
func salvageKeys(c *configs.Config, dir string) (keys *seal.Keys, lost int, err error) {
	keys, err = readKeys(c, dir)
	if !errors.Is(err, store.ErrCorrupt) {
		return keys, 0, err
	}
	o, err := KeyOptions(c)
	if err != nil {
		return nil, 0, err
	}
	o.DataDir = filepath.Clean(dir)
	if lost, err = seal.Salvage(o); err != nil {
		return nil, lost, err
	}
	keys, err = readKeys(c, dir)
	return keys, lost, err
}
