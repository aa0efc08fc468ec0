package configs

import (
	"os"
	"slices"
)

// CheckFiles reports the files and folders of the configuration that are not
// there. It is apart from [Load] since init and tests load before they exist.
func (c *Config) CheckFiles() []Problem {
	k := &checker{Config: c}
	var told []Path
	for _, f := range []struct {
		path Path
		at   []any
	}{
		{c.Programmes, []any{"programmes"}},
		{c.DataDir, []any{"data_dir"}},
		{c.TLS.Cert, []any{"tls", "cert"}},
		{c.TLS.Key, []any{"tls", "key"}},
		{c.TLS.ClientCert, []any{"tls", "client_cert"}},
		{c.TLS.ClientKey, []any{"tls", "client_key"}},
		{c.TLS.Authorities, []any{"tls", "authorities"}},
		{c.TLS.CRLDir, []any{"tls", "crl_dir"}},
		{c.Trust.WhiteList, []any{"trust", "white_list"}},
		{c.Keys.RecoveryKey, []any{"keys", "recovery_key"}},
		{c.Keys.EpochDir, []any{"keys", "epoch_dir"}},
		{filePath(c.Keys.HubKey), []any{"keys", "hub_key"}},
		{filePath(c.Keys.Passphrase), []any{"keys", "passphrase"}},
	} {
		if f.path == "" || slices.Contains(told, f.path) {
			continue // client_cert is cert where nothing else is said
		}
		if !readable(f.path) {
			k.at(noFile, map[string]any{"path": string(f.path)}, f.at...)
			told = append(told, f.path)
		}
	}
	for i, place := range c.Keys.Copies {
		if !readable(place) { // a disk that is not there today
			k.warn(noFile, map[string]any{"path": string(place)}, "keys", "copies", i)
		}
	}
	return k.problems
}

// readable reports whether a file or folder is there for whoever asks.
func readable(path Path) bool {
	f, err := os.Open(string(path))
	if err != nil {
		return false
	}
	f.Close()
	return true
}
