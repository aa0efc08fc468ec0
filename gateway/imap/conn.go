package imap

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/relais-sante/relais/gateway/login"
	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/store/journal"
)

// state is where a session stands (RFC 9051 §3).
type state uint8

const (
	notAuthenticated state = 1 << iota
	authenticated
	selected

	anyState = notAuthenticated | authenticated | selected
	loggedIn = authenticated | selected
)

// conn is one client. Everything but interrupt and poke is called by the one
// goroutine that serves it; mu guards what these share with it.
type conn struct {
	server   *Server
	id       sessionID
	addr     netip.Addr
	peer     netip.Prefix
	security Security
	raw      net.Conn
	stream   net.Conn // raw, or TLS over it
	tls      *tls.Conn
	ctx      context.Context
	cancel   context.CancelFunc

	in       input
	source   io.Reader // of in: the conn itself, or the inflater over it
	deflated bool
	out      []byte       // answers not yet sent
	phrase   []byte       // scratch of ENVELOPE
	command  journal.Word // being done
	tag      string
	err      error  // the connection is of no use any more
	done     bool   // no further command is read
	then     func() // to do once the command is answered
	errors   int
	attempts int
	recent   int // commands before login, in the minute that began at minute
	minute   time.Time
	until    time.Time // a login must come until then
	door     *login.Door

	deadline time.Time // of what is read
	between  bool      // commands: the wait may be ended

	user     folder.User
	counted  string // account the connection counts for
	utf8     bool   // UTF8=ACCEPT or IMAP4rev2 enabled: UTF-8 in quoted strings
	rev2     bool
	cond     bool // CONDSTORE enabled (RFC 7162 §3.1)
	qresync  bool
	view     *view
	watching *notify
	idling   bool
	pushed   time.Time // when it was last told what is new while it waits

	mu       sync.Mutex
	waiting  bool
	poked    bool
	gone     bool
	stopping bool
}

// Faults of a connection.
const (
	errStopping = journal.Fault("the hub stops")
	errGone     = journal.Fault("account revoked")
	errTooLong  = journal.Fault("command too long")
	errDropped  = journal.Fault("connection dropped")
)

func newConn(s *Server, raw net.Conn, security Security) *conn {
	c := &conn{server: s, id: newSessionID(), raw: raw, stream: raw, security: security}
	c.addr, c.peer = peerOf(raw)
	c.ctx, c.cancel = context.WithCancel(s.ctx)
	c.source = c
	return c
}

// serve is the life of a connection.
func (c *conn) serve() {
	defer c.close()
	defer func() {
		if v := recover(); v != nil {
			c.crash(v)
			c.bye("[SERVERBUG] Défaut du serveur / server defect")
		}
	}()
	c.until = time.Now().Add(c.server.limits.Login)
	if c.security == ImplicitTLS && !c.shake() {
		return
	}
	c.greet()
	for c.err == nil && !c.done {
		c.next()
	}
}

// greet is the server's first line (RFC 9051 §7.1.5).
func (c *conn) greet() {
	c.text("* OK [CAPABILITY ")
	c.capabilities()
	c.text("] ")
	if c.server.options.Domain != "" {
		c.text(c.server.options.Domain)
		c.text(" ")
	}
	c.text("Relais\r\n")
}

// close ends the connection and what hangs on it.
func (c *conn) close() {
	c.flush()
	c.leave()
	if c.watching != nil {
		c.watching.stop()
	}
	if c.user != nil {
		c.user.Close()
	}
	c.cancel()
	if c.tls != nil {
		c.raw.SetWriteDeadline(time.Now().Add(time.Second)) // for the close_notify alert
		c.tls.Close()
	}
	c.raw.Close()
	c.in.rest()
}

// bye says why the server ends the connection, and ends it.
func (c *conn) bye(why string) {
	c.text("* BYE ")
	c.text(why)
	c.text("\r\n")
	c.flush()
	c.done = true
}

// drop ends the connection where nothing sensible can be said any more: in the
// middle of a literal.
func (c *conn) drop(err error) {
	if c.err == nil {
		c.err = err
		c.server.log.Warn("connection dropped", "session", c.id, "command", c.command, "error", err)
	}
	c.out = c.out[:0]
	c.raw.Close()
}

// shake begins TLS.
func (c *conn) shake() bool {
	deadline := time.Now().Add(c.server.limits.Handshake)
	c.mu.Lock()
	c.raw.SetDeadline(deadline)
	c.waiting = true
	if c.stopping {
		c.endWait()
	}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.waiting = false
	}()
	secured := tls.Server(c.raw, c.server.options.TLS)
	ctx, cancel := context.WithDeadline(c.ctx, deadline)
	defer cancel()
	if err := secured.HandshakeContext(ctx); err != nil {
		c.server.metrics.handshakes.Inc()
		c.server.log.Info("TLS handshake failed", "session", c.id, "peer", c.raw.RemoteAddr())
		c.err = err
		return false
	}
	c.tls, c.stream, c.door = secured, secured, nil
	c.raw.SetDeadline(time.Time{})
	return true
}

// state tells where the session stands.
func (c *conn) state() state {
	switch {
	case c.view != nil:
		return selected
	case c.user != nil:
		return authenticated
	default:
		return notAuthenticated
	}
}

// ended tells the client why no command was read, where it can be told.
func (c *conn) ended(err error) {
	c.done = true
	switch {
	case errors.Is(err, errStopping):
		c.bye("[UNAVAILABLE] Arrêt du serveur / server stops")
	case errors.Is(err, errGone):
		c.bye("[EXPIRED] Compte fermé / account closed")
	case errors.Is(err, errTooLong):
		c.bye("[TOOBIG] Commande trop longue / command too long")
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.bye("Délai dépassé / timeout")
	default: // the client is gone
		c.err = err
	}
}
