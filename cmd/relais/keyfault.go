package main

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store/seal"
)

// keyFault says which of the keys does not open the data folder, and what to do:
// whoever reads it stands before a hub that does not start. Empty: it is none of
// them.
func (c *cli) keyFault(err error, config *configs.Config) string {
	keystore := filepath.Join(string(config.DataDir), "keystore")
	args := map[string]any{"file": config.Keys.HubKey.Name, "keystore": keystore, "dir": string(config.Keys.EpochDir)}
	for _, f := range []struct {
		fault error
		id    texts.ID
	}{
		{seal.ErrNoHubKey, "keys.fault-no-hub-key"},
		{seal.ErrSecretForm, "keys.fault-form"},
		{seal.ErrHubKey, "keys.fault-other"},
		{seal.ErrNoEpoch, "keys.fault-no-epoch"},
	} {
		if errors.Is(err, f.fault) {
			return texts.T(c.locale, f.id, args)
		}
	}
	// A file system that is read-only, or an error of the disk, is no missing key.
	absent := errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)
	if path := (*fs.PathError)(nil); absent && errors.As(err, &path) && path.Path == keystore {
		return texts.T(c.locale, "keys.fault-no-keystore", args)
	}
	return ""
}
