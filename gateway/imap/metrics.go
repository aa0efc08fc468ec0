package imap

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the collectors of one server. All labels come from closed sets.
type metrics struct {
	connections prometheus.Counter
	open        prometheus.Gauge
	refused     *prometheus.CounterVec
	handshakes  prometheus.Counter
	logins      *prometheus.CounterVec
	commands    *prometheus.CounterVec
	seconds     prometheus.Histogram
	panics      prometheus.Counter
}

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "relais", Subsystem: "imap", Name: name, Help: help})
	}
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "relais", Subsystem: "imap", Name: name, Help: help}, labels)
	}
	m := &metrics{
		connections: counter("connections_total", "Connections accepted."),
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "relais", Subsystem: "imap", Name: "connections_open", Help: "Connections open now.",
		}),
		refused:    vector("connections_refused_total", "Connections refused, by why.", "reason"),
		handshakes: counter("handshakes_failed_total", "TLS handshakes that failed."),
		logins:     vector("logins_total", "Logins, by mechanism and outcome.", "mechanism", "outcome"),
		commands:   vector("commands_total", "Commands answered, by command and answer.", "command", "answer"),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "relais", Subsystem: "imap", Name: "command_seconds", Help: "Time from a command to its answer, IDLE apart.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 10),
		}),
		panics: counter("panics_total", "Panics recovered: defects of the program."),
	}
	if registry == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.connections, m.open, m.refused, m.handshakes, m.logins, m.commands, m.seconds, m.panics} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("registering the metrics of the IMAP server: %w", err)
		}
	}
	return m, nil
}
