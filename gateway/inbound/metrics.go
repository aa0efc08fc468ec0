package inbound

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Where a refusal was made: the label "at".
const (
	stageConnection = "connection"
	stageLogin      = "login"
	stageMail       = "mail"
	stageRecipient  = "recipient"
	stageMessage    = "message"
)

// metrics are the collectors of one server. All labels come from closed sets.
type metrics struct {
	connections prometheus.Counter
	open        prometheus.Gauge
	handshakes  prometheus.Counter
	messages    *prometheus.CounterVec // outcome
	bytes       prometheus.Counter
	seconds     prometheus.Histogram
	refusals    *prometheus.CounterVec // at, reason
	panics      prometheus.Counter
}

// newMetrics registers the collectors; a nil registry keeps them unseen.
func newMetrics(registry prometheus.Registerer, part string) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "relais", Subsystem: part, Name: name, Help: help})
	}
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "relais", Subsystem: part, Name: name, Help: help}, labels)
	}
	m := &metrics{
		connections: counter("connections_total", "Connections accepted."),
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "relais", Subsystem: part, Name: "connections_open", Help: "Connections now open.",
		}),
		handshakes: counter("handshake_failures_total", "TLS handshakes that failed."),
		messages:   vector("messages_total", "Messages, by what became of them.", "outcome"),
		bytes:      counter("message_bytes_total", "Bytes of messages read, refused ones included."),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "relais", Subsystem: part, Name: "message_seconds", Help: "Time from DATA or the first BDAT to the reply.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
		}),
		refusals: vector("refusals_total", "Negative replies of the hub's own, by where and why.", "at", "reason"),
		panics:   counter("panics_total", "Panics recovered: defects of the program."),
	}
	if registry == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.connections, m.open, m.handshakes, m.messages, m.bytes, m.seconds, m.refusals, m.panics} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("registering the metrics of the server %s: %w", part, err)
		}
	}
	return m, nil
}

func (m *metrics) refused(at, why string) { m.refusals.WithLabelValues(at, why).Inc() }
