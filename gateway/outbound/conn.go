package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/relais-sante/relais/store/journal"
)

const (
	errNoSTARTTLS = journal.Fault("peer does not offer STARTTLS")
	errNotLocal   = journal.Fault("without TLS only a loopback address may be spoken to")
)

// conn is a conversation with a peer, ready for MAIL. It has one user at a
// time.
type conn struct {
	wire  *wire
	fence *fence
	smtp  *smtp.Client
	limit int64 // the peer's SIZE, 0: none announced
	// Extensions that the peer offers.
	sized, eightBit, dsn, pipelining bool

	line   []byte    // commands being said
	sent   int       // transactions so far
	idle   time.Time // since when it is unused
	closed func()    // called once, when it closes
	lost   bool      // what the peer says next answers no question of ours
	trust  int64     // of Relay.trusts, when it was opened
	// client: the peer is an operator's submission server; silent: it asked for
	// no login.
	client, silent bool
}

// connect opens a conversation with one of the hops, in their order. All of it
// takes Timeouts.Connect at most and ends with ctx.
func (r *Relay) connect(ctx context.Context, to Target) (*conn, *failure) {
	ctx, cancel := context.WithTimeout(ctx, r.o.Timeouts.Connect)
	defer cancel()
	c, failed := r.reachAny(ctx, to)
	if r.client != nil && failed != nil {
		r.client.note(to, failed)
	}
	return c, failed
}

func (r *Relay) reachAny(ctx context.Context, to Target) (*conn, *failure) {
	hops, err := r.o.Route.Hops(ctx, to)
	if err != nil {
		return nil, &failure{stageRoute, fmt.Errorf("finding the way: %w", err)}
	}
	var telling *failure
	for _, hop := range hops {
		c, failed := r.reach(ctx, hop, to)
		if failed == nil {
			return c, nil
		}
		// The one that came farthest says most about what is wrong.
		if telling == nil || failed.at >= telling.at {
			telling = failed
		}
		if ctx.Err() != nil {
			break
		}
	}
	if telling == nil {
		telling = &failure{stageRoute, errors.New("no address to send to")}
	}
	return nil, telling
}

// reach opens a conversation with one hop.
func (r *Relay) reach(ctx context.Context, hop Hop, to Target) (*conn, *failure) {
	if !r.encrypts() {
		if ap, err := netip.ParseAddrPort(hop.Address); err != nil || !ap.Addr().IsLoopback() {
			return nil, &failure{stageTLS, errNotLocal}
		}
	}
	dialling, cancel := context.WithTimeout(ctx, r.o.Timeouts.Dial)
	defer cancel()
	nc, err := r.o.Dial(dialling, "tcp", hop.Address)
	if err != nil {
		return nil, &failure{stageDial, fmt.Errorf("dialling: %w", err)}
	}
	w := &wire{Conn: nc}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	c, failed := r.begin(ctx, w, hop, to)
	if !stop() && failed == nil {
		failed = &failure{stageGreeting, ctx.Err()}
	}
	if failed != nil {
		nc.Close()
		return nil, failed
	}
	return c, nil
}

// encrypts reports whether TLS is spoken. To an operator it always is: a password
// or token never goes out in clear.
func (r *Relay) encrypts() bool { return r.client != nil || r.o.TLS == TLSRequired }

// begin talks up to where MAIL may be said: greeting, EHLO, STARTTLS, the
// certificate, EHLO again, AUTH.
func (r *Relay) begin(ctx context.Context, w *wire, hop Hop, to Target) (*conn, *failure) {
	command := func() { w.allow(r.o.Timeouts.Command, r.o.Timeouts.Command) }
	command()
	f := newFence(w)
	if hop.Implicit {
		secured, failed := r.handshake(ctx, w, hop, to)
		if failed != nil {
			return nil, failed
		}
		f = secured
		command()
	}
	if _, err := f.expect(220); err != nil {
		return nil, &failure{stageGreeting, fmt.Errorf("reading the greeting: %w", err)}
	}
	if r.encrypts() && !hop.Implicit {
		command()
		secured, failed := r.secure(ctx, f, w, hop, to)
		if failed != nil {
			return nil, failed
		}
		f = secured
	}
	// go-smtp takes over here. It wants to see a greeting first.
	f.replay("220 ready\r\n")
	c := &conn{wire: w, fence: f, smtp: smtp.NewClient(f), trust: r.trusts.Load()}
	command()
	if err := c.smtp.Hello(r.o.Hello); err != nil {
		return nil, &failure{stageGreeting, fmt.Errorf("saying EHLO: %w", err)}
	}
	if n, ok := c.smtp.MaxMessageSize(); ok {
		c.limit = int64(n)
	}
	offers := func(keyword string) bool {
		ok, _ := c.smtp.Extension(keyword)
		return ok
	}
	c.sized, c.eightBit, c.dsn, c.pipelining = offers("SIZE"), offers("8BITMIME"), offers("DSN"), offers("PIPELINING")
	if r.client != nil {
		c.client = true
		_, offered := c.smtp.Extension("AUTH")
		var err error
		c.silent, err = r.client.login(ctx, to, strings.Fields(offered), func(s sasl.Client) error { return authenticate(f, command, s) })
		if err != nil {
			return nil, &failure{stageLogin, err}
		}
	}
	r.metrics.open.Inc()
	c.closed = r.metrics.open.Dec
	return c, nil
}

// secure turns the conversation into TLS and makes sure who answers. It is done
// by hand: go-smtp's client would introduce itself as "localhost" first.
func (r *Relay) secure(ctx context.Context, f *fence, w *wire, hop Hop, to Target) (*fence, *failure) {
	offers, err := f.command("EHLO "+r.o.Hello, 250)
	if err != nil {
		return nil, &failure{stageGreeting, fmt.Errorf("saying EHLO: %w", err)}
	}
	if !offered(offers, "STARTTLS") {
		return nil, &failure{stageTLS, errNoSTARTTLS}
	}
	if _, err := f.command("STARTTLS", 220); err != nil {
		return nil, &failure{stageTLS, fmt.Errorf("saying STARTTLS: %w", err)}
	}
	if err := f.quiet(); err != nil {
		return nil, &failure{stageTLS, err}
	}
	return r.handshake(ctx, w, hop, to)
}

func (r *Relay) handshake(ctx context.Context, w *wire, hop Hop, to Target) (*fence, *failure) {
	profile := r.o.Trust.ClientConfig
	if r.client != nil {
		profile = r.client.boxes[to.Box].Access.TLS
	}
	tc := tls.Client(w, profile(hop.Host))
	if err := tc.HandshakeContext(ctx); err != nil {
		return nil, &failure{stageTLS, fmt.Errorf("shaking hands: %w", err)}
	}
	if err := r.o.Route.Verify(tc.ConnectionState(), hop, to); err != nil {
		return nil, &failure{stageTLS, untrusted{fmt.Errorf("checking the certificate: %w", err)}}
	}
	return newFence(tc), nil
}

func offered(ehlo []string, keyword string) bool {
	for _, line := range ehlo[1:] {
		word, _, _ := strings.Cut(line, " ")
		if strings.EqualFold(word, keyword) {
			return true
		}
	}
	return false
}

// cut closes the connection at once, in the middle of whatever goes on.
func (c *conn) cut() {
	c.wire.Conn.Close()
	if c.closed != nil {
		c.closed()
		c.closed = nil
	}
}

// quit takes leave (RFC 5321 §4.1.1.10) and closes.
func (c *conn) quit() {
	const polite = time.Second
	c.wire.cap = time.Time{}
	c.wire.allow(polite, polite)
	_ = c.smtp.Quit()
	c.cut()
}
