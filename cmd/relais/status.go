package main

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/relais-sante/relais/gateway/admin"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/texts"
)

func (c *cli) statusCommand() *cobra.Command {
	return c.command("status", []string{"etat", "état"}, 0, 0, func(ctx context.Context, _ []string) error {
		hub, err := c.hub()
		if err != nil {
			return err
		}
		s, err := hub.Status(ctx)
		if err != nil {
			return err
		}
		return c.show(s, func() { c.status(s) })
	})
}

func (c *cli) status(s admin.Status) {
	health := texts.T(c.locale, "cli.ready", map[string]any{"duration": texts.Duration(c.locale, time.Since(s.Started))})
	if !s.Ready {
		health = texts.T(c.locale, "cli.not-ready", nil)
	}
	since := func(t *time.Time) string {
		if t == nil {
			return ""
		}
		return ", " + texts.T(c.locale, "cli.oldest", map[string]any{"duration": c.ago(t)})
	}
	queue := texts.T(c.locale, "cli.queue-state", map[string]any{"queued": s.Queue.Queued, "failed": s.Queue.Failed}) + since(s.OldestUndelivered)
	held := texts.T(c.locale, "cli.held-state", map[string]any{"n": s.Held}) + since(s.OldestHeld)
	list := texts.T(c.locale, "cli.no-white-list", nil)
	if w := s.WhiteList; w.Active {
		list = texts.T(c.locale, "cli.white-list", map[string]any{
			"n": w.Domains, "age": texts.Duration(c.locale, time.Duration(w.AgeHours)*time.Hour),
		})
	}
	antivirus := texts.ID("cli.antivirus-off")
	switch a := s.Antivirus; {
	case a.Active && a.Reachable:
		antivirus = "cli.antivirus-on"
	case a.Active:
		antivirus = "cli.antivirus-away"
	}
	pairs := []any{
		texts.ID("cli.col-hub"), s.Domain + " · " + health,
		texts.ID("cli.col-version"), s.Version,
		texts.ID("cli.col-inbound"), strings.Join(s.Listeners.Inbound, ", "),
		texts.ID("cli.col-submission"), strings.Join(s.Listeners.Submission, ", "),
		texts.ID("cli.col-imap"), strings.Join(s.Listeners.IMAP, ", "),
		texts.ID("cli.col-admin"), strings.Join(s.Listeners.Admin, ", "),
		texts.ID("cli.col-metrics"), strings.Join(s.Listeners.Metrics, ", "),
		texts.ID("cli.col-queue"), queue,
		texts.ID("cli.col-triage"), held,
		texts.ID("cli.col-white-list"), list,
		texts.ID("cli.col-antivirus"), texts.T(c.locale, antivirus, nil),
		texts.ID("directory.col-directory"), c.directoryState(s.Directory),
		texts.ID("traces.col-kept"), c.retention(s.Retention),
		texts.ID("cli.col-store"), texts.T(c.locale, "cli.store-state", map[string]any{
			"pathways": texts.T(c.locale, "cli.pathways", map[string]any{"n": s.Store.Pathways}),
			"messages": texts.T(c.locale, "cli.messages", map[string]any{"n": s.Store.Messages}),
			"size":     texts.Size(c.locale, s.Store.SegmentBytes+s.Store.IndexBytes),
		}),
	}
	if at := s.Listeners.Autoconfig; len(at) > 0 {
		pairs = append(pairs, texts.ID("cli.col-autoconfig"), strings.Join(at, ", "))
	}
	for _, box := range s.Operators {
		pairs = append(pairs, texts.ID("operator.col-box"), c.operatorBox(box))
	}
	for _, cert := range s.Certificates {
		use := texts.ID("cli.certificate-" + cert.Use)
		pairs = append(pairs, texts.ID("cli.col-certificate"), texts.T(c.locale, "cli.certificate", map[string]any{
			"use": word(texts.T(c.locale, use, nil), use), "subject": cert.Subject, "date": c.day(cert.NotAfter),
		}))
	}
	c.fields(pairs...)
	for _, w := range s.Warnings {
		c.line(texts.T(c.locale, "cli.warning", map[string]any{"text": w}))
	}
}

// operatorBox says how a box at an operator is.
func (c *cli) operatorBox(b admin.OperatorBox) string {
	text := b.Name + " · "
	if b.Connected {
		text += texts.T(c.locale, "operator.read", map[string]any{"duration": c.ago(&b.Since)})
	} else {
		text += texts.T(c.locale, "operator.unread", map[string]any{"duration": c.ago(&b.Since)})
		if fault := texts.ID("operator.fault-" + b.Fault); b.Fault != "" {
			text += " (" + word(texts.T(c.locale, fault, nil), fault) + ")"
		}
	}
	if b.LastTaken != nil {
		text += ", " + texts.T(c.locale, "operator.last", map[string]any{"duration": c.ago(b.LastTaken)})
	}
	if b.Waiting > 0 {
		text += ", " + texts.T(c.locale, "operator.waiting", map[string]any{"n": b.Waiting})
	}
	if b.Trouble != "" {
		text += ", " + texts.T(c.locale, "operator.not-sending", map[string]any{"duration": c.ago(b.TroubleSince), "reason": c.lastError(b.Trouble)})
	}
	if b.Aside > 0 {
		text += ", " + texts.T(c.locale, "operator.asides", map[string]any{"n": b.Aside})
	}
	return text
}

// retention says from when on traces are kept, and what went last.
func (c *cli) retention(r mailbox.RetentionView) string {
	kept := texts.T(c.locale, "traces.none-yet", nil)
	if r.OldestApplication != nil {
		since := map[string]any{"application": c.day(*r.OldestApplication), "technical": nil}
		if r.OldestTechnical != nil {
			since["technical"] = c.day(*r.OldestTechnical)
		}
		kept = texts.T(c.locale, "traces.kept", since)
	}
	said := []string{kept}
	for _, kind := range slices.Sorted(maps.Keys(r.Purged)) {
		gone := r.Purged[kind]
		said = append(said, texts.T(c.locale, texts.ID("traces.gone-"+kind), map[string]any{"n": gone.Count, "date": c.day(gone.At)}))
	}
	if r.PausedUntil != nil {
		said = append(said, texts.T(c.locale, "traces.paused", map[string]any{"date": c.day(*r.PausedUntil)}))
	}
	return strings.Join(said, " · ")
}
