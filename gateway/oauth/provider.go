package oauth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/url"
	"strings"

	"github.com/relais-sante/relais/gateway/oidc"
	"github.com/relais-sante/relais/mailbox"
)

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
		v.provider.Forget()
		if known { // a provider that is away for a while has not changed its keys
			return k, nil
		}
		return publicKey{}, fmt.Errorf("%w: %w", mailbox.ErrProvider, err)
	}
	v.fetched = now
	return v.keys[id], nil
}

// fetch reads the provider's keys (RFC 7517). The caller holds mu.
func (v *Verifier) fetch(ctx context.Context) error {
	places, err := v.provider.Discover(ctx)
	if err != nil {
		return err
	}
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if err := v.provider.Get(ctx, places.Keys, &set); err != nil {
		return fmt.Errorf("reading the provider's keys: %w", err)
	}
	keys := map[string]publicKey{}
	for i := range set.Keys[:min(len(set.Keys), maxKeys)] {
		if k, ok := set.Keys[i].public(); ok {
			keys[set.Keys[i].ID] = k
		}
	}
	if len(keys) == 0 {
		return oidc.ErrAnswer
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
	places, err := v.provider.Discover(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", mailbox.ErrProvider, err)
	}
	var c claims
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	if err := v.provider.Post(ctx, places.Introspection, form, url.UserPassword(v.o.ClientID, secret), &c); err != nil {
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
