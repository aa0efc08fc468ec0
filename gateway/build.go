package gateway

import (
	"crypto/tls"
	"fmt"

	"github.com/relais-sante/relais/gateway/admin"
	"github.com/relais-sante/relais/gateway/inbound"
	"github.com/relais-sante/relais/gateway/outbound"
	"github.com/relais-sante/relais/gateway/trust"
)

// build makes the rooms that talk; none of them talks yet.
func (d *daemon) build() error {
	d.metrics.watch(d.store)
	var err error
	d.inbound, err = inbound.New(inbound.Options{
		Hub: d.hub, Trust: d.guard, Domain: d.cfg.Domain, RequireClientCert: d.cfg.Inbound.RequireClientCert,
		Limits: limits(d.cfg), Log: d.log, Metrics: d.metrics, Grace: grace,
	})
	if err != nil {
		return fmt.Errorf("preparing to receive: %w", err)
	}
	g := peers{d.guard}
	way, err := route(d.cfg, g)
	if err != nil {
		return fmt.Errorf("preparing to send: %w", err)
	}
	out := &d.cfg.Outbound
	hello := out.Helo
	if hello == "" {
		hello = d.cfg.Domain
	}
	d.outbound, err = outbound.New(outbound.Options{
		Hub: d.hub, Route: way, Trust: g, Hello: hello, TLS: outbound.TLSPolicy(out.TLS),
		PerPeer: out.ConnectionsPerPeer, Total: out.Connections, Idle: out.IdleTimeout.Std(), Grace: grace,
		Timeouts: outbound.Timeouts{
			Dial: out.ConnectTimeout.Std(), Command: out.CommandTimeout.Std(), End: out.DataTimeout.Std(),
		},
		Metrics: d.metrics, Log: d.log,
	})
	if err != nil {
		return fmt.Errorf("preparing to send: %w", err)
	}
	d.admin = admin.NewServer(admin.Options{
		Hub: d.hub, Status: admin.StatusFunc(d.status), Log: d.log, Version: d.o.Version,
		MaxMessage: int64(d.cfg.Inbound.MaxMessageBytes), Grace: grace,
	})
	return nil
}

// peers is the trust that sending needs: whether, not who.
type peers struct{ *trust.Guard }

func (p peers) VerifyServer(cs tls.ConnectionState, domain string) error {
	_, err := p.Guard.VerifyServer(cs, domain)
	return err
}

func (p peers) VerifySmarthost(cs tls.ConnectionState, dn string) error {
	_, err := p.Guard.VerifySmarthost(cs, dn)
	return err
}
