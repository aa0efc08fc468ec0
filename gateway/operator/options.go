package operator

import (
	"context"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

// Hub is what reading a box needs of mailbox.Hub.
type Hub interface {
	Recipient(ctx context.Context, env *mailbox.Envelope, addr string) (mailbox.Recipient, error)
	Intake(ctx context.Context, env mailbox.Envelope, r io.Reader) (mailbox.Receipt, error)
	BoxCursor(ctx context.Context, box store.Address, folder string) (mailbox.Cursor, error)
	SaveCursor(ctx context.Context, c mailbox.Cursor) error
	SetAside(ctx context.Context, a mailbox.Aside) error
}

// Options are what a [Poller] is made of. Zero values take the defaults named.
type Options struct {
	Settings configs.Operator
	Access   *Access
	Hub      Hub
	// MaxMessage bounds a message, in bytes (default 25 MiB).
	MaxMessage int64
	// Step bounds each exchange with the server (default 1 min), Idle how long
	// one IDLE lasts (default 5 min, at most 28: RFC 2177 asks for less than 29).
	Step, Idle time.Duration
	// MinRate, in bytes per second, is the slowest a message may come (default
	// 8 KiB/s).
	MinRate int64
	// FirstWait and LongestWait are between connections that fail (defaults 1 s,
	// 5 min); each is twice the last, ±25 %.
	FirstWait, LongestWait time.Duration
	// GiveUp is how long a server may refuse one message before it is passed
	// over (default 15 min).
	GiveUp time.Duration
	// Retry is how long the hub is left alone after it could not take a message
	// (default 2 s).
	Retry time.Duration
	// Batch is how many messages are marked in the box together (default 50).
	Batch int

	// Dial opens network connections (default: a net.Dialer).
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Jitter gives numbers in [0,1) (default math/rand).
	Jitter  func() float64
	Now     func() time.Time
	Metrics *Metrics // nil: none
	Log     *slog.Logger
}

func (o Options) withDefaults() Options {
	def(&o.MaxMessage, 25<<20)
	def(&o.Step, time.Minute)
	def(&o.Idle, 5*time.Minute)
	o.Idle = min(o.Idle, 28*time.Minute)
	def(&o.MinRate, 8<<10)
	def(&o.FirstWait, time.Second)
	def(&o.LongestWait, 5*time.Minute)
	def(&o.GiveUp, 15*time.Minute)
	def(&o.Retry, 2*time.Second)
	def(&o.Batch, 50)
	or(&o.Now, time.Now)
	or(&o.Jitter, jitter)
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	if o.Log == nil {
		o.Log = journal.Discard()
	}
	return o
}

// def sets *v to d if it is zero.
func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Metrics are the figures of all boxes. Labels are names of settings and words
// of closed vocabularies.
type Metrics struct {
	connected *prometheus.GaugeVec
	messages  *prometheus.CounterVec
	faults    *prometheus.CounterVec
}

// NewMetrics registers the figures; nil: nowhere.
func NewMetrics(r prometheus.Registerer) *Metrics {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "relais", Subsystem: "operator", Name: name, Help: help}
	}
	m := &Metrics{
		connected: prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("connected", "Whether the box is being read.")), []string{"box"}),
		messages:  prometheus.NewCounterVec(prometheus.CounterOpts(opts("messages_total", "Messages of the box, by what became of them.")), []string{"box", "outcome"}),
		faults:    prometheus.NewCounterVec(prometheus.CounterOpts(opts("faults_total", "Connections that failed, by fault.")), []string{"box", "fault"}),
	}
	if r != nil {
		r.MustRegister(m.connected, m.messages, m.faults)
	}
	return m
}
