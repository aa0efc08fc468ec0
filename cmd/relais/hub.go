package main

import (
	"errors"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway/admin"
	"github.com/relais-sante/relais/mailbox/texts"
)

// settings finds and reads the configuration: --config, $RELAIS_CONFIG,
// ./relais.toml, /etc/relais/relais.toml.
func (c *cli) settings() (*configs.Config, []configs.Problem, error) {
	named := c.config
	if named == "" {
		named = c.getenv("RELAIS_CONFIG")
	}
	file, err := configs.Find(named)
	if errors.Is(err, configs.ErrNotFound) {
		return nil, nil, failed(texts.T(c.locale, "cli.no-config", nil))
	}
	if err != nil {
		return nil, nil, err
	}
	config, problems := configs.Load(file)
	return config, problems, nil
}

// usable is settings without fault.
func (c *cli) usable() (*configs.Config, error) {
	config, problems, err := c.settings()
	if err != nil {
		return nil, err
	}
	for _, p := range problems {
		if !p.Warning {
			return nil, failed(texts.T(c.locale, "cli.bad-config", map[string]any{"problem": configs.Explain(p, c.locale)}))
		}
	}
	return config, nil
}

// hub gives a client of the hub that --hub names, else of the one that the
// configuration speaks of.
func (c *cli) hub() (*admin.Client, error) {
	if c.remote.URL != "" {
		if c.remote.Cert == "" || c.remote.Key == "" {
			return nil, misused(texts.T(c.locale, "cli.remote-pair", nil))
		}
		return admin.NewRemoteClient(c.remote)
	}
	config, err := c.usable()
	if err != nil {
		return nil, err
	}
	return admin.NewClient(string(config.Admin.Socket)), nil
}
