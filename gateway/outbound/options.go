package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store/journal"
)

// Hub is what the relay needs of mailbox.Hub.
type Hub interface {
	// Lanes lists the lanes ("out:" and the recipients' domain) that have a
	// delivery due now; NextDue is when the next one is (zero: none).
	Lanes(ctx context.Context) ([]string, error)
	NextDue(ctx context.Context) (time.Time, error)
	// Wake hints that outbound work was queued.
	Wake() <-chan struct{}
	// ClaimDeliveries leases due deliveries of a lane and records the attempts.
	ClaimDeliveries(ctx context.Context, lane string, limit int) ([]mailbox.Job, error)
	// Open gives the bytes to send.
	Open(ctx context.Context, job mailbox.Job) (*mailbox.Outgoing, error)
	// Finish records outcomes, all in one commit.
	Finish(ctx context.Context, results []mailbox.Result) error
}

// Trust is what the relay needs of gateway/trust: whom to talk to.
// *trust.Guard is it.
type Trust interface {
	// ClientConfig is the TLS profile for talking to a server. It does not
	// verify: one of the two below does, after the handshake, so that the
	// reason can be recorded. It keeps sessions for resumption: a handshake
	// costs as much as twenty mails.
	ClientConfig(serverName string) *tls.Config
	// VerifyServer checks that the certificate is one of the domain's.
	VerifyServer(cs tls.ConnectionState, recipientDomain string) (trust.Identity, error)
	// VerifySmarthost checks that the certificate's subject is dn.
	VerifySmarthost(cs tls.ConnectionState, dn string) (trust.Identity, error)
	// Listed reports whether the domain is in the trusted space.
	Listed(domain string) bool
}

// TLSPolicy says whether copies may go without TLS.
type TLSPolicy string

// TLS policies of [outbound] tls.
const (
	TLSRequired TLSPolicy = "required"
	TLSNone     TLSPolicy = "none" // loopback peers only
)

// Options are what a Relay is made of. Zero values take the defaults named.
type Options struct {
	Hub   Hub
	Route Route
	Trust Trust
	// Hello is the name said in EHLO: the hub's domain.
	Hello string
	TLS   TLSPolicy // default TLSRequired

	// PerPeer bounds the connections to one peer (default 4), Total those to
	// all (default 200). Half of Total is kept for the first connection to a
	// peer, so that busy peers never shut a quiet one out.
	PerPeer, Total int
	// Claim bounds the copies of one lane under lease at once (default 64).
	Claim int
	// Idle is how long an unused connection is kept (default 60 s), Messages
	// how many mails one connection carries (default 100).
	Idle     time.Duration
	Messages int
	// Patience is how long a claimed copy waits to be started before it is
	// handed back (default 5 s).
	Patience time.Duration
	// Grace is how long transactions under way may go on after Run's context
	// ended (default 5 s).
	Grace time.Duration

	// Yield is how long at most copies wait for a burst of messages to be taken (0:
	// they do not), a few seconds: the first retry is promised within 30 s. Rush says
	// when there were last many, as [mailbox.Hub.Rush] does.
	Yield time.Duration
	Rush  func() time.Time

	Timeouts Timeouts
	Backoff  Backoff

	// Dial opens network connections (default: a net.Dialer).
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Jitter gives numbers in [0,1) (default math/rand).
	Jitter  func() float64
	Metrics prometheus.Registerer // nil: none
	Log     *slog.Logger
}

// Timeouts bound a conversation. The defaults of the commands are those of
// RFC 5321 §4.5.3.2.
type Timeouts struct {
	// Connect bounds everything up to a connection ready for mail, over all
	// addresses of the peer (default 2 min); Dial each address (default 30 s).
	Connect, Dial time.Duration
	// Command bounds the wait for a reply (default 5 min), Block each write of
	// DATA (default 3 min), End the wait for the reply to the final dot
	// (default 10 min).
	Command, Block, End time.Duration
	// MinRate, in bytes per second, is the slowest a peer may take a mail on
	// the whole, after Block (default 32 KiB/s).
	MinRate int64
	// Attempt bounds a whole transaction (default 30 min).
	Attempt time.Duration
}

// Backoff says how long a circuit stays open: First, then twice as long each
// time, up to Most; each ±25 %.
type Backoff struct {
	First, Most time.Duration // defaults 2 s, 20 s
}

// Longest is the most time a claimed copy can stay with the relay. The lease
// must be longer, or the copy would be claimed again while it is being sent.
func (o Options) Longest() time.Duration {
	o = o.withDefaults()
	t := o.Timeouts
	// It may wait for a first connection, find a pooled one dead at MAIL, and
	// need another before its attempt; then the outcome is recorded.
	return o.Patience + 2*t.Connect + t.Command + t.Attempt + time.Minute
}

// body is the most time DATA may take for size bytes: a total cap, which is a
// minimum rate.
func (t Timeouts) body(size int64) time.Duration {
	return t.Block + time.Duration(size/t.MinRate)*time.Second
}

func (o Options) withDefaults() Options {
	or(&o.TLS, TLSRequired)
	or(&o.Hello, "localhost")
	or(&o.PerPeer, 4)
	or(&o.Total, 200)
	or(&o.Claim, 64)
	or(&o.Idle, time.Minute)
	or(&o.Messages, 100)
	or(&o.Patience, 5*time.Second)
	or(&o.Grace, 5*time.Second)
	or(&o.Timeouts.Connect, 2*time.Minute)
	or(&o.Timeouts.Dial, 30*time.Second)
	or(&o.Timeouts.Command, 5*time.Minute)
	or(&o.Timeouts.Block, 3*time.Minute)
	or(&o.Timeouts.End, 10*time.Minute)
	or(&o.Timeouts.MinRate, 32<<10)
	or(&o.Timeouts.Attempt, 30*time.Minute)
	or(&o.Backoff.First, 2*time.Second)
	or(&o.Backoff.Most, 20*time.Second)
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	if o.Log == nil {
		o.Log = journal.Discard()
	}
	return o
}

// or sets *v to def if it is zero.
func or[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func (o Options) check() error {
	switch {
	case o.Hub == nil || o.Route == nil || o.Trust == nil:
		return errors.New("outbound: hub, route and trust are needed")
	case o.TLS != TLSRequired && o.TLS != TLSNone:
		return errors.New("outbound: tls is neither required nor none")
	}
	return nil
}
