// Package oauth asks an identity provider whose token it is: Pro Santé Connect,
// or another OpenID Connect provider that vouches for a professional's national
// number (RPPS).
//
// A token is judged by the provider's keys (RFC 7519, RFC 9068), or by asking
// the provider about it (RFC 7662) where a client secret is given.
//
// Rules that hold here:
//
//   - A token must be for somebody we know to ask for tokens: one that another
//     service was given must not open mail boxes (RFC 9700 §2.3).
//   - The number comes from a claim the provider signs, in the national form:
//     8 and the eleven digits of the RPPS. Other forms are other registers.
//   - A token is kept nowhere and written nowhere, not even in part.
//   - Only signature algorithms of public keys count; "none" and shared secrets
//     are no signature (RFC 8725 §2.1, §3.1).
//   - Whatever the provider says is bounded, and every request has a deadline.
//     Keys are kept for a while: a provider that is away stops nobody at once.
package oauth

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/relais-sante/relais/gateway/oidc"
	"github.com/relais-sante/relais/mailbox"
)

// Options are the settings [oauth].
type Options struct {
	Issuer    string
	Discovery string // path of the discovery document below Issuer
	// Audiences are the clients whose tokens count: one of them must be in the
	// token's aud, azp or client_id.
	Audiences []string
	// Claims may hold the national number, the first that does counts.
	Claims []string
	// ClientID and Secret ask the provider about each token; Secret gives
	// nothing where keys are enough.
	ClientID string
	Secret   func() (string, error)
	// Session is how long a login is good for.
	Session time.Duration
	// Authorities is a PEM bundle for the provider's certificate; empty: the
	// system's.
	Authorities string
	Dev         bool // a provider on this machine may do without TLS
	Now         func() time.Time
}

// Bounds.
const (
	patience   = 10 * time.Second // one request
	keysFor    = time.Hour        // then they are fetched anew
	keysAtMost = time.Minute      // between two fetches, whatever tokens ask for
	skew       = time.Minute      // between clocks
	maxKeys    = 64
)

// Verifier judges tokens. Safe for concurrent use.
type Verifier struct {
	o        Options
	provider *oidc.Provider

	mu      sync.Mutex // held while keys are fetched: one fetch serves all
	keys    map[string]publicKey
	fetched time.Time // when keys were
	tried   time.Time
}

var _ mailbox.TokenVerifier = (*Verifier)(nil)

// New makes a verifier. It asks nothing yet.
func New(o Options) (*Verifier, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	p, err := oidc.New(oidc.Options{
		Issuer: o.Issuer, Discovery: o.Discovery, Authorities: o.Authorities, Dev: o.Dev, Patience: patience,
	})
	if err != nil {
		return nil, err
	}
	return &Verifier{o: o, provider: p}, nil
}

// Verify implements mailbox.TokenVerifier.
func (v *Verifier) Verify(ctx context.Context, token string) (mailbox.Identity, error) {
	var c claims
	var err error
	if v.o.Secret != nil {
		c, err = v.introspect(ctx, token)
	} else {
		c, err = v.signed(ctx, token)
	}
	if err != nil {
		return mailbox.Identity{}, err
	}
	now := v.o.Now()
	switch {
	case !c.before(now.Add(skew), "nbf"), !c.before(now.Add(skew), "iat"), !c.after(now.Add(-skew), "exp"):
		return mailbox.Identity{}, mailbox.ErrLogin
	case !v.forUs(c):
		return mailbox.Identity{}, mailbox.ErrLogin
	}
	rpps := v.number(c)
	if rpps == "" {
		return mailbox.Identity{}, mailbox.ErrLogin
	}
	return mailbox.Identity{RPPS: rpps, Until: now.Add(v.o.Session)}, nil
}

// claims are what a provider says of a token.
type claims map[string]json.RawMessage

func (c claims) text(name string) string {
	var s string
	if json.Unmarshal(c[name], &s) != nil {
		return ""
	}
	return s
}

// texts reads a claim that is a string or a list of them (RFC 7519 §4.1.3).
func (c claims) texts(name string) []string {
	if s := c.text(name); s != "" {
		return []string{s}
	}
	var list []string
	if json.Unmarshal(c[name], &list) != nil {
		return nil
	}
	return list
}

// date reads a NumericDate (RFC 7519 §2).
func (c claims) date(name string) (time.Time, bool) {
	var seconds float64
	if c[name] == nil || json.Unmarshal(c[name], &seconds) != nil || seconds < 0 || seconds > 1<<40 {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0), true
}

// before reports whether a date is missing or not after t.
func (c claims) before(t time.Time, name string) bool {
	if c[name] == nil {
		return true
	}
	at, ok := c.date(name)
	return ok && !at.After(t)
}

// after reports whether a date is there and after t.
func (c claims) after(t time.Time, name string) bool {
	at, ok := c.date(name)
	return ok && at.After(t)
}

// forUs reports whether the token was made for one of the audiences.
func (v *Verifier) forUs(c claims) bool {
	for _, name := range []string{"aud", "azp", "client_id"} {
		for _, s := range c.texts(name) {
			if slices.Contains(v.o.Audiences, s) {
				return true
			}
		}
	}
	return false
}

// number finds the national number of a professional: IdNat_PS of type 8.
func (v *Verifier) number(c claims) string {
	for _, name := range v.o.Claims {
		s := c.text(name)
		if len(s) == 12 && s[0] == '8' && strings.Trim(s, "0123456789") == "" {
			return s
		}
	}
	return ""
}
