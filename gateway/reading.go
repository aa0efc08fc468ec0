package gateway

import (
	"context"
	"time"

	"github.com/relais-sante/relais/gateway/imap"
	"github.com/relais-sante/relais/gateway/inbound"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/folder"
)

// newIMAP makes the server of the structured mailbox.
func (d *daemon) newIMAP() (*imap.Server, error) {
	c := &d.cfg.IMAP
	return imap.New(imap.Options{
		TLS: d.guard.ServerConfig(), Login: d.doorOptions(mailbox.ViaIMAP), Folders: d.folders,
		Domain: d.cfg.Domain, Version: d.o.Version, Log: d.log, Metrics: d.metrics,
		Limits: imap.Limits{
			Connections: c.MaxConnections, ConnectionsPerPeer: c.MaxConnectionsPerPeer, ConnectionsPerUser: c.MaxConnectionsPerAccount,
			LoginAttempts: c.LoginAttempts, CommandsBefore: c.CommandsBeforeLogin, Errors: c.MaxErrors,
			CommandBytes: int(c.CommandLimit), MessageBytes: int64(d.cfg.Inbound.MaxMessageBytes), AppendMessages: c.AppendMessages,
			SetRanges: c.SetRanges, SearchKeys: c.SearchKeys, SearchDepth: c.SearchDepth, SearchBytes: int64(c.SearchBytes),
			Contexts: c.SearchContexts, ListPatterns: c.ListPatterns,
			Handshake: time.Duration(c.HandshakeTimeout), Login: time.Duration(c.LoginTimeout), Idle: time.Duration(c.IdleTimeout),
			Command: time.Duration(c.CommandTimeout), Write: time.Duration(c.WriteTimeout),
			MinRate: int64(c.MinRate), Message: time.Duration(c.MessageTimeout), Push: time.Duration(c.PushInterval),
		},
	})
}

// folders opens the structured mailbox for a session.
func (d *daemon) folders(ctx context.Context, a *mailbox.Account, where string) (folder.User, error) {
	r, err := d.hub.Read(ctx, a, where)
	if err != nil {
		return nil, err // and not a nil *Reader in an interface
	}
	return r, nil
}

func imapSecurity(s inbound.Security) imap.Security {
	if s == inbound.ImplicitTLS {
		return imap.ImplicitTLS
	}
	return imap.StartTLS
}
