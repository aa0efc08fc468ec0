package outbound

import (
	"context"
	"log/slog"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store/journal"
)

// domainName is a recipient's domain. A domain is an establishment or an
// operator, nobody in person.
type domainName string

// Journal implements journal.Safe.
func (d domainName) Journal() string { return string(d) }

// statusCode is an enhanced status code as this package writes it.
type statusCode string

// Journal implements journal.Safe.
func (s statusCode) Journal() string { return string(s) }

// log writes how an attempt ended: codes and our own words, never what the
// peer said.
func (r *Relay) log(l *lane, job mailbox.Job, v verdict) {
	level := slog.LevelInfo
	switch v.Kind {
	case mailbox.OutcomeNoAttempt:
		level = slog.LevelDebug
	case mailbox.OutcomePermanent:
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{
		slog.Any("delivery", job.Delivery.ID), slog.Any("domain", domainName(l.to.Domain)),
		slog.Int("attempt", job.Attempt), slog.Any("outcome", v.Kind),
	}
	if v.Code != 0 {
		attrs = append(attrs, slog.Int("code", v.Code))
	}
	if v.Enhanced != "" {
		attrs = append(attrs, slog.Any("status", statusCode(v.Enhanced)))
	}
	if v.Reason != "" {
		attrs = append(attrs, slog.Any("reason", journal.Word(v.Reason)))
	}
	if v.took > 0 {
		attrs = append(attrs, slog.Duration("took", v.took))
	}
	if v.cause != nil {
		attrs = append(attrs, slog.Any("error", v.cause))
	}
	r.o.Log.LogAttrs(context.Background(), level, "delivery attempt", attrs...)
}

// opened writes that a peer does not work.
func (r *Relay) opened(l *lane, o mailbox.Outcome, cause error) {
	r.metrics.circuits.Inc()
	r.o.Log.Warn("peer does not work, left alone for a while", "domain", domainName(l.to.Domain),
		"reason", journal.Word(o.Reason), "code", o.Code, "error", cause)
}
