package outbound

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/relais-sante/relais/mailbox"
)

// metrics count. Labels are words of this package: no domain, no address.
type metrics struct {
	attempts    *prometheus.CounterVec   // outcome, reason
	seconds     *prometheus.HistogramVec // outcome
	bytes       prometheus.Counter
	connections *prometheus.CounterVec // how: dialled, reused, stale, failed
	open        prometheus.Gauge
	circuits    prometheus.Counter
	unrecorded  prometheus.Counter
	yielding    prometheus.Counter

	// Of attempts and seconds, those of copies that were sent: the usual end.
	sent        prometheus.Counter
	sentSeconds prometheus.Observer
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "relais_outbound_attempts_total", Help: "Attempts to hand a mail over, by how they ended and why.",
		}, []string{"outcome", "reason"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "relais_outbound_attempt_seconds", Help: "Time from MAIL to the answer that ended the attempt.",
			Buckets: []float64{.005, .02, .1, .5, 2, 10, 60, 300},
		}, []string{"outcome"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "relais_outbound_sent_bytes_total", Help: "Bytes of the mails that peers took.",
		}),
		connections: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "relais_outbound_connections_total", Help: "Connections taken for sending: dialled, reused, found stale, failed.",
		}, []string{"how"}),
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "relais_outbound_open_connections", Help: "Connections to peers, in use or kept.",
		}),
		circuits: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "relais_outbound_circuits_opened_total", Help: "Times a peer was found not to work.",
		}),
		unrecorded: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "relais_outbound_unrecorded_total", Help: "Outcomes that could not be recorded; a sent copy among them is sent again.",
		}),
		yielding: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "relais_outbound_yielding_seconds_total", Help: "Time in which copies waited for a burst of messages to be taken.",
		}),
	}
	m.sent, m.sentSeconds = m.attempts.WithLabelValues(string(mailbox.OutcomeSent), ""), m.seconds.WithLabelValues(string(mailbox.OutcomeSent))
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.attempts, m.seconds, m.bytes, m.connections, m.open, m.circuits, m.unrecorded, m.yielding} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) ended(o mailbox.Outcome) {
	if o.Kind == mailbox.OutcomeSent && o.Reason == "" {
		m.sent.Inc()
		return
	}
	m.attempts.WithLabelValues(string(o.Kind), o.Reason).Inc()
}

func (m *metrics) took(o mailbox.Outcome, d time.Duration) {
	if o.Kind == mailbox.OutcomeSent {
		m.sentSeconds.Observe(d.Seconds())
		return
	}
	m.seconds.WithLabelValues(string(o.Kind)).Observe(d.Seconds())
}
