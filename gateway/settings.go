package gateway

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway/inbound"
	"github.com/relais-sante/relais/gateway/login"
	"github.com/relais-sante/relais/gateway/outbound"
	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/letter"
	"github.com/relais-sante/relais/mailbox/password"
	"github.com/relais-sante/relais/rules"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/seal"
)

// What each room is told of the configuration. Nothing else reads it.

// KeyOptions says where a configuration keeps its keys. `init` makes them with
// the same.
func KeyOptions(c *configs.Config) (seal.Options, error) {
	o := seal.Options{DataDir: string(c.DataDir), EpochDir: string(c.Keys.EpochDir), Hub: secret(c.Keys.HubKey)}
	if c.Keys.Passphrase != (configs.Secret{}) {
		o.Passphrase = secret(c.Keys.Passphrase)
	}
	for _, place := range c.Keys.Copies {
		o.Copies = append(o.Copies, string(place))
	}
	var err error
	o.Recovery, err = seal.RecoveryFile(string(c.Keys.RecoveryKey))
	return o, err
}

func secret(s configs.Secret) seal.Source {
	switch s.In {
	case configs.InCredential:
		return seal.Credential(s.Name)
	case configs.InEnv:
		return seal.Env(s.Name)
	}
	return seal.File(s.Name)
}

func trustOptions(c *configs.Config) trust.Options {
	return trust.Options{
		Certificate: string(c.TLS.Cert), Key: string(c.TLS.Key),
		ClientCertificate: string(c.TLS.ClientCert), ClientKey: string(c.TLS.ClientKey),
		Authorities: string(c.TLS.Authorities), CRLDir: string(c.TLS.CRLDir),
		CRLGrace: time.Duration(c.TLS.CRLGrace), PeerEKU: c.TLS.PeerEKU,
		MinVersion: string(c.TLS.MinVersion), MaxVersion: string(c.TLS.MaxVersion),
		WhiteList: string(c.Trust.WhiteList), MaxAge: time.Duration(c.Trust.MaxAge),
		MaxShrink: int(c.Trust.MaxShrink), AnyOperator: !c.Trust.RequireOperatorMatch,
		KeepDir: filepath.Join(string(c.DataDir), "trust"),
	}
}

func (d *daemon) hubOptions() mailbox.Options {
	c := d.cfg
	steps := make([]time.Duration, len(c.Outbound.Retry))
	for i, r := range c.Outbound.Retry {
		steps[i] = time.Duration(r)
	}
	boxes := make([]mailbox.OperatorBox, len(c.Operators))
	for i, o := range c.Operators {
		boxes[i] = mailbox.OperatorBox{Name: o.Name, Address: store.NewAddress(o.Address), Programme: o.Programme}
	}
	return mailbox.Options{
		Store: d.store, Keys: d.keys, Programmes: func() *rules.Set { return d.programmes.Load() }, Domain: c.Domain,
		Locale: c.Locale, Dev: c.Dev, NIL: c.Outbound.NIL, MaxMessage: int64(c.Inbound.MaxMessageBytes), CitizenMax: int64(c.Outbound.CitizenMaxBytes),
		Triage: mailbox.TriageTimes{
			Alert: time.Duration(c.Triage.Alert), UrgentAlert: time.Duration(c.Triage.UrgentAlert),
			GiveUp: time.Duration(c.Triage.GiveUp),
		},
		Retention: mailbox.RetentionTimes{
			Technical: time.Duration(c.Retention.Technical), Record: time.Duration(c.Retention.Record), UntilAge: c.Retention.UntilAge,
			Taken: time.Duration(c.Retention.Taken),
		},
		Retry: mailbox.RetryTimes{Steps: steps, GiveUp: time.Duration(c.Outbound.GiveUp)},
		XDM: letter.XDMCodes{
			Content: letter.Coded(c.Export.Content), Facility: letter.Coded(c.Export.Facility), Practice: letter.Coded(c.Export.Practice),
			Untyped: c.Export.Untyped, Class: c.Export.Class,
		},
		MissingHeader: d.metrics.missingHeaders(), Boxes: boxes, Client: c.Outbound.Route == configs.RouteOperator,
		Listed: d.guard.Listed, Directory: d.directory, Scanner: d.antivirus.scanner(), Login: d.loginOptions(),
		Reading: reading(&c.Limits), Archives: archives(&c.Limits),
		Quota: mailbox.Quota{
			Size: int64(c.IMAP.Quota), Messages: int64(c.IMAP.QuotaMessages),
			Folders: c.IMAP.MaxFolders, Subscriptions: c.IMAP.MaxSubscriptions, Copied: c.IMAP.MaxCopied,
		},
		Log: d.log, Instance: fmt.Sprintf("%d", os.Getpid()),
	}
}

func (d *daemon) loginOptions() mailbox.LoginOptions {
	c := &d.cfg.Accounts
	var verifier mailbox.TokenVerifier
	if d.tokens != nil {
		verifier = d.tokens
	}
	cost := password.DefaultCost
	cost.Memory, cost.Passes = uint32(c.HashMemory>>10), uint32(c.HashPasses)
	return mailbox.LoginOptions{
		Cost: cost, AtOnce: c.HashesAtOnce, Lifetime: time.Duration(c.PasswordLifetime), MaxWait: time.Duration(c.MaxWait),
		PasswordFrom: d.passwordFrom, Tokens: verifier,
	}
}

// passwordFrom reports whether passwords are taken from an address.
func (d *daemon) passwordFrom(from netip.Addr) bool { return d.passwords.Load().Allows(from) }

// doorOptions are those of the logins of a server.
func (d *daemon) doorOptions(via mailbox.Via) login.Options {
	return login.Options{
		Hub: d.hub, Guard: d.guard, Via: via, PasswordFrom: d.passwordFrom,
		Tokens: d.tokens != nil,
	}
}

func limits(c *configs.Config) inbound.Limits {
	in := &c.Inbound
	return inbound.Limits{
		MessageBytes: int64(in.MaxMessageBytes), LineBytes: int(in.LineLimit), Connections: in.MaxConnections,
		ConnectionsPerPeer: in.MaxConnectionsPerPeer, MessagesPerMinute: in.MessagesPerMinute,
		Recipients: in.RcptLimit, Errors: in.MaxErrors, Handshake: time.Duration(in.HandshakeTimeout),
		Command: time.Duration(in.CommandTimeout), Read: time.Duration(in.DataTimeout), MinRate: max(int64(in.MinRate), 1), // a byte a second limits nobody: 0 would be the default
		Message: time.Duration(in.MessageTimeout), Commands: in.MaxCommands,
	}
}

// reading bounds what is looked into of a mail.
func reading(l *configs.Limits) letter.Limits {
	return letter.Limits{
		HeaderBytes: int(l.HeaderBytes), FieldBytes: int(l.FieldBytes), Fields: l.HeaderFields, Depth: l.Depth, Parts: l.Parts, TextBytes: int(l.TextBytes),
	}
}

func archives(l *configs.Limits) letter.ArchiveLimits {
	return letter.ArchiveLimits{
		Archives: l.Archives, Packed: int64(l.ArchiveBytes), Entries: l.ArchiveEntries, Unpacked: int64(l.UnpackedBytes), Ratio: int64(l.ArchiveRatio),
		MetadataBytes: int64(l.MetadataBytes), HeaderBytes: int64(l.CDAHeaderBytes),
	}
}

// route is the way copies go.
func (d *daemon) route() (outbound.Route, error) {
	out := &d.cfg.Outbound
	resolver := outbound.NewResolver(out.Resolver)
	switch out.Route {
	case configs.RouteSmarthost:
		return outbound.NewSmarthost(out.Smarthost, out.SmarthostDN, d.guard, resolver)
	case configs.RouteOperator:
		return d.submission(resolver)
	}
	return outbound.NewMX(out.MXPort, d.guard, resolver), nil
}
