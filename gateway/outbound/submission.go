package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-sasl"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway/operator"
	"github.com/relais-sante/relais/store/journal"
)

// Submission is the route through the hub's boxes at operators (RFC 6409): each
// mail is handed over where its box is, by TLS and after a login. Which peers
// there are behind the operator, and whether they may be spoken to, is the
// operator's to know.
type Submission struct {
	boxes    map[string]*submitter
	resolver Resolver
}

// Submitter is a box that mail can be handed over at.
type Submitter struct {
	Name   string           // of the box, as in mailbox.OperatorBox
	Server configs.Endpoint // how TLS begins there, too
	Access Access
	// ByCertificate: where AUTH EXTERNAL is not offered, the certificate shown is
	// login enough.
	ByCertificate bool
}

// Access is what submission needs to log in at an operator: *operator.Access is
// it.
type Access interface {
	// TLS is for one connection to host, Verify checks who answered.
	TLS(host string) *tls.Config
	Verify(cs tls.ConnectionState, host string) error
	// Login has try carry out an exchange with one of the mechanisms offered.
	Login(ctx context.Context, offered []string, try func(sasl.Client) error) error
	// Waiting reports whether the last login was refused and the next is not
	// due yet.
	Waiting() bool
	// Preauthenticated notes a login that the certificate alone has made.
	Preauthenticated()
}

type submitter struct {
	Submitter
	host string
	port int
	// turn is taken by one login at a time: what the server says to the first
	// may spare it the others.
	turn chan struct{}

	mu      sync.Mutex
	trouble string // why nothing could be sent lately; empty: something could
	since   time.Time
}

const (
	errNoBox    = journal.Fault("no such box at an operator")
	errNoServer = journal.Fault("want host:port")
)

// NewSubmission returns the route through boxes.
func NewSubmission(boxes []Submitter, r Resolver) (*Submission, error) {
	s := &Submission{boxes: map[string]*submitter{}, resolver: r}
	for _, b := range boxes {
		host, p, err := net.SplitHostPort(b.Server.Address)
		port, bad := strconv.ParseUint(p, 10, 16)
		if err != nil || bad != nil || host == "" {
			return nil, fmt.Errorf("reading the submission server of box %s: %w", b.Name, errNoServer)
		}
		s.boxes[b.Name] = &submitter{Submitter: b, host: host, port: int(port), turn: make(chan struct{}, 1)}
	}
	return s, nil
}

// Peer implements Route: a box is a peer of its own, whatever the server.
func (s *Submission) Peer(to Target) string { return "operator " + to.Box }

// Hops implements Route.
func (s *Submission) Hops(ctx context.Context, to Target) ([]Hop, error) {
	b := s.boxes[to.Box]
	switch {
	case b == nil: // its section is gone; it may come back
		return nil, notLoggedIn{errNoBox}
	case b.Access.Waiting():
		return nil, notLoggedIn{operator.ErrWaiting}
	}
	var found []Hop
	if ip, err := netip.ParseAddr(b.host); err == nil {
		found = []Hop{{Host: b.host, Address: netip.AddrPortFrom(ip, uint16(b.port)).String()}}
	} else if found, err = hops(ctx, s.resolver, b.host, b.port, maxHops); err != nil {
		return nil, err
	}
	for i := range found {
		found[i].Implicit = b.Server.Mode == configs.ImplicitTLS
	}
	return found, nil
}

// Verify implements Route.
func (s *Submission) Verify(cs tls.ConnectionState, hop Hop, to Target) error {
	return s.boxes[to.Box].Access.Verify(cs, hop.Host)
}

// TroubleLogin is the trouble of a box whose login, or whose right to send in its
// own name, is refused: somebody has to put it right.
const TroubleLogin = reasonLogin

// Health is how sending from a box goes.
type Health struct {
	Box     string
	Trouble string    // our word for why nothing can be sent; empty: none known
	Since   time.Time // of the trouble
}

// Health tells how each box does.
func (s *Submission) Health() []Health {
	var all []Health
	for _, b := range s.boxes {
		b.mu.Lock()
		all = append(all, Health{b.Name, b.trouble, b.since})
		b.mu.Unlock()
	}
	return all
}

// ended keeps what an attempt says of the box it was made from: what is answered
// about a copy shows that the box may send.
func (s *Submission) ended(to Target, v verdict) {
	switch {
	case v.Reason == reasonLogin:
		s.note(to, &failure{stageMail, v.cause})
	case v.Code != 0 && !v.strike:
		s.note(to, nil)
	}
}

// note keeps what is wrong; nil: nothing.
func (s *Submission) note(to Target, failed *failure) {
	b := s.boxes[to.Box]
	if b == nil || failed != nil && errors.Is(failed, context.Canceled) { // the hub stops
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case failed == nil:
		b.trouble, b.since = "", time.Time{}
	case b.trouble == "":
		b.since = time.Now()
		fallthrough
	default:
		b.trouble = failed.outcome().Reason
	}
}

// login makes the hub known to the server of a box.
func (s *Submission) login(ctx context.Context, to Target, offered []string, try func(sasl.Client) error) (silent bool, err error) {
	b := s.boxes[to.Box]
	if b.ByCertificate && !slices.ContainsFunc(offered, func(m string) bool { return strings.EqualFold(m, sasl.External) }) {
		b.Access.Preauthenticated()
		return true, nil
	}
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return false, notLoggedIn{fmt.Errorf("waiting to log in: %w", ctx.Err())}
	}
	asked := false
	err = b.Access.Login(ctx, offered, func(c sasl.Client) error { asked = true; return try(c) })
	switch {
	case err == nil:
		return false, nil
	case !asked && !refusedLogin(err):
		err = noToken{err}
	}
	return false, notLoggedIn{fmt.Errorf("logging in: %w", err)}
}

// noToken wraps why there was nothing to log in with: the identity provider does
// not answer, a secret cannot be read.
type noToken struct{ error }

func (e noToken) Unwrap() error { return e.error }

// notLoggedIn wraps why the operator did not let the hub in: its own trouble,
// never that of a copy.
type notLoggedIn struct{ error }

func (e notLoggedIn) Unwrap() error { return e.error }

// refusedLogin reports whether somebody has to put credentials right, unlike a
// server or identity provider that cannot be reached.
func refusedLogin(err error) bool {
	return errors.Is(err, errNoBox) || errors.Is(err, operator.ErrRefused) || errors.Is(err, operator.ErrWaiting) || errors.Is(err, operator.ErrMechanism)
}
