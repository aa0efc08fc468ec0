package operator

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/relais-sante/relais/gateway/oidc"
	"github.com/relais-sante/relais/store/seal"
)

// Bounds of one request. A token is rarely more than 4 KiB.
const (
	providerPatience = 20 * time.Second
	maxToken         = 32 << 10
)

// provider is an OpenID Connect provider as far as tokens are had from it: its
// token endpoint (RFC 6749 §4.4, §6).
type provider struct {
	*oidc.Provider
	client string
	secret seal.Source // nil: a public client
	scopes []string
}

func newProvider(o *AccessOptions, secret seal.Source) (*provider, error) {
	s := &o.Settings
	p, err := oidc.New(oidc.Options{
		Issuer: s.Issuer, Discovery: s.Discovery, Authorities: string(s.IssuerAuthorities), Dev: o.Dev,
		Patience: providerPatience, Transport: o.Transport,
	})
	if err != nil {
		return nil, err
	}
	return &provider{Provider: p, client: s.ClientID, secret: secret, scopes: s.Scopes}, nil
}

// answer is that of a token endpoint (RFC 6749 §5.1).
type answer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token"`
}

// exchange asks for a token. The provider's no to the credentials is
// [ErrRefused].
func (p *provider) exchange(ctx context.Context, fields map[string]string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*providerPatience)
	defer cancel()
	places, err := p.Discover(ctx)
	if err != nil {
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
		if secret, err = readSecret(p.secret); err != nil {
			return answer{}, fmt.Errorf("reading the client secret: %w", err)
		}
	}
	// RFC 6749 §2.3.1: Basic is what every provider takes, unless it says other.
	inForm := len(places.TokenAuth) > 0 && !slices.Contains(places.TokenAuth, "client_secret_basic") &&
		slices.Contains(places.TokenAuth, "client_secret_post")
	var client *url.Userinfo
	switch {
	case secret == "":
		form.Set("client_id", p.client)
	case inForm:
		form.Set("client_id", p.client)
		form.Set("client_secret", secret)
	default:
		client = url.UserPassword(p.client, secret)
	}
	var a answer
	if err := p.Post(ctx, places.Token, form, client, &a); err != nil {
		p.Forget()
		if no, ok := errors.AsType[oidc.Refusal](err); ok {
			return answer{}, fmt.Errorf("asking the token endpoint: %w: %w", no, ErrRefused)
		}
		return answer{}, fmt.Errorf("asking the token endpoint: %w", err)
	}
	if !visible(a.AccessToken) || len(a.AccessToken) > maxToken || len(a.RefreshToken) > maxToken || !strings.EqualFold(a.TokenType, "bearer") {
		return answer{}, oidc.ErrAnswer
	}
	return a, nil
}

// visible: the token goes into a line of its own, so it is what RFC 6750 §2.1
// allows, and nothing that would end the line.
func visible(token string) bool {
	return token != "" && !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' })
}
