package operator

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/store/seal"
)

// Vault keeps a small secret, sealed, over restarts.
type Vault interface {
	// Load gives what was saved; nothing, without an error, if nothing was.
	Load(ctx context.Context) ([]byte, error)
	Save(ctx context.Context, secret []byte) error
}

// tokens is the source of access tokens of one box.
type tokens struct {
	provider *provider
	grant    string
	first    seal.Source // of refresh_token
	vault    Vault       // nil: none
	now      func() time.Time

	mu      sync.Mutex // held while a token is asked for: one request serves all
	access  string
	renew   time.Time // from when another is asked for
	refresh string    // the one to use next
}

// What is assumed of a token that does not say how long it is good for
// (RFC 6749 §5.1), and how long before its end another is had.
const (
	usualLife = 5 * time.Minute
	ahead     = time.Minute
)

func newTokens(o *AccessOptions, secret seal.Source) (*tokens, error) {
	p, err := newProvider(o, secret)
	if err != nil {
		return nil, err
	}
	t := &tokens{provider: p, grant: o.Settings.Grant, vault: o.Vault, now: o.Now}
	if t.grant == configs.GrantRefreshToken {
		t.first = source(o.Settings.RefreshToken)
	}
	return t, nil
}

// token gives an access token; fresh: another than the last.
func (t *tokens) token(ctx context.Context, fresh bool) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !fresh && t.access != "" && t.now().Before(t.renew) {
		return t.access, nil
	}
	form := map[string]string{"grant_type": t.grant}
	if t.grant == configs.GrantRefreshToken {
		refresh, err := t.refreshToken(ctx)
		if err != nil {
			return "", err
		}
		form["refresh_token"] = refresh
	}
	t.access = ""
	asked := t.now()
	answer, err := t.provider.exchange(ctx, form)
	if err != nil {
		return "", err
	}
	life := usualLife
	if answer.ExpiresIn > 0 {
		life = time.Duration(min(answer.ExpiresIn, 1<<31)) * time.Second
	}
	t.access, t.renew = answer.AccessToken, asked.Add(life-min(ahead, life/5))
	if r := answer.RefreshToken; r != "" && t.grant == configs.GrantRefreshToken && r != t.refresh {
		t.refresh = r
		if err := t.keep(ctx); err != nil {
			return "", err
		}
	}
	return t.access, nil
}

// kept is a refresh token in the vault. First tells which one of the settings it
// descends from: one that an administrator has put there since goes first.
type kept struct {
	First   []byte `json:"first"`
	Refresh string `json:"refresh"`
}

// refreshToken gives the one to use, which the provider may have given anew.
func (t *tokens) refreshToken(ctx context.Context) (string, error) {
	if t.refresh != "" {
		return t.refresh, nil
	}
	first, err := readSecret(t.first)
	if err != nil {
		return "", fmt.Errorf("reading the first refresh token: %w", err)
	}
	t.refresh = first
	if t.vault == nil {
		return first, nil
	}
	b, err := t.vault.Load(ctx)
	if err != nil {
		return "", fmt.Errorf("loading a refresh token: %w", err)
	}
	var k kept
	if len(b) > 0 && json.Unmarshal(b, &k) == nil && k.Refresh != "" && subtle.ConstantTimeCompare(k.First, digest(first)) == 1 {
		t.refresh = k.Refresh
	}
	return t.refresh, nil
}

func (t *tokens) keep(ctx context.Context) error {
	if t.vault == nil {
		return nil
	}
	first, err := readSecret(t.first)
	if err != nil {
		return fmt.Errorf("reading the first refresh token: %w", err)
	}
	b, err := json.Marshal(kept{First: digest(first), Refresh: t.refresh})
	if err != nil {
		return fmt.Errorf("writing a refresh token: %w", err)
	}
	if err := t.vault.Save(ctx, b); err != nil {
		return fmt.Errorf("keeping a refresh token: %w", err)
	}
	return nil
}

func digest(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}
