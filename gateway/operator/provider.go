package operator

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/relais-sante/relais/store/journal"
	"github.com/relais-sante/relais/store/seal"
)

// Faults of an identity provider.
const (
	errProviderURL = journal.Fault("an address of the identity provider is not https")
	errIssuer      = journal.Fault("the discovery document is another issuer's")
	errAnswer      = journal.Fault("the identity provider's answer is not understood")
	errAnswerSize  = journal.Fault("the identity provider's answer is too long")
	errStatus      = journal.Fault("the identity provider answers with an error")
	errAuthorities = journal.Fault("no certificate in issuer_authorities")
)

// Bounds of one request. A token is rarely more than 4 KiB.
const (
	providerPatience = 20 * time.Second
	maxAnswer        = 256 << 10
	maxToken         = 32 << 10
)

// provider is an OpenID Connect provider as far as a client without a browser
// needs it: discovery (OpenID Connect Discovery 1.0 §4) and the token endpoint
// (RFC 6749 §4.4, §6).
type provider struct {
	issuer    string
	discovery string
	client    string
	secret    seal.Source // nil: a public client
	scopes    []string
	dev       bool
	http      *http.Client

	endpoint string // of tokens, once discovered
	inForm   bool   // the secret goes into the form (client_secret_post)
}

func newProvider(o *AccessOptions, secret seal.Source) (*provider, error) {
	s := &o.Settings
	p := &provider{
		issuer: s.Issuer, client: s.ClientID, secret: secret, scopes: s.Scopes, dev: o.Dev,
		discovery: strings.TrimSuffix(s.Issuer, "/") + "/" + strings.TrimPrefix(s.Discovery, "/"),
	}
	if !p.allowed(s.Issuer) || !p.allowed(p.discovery) {
		return nil, errProviderURL
	}
	transport := o.Transport
	if transport == nil {
		var err error
		if transport, err = newTransport(string(s.IssuerAuthorities)); err != nil {
			return nil, err
		}
	}
	p.http = &http.Client{
		Transport: transport, Timeout: providerPatience,
		// A redirection would take the secret elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return p, nil
}

func newTransport(authorities string) (http.RoundTripper, error) {
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConns: 2, IdleConnTimeout: time.Minute,
		TLSHandshakeTimeout: providerPatience / 2, MaxResponseHeaderBytes: 64 << 10,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if authorities == "" {
		return t, nil
	}
	b, err := os.ReadFile(authorities)
	if err != nil {
		return nil, fmt.Errorf("reading issuer_authorities: %w", err)
	}
	t.TLSClientConfig.RootCAs = x509.NewCertPool()
	if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(b) {
		return nil, errAuthorities
	}
	return t, nil
}

// allowed: secrets go over TLS; on a development hub a provider on this machine
// may do without.
func (p *provider) allowed(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil {
		return false
	}
	if u.Scheme == "http" && p.dev {
		ip, err := netip.ParseAddr(u.Hostname())
		return u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
	}
	return u.Scheme == "https"
}

// discover finds the token endpoint, once.
func (p *provider) discover(ctx context.Context) error {
	if p.endpoint != "" {
		return nil
	}
	var d struct {
		Issuer        string   `json:"issuer"`
		TokenEndpoint string   `json:"token_endpoint"`
		AuthMethods   []string `json:"token_endpoint_auth_methods_supported"`
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.discovery, nil)
	if err != nil {
		return errProviderURL
	}
	if err := p.do(req, &d); err != nil {
		return fmt.Errorf("reading the discovery document: %w", err)
	}
	// OpenID Connect Discovery §4.3: the very same, or it speaks for somebody
	// else.
	if strings.TrimSuffix(d.Issuer, "/") != strings.TrimSuffix(p.issuer, "/") {
		return errIssuer
	}
	if !p.allowed(d.TokenEndpoint) {
		return errProviderURL
	}
	p.endpoint = d.TokenEndpoint
	// RFC 6749 §2.3.1: Basic is what every provider takes, unless it says other.
	p.inForm = len(d.AuthMethods) > 0 && !slices.Contains(d.AuthMethods, "client_secret_basic") &&
		slices.Contains(d.AuthMethods, "client_secret_post")
	return nil
}

// answer is that of a token endpoint (RFC 6749 §5.1).
type answer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token"`
}

// exchange asks for a token.
func (p *provider) exchange(ctx context.Context, fields map[string]string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*providerPatience)
	defer cancel()
	if err := p.discover(ctx); err != nil {
		return answer{}, err
	}
	form := url.Values{}
	for k, v := range fields {
		form.Set(k, v)
	}
	if len(p.scopes) > 0 {
		form.Set("scope", strings.Join(p.scopes, " "))
	}
	secret := ""
	if p.secret != nil {
		var err error
		if secret, err = readSecret(p.secret); err != nil {
			return answer{}, fmt.Errorf("reading the client secret: %w", err)
		}
	}
	if secret == "" || p.inForm {
		form.Set("client_id", p.client)
	}
	if secret != "" && p.inForm {
		form.Set("client_secret", secret)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, errProviderURL
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if secret != "" && !p.inForm {
		req.SetBasicAuth(url.QueryEscape(p.client), url.QueryEscape(secret)) // §2.3.1 encodes both
	}
	var a answer
	if err := p.do(req, &a); err != nil {
		p.endpoint = "" // it may have moved
		return answer{}, fmt.Errorf("asking the token endpoint: %w", err)
	}
	if !visible(a.AccessToken) || len(a.AccessToken) > maxToken || len(a.RefreshToken) > maxToken || !strings.EqualFold(a.TokenType, "bearer") {
		return answer{}, errAnswer
	}
	return a, nil
}

// visible: the token goes into a line of its own, so it is what RFC 6750 §2.1
// allows, and nothing that would end the line.
func visible(token string) bool {
	return token != "" && !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
}

// do sends a request and reads a bounded answer in JSON.
func (p *provider) do(req *http.Request, into any) error {
	req.Header.Set("Accept", "application/json")
	resp, err := p.http.Do(req)
	if err != nil { // a *url.Error quotes the address, which may hold anything
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err
		}
		return fmt.Errorf("reaching the identity provider: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("reading the identity provider's answer: %w", err)
	case len(b) > maxAnswer:
		return errAnswerSize
	case resp.StatusCode != http.StatusOK:
		return refusalOf(resp.StatusCode, b)
	}
	if media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || media != "application/json" && !strings.HasSuffix(media, "+json") {
		return errAnswer
	}
	if json.Unmarshal(b, into) != nil { // its error may quote
		return errAnswer
	}
	return nil
}

// tokenErrors are the words of RFC 6749 §5.2; what else a provider says is its
// own and not repeated.
var tokenErrors = []string{"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope"}

// refusalOf reads an error answer. The provider's no to the credentials is a
// refused login.
func refusalOf(status int, body []byte) error {
	var said struct {
		Error string `json:"error"`
	}
	_ = json.Unmarshal(body, &said)
	if (status == http.StatusBadRequest || status == http.StatusUnauthorized) && slices.Contains(tokenErrors, said.Error) {
		return fmt.Errorf("the identity provider says %s: %w", said.Error, ErrRefused)
	}
	return errStatus
}
