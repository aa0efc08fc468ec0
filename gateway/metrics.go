package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/relais-sante/relais/gateway/serving"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store"
)

// metrics are the figures of the hub in Prometheus form. Labels are words of
// closed vocabularies: neither pathways nor people are told apart.
type metrics struct{ *prometheus.Registry }

func newMetrics() *metrics {
	m := &metrics{prometheus.NewRegistry()}
	m.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// watch adds the figures of the store, read when asked for.
func (m *metrics) watch(s store.Store) {
	figure := func(name, help string, of func(store.Stats) float64) {
		m.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "relais", Name: name, Help: help}, func() float64 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			stats, err := s.Stats(ctx)
			if err != nil {
				return -1
			}
			return of(stats)
		}))
	}
	figure("pathways", "Pathways kept.", func(s store.Stats) float64 { return float64(s.Pathways) })
	figure("messages", "Messages filed.", func(s store.Stats) float64 { return float64(s.Messages) })
	figure("held", "Messages that wait for a decision.", func(s store.Stats) float64 { return float64(s.Held) })
	figure("queue_live", "Copies queued or being sent.", func(s store.Stats) float64 { return float64(s.Queued) })
	figure("queue_failed", "Copies given up and not dropped.", func(s store.Stats) float64 { return float64(s.Failed) })
	figure("segment_bytes", "Sealed messages on disk.", func(s store.Stats) float64 { return float64(s.SegmentBytes) })
	figure("index_bytes", "Index on disk.", func(s store.Stats) float64 { return float64(s.IndexBytes) })
	figure("oldest_undelivered_seconds", "Age of the oldest copy not delivered.", func(s store.Stats) float64 { return age(s.OldestUndelivered) })
	figure("oldest_held_seconds", "Age of the oldest message held.", func(s store.Stats) float64 { return age(s.OldestHeld) })
}

// missingHeaders counts copies that left without a national header.
func (m *metrics) missingHeaders() func(header string) {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "relais", Name: "national_header_missing_total",
		Help: "Copies that left without a national header they should bear (X-MSS-*).",
	}, []string{"header"})
	for _, header := range []string{"nil", "ins", "codecda"} {
		c.WithLabelValues(header)
	}
	m.MustRegister(c)
	return func(header string) { c.WithLabelValues(header).Inc() }
}

// watchAccounts adds the figures of logins.
func (m *metrics) watchAccounts(h *mailbox.Hub) {
	m.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "relais", Name: "account_sessions", Help: "Open sessions of accounts."},
			func() float64 { return float64(h.Sessions()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "relais", Name: "accounts_slowed", Help: "Accounts that must wait after failed logins."},
			func() float64 { return float64(h.LoginsSlowed()) }),
	)
}

func age(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return time.Since(t).Seconds()
}

// serve answers /metrics until ctx ends.
func (m *metrics) serve(ctx context.Context, l net.Listener, log *slog.Logger) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m, promhttp.HandlerOpts{Timeout: 5 * time.Second}))
	s := &http.Server{Handler: serving.Noted(log, mux), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	defer context.AfterFunc(ctx, func() { s.Close() })()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving metrics: %w", err)
	}
	return nil
}
