package configs

import "os"

// CheckFiles reports the files and folders of the configuration that are not
// there. It is apart from [Load] since init and tests load before they exist.
func (c *Config) CheckFiles() []Problem {
	k := &checker{Config: c}
	for _, f := range []struct {
		path Path
		at   []any
	}{
		{c.Programmes, []any{"programmes"}},
		{c.TLS.Cert, []any{"tls", "cert"}},
		{c.TLS.Key, []any{"tls", "key"}},
		{c.TLS.ClientCert, []any{"tls", "client_cert"}},
		{c.TLS.ClientKey, []any{"tls", "client_key"}},
		{c.TLS.Authorities, []any{"tls", "authorities"}},
		{c.TLS.CRLDir, []any{"tls", "crl_dir"}},
		{c.Trust.WhiteList, []any{"trust", "white_list"}},
		{c.Keys.RecoveryKey, []any{"keys", "recovery_key"}},
		{filePath(c.Keys.HubKey), []any{"keys", "hub_key"}},
		{filePath(c.Keys.Passphrase), []any{"keys", "passphrase"}},
	} {
		if f.path == "" {
			continue
		}
		if _, err := os.Stat(string(f.path)); err != nil {
			k.at(noFile, map[string]any{"path": string(f.path)}, f.at...)
		}
	}
	for i, place := range c.Keys.Copies {
		if _, err := os.Stat(string(place)); err != nil { // a disk that is not there today
			k.warn(noFile, map[string]any{"path": string(place)}, "keys", "copies", i)
		}
	}
	return k.problems
}
