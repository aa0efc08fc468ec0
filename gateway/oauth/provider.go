package oauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/relais-sante/relais/mailbox"
)

// places are the provider's addresses, once discovered.
type places struct {
	Issuer        string `json:"issuer"`
	Keys          string `json:"jwks_uri"`
	Introspection string `json:"introspection_endpoint"`
}

// transportOf speaks TLS to a provider under the given authorities.
func transportOf(authorities string) (*http.Transport, error) {
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConns: 4, IdleConnTimeout: time.Minute,
		TLSHandshakeTimeout: patience, MaxResponseHeaderBytes: 64 << 10, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if authorities == "" {
		return t, nil
	}
	text, err := os.ReadFile(authorities)
	if err != nil {
		return nil, fmt.Errorf("reading the authorities of the identity provider: %w", err)
	}
	t.TLSClientConfig.RootCAs = x509.NewCertPool()
	if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(text) {
		return nil, errBundle
	}
	return t, nil
}

// allowed: on a development hub, a provider on this machine may do without TLS.
func (v *Verifier) allowed(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil {
		return false
	}
	if u.Scheme == "http" && v.o.Dev {
		ip, err := netip.ParseAddr(u.Hostname())
		return u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
	}
	return u.Scheme == "https"
}

// discover reads the discovery document, once. The caller holds mu.
func (v *Verifier) discover(ctx context.Context) error {
	if v.places.Issuer != "" {
		return nil
	}
	var p places
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.discovery(), nil)
	if err != nil {
		return errAddress
	}
	if err := v.do(req, &p); err != nil {
		return fmt.Errorf("reading the discovery document: %w", err)
	}
	// OpenID Connect Discovery §4.3: the very same, or it speaks for another.
	if p.Issuer != v.o.Issuer {
		return errIssuer
	}
	v.places = p
	return nil
}

// publicKey is a key of the provider.
type publicKey struct {
	algorithm string // it is for; empty: not said
	key       any    // *rsa.PublicKey or *ecdsa.PublicKey
}

// key finds a key by its id. An unknown one has the keys fetched anew, not too
// often: ids come from strangers.
func (v *Verifier) key(ctx context.Context, id string) (publicKey, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.o.Now()
	k, known := v.keys[id]
	if known && now.Sub(v.fetched) < keysFor || now.Sub(v.tried) < keysAtMost && v.keys != nil {
		return k, nil
	}
	if now.Sub(v.tried) < keysAtMost && !v.tried.IsZero() {
		return publicKey{}, mailbox.ErrProvider
	}
	v.tried = now
	if err := v.fetch(ctx); err != nil {
		v.places = places{} // they may have moved
		if known {          // a provider that is away for a while has not changed its keys
			return k, nil
		}
		return publicKey{}, fmt.Errorf("%w: %w", mailbox.ErrProvider, err)
	}
	v.fetched = now
	return v.keys[id], nil
}

// fetch reads the provider's keys (RFC 7517). The caller holds mu.
func (v *Verifier) fetch(ctx context.Context) error {
	if err := v.discover(ctx); err != nil {
		return err
	}
	if !v.allowed(v.places.Keys) {
		return errAddress
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.places.Keys, nil)
	if err != nil {
		return errAddress
	}
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if err := v.do(req, &set); err != nil {
		return fmt.Errorf("reading the provider's keys: %w", err)
	}
	keys := map[string]publicKey{}
	for i := range set.Keys[:min(len(set.Keys), maxKeys)] {
		if k, ok := set.Keys[i].public(); ok {
			keys[set.Keys[i].ID] = k
		}
	}
	if len(keys) == 0 {
		return errAnswer
	}
	v.keys = keys
	return nil
}

// jwk is a key as RFC 7517 and RFC 7518 §6 write it.
type jwk struct {
	Type      string `json:"kty"`
	ID        string `json:"kid"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
	N         string `json:"n"`
	E         string `json:"e"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	Y         string `json:"y"`
}

// public reads a key for signatures, if it is one that is strong enough.
func (j *jwk) public() (publicKey, bool) {
	k := publicKey{algorithm: j.Algorithm}
	if j.Use != "" && j.Use != "sig" {
		return k, false
	}
	number := func(s string) *big.Int {
		b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
		if err != nil {
			return new(big.Int)
		}
		return new(big.Int).SetBytes(b)
	}
	switch j.Type {
	case "RSA":
		n, e := number(j.N), number(j.E)
		if n.BitLen() < 2048 || n.BitLen() > 8192 || !e.IsInt64() || e.Int64() < 3 || e.Int64() > 1<<31-1 || e.Bit(0) == 0 {
			return k, false
		}
		k.key = &rsa.PublicKey{N: n, E: int(e.Int64())}
	case "EC":
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384()}[j.Curve]
		if curve == nil {
			return k, false
		}
		size := curve.Params().BitSize / 8
		point := make([]byte, 1+2*size)
		x, y := number(j.X), number(j.Y)
		if x.BitLen() > 8*size || y.BitLen() > 8*size {
			return k, false
		}
		point[0] = 4 // uncompressed (SEC 1 §2.3.3)
		x.FillBytes(point[1 : 1+size])
		y.FillBytes(point[1+size:])
		key, err := ecdsa.ParseUncompressedPublicKey(curve, point) // on the curve
		if err != nil {
			return k, false
		}
		k.key = key
	default:
		return k, false
	}
	return k, true
}

// introspect asks the provider about a token (RFC 7662).
func (v *Verifier) introspect(ctx context.Context, token string) (claims, error) {
	secret, err := v.o.Secret()
	if err != nil {
		return nil, fmt.Errorf("reading the client secret: %w", err)
	}
	v.mu.Lock()
	err = v.discover(ctx)
	place := v.places.Introspection
	v.mu.Unlock()
	if err == nil && !v.allowed(place) {
		err = errAddress
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", mailbox.ErrProvider, err)
	}
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, place, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, errAddress
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(url.QueryEscape(v.o.ClientID), url.QueryEscape(secret)) // RFC 6749 §2.3.1 encodes both
	var c claims
	if err := v.do(req, &c); err != nil {
		return nil, fmt.Errorf("%w: %w", mailbox.ErrProvider, err)
	}
	active := false
	if json.Unmarshal(c["active"], &active) != nil || !active {
		return nil, mailbox.ErrLogin
	}
	if iss := c.text("iss"); iss != "" && iss != v.o.Issuer {
		return nil, mailbox.ErrLogin
	}
	return c, nil
}

// do sends a request and reads a bounded answer in JSON. Errors quote neither
// addresses nor answers: a token may be in them.
func (v *Verifier) do(req *http.Request, into any) error {
	req.Header.Set("Accept", "application/json")
	res, err := v.http.Do(req)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err
		}
		return fmt.Errorf("reaching the identity provider: %w", err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("reading the identity provider's answer: %w", err)
	case res.StatusCode != http.StatusOK:
		return errStatus
	case len(b) > maxAnswer, json.Unmarshal(b, into) != nil:
		return errAnswer
	}
	return nil
}
