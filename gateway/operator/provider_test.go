package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway/oidc"
)

// idp is an identity provider of the tests.
type idp struct {
	*httptest.Server
	mu     sync.Mutex
	asked  []url.Values // token requests
	basic  []string     // user:password of each
	found  int          // readings of the discovery document
	life   int64
	rotate bool
	// discovery and token replace an answer.
	discovery, token func(w http.ResponseWriter)
}

func newIDP(t *testing.T) *idp {
	p := &idp{life: 300}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /realm/.well-known/wallet-openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.found++
		if p.discovery != nil {
			p.discovery(w)
			return
		}
		reply(w, map[string]any{"issuer": p.URL + "/realm", "token_endpoint": p.URL + "/realm/token"})
	})
	mux.HandleFunc("POST /realm/token", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		user, password, _ := r.BasicAuth()
		p.asked, p.basic = append(p.asked, r.PostForm), append(p.basic, user+":"+password)
		if p.token != nil {
			p.token(w)
			return
		}
		a := map[string]any{"access_token": fmt.Sprintf("access-%d", len(p.asked)), "token_type": "Bearer", "expires_in": p.life}
		if p.rotate {
			a["refresh_token"] = fmt.Sprintf("refresh-%d", len(p.asked))
		}
		reply(w, a)
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (p *idp) requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.asked)
}

// settings are those of a box opened with a token of p.
func (p *idp) settings(t *testing.T) configs.Operator {
	return configs.Operator{
		Name: "essai", Address: "coordination@gradeclic.example", Username: "coordination@gradeclic.example", Auth: configs.AuthXOAUTH2,
		Issuer: p.URL + "/realm", Discovery: ".well-known/wallet-openid-configuration", ClientID: "relais",
		Grant: configs.GrantClientCredentials, Secret: secretFile(t, "s3cret&\n"), Scopes: []string{"openid", "scope_all"},
	}
}

func secretFile(t testing.TB, text string) configs.Secret {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return configs.Secret{In: configs.InFile, Name: path}
}

// clock is a clock that a test moves.
type clock struct{ at time.Time }

func newClock() *clock                   { return &clock{time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)} }
func (c *clock) now() time.Time          { return c.at }
func (c *clock) forward(d time.Duration) { c.at = c.at.Add(d) }

// memory is a vault of the tests.
type memory struct{ b []byte }

func (m *memory) Load(context.Context) ([]byte, error)   { return m.b, nil }
func (m *memory) Save(_ context.Context, b []byte) error { m.b = b; return nil }

func newAccess(t *testing.T, s configs.Operator, c *clock, v Vault) *Access {
	t.Helper()
	a, err := NewAccess(AccessOptions{Settings: s, Dev: true, Vault: v, Now: c.now, Jitter: func() float64 { return 0 }})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// said is what a client says first.
func said(t *testing.T, c sasl.Client) string {
	t.Helper()
	mechanism, first, err := c.Start()
	if err != nil {
		t.Fatal(err)
	}
	return mechanism + " " + strings.ReplaceAll(string(first), "\x01", "|")
}

func TestTokenIsHadOnceAndRenewedAhead(t *testing.T) {
	p, c := newIDP(t), newClock()
	a := newAccess(t, p.settings(t), c, nil)
	login := func(want string) {
		t.Helper()
		if err := a.Login(t.Context(), []string{"PLAIN", "XOAUTH2"}, func(s sasl.Client) error {
			if got := said(t, s); got != "XOAUTH2 user=coordination@gradeclic.example|auth=Bearer "+want+"||" {
				t.Errorf("said %q, want token %s", got, want)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	login("access-1")
	c.forward(3 * time.Minute)
	login("access-1")
	c.forward(61 * time.Second) // one minute before its end
	login("access-2")
	if p.found != 1 {
		t.Errorf("discovered %d times", p.found)
	}
	if f := p.asked[0]; f.Get("grant_type") != "client_credentials" || f.Get("scope") != "openid scope_all" || f.Has("client_secret") || p.basic[0] != "relais:s3cret%26" {
		t.Errorf("asked with %v, %s", f, p.basic[0])
	}
}

func TestRefreshTokenIsKeptSealedNotAsked(t *testing.T) {
	p, c, v := newIDP(t), newClock(), &memory{}
	p.rotate = true
	s := p.settings(t)
	s.Grant, s.RefreshToken, s.Secret = configs.GrantRefreshToken, secretFile(t, "first\n"), configs.Secret{}
	token := func(a *Access, fresh bool) {
		t.Helper()
		if _, err := a.tokens.token(t.Context(), fresh); err != nil {
			t.Fatal(err)
		}
	}
	a := newAccess(t, s, c, v)
	token(a, false)
	token(a, true)
	token(newAccess(t, s, c, v), false) // after a restart
	s.RefreshToken = secretFile(t, "another")
	token(newAccess(t, s, c, v), false) // an administrator gave a new one
	var got []string
	for _, f := range p.asked {
		got = append(got, f.Get("grant_type")+" "+f.Get("refresh_token")+" "+f.Get("client_id"))
	}
	want := "refresh_token first relais,refresh_token refresh-1 relais,refresh_token refresh-2 relais,refresh_token another relais"
	if strings.Join(got, ",") != want {
		t.Errorf("asked with\n%s, want\n%s", strings.Join(got, ","), want)
	}
}

func TestRefusedOnceMoreThenNotForAWhile(t *testing.T) {
	p, c := newIDP(t), newClock()
	a := newAccess(t, p.settings(t), c, nil)
	var used []string
	no := func(s sasl.Client) error {
		used = append(used, said(t, s)[len("XOAUTH2 user=coordination@gradeclic.example|auth=Bearer "):])
		return fmt.Errorf("logging in: %w", ErrRefused)
	}
	login := func(want error) {
		t.Helper()
		if err := a.Login(t.Context(), []string{"xoauth2"}, no); !errors.Is(err, want) {
			t.Fatalf("got %v, want %v", err, want)
		}
	}
	login(ErrRefused)
	if got := strings.Join(used, ","); got != "access-1||,access-2||" {
		t.Fatalf("tried with %s", got)
	}
	login(ErrWaiting)
	c.forward(firstWait)
	login(ErrRefused)
	c.forward(firstWait)
	login(ErrWaiting) // twice as long now
	c.forward(firstWait)
	if err := a.Login(t.Context(), []string{"XOAUTH2"}, func(sasl.Client) error { return nil }); err != nil {
		t.Fatal(err)
	}
	login(ErrRefused)
	if len(used) != 6 || p.requests() != 4 { // a token that worked is used first
		t.Errorf("%d logins, %d tokens", len(used), p.requests())
	}
}

// What the provider refuses, no second request changes.
func TestProviderSaysNo(t *testing.T) {
	p, c := newIDP(t), newClock()
	p.token = func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusUnauthorized)
		reply(w, map[string]string{"error": "invalid_client", "error_description": "relais de Mme Petit"})
	}
	a := newAccess(t, p.settings(t), c, nil)
	err := a.Login(t.Context(), []string{"XOAUTH2"}, func(sasl.Client) error { t.Error("tried without a token"); return nil })
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "invalid_client") || strings.Contains(err.Error(), "Petit") {
		t.Errorf("got %v", err)
	}
	if err := a.Login(t.Context(), []string{"XOAUTH2"}, nil); !errors.Is(err, ErrWaiting) || p.requests() != 1 {
		t.Errorf("got %v after %d requests", err, p.requests())
	}
}

func TestProviderThatIsNotBelieved(t *testing.T) {
	text := func(status int, media, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", media)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	jsonText := func(body string) func(http.ResponseWriter) { return text(http.StatusOK, "application/json", body) }
	for name, c := range map[string]struct {
		discovery, token func(http.ResponseWriter)
		want             error
	}{
		"another issuer":        {jsonText(`{"issuer":"https://other.example","token_endpoint":"https://other.example/t"}`), nil, oidc.ErrIssuer},
		"tokens in clear":       {jsonText(`{"issuer":"ISSUER","token_endpoint":"http://other.example/t"}`), nil, oidc.ErrAddress},
		"no endpoint":           {jsonText(`{"issuer":"ISSUER"}`), nil, oidc.ErrAddress},
		"a page":                {text(http.StatusOK, "text/html", "<html>"), nil, oidc.ErrAnswer},
		"not JSON":              {jsonText("{"), nil, oidc.ErrAnswer},
		"without end":           {jsonText(strings.Repeat(" ", oidc.MaxAnswer+1)), nil, oidc.ErrAnswerSize},
		"elsewhere":             {text(http.StatusFound, "application/json", "{}"), nil, oidc.ErrStatus},
		"away":                  {nil, text(http.StatusServiceUnavailable, "text/plain", "later"), oidc.ErrStatus},
		"unknown error":         {nil, text(http.StatusBadRequest, "application/json", `{"error":"Mme Petit"}`), oidc.ErrStatus},
		"a line break":          {nil, jsonText(`{"access_token":"a\r\nb","token_type":"Bearer"}`), oidc.ErrAnswer},
		"no token":              {nil, jsonText(`{"token_type":"Bearer"}`), oidc.ErrAnswer},
		"another kind of token": {nil, jsonText(`{"access_token":"a","token_type":"mac"}`), oidc.ErrAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			p := newIDP(t)
			if d := c.discovery; d != nil {
				p.discovery = func(w http.ResponseWriter) { d(issued{w, p.URL + "/realm"}) }
			}
			p.token = c.token
			a := newAccess(t, p.settings(t), newClock(), nil)
			if _, err := a.tokens.token(t.Context(), false); !errors.Is(err, c.want) || errors.Is(err, ErrRefused) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// issued writes the issuer's address into an answer.
type issued struct {
	http.ResponseWriter
	issuer string
}

func (w issued) Write(b []byte) (int, error) {
	return w.ResponseWriter.Write([]byte(strings.ReplaceAll(string(b), "ISSUER", w.issuer)))
}

// A provider that answers nothing holds nobody for ever.
func TestProviderThatHangs(t *testing.T) {
	p := newIDP(t)
	release := make(chan struct{})
	p.token = func(http.ResponseWriter) { <-release }
	defer close(release)
	a := newAccess(t, p.settings(t), newClock(), nil)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := a.tokens.token(ctx, false); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestProviderInClear(t *testing.T) {
	for issuer, dev := range map[string]bool{"http://127.0.0.1/x": false, "http://idp.example": true, "ftp://idp.example": true, "https://a:b@idp.example": true} {
		s := configs.Operator{Name: "e", Auth: configs.AuthOAuthBearer, Issuer: issuer, Discovery: "d"}
		if _, err := NewAccess(AccessOptions{Settings: s, Dev: dev}); !errors.Is(err, oidc.ErrAddress) {
			t.Errorf("%s: %v", issuer, err)
		}
	}
}

func TestMechanisms(t *testing.T) {
	p := newIDP(t)
	all := []string{"LOGIN", "PLAIN", "OAUTHBEARER", "XOAUTH2", "EXTERNAL"}
	for _, c := range []struct {
		auth, username string
		offered        []string
		want           string // empty: ErrMechanism
	}{
		{configs.AuthCertificate, "", all, "EXTERNAL "},
		{configs.AuthCertificate, "boite", all, "EXTERNAL boite"},
		{configs.AuthCertificate, "", []string{"PLAIN"}, ""},
		{configs.AuthPassword, "boite", all, "PLAIN \x00boite\x00s3cret&"},
		{configs.AuthPassword, "boite", []string{"LOGIN"}, "LOGIN boite"},
		{configs.AuthPassword, "boite", []string{"CRAM-MD5", "XOAUTH2"}, ""},
		{configs.AuthXOAUTH2, "boite", all, "XOAUTH2 user=boite|auth=Bearer access-1||"},
		{configs.AuthXOAUTH2, "boite", []string{"OAUTHBEARER"}, "OAUTHBEARER n,a=boite,|auth=Bearer access-2||"},
		{configs.AuthOAuthBearer, "boite", []string{"XOAUTH2"}, ""},
	} {
		s := p.settings(t)
		s.Auth, s.Username = c.auth, c.username
		got := ""
		err := newAccess(t, s, newClock(), nil).Login(t.Context(), c.offered, func(client sasl.Client) error { got = said(t, client); return nil })
		if got != c.want || (c.want == "") != errors.Is(err, ErrMechanism) {
			t.Errorf("%s of %v: said %q, want %q (%v)", c.auth, c.offered, got, c.want, err)
		}
	}
}
