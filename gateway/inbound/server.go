package inbound

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base32"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/relais-sante/relais/gateway/serving"
	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store/journal"
)

// Hub is what the server asks of the floor below; [mailbox.Hub] is it.
type Hub interface {
	Recipient(ctx context.Context, env *mailbox.Envelope, addr string) (mailbox.Recipient, error)
	Intake(ctx context.Context, env mailbox.Envelope, r io.Reader) (mailbox.Receipt, error)
}

// Options are what a server is made of.
type Options struct {
	Hub    Hub
	Guard  *trust.Guard
	Domain string // the hub's mail domain, and its name in greetings
	// AnyPeer takes mail without a client certificate, and without TLS: for
	// development, on loopback listeners only. It is the opposite of the
	// setting require_client_cert.
	AnyPeer bool
	// Submission makes it a server for accounts of the hub instead (RFC 6409).
	Submission *Submission
	Limits     Limits
	Log        *slog.Logger
	Metrics    prometheus.Registerer
	Now        func() time.Time // of rates and envelopes; default time.Now
}

// Security is when TLS begins on a listener.
type Security int

// Kinds of listeners.
const (
	StartTLS    Security = iota // in clear, then STARTTLS
	ImplicitTLS                 // TLS from the first byte
)

// Faults of the server.
const (
	ErrNotLoopback = journal.Fault("peers without certificate are only taken on loopback")
	ErrStopped     = journal.Fault("inbound server stopped")
	errStuck       = journal.Fault("connections did not end in time and were cut")
)

// Server is the MX, or the submission server. It serves any number of listeners.
type Server struct {
	hub     Hub
	guard   *trust.Guard
	domain  string
	anyPeer bool
	members *Submission // nil: for other operators
	limits  Limits
	log     *slog.Logger
	metrics *metrics
	now     func() time.Time
	tls     *tls.Config

	clear, secure *smtp.Server // of connections before and under TLS
	toClear       handover
	toSecure      handover
	perPeer       rate
	perSender     rate

	ctx  context.Context // ends when connections are cut
	stop context.CancelFunc
	wg   sync.WaitGroup // accept loops, go-smtp's servers

	mu        sync.Mutex
	stopping  bool
	listeners map[net.Listener]bool
	wires     map[*wire]bool
	peers     map[string]int // connections by address
	open      int
	empty     chan struct{} // closed when stopping and no wire is left
}

// New makes a server. It listens to nothing yet.
func New(o Options) (*Server, error) {
	part := "inbound"
	if o.Submission != nil {
		part = "submission"
	}
	m, err := newMetrics(o.Metrics, part)
	if err != nil {
		return nil, err
	}
	s := &Server{
		hub: o.Hub, guard: o.Guard, domain: o.Domain, anyPeer: o.AnyPeer, members: o.Submission, limits: o.Limits.withDefaults(),
		log: o.Log, metrics: m, now: o.Now, tls: o.Guard.ServerConfig(),
		perPeer: rate{perMinute: o.Limits.MessagesPerMinute}, perSender: rate{perMinute: o.Limits.MessagesPerMinute},
		listeners: map[net.Listener]bool{}, wires: map[*wire]bool{}, peers: map[string]int{}, empty: make(chan struct{}),
		toClear: newHandover(), toSecure: newHandover(),
	}
	if s.log == nil {
		s.log = journal.Discard()
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.clear, s.secure = s.engine(), s.engine()
	// go-smtp announces STARTTLS where it has a configuration. It never uses
	// this one: the wire upgrades.
	s.clear.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS13}
	s.wg.Go(func() { s.clear.Serve(s.toClear) })
	s.wg.Go(func() { s.secure.Serve(s.toSecure) })
	return s, nil
}

// engine makes a go-smtp server for wires. Its timeouts and its limit on lines
// stay off: the wire has better ones.
func (s *Server) engine() *smtp.Server {
	e := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		one := &session{wire: c.Conn().(*wire), server: s}
		if s.members != nil {
			return &submitter{session: one}, nil
		}
		return one, nil
	}))
	e.Domain = s.domain
	e.MaxLineLength = 0
	e.MaxMessageBytes = s.limits.MessageBytes
	e.MaxRecipients = s.limits.Recipients
	e.EnableDSN = true
	e.ErrorLog = faults{s}
	// TLS is not visible to go-smtp; a session without AUTH mechanisms has none
	// in clear either.
	e.AllowInsecureAuth = true
	return e
}

// Serve accepts connections until Shutdown, then returns nil; it returns other
// errors of the listener. It closes the listener.
func (s *Server) Serve(l net.Listener, security Security) error {
	defer l.Close()
	if addr, ok := l.Addr().(*net.TCPAddr); s.anyPeer && ok && !addr.IP.IsLoopback() {
		return ErrNotLoopback
	}
	if !s.register(l) {
		return ErrStopped
	}
	defer s.wg.Done()
	return serving.Connections(s.ctx, l, s.log, s.isStopping, func(c net.Conn) { s.accept(c, security) })
}

func (s *Server) register(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return false
	}
	s.listeners[l] = true
	s.wg.Add(1)
	return true
}

func (s *Server) isStopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

// Shutdown stops accepting, ends idle connections at once with 421, and lets
// the others finish their transaction. When ctx ends, what is left is cut and
// an error says so. It waits for everything, except that a hub that does not
// heed its context is left behind a little later.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		return ErrStopped
	}
	s.stopping = true
	for l := range s.listeners {
		l.Close()
	}
	for w := range s.wires {
		w.interrupt()
	}
	if s.open == 0 {
		close(s.empty)
	}
	s.mu.Unlock()

	var err error
	select {
	case <-s.empty:
	case <-ctx.Done():
		err = errStuck
		s.stop() // Hub.Intake gives up
		s.mu.Lock()
		for w := range s.wires {
			w.cut()
		}
		s.mu.Unlock()
		select {
		case <-s.empty:
		case <-time.After(lastWait):
			return errStuck
		}
	}
	s.stop()
	for _, e := range []*smtp.Server{s.clear, s.secure} {
		e.Shutdown(context.Background()) // waits for its goroutines
	}
	// go-smtp closes the listeners it knows, and may not have come to Serve yet.
	s.toClear.Close()
	s.toSecure.Close()
	s.wg.Wait()
	return err
}

// lastWait is how long connections that were cut may take to notice.
const lastWait = 2 * time.Second

// sessionID names a connection in the journal.
type sessionID string

// Journal implements journal.Safe.
func (i sessionID) Journal() string { return string(i) }

var idLetters = base32.StdEncoding.WithPadding(base32.NoPadding)

func newSessionID() sessionID {
	var b [10]byte
	rand.Read(b[:]) // never fails
	return sessionID(strings.ToLower(idLetters.EncodeToString(b[:])))
}
