package gateway

import (
	"fmt"
	"time"

	"github.com/relais-sante/relais/gateway/admin"
	"github.com/relais-sante/relais/gateway/autoconfig"
	"github.com/relais-sante/relais/gateway/inbound"
	"github.com/relais-sante/relais/gateway/outbound"
	"github.com/relais-sante/relais/mailbox"
)

// build makes the rooms that talk; none of them talks yet.
func (d *daemon) build() error {
	d.metrics.watch(d.store)
	d.metrics.watchAccounts(d.hub)
	var err error
	d.inbound, err = inbound.New(inbound.Options{
		Hub: d.hub, Guard: d.guard, Domain: d.cfg.Domain, AnyPeer: !d.cfg.Inbound.RequireClientCert,
		Limits: limits(d.cfg), Log: d.log, Metrics: d.metrics,
	})
	if err != nil {
		return fmt.Errorf("preparing to receive: %w", err)
	}
	ofAccounts := limits(d.cfg)
	ofAccounts.Connections = d.cfg.Submission.MaxConnections
	d.forMembers, err = inbound.New(inbound.Options{
		Hub: d.hub, Guard: d.guard, Domain: d.cfg.Domain, Limits: ofAccounts, Log: d.log, Metrics: d.metrics,
		Submission: &inbound.Submission{Login: d.doorOptions(mailbox.ViaSubmit), Accounts: d.hub},
	})
	if err != nil {
		return fmt.Errorf("preparing for submission: %w", err)
	}
	if d.imap, err = d.newIMAP(); err != nil {
		return fmt.Errorf("preparing to be read: %w", err)
	}
	if d.settings, err = autoconfig.NewHandler(Published(d.cfg), d.log, nil); err != nil {
		return fmt.Errorf("preparing to help clients: %w", err)
	}
	way, err := d.route()
	if err != nil {
		return fmt.Errorf("preparing to send: %w", err)
	}
	out := &d.cfg.Outbound
	hello := out.Helo
	if hello == "" {
		hello = d.cfg.Domain
	}
	d.outbound, err = outbound.New(outbound.Options{
		Hub: d.hub, Route: way, Trust: d.guard, Hello: hello, TLS: outbound.TLSPolicy(out.TLS),
		PerPeer: out.ConnectionsPerPeer, Total: out.Connections, Idle: time.Duration(out.IdleTimeout), Grace: grace,
		Yield: time.Duration(out.YieldAtMost), Rush: d.hub.Rush,
		Timeouts: outbound.Timeouts{
			Dial: time.Duration(out.ConnectTimeout), Command: time.Duration(out.CommandTimeout), End: time.Duration(out.DataTimeout),
		},
		Metrics: d.metrics, Log: d.log,
	})
	if err != nil {
		return fmt.Errorf("preparing to send: %w", err)
	}
	d.openBoxes()
	d.care = newCaretaker(d.hub, d.store, d.keys)
	granted, err := grants(d.cfg)
	if err != nil {
		return fmt.Errorf("preparing administration: %w", err)
	}
	d.admin = admin.NewServer(admin.Options{
		Hub: d.hub, Grants: granted, Guard: d.guard, Care: d.care, Status: admin.StatusFunc(d.status), Log: d.log, Version: d.o.Version,
		MaxMessage: int64(d.cfg.Inbound.MaxMessageBytes), Grace: grace,
	})
	return nil
}
