// Package oidc speaks to an OpenID Connect provider as far as a service without
// a browser needs it: where its endpoints are (OpenID Connect Discovery 1.0 §4),
// and requests to them. [github.com/relais-sante/relais/gateway/oauth] judges the
// tokens of others with it, gateway/operator asks for its own.
//
// Rules that hold here:
//
//   - Secrets and tokens go over TLS; only a development hub's provider on this
//     machine may do without. No redirection is followed: it would take them
//     elsewhere.
//   - A discovery document counts if it names the very issuer that was asked,
//     or it speaks for somebody else.
//   - What the provider says is bounded, and every request has a deadline.
//   - Errors quote neither addresses nor answers: a token may be in them.
package oidc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/relais-sante/relais/store/journal"
)

// Faults.
const (
	ErrAddress     = journal.Fault("an address of the identity provider is not https")
	ErrIssuer      = journal.Fault("the discovery document is another issuer's")
	ErrAnswer      = journal.Fault("the identity provider's answer is not understood")
	ErrAnswerSize  = journal.Fault("the identity provider's answer is too long")
	ErrStatus      = journal.Fault("the identity provider answers with an error")
	ErrAuthorities = journal.Fault("no certificate in the authorities of the identity provider")
)

// MaxAnswer is the longest answer that is read, in bytes.
const MaxAnswer = 512 << 10

// Options say which provider.
type Options struct {
	Issuer    string
	Discovery string // path of the discovery document below Issuer
	// Authorities is a PEM bundle for the provider's certificate; empty: the
	// system's.
	Authorities string
	Dev         bool          // a provider on this machine may do without TLS
	Patience    time.Duration // for one request
	// Transport reaches the provider (default: one that verifies its certificate
	// by Authorities).
	Transport http.RoundTripper
}

// Places are where a provider's endpoints are; each may be missing.
type Places struct {
	Issuer        string   `json:"issuer"`
	Keys          string   `json:"jwks_uri"`
	Introspection string   `json:"introspection_endpoint"`
	Token         string   `json:"token_endpoint"`
	TokenAuth     []string `json:"token_endpoint_auth_methods_supported"`
}

// Provider is an OpenID Connect provider. Safe for concurrent use.
type Provider struct {
	o    Options
	http *http.Client

	mu     sync.Mutex // held while the document is read: one reading serves all
	places *Places    // nil: not discovered yet
}

// New makes a provider. It asks nothing yet.
func New(o Options) (*Provider, error) {
	p := &Provider{o: o}
	if !p.allowed(o.Issuer) || !p.allowed(p.document()) {
		return nil, ErrAddress
	}
	if o.Transport == nil {
		var err error
		if o.Transport, err = transport(&o); err != nil {
			return nil, err
		}
	}
	p.http = &http.Client{
		Transport: o.Transport, Timeout: o.Patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return p, nil
}

// transport speaks TLS under the given authorities.
func transport(o *Options) (*http.Transport, error) {
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConns: 4, IdleConnTimeout: time.Minute,
		TLSHandshakeTimeout: o.Patience, MaxResponseHeaderBytes: 64 << 10, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if o.Authorities == "" {
		return t, nil
	}
	text, err := os.ReadFile(o.Authorities)
	if err != nil {
		return nil, fmt.Errorf("reading the authorities of the identity provider: %w", err)
	}
	t.TLSClientConfig.RootCAs = x509.NewCertPool()
	if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(text) {
		return nil, ErrAuthorities
	}
	return t, nil
}

func (p *Provider) document() string {
	return strings.TrimSuffix(p.o.Issuer, "/") + "/" + strings.TrimPrefix(p.o.Discovery, "/")
}

// allowed tells whether secrets may go to an address.
func (p *Provider) allowed(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil {
		return false
	}
	if u.Scheme == "http" && p.o.Dev {
		ip, err := netip.ParseAddr(u.Hostname())
		return u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
	}
	return u.Scheme == "https"
}

// Discover gives the endpoints, read once until [Provider.Forget].
func (p *Provider) Discover(ctx context.Context) (Places, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.places != nil {
		return *p.places, nil
	}
	var found Places
	if err := p.Get(ctx, p.document(), &found); err != nil {
		return Places{}, fmt.Errorf("reading the discovery document: %w", err)
	}
	if found.Issuer != p.o.Issuer { // §4.3
		return Places{}, ErrIssuer
	}
	p.places = &found
	return found, nil
}

// Forget has the endpoints discovered anew: they may have moved.
func (p *Provider) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.places = nil
}

// Close drops connections that are not in use.
func (p *Provider) Close() { p.http.CloseIdleConnections() }

// Get reads an endpoint's answer in JSON.
func (p *Provider) Get(ctx context.Context, address string, into any) error {
	return p.do(ctx, http.MethodGet, address, nil, nil, into)
}

// Post sends a form, with the credentials of a client by RFC 6749 §2.3.1 if
// there are any, and reads the answer in JSON.
func (p *Provider) Post(ctx context.Context, address string, form url.Values, client *url.Userinfo, into any) error {
	return p.do(ctx, http.MethodPost, address, form, client, into)
}

func (p *Provider) do(ctx context.Context, method, address string, form url.Values, client *url.Userinfo, into any) error {
	if !p.allowed(address) {
		return ErrAddress
	}
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return ErrAddress
	}
	req.Header.Set("Accept", "application/json")
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if client != nil {
		secret, _ := client.Password()
		req.SetBasicAuth(url.QueryEscape(client.Username()), url.QueryEscape(secret)) // §2.3.1 encodes both
	}
	resp, err := p.http.Do(req)
	if err != nil { // a *url.Error quotes the address, which may hold anything
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err
		}
		return fmt.Errorf("reaching the identity provider: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("reading the identity provider's answer: %w", err)
	case len(b) > MaxAnswer:
		return ErrAnswerSize
	case resp.StatusCode != http.StatusOK:
		return refusalOf(resp.StatusCode, b)
	case json.Unmarshal(b, into) != nil: // its error may quote
		return ErrAnswer
	}
	return nil
}

// Refusal is the provider's no to what was asked, in a word of RFC 6749 §5.2.
type Refusal string

// Error implements error.
func (r Refusal) Error() string { return "the identity provider says " + string(r) }

// Journal implements [journal.Safe]: the words are a closed vocabulary.
func (r Refusal) Journal() string { return r.Error() }

// refusals are the words; what else a provider says is its own and not repeated.
var refusals = []string{"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope"}

// refusalOf reads an error answer.
func refusalOf(status int, body []byte) error {
	var said struct {
		Error string `json:"error"`
	}
	_ = json.Unmarshal(body, &said)
	if (status == http.StatusBadRequest || status == http.StatusUnauthorized) && slices.Contains(refusals, said.Error) {
		return Refusal(said.Error)
	}
	return ErrStatus
}
