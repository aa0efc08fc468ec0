package imap

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base32"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/relais-sante/relais/gateway/login"
	"github.com/relais-sante/relais/gateway/serving"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/store/journal"
)

// Options are what a server is made of.
type Options struct {
	TLS   *tls.Config   // required: nobody logs in without TLS
	Login login.Options // how clients say who they are
	// Folders opens the folders of an account that has logged in, for one session.
	// where is the client's address, for traces.
	Folders func(ctx context.Context, a *mailbox.Account, where string) (folder.User, error)
	Domain  string // the hub's name in the greeting
	Version string // told by ID
	Limits  Limits
	Zone    *time.Location // of INTERNALDATE and of dates in SEARCH; default time.Local
	Log     *slog.Logger
	Metrics prometheus.Registerer
	Now     func() time.Time // default time.Now
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
	ErrNoTLS   = journal.Fault("an IMAP server needs a TLS configuration")
	ErrStopped = journal.Fault("IMAP server stopped")
	errStuck   = journal.Fault("connections did not end in time and were cut")
)

// Server is an IMAP server on any number of listeners.
type Server struct {
	options Options
	limits  Limits
	log     *slog.Logger
	metrics *metrics
	now     func() time.Time
	urls    urlKeys
	recents recents

	ctx  context.Context // ends when connections are cut
	stop context.CancelFunc
	wg   sync.WaitGroup // accept loops and connections

	mu        sync.Mutex
	stopping  bool
	listeners map[net.Listener]bool
	conns     map[*conn]bool
	peers     map[netip.Prefix]int // connections by address
	users     map[string]int       // and by account
}

// New makes a server. It listens to nothing yet.
func New(o Options) (*Server, error) {
	if o.TLS == nil {
		return nil, ErrNoTLS
	}
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, err
	}
	if o.Zone == nil {
		o.Zone = time.Local
	}
	s := &Server{
		options: o, limits: o.Limits.withDefaults(), log: o.Log, metrics: m, now: o.Now,
		listeners: map[net.Listener]bool{}, conns: map[*conn]bool{},
		peers: map[netip.Prefix]int{}, users: map[string]int{},
	}
	if s.log == nil {
		s.log = journal.Discard()
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// Serve accepts connections until Shutdown, then returns nil; it returns other
// errors of the listener. It closes the listener.
func (s *Server) Serve(l net.Listener, security Security) error {
	defer l.Close()
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

// accept serves a connection if the limits allow one more.
func (s *Server) accept(raw net.Conn, security Security) {
	c := newConn(s, raw, security)
	s.mu.Lock()
	var refuse string
	switch {
	case s.stopping:
		refuse = "stopping"
	case len(s.conns) >= s.limits.Connections:
		refuse = "full"
	case s.peers[c.peer] >= s.limits.ConnectionsPerPeer:
		refuse = "peer"
	default:
		s.conns[c] = true
		s.peers[c.peer]++
		s.wg.Add(1)
	}
	s.mu.Unlock()
	if refuse != "" {
		s.metrics.refused.WithLabelValues(refuse).Inc()
		if security == StartTLS { // what fits the empty socket buffer does not wait
			raw.SetWriteDeadline(time.Now().Add(time.Second))
			raw.Write([]byte("* BYE [UNAVAILABLE] Trop de connexions / too many connections\r\n"))
		}
		raw.Close()
		return
	}
	s.metrics.connections.Inc()
	s.metrics.open.Inc()
	go func() {
		defer s.wg.Done()
		defer s.forget(c)
		c.serve()
	}()
}

func (s *Server) forget(c *conn) {
	s.metrics.open.Dec()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if s.peers[c.peer]--; s.peers[c.peer] <= 0 {
		delete(s.peers, c.peer)
	}
	if c.counted != "" {
		if s.users[c.counted]--; s.users[c.counted] <= 0 {
			delete(s.users, c.counted)
		}
	}
}

// count counts a connection for its account.
func (s *Server) count(c *conn, user string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users[user] >= s.limits.ConnectionsPerUser {
		return false
	}
	s.users[user]++
	c.counted = user
	return true
}

// Shutdown stops accepting, says BYE to connections that wait and to the
// others when their command is done. When ctx ends, what is left is cut and an
// error says so. It waits for everything.
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
	for c := range s.conns {
		c.interrupt()
	}
	s.mu.Unlock()
	defer s.stop()

	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.stop() // calls to the floor below give up
	s.mu.Lock()
	for c := range s.conns {
		c.raw.Close()
	}
	s.mu.Unlock()
	<-done
	return errStuck
}

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

// peerOf is what connections are counted by: an address, or an IPv6 network.
func peerOf(raw net.Conn) (netip.Addr, netip.Prefix) {
	tcp, ok := raw.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}, netip.Prefix{}
	}
	addr := tcp.AddrPort().Addr().Unmap()
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	network, _ := addr.WithZone("").Prefix(bits) // bits fit the address
	return addr, network
}
