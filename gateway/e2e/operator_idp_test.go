package e2e

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// identityProvider gives tokens to programs that know a secret, by OpenID
// Connect, and tells Dovecot which box each opens.
type identityProvider struct {
	*httptest.Server
	secret string
	life   time.Duration

	mu     sync.Mutex
	tokens map[string]token
	given  int
}

type token struct {
	box   string
	until time.Time
}

// newIdentityProvider starts one whose clients are named as their boxes.
func newIdentityProvider(t *testing.T, secret string) *identityProvider {
	p := &identityProvider{secret: secret, life: 10 * time.Second, tokens: map[string]token{}}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, status int, v map[string]any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	mux.HandleFunc("GET /.well-known/wallet-openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"issuer": p.URL, "token_endpoint": p.URL + "/token"})
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		box, secret, ok := r.BasicAuth()
		box = strings.ReplaceAll(box, "%40", "@") // RFC 6749 §2.3.1
		if !ok || secret != p.secret || r.FormValue("grant_type") != "client_credentials" {
			answer(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
			return
		}
		answer(w, http.StatusOK, map[string]any{"access_token": p.give(box), "token_type": "Bearer", "expires_in": int(p.life.Seconds())})
	})
	mux.HandleFunc("POST /introspect", func(w http.ResponseWriter, r *http.Request) {
		name := r.FormValue("token")
		p.mu.Lock()
		defer p.mu.Unlock()
		t, ok := p.tokens[name]
		answer(w, http.StatusOK, map[string]any{"active": ok && time.Now().Before(t.until), "username": t.box})
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *identityProvider) give(box string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := rand.Text()
	p.tokens[name] = token{box, time.Now().Add(p.life)}
	p.given++
	return name
}

// revoke takes all tokens back.
func (p *identityProvider) revoke() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.tokens)
}
