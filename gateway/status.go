package gateway

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/relais-sante/relais/gateway/admin"
	"github.com/relais-sante/relais/mailbox"
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
	listed := d.directory.Status()
	s := admin.Status{
		Ready: d.ready.Load(), Version: d.o.Version, Domain: d.cfg.Domain, Started: d.started,
		Listeners: admin.Listeners{
			Inbound: mailBound(d.listeners.inbound), Submission: mailBound(d.listeners.submission), IMAP: mailBound(d.listeners.imap),
			Admin: bound(append([]net.Listener{d.listeners.admin}, d.listeners.remote...)...), Metrics: mailBound(d.listeners.metrics), Autoconfig: mailBound(d.listeners.autoconfig),
		},
		Queue: admin.Queue{Queued: stats.Queued, Failed: stats.Failed}, Held: stats.Held,
		OldestUndelivered: when(stats.OldestUndelivered), OldestHeld: when(stats.OldestHeld),
		Directory: admin.Directory{Boxes: listed.Boxes, Issued: when(listed.Issued), Imported: when(listed.Imported)},
		Store: admin.Store{
			Pathways: stats.Pathways, Messages: stats.Messages,
			SegmentBytes: stats.SegmentBytes, IndexBytes: stats.IndexBytes,
		},
		Accounts:     admin.Accounts{Sessions: d.hub.Sessions(), Slowed: d.hub.LoginsSlowed()},
		Certificates: []admin.Certificate{}, Warnings: []string{},
	}
	if s.Retention, err = d.hub.Retention(ctx); err != nil {
		return admin.Status{}, err
	}
	d.trusted(&s)
	d.antivirus.tell(ctx, &s)
	d.tellBoxes(&s)
	if err := d.tellKeys(ctx, &s); err != nil {
		return s, err
	}
	if h := d.store.Health(); h != "" {
		s.Warnings = append(s.Warnings, d.text(texts.ID("status.store-"+string(h)), nil))
	}
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
	}
	for _, a := range t.Authorities {
		s.Certificates = append(s.Certificates, admin.Certificate{Use: useAuthority, Subject: a.Subject, NotAfter: a.NotAfter})
	}
	for _, c := range t.Concerns {
		s.Warnings = append(s.Warnings, d.text(texts.ID("status."+string(c.Kind)), map[string]any{
			"authority": string(c.Authority), "count": c.Count, "of": c.Of,
			"age": texts.Duration(d.cfg.Locale, c.Age), "when": texts.DateTime(d.cfg.Locale, c.When),
		}))
	}
}

// useAuthority is the use of certificates that are not the hub's own.
const useAuthority = "authority"

// concerns writes down what judgements on peers rest on that is not as it
// should be. `status` tells the same to people.
func (d *daemon) concerns() {
	for _, c := range d.guard.Status().Concerns {
		line := []any{"concern", c.Kind}
		switch {
		case c.Of > 0:
			line = append(line, "domains", c.Count, "before", c.Of)
		case c.Count > 0:
			line = append(line, "count", c.Count)
		}
		if c.Authority != "" {
			line = append(line, "authority", c.Authority)
		}
		if !c.When.IsZero() {
			line = append(line, "when", c.When)
		}
		if c.Err != nil {
			line = append(line, "error", c.Err)
		}
		d.log.Warn("the trusted space is not as it should be", line...)
	}
}

// tellKeys lists what is wrong with the keys and their copies.
func (d *daemon) tellKeys(ctx context.Context, s *admin.Status) error {
	words, err := d.hub.KeyWarnings(ctx)
	if err != nil {
		return fmt.Errorf("looking at the keys: %w", err)
	}
	for _, w := range words {
		s.Warnings = append(s.Warnings, mailbox.KeyWarningText(d.cfg.Locale, w))
	}
	return nil
}

// warn lists what somebody should look into.
func (d *daemon) warn(s *admin.Status) {
	for place, since := range d.heads.behind() {
		s.Warnings = append(s.Warnings, d.text("status.heads-behind", map[string]any{"place": place, "since": texts.DateTime(d.cfg.Locale, since)}))
	}
	if waiting := d.waiting.Load(); waiting != nil && len(*waiting) > 0 {
		s.Warnings = append(s.Warnings, d.text("status.restart", map[string]any{"settings": texts.List(d.cfg.Locale, *waiting)}))
	}
	if s.Antivirus.Active && !s.Antivirus.Reachable {
		s.Warnings = append(s.Warnings, d.text("status.antivirus-away", nil))
	}
	if age, old := oldDirectory(s.Directory, time.Duration(d.cfg.Directory.MaxAge), time.Now()); old {
		s.Warnings = append(s.Warnings, d.text("status.directory-old", map[string]any{"age": texts.Duration(d.cfg.Locale, age)}))
	}
	for _, c := range s.Certificates {
		left := time.Until(c.NotAfter)
		args := map[string]any{"use": d.text(texts.ID("status.use-"+c.Use), nil), "subject": c.Subject, "date": texts.Date(d.cfg.Locale, c.NotAfter)}
		switch authority := c.Use == useAuthority; {
		case left <= 0 && authority:
			s.Warnings = append(s.Warnings, d.text("status.authority-expired", args))
		case left <= 0:
			s.Warnings = append(s.Warnings, d.text("status.certificate-expired", args))
		case left < expiresSoon && authority:
			s.Warnings = append(s.Warnings, d.text("status.authority-soon", args))
		case left < expiresSoon:
			s.Warnings = append(s.Warnings, d.text("status.certificate-soon", args))
		}
	}
	if n := s.Accounts.Slowed; n > 0 {
		s.Warnings = append(s.Warnings, d.text("status.accounts-slowed", map[string]any{"n": n}))
	}
	if t := s.OldestUndelivered; t != nil && time.Since(*t) > stuckAfter {
		s.Warnings = append(s.Warnings, d.text("status.stuck", map[string]any{"since": texts.DateTime(d.cfg.Locale, *t)}))
	}
	if t := s.OldestHeld; t != nil && time.Since(*t) > time.Duration(d.cfg.Triage.Alert) {
		s.Warnings = append(s.Warnings, d.text("status.held", map[string]any{"since": texts.DateTime(d.cfg.Locale, *t)}))
	}
}

// oldDirectory reports whether boxes may have come and gone since the directory
// was issued. That there is none is no warning: the hub works without.
func oldDirectory(l admin.Directory, most time.Duration, now time.Time) (age time.Duration, old bool) {
	of := l.Issued
	if of == nil {
		of = l.Imported
	}
	if of == nil {
		return 0, false
	}
	age = now.Sub(*of)
	return age, age > most
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
