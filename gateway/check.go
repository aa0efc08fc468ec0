package gateway

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/store/seal"
)

// Check reads the files a configuration names and reports what the hub could
// not start with: certificates and keys that do not fit, no authority, no white
// list, no hub key. A file that is not there is told by
// [configs.Config.CheckFiles].
func Check(c *configs.Config) []configs.Problem {
	return slices.Concat(checkTrust(c), CheckKeys(c), checkHubKey(c))
}

func checkTrust(c *configs.Config) (found []configs.Problem) {
	at := func(id configs.TextID, path configs.Path, where ...any) {
		found = append(found, c.Problem(id, map[string]any{"path": string(path)}, where...))
	}
	pair := func(cert, key configs.Path, where ...any) {
		if cert != "" && errors.Is(trust.CheckPair(string(cert), string(key)), trust.ErrKeyPair) {
			at(configs.KeyPair, cert, where...)
		}
	}
	pair(c.TLS.Cert, c.TLS.Key, "tls", "cert")
	if c.TLS.ClientCert != c.TLS.Cert || c.TLS.ClientKey != c.TLS.Key {
		pair(c.TLS.ClientCert, c.TLS.ClientKey, "tls", "client_cert")
	}
	for i, o := range c.Operators {
		if o.ByCertificate() && (o.Cert != c.TLS.ClientCert || o.Key != c.TLS.ClientKey) {
			pair(o.Cert, o.Key, "operator", i, "cert")
		}
	}
	if path := c.TLS.Authorities; path != "" && errors.Is(trust.CheckAuthorities(string(path)), trust.ErrNoAuthority) {
		at(configs.NoAuthority, path, "tls", "authorities")
	}
	if path := c.Trust.WhiteList; path != "" {
		if _, err := trust.LoadWhiteList(string(path)); err != nil && !errors.As(err, new(*fs.PathError)) {
			at(configs.NotWhiteList, path, "trust", "white_list")
		}
	}
	return found
}

// CheckKeys reports a recovery key that is none, or is the private half.
func CheckKeys(c *configs.Config) []configs.Problem {
	path := string(c.Keys.RecoveryKey)
	_, err := seal.RecoveryFile(path)
	args := map[string]any{"path": path}
	switch {
	case errors.Is(err, seal.ErrRecoverySecret):
		return []configs.Problem{c.Problem(configs.RecoverySecret, args, "keys", "recovery_key")}
	case errors.Is(err, seal.ErrRecoveryKey):
		return []configs.Problem{c.Problem(configs.RecoveryKey, args, "keys", "recovery_key")}
	}
	return nil
}

// checkHubKey: what systemd or the environment hands to the service alone is
// not at hand to who checks, which is worth a warning only.
func checkHubKey(c *configs.Config) []configs.Problem {
	key := c.Keys.HubKey
	if key == (configs.Secret{}) {
		return nil // told as missing
	}
	err := seal.CheckHubKey(secret(key))
	switch {
	case errors.Is(err, seal.ErrSecretForm):
		return []configs.Problem{c.Problem(configs.BadHubKey, nil, "keys", "hub_key")}
	case err != nil && key.In != configs.InFile:
		p := c.Problem(configs.SecretAway, nil, "keys", "hub_key")
		p.Warning = true
		return []configs.Problem{p}
	}
	return nil
}
