package operator

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-sasl"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/store/journal"
	"github.com/relais-sante/relais/store/seal"
)

// Faults of logging in.
const (
	// ErrRefused is what a server's "no" to a login must be wrapped as by the
	// function given to [Access.Login].
	ErrRefused = journal.Fault("login refused")
	// ErrWaiting: the last login was refused, and the next is not due yet.
	ErrWaiting = journal.Fault("login refused lately; waiting before the next")
	// ErrMechanism: the server offers none that fits the settings.
	ErrMechanism = journal.Fault("the server offers no way to log in that fits the settings")
	errKeyPair   = journal.Fault("certificate and key are not a pair in PEM")
	errSecret    = journal.Fault("the secret is empty")
)

// Trust is what logging in needs of gateway/trust. *trust.Guard is it.
type Trust interface {
	// ClientConfig is the TLS profile for talking to a server; it verifies
	// nothing.
	ClientConfig(serverName string) *tls.Config
	// VerifyHost checks that the certificate chains, is not revoked and bears
	// the host name.
	VerifyHost(cs tls.ConnectionState, host string) (trust.Identity, error)
}

// AccessOptions are what an [Access] is made of. Zero values take the defaults
// named.
type AccessOptions struct {
	Settings configs.Operator
	Trust    Trust
	// Dev allows an identity provider at http on loopback.
	Dev bool
	// Vault keeps a refresh token that was given anew; nil: only memory does.
	Vault Vault
	// Transport reaches the identity provider (default: one that verifies
	// against issuer_authorities).
	Transport http.RoundTripper
	Now       func() time.Time // default time.Now
	// Jitter gives numbers in [0,1) (default math/rand).
	Jitter func() float64
}

// Access is how the hub shows itself to one operator: the TLS that it speaks
// and the name it logs in with. IMAP and submission share one, so that they
// share the token, and the wait after a refusal. It is safe for concurrent use.
type Access struct {
	o      AccessOptions
	secret seal.Source
	tokens *tokens // nil: not by token

	mu      sync.Mutex
	cert    *tls.Certificate // nil: the hub's own
	refused int              // logins in a row
	next    time.Time        // before which nobody tries
}

// Waits after a refused login: short enough for an account that is mended, long
// enough that nothing locks it for good.
const (
	firstWait   = time.Minute
	longestWait = 30 * time.Minute
)

// NewAccess reads what the settings name: certificate, secrets, authorities.
func NewAccess(o AccessOptions) (*Access, error) {
	or(&o.Now, time.Now)
	or(&o.Jitter, jitter)
	a := &Access{o: o}
	s := &o.Settings
	var err error
	if a.cert, err = loadCertificate(s); err != nil {
		return nil, err
	}
	if s.Secret != (configs.Secret{}) {
		a.secret = source(s.Secret)
	}
	if s.ByToken() {
		t, err := newTokens(&a.o, a.secret)
		if err != nil {
			return nil, fmt.Errorf("preparing tokens for box %s: %w", journal.Word(s.Name), err)
		}
		a.tokens = t
	}
	return a, nil
}

func loadCertificate(s *configs.Operator) (*tls.Certificate, error) {
	if s.Cert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(string(s.Cert), string(s.Key))
	if err != nil { // it may quote what is in the files
		return nil, fmt.Errorf("loading the client certificate for box %s: %w", journal.Word(s.Name), errKeyPair)
	}
	return &pair, nil
}

// Prepare reads the certificate anew, for a reload that is all or nothing; use
// puts it to use. Whoever reloads may have mended a login: it waits no more.
func (a *Access) Prepare() (use func(), err error) {
	fresh, err := loadCertificate(&a.o.Settings)
	if err != nil {
		return nil, err
	}
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.cert, a.refused, a.next = fresh, 0, time.Time{}
	}, nil
}

// Certificate is the one shown at this operator; nil: the hub's own.
func (a *Access) Certificate() *x509.Certificate {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cert == nil {
		return nil
	}
	return a.cert.Leaf
}

// TLS is for one connection to host. The caller must shake hands and then ask
// [Access.Verify] before sending anything.
func (a *Access) TLS(host string) *tls.Config {
	c := a.o.Trust.ClientConfig(host)
	a.mu.Lock()
	defer a.mu.Unlock()
	if own := a.cert; own != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil }
	}
	// A session resumed is one under the certificate it began with, which may
	// be another box's.
	c.ClientSessionCache = nil
	return c
}

// Verify checks, after the handshake, who answers. Every error is a
// [*trust.Distrust].
func (a *Access) Verify(cs tls.ConnectionState, host string) error {
	_, err := a.o.Trust.VerifyHost(cs, host)
	return err
}

// Login finds the mechanism that fits the settings among those offered (SASL
// names; "LOGIN" may stand for the command of IMAP), and has try carry out one
// exchange with it. try wraps the server's refusal as [ErrRefused]; any other
// error says nothing about the credentials.
//
// A token that is refused is replaced and tried once more, if try still has a
// connection; then, and at once with a password or certificate, every login of
// this Access waits: [ErrWaiting].
func (a *Access) Login(ctx context.Context, offered []string, try func(sasl.Client) error) error {
	mechanism, err := a.mechanism(offered)
	if err != nil {
		return err
	}
	if !a.due() {
		return ErrWaiting
	}
	err = a.attempt(ctx, mechanism, false, try)
	if errors.Is(err, errTokenRefused) {
		err = a.attempt(ctx, mechanism, true, try)
	}
	a.note(err)
	return err
}

// errTokenRefused: the mail server did not take a token, unlike a refusal of
// the identity provider, which no other token can be had for.
var errTokenRefused = fmt.Errorf("token not taken: %w", ErrRefused)

func (a *Access) attempt(ctx context.Context, mechanism string, fresh bool, try func(sasl.Client) error) error {
	client, err := a.client(ctx, mechanism, fresh)
	if err != nil {
		return err
	}
	if err = try(client); errors.Is(err, ErrRefused) && a.tokens != nil {
		return errTokenRefused
	}
	return err
}

// Waiting reports whether a login would be [ErrWaiting]: no use connecting.
func (a *Access) Waiting() bool { return !a.due() }

// Preauthenticated notes a login that the certificate alone has made.
func (a *Access) Preauthenticated() { a.note(nil) }

func (a *Access) due() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.o.Now().Before(a.next)
}

// note counts a refusal, or forgets the earlier ones.
func (a *Access) note(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err == nil:
		a.refused, a.next = 0, time.Time{}
	case errors.Is(err, ErrRefused):
		wait := min(firstWait<<min(a.refused, 10), longestWait)
		a.refused++
		a.next = a.o.Now().Add(wait + time.Duration(float64(wait)*a.o.Jitter()/4))
	}
}

// mechanism picks one of those offered.
func (a *Access) mechanism(offered []string) (string, error) {
	var want []string
	switch a.o.Settings.Auth {
	case configs.AuthCertificate:
		want = []string{sasl.External}
	case configs.AuthPassword:
		want = []string{sasl.Plain, sasl.Login}
	case configs.AuthXOAUTH2: // the name people know; RFC 7628 is the same token
		want = []string{xoauth2, sasl.OAuthBearer}
	case configs.AuthOAuthBearer:
		want = []string{sasl.OAuthBearer}
	}
	for _, w := range want {
		for _, o := range offered {
			if strings.EqualFold(w, o) {
				return w, nil
			}
		}
	}
	return "", ErrMechanism
}

// client is one side of an exchange. fresh asks for another token than the last.
func (a *Access) client(ctx context.Context, mechanism string, fresh bool) (sasl.Client, error) {
	name := a.o.Settings.Username
	switch mechanism {
	case sasl.External:
		return sasl.NewExternalClient(name), nil
	case sasl.Plain, sasl.Login:
		secret, err := readSecret(a.secret)
		if err != nil {
			return nil, fmt.Errorf("reading the password: %w", err)
		}
		if mechanism == sasl.Login {
			return sasl.NewLoginClient(name, secret), nil
		}
		return sasl.NewPlainClient("", name, secret), nil
	}
	token, err := a.tokens.token(ctx, fresh)
	if err != nil {
		return nil, fmt.Errorf("asking for a token: %w", err)
	}
	if mechanism == sasl.OAuthBearer {
		return sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: name, Token: token}), nil
	}
	return &xoauth2Client{name: name, token: token}, nil
}

func source(s configs.Secret) seal.Source {
	switch s.In {
	case configs.InCredential:
		return seal.Credential(s.Name)
	case configs.InEnv:
		return seal.Env(s.Name)
	}
	return seal.File(s.Name)
}

// readSecret gives a secret without the line end that editors add.
func readSecret(s seal.Source) (string, error) {
	b, err := s.Secret()
	if err != nil {
		return "", err
	}
	text := strings.TrimRight(string(b), "\r\n")
	if text == "" {
		return "", errSecret
	}
	return text, nil
}
