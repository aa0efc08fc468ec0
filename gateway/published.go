package gateway

import (
	"crypto/tls"
	"net"
	"strconv"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway/autoconfig"
	"github.com/relais-sante/relais/gateway/inbound"
)

// Published is what mail clients are told of a hub with these settings.
func Published(c *configs.Config) autoconfig.Settings {
	imap, submission := c.Published()
	return autoconfig.Settings{
		Domain: c.Domain, IMAP: reached(imap), Submission: reached(submission),
		Password: c.IMAP.Password.On || len(c.IMAP.Password.Networks) > 0, Tokens: c.OAuth.Issuer != "",
	}
}

func reached(list []configs.Endpoint) (all []autoconfig.Server) {
	for _, e := range list {
		host, text := e.HostPort()
		port, _ := strconv.ParseUint(text, 10, 16) // checked when it was read
		all = append(all, autoconfig.Server{Host: host, Port: uint16(port), STARTTLS: e.Mode == configs.STARTTLS})
	}
	return all
}

// web puts TLS on a listener for HTTP that asks for it. No certificate is asked
// of the client: a browser would ask its user which.
func (d *daemon) web(l mailListener) net.Listener {
	if l.security != inbound.ImplicitTLS {
		return l.Listener
	}
	c := d.guard.ServerConfig()
	current := c.GetConfigForClient
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		c, err := current(hello)
		if err != nil {
			return nil, err
		}
		c = c.Clone()
		c.ClientAuth = tls.NoClientCert
		return c, nil
	}
	return tls.NewListener(l.Listener, c)
}
