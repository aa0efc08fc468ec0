package gateway

import (
	"context"
	"fmt"
	"time"

	"github.com/relais-sante/relais/gateway/admin"
	"github.com/relais-sante/relais/mailbox/texts"
)

// Times before the end of a certificate and after which work counts as stuck,
// from which `status` warns.
const (
	expiresSoon = 30 * 24 * time.Hour
	stuckAfter  = time.Hour
)

// status is the health of the hub, from counters only.
func (d *daemon) status(ctx context.Context) (admin.Status, error) {
	stats, err := d.store.Stats(ctx)
	if err != nil {
		return admin.Status{}, fmt.Errorf("reading the figures of the store: %w", err)
	}
	s := admin.Status{
		Ready: d.ready.Load(), Version: d.o.Version, Domain: d.cfg.Domain, Started: d.started,
		Listeners: admin.Listeners{
			Inbound: []string{}, Submission: []string{}, IMAP: []string{},
			Admin: bound(d.listeners.admin), Metrics: bound(d.listeners.metrics...),
		},
		Queue: admin.Queue{Queued: stats.Queued, Failed: stats.Failed}, Held: stats.Held,
		OldestUndelivered: when(stats.OldestUndelivered), OldestHeld: when(stats.OldestHeld),
		Store: admin.Store{
			Pathways: stats.Pathways, Messages: stats.Messages,
			SegmentBytes: stats.SegmentBytes, IndexBytes: stats.IndexBytes,
		},
		Certificates: []admin.Certificate{}, Warnings: []string{},
	}
	for _, l := range d.listeners.inbound {
		s.Listeners.Inbound = append(s.Listeners.Inbound, l.Addr().String())
	}
	d.trusted(&s)
	d.warn(&s)
	return s, nil
}

// trusted tells of certificates and white list.
func (d *daemon) trusted(s *admin.Status) {
	t := d.guard.Status()
	if !t.Certificate.IsZero() {
		s.Certificates = append(s.Certificates, admin.Certificate{Use: "server", Subject: t.Subject, NotAfter: t.Certificate})
	}
	if !t.ClientCertificate.IsZero() {
		s.Certificates = append(s.Certificates, admin.Certificate{Use: "client", Subject: t.ClientSubject, NotAfter: t.ClientCertificate})
	}
	if w := t.WhiteList; w != nil {
		s.WhiteList = admin.WhiteList{
			Active: true, Domains: w.Domains, Issued: when(w.Generated), Loaded: when(w.Loaded),
			AgeHours: int64(w.Age / time.Hour),
		}
		if w.Old {
			s.Warnings = append(s.Warnings, d.text("status.white-list-old", map[string]any{"age": texts.Duration(d.cfg.Locale, w.Age)}))
		}
	}
	if t.FaultyRevocation > 0 {
		s.Warnings = append(s.Warnings, d.text("status.crl-faulty", map[string]any{"count": t.FaultyRevocation}))
	}
}

// warn lists what somebody should look into.
func (d *daemon) warn(s *admin.Status) {
	for _, c := range s.Certificates {
		left := time.Until(c.NotAfter)
		switch {
		case left <= 0:
			s.Warnings = append(s.Warnings, d.text("status.certificate-expired", map[string]any{"use": c.Use}))
		case left < expiresSoon:
			s.Warnings = append(s.Warnings, d.text("status.certificate-soon", map[string]any{
				"use": c.Use, "date": texts.Date(d.cfg.Locale, c.NotAfter),
			}))
		}
	}
	if t := s.OldestUndelivered; t != nil && time.Since(*t) > stuckAfter {
		s.Warnings = append(s.Warnings, d.text("status.stuck", map[string]any{"since": texts.DateTime(d.cfg.Locale, *t)}))
	}
	if t := s.OldestHeld; t != nil && time.Since(*t) > time.Duration(d.cfg.Triage.Alert) {
		s.Warnings = append(s.Warnings, d.text("status.held", map[string]any{"since": texts.DateTime(d.cfg.Locale, *t)}))
	}
}

func (d *daemon) text(id texts.ID, args map[string]any) string {
	return texts.T(d.cfg.Locale, id, args)
}

func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
