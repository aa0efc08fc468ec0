package gateway

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway/oauth"
	"github.com/relais-sante/relais/mailbox"
)

// tokens ask the identity provider that the configuration names now.
type tokens struct {
	provider atomic.Pointer[oauth.Verifier] // nil: it was taken away, and nobody enters
}

// Verify implements [mailbox.TokenVerifier].
func (t *tokens) Verify(ctx context.Context, token string) (mailbox.Identity, error) {
	if p := t.provider.Load(); p != nil {
		return p.Verify(ctx, token)
	}
	return mailbox.Identity{}, mailbox.ErrLogin
}

// openTokens prepares to ask the identity provider, if there is one.
func (d *daemon) openTokens() error {
	p, err := newProvider(d.cfg)
	if p != nil {
		d.tokens = new(tokens)
		d.tokens.provider.Store(p)
	}
	return err
}

// newProvider is nil if the configuration names none.
func newProvider(cfg *configs.Config) (*oauth.Verifier, error) {
	c := &cfg.OAuth
	if c.Issuer == "" {
		return nil, nil
	}
	o := oauth.Options{
		Issuer: c.Issuer, Discovery: c.Discovery, Audiences: c.Audiences, Claims: c.Claims, ClientID: c.ClientID,
		Session: time.Duration(c.Session), Authorities: string(c.Authorities), Dev: cfg.Dev,
	}
	if c.Secret != (configs.Secret{}) {
		from := secret(c.Secret)
		o.Secret = func() (string, error) {
			b, err := from.Secret()
			return strings.TrimRight(string(b), "\r\n"), err // without the line end that editors add
		}
	}
	p, err := oauth.New(o)
	if err != nil {
		return nil, fmt.Errorf("preparing to ask the identity provider: %w", err)
	}
	return p, nil
}
