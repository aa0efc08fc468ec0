package oauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/relais-sante/relais/gateway/oidc"
	"github.com/relais-sante/relais/mailbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// signers are made once: RSA keys take time.
var signers = sync.OnceValue(func() (s struct {
	rsa, other *rsa.PrivateKey
	ec         *ecdsa.PrivateKey
},
) {
	s.rsa, _ = rsa.GenerateKey(rand.Reader, 2048)
	s.other, _ = rsa.GenerateKey(rand.Reader, 2048)
	s.ec, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return s
})

// idp is an identity provider.
type idp struct {
	*httptest.Server
	mu      sync.Mutex
	keys    []jwk
	fetches int
	away    bool
	active  map[string]map[string]any // introspection: claims by token
	asked   []string                  // user:password of each
}

func newIDP(t testing.TB) *idp {
	p := &idp{keys: []jwk{rsaKey("one", "RS256", &signers().rsa.PublicKey), ecKey("two")}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /realm/.well-known/wallet-openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		p.answer(w, map[string]string{
			"issuer": p.URL + "/realm", "jwks_uri": p.URL + "/realm/keys", "introspection_endpoint": p.URL + "/realm/introspect",
		})
	})
	mux.HandleFunc("GET /realm/keys", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		p.fetches++
		p.mu.Unlock()
		p.answer(w, map[string]any{"keys": p.keys})
	})
	mux.HandleFunc("POST /realm/introspect", func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		p.mu.Lock()
		p.asked = append(p.asked, user+":"+password)
		p.mu.Unlock()
		said, ok := p.active[r.PostFormValue("token")]
		if !ok {
			said = map[string]any{"active": false}
		}
		p.answer(w, said)
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *idp) answer(w http.ResponseWriter, v any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	_ = json.NewEncoder(w).Encode(v)
}

var b64 = base64.RawURLEncoding.EncodeToString

func rsaKey(id, algorithm string, k *rsa.PublicKey) jwk {
	return jwk{Type: "RSA", ID: id, Use: "sig", Algorithm: algorithm, N: b64(k.N.Bytes()), E: "AQAB"}
}

func ecKey(id string) jwk {
	point, err := signers().ec.PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	return jwk{Type: "EC", ID: id, Curve: "P-256", X: b64(point[1:33]), Y: b64(point[33:])}
}

// token signs claims.
func token(t testing.TB, head map[string]any, said map[string]any) string {
	t.Helper()
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b64(b)
	}
	input := part(head) + "." + part(said)
	digest := sha256.Sum256([]byte(input))
	var signature []byte
	var err error
	switch head["alg"] {
	case "RS256":
		key := signers().rsa
		if head["kid"] == "stranger" || head["forged"] != nil {
			key = signers().other
		}
		signature, err = rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
	case "ES256":
		r, s, signErr := ecdsa.Sign(rand.Reader, signers().ec, digest[:])
		err = signErr
		signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	case "HS256": // with the public key for a secret, as in RFC 8725 §2.1
		mac := hmac.New(sha256.New, signers().rsa.N.Bytes())
		mac.Write([]byte(input))
		signature = mac.Sum(nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + b64(signature)
}

// good are claims that let in.
func (p *idp) good(change map[string]any) map[string]any {
	c := map[string]any{
		"iss": p.URL + "/realm", "aud": []string{"account", "relais"}, "azp": "client", "preferred_username": "899700218896",
		"exp": start.Add(2 * time.Minute).Unix(), "iat": start.Unix(),
	}
	maps.Copy(c, change)
	for k, v := range change {
		if v == nil {
			delete(c, k)
		}
	}
	return c
}

func (p *idp) verifier(t testing.TB, change func(*Options)) *Verifier {
	t.Helper()
	o := Options{
		Issuer: p.URL + "/realm", Discovery: ".well-known/wallet-openid-configuration", Audiences: []string{"relais"},
		Claims: []string{"SubjectNameID", "preferred_username"}, Session: 8 * time.Hour, Dev: true, Now: func() time.Time { return start },
	}
	if change != nil {
		change(&o)
	}
	v, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.provider.Close)
	return v
}

func TestSigned(t *testing.T) {
	p := newIDP(t)
	v := p.verifier(t, nil)
	one, two := map[string]any{"alg": "RS256", "kid": "one"}, map[string]any{"alg": "ES256", "kid": "two"}
	for _, c := range []struct {
		name  string
		token string
		want  string // number; empty: refused
	}{
		{"good", token(t, one, p.good(nil)), "899700218896"},
		{"good, elliptic", token(t, two, p.good(nil)), "899700218896"},
		{"number in the other claim", token(t, one, p.good(map[string]any{"preferred_username": "x", "SubjectNameID": "810003456781"})), "810003456781"},
		{"audience by azp", token(t, one, p.good(map[string]any{"aud": "account", "azp": "relais"})), "899700218896"},
		{"a little late", token(t, one, p.good(map[string]any{"exp": start.Add(-30 * time.Second).Unix()})), "899700218896"},
		{"expired", token(t, one, p.good(map[string]any{"exp": start.Add(-2 * time.Minute).Unix()})), ""},
		{"without an end", token(t, one, p.good(map[string]any{"exp": nil})), ""},
		{"not yet", token(t, one, p.good(map[string]any{"nbf": start.Add(time.Hour).Unix()})), ""},
		{"an end that is no number", token(t, one, p.good(map[string]any{"exp": "tomorrow"})), ""},
		{"for another service", token(t, one, p.good(map[string]any{"aud": "account", "azp": "elsewhere"})), ""},
		{"of another issuer", token(t, one, p.good(map[string]any{"iss": "https://elsewhere.example"})), ""},
		{"of no professional", token(t, one, p.good(map[string]any{"preferred_username": "anne.roux"})), ""},
		{"an ADELI number", token(t, one, p.good(map[string]any{"preferred_username": "0997002188"})), ""},
		{"a number of another register", token(t, one, p.good(map[string]any{"preferred_username": "399700218896"})), ""},
		{"forged", token(t, map[string]any{"alg": "RS256", "kid": "one", "forged": true}, p.good(nil)), ""},
		{"of a key that is not there", token(t, map[string]any{"alg": "RS256", "kid": "stranger"}, p.good(nil)), ""},
		{"not signed", token(t, map[string]any{"alg": "none", "kid": "one"}, p.good(nil)), ""},
		{"the public key for a secret", token(t, map[string]any{"alg": "HS256", "kid": "one"}, p.good(nil)), ""},
		{"a key for another algorithm", strings.Replace(token(t, one, p.good(nil)), b64([]byte(`{"alg":"RS256","kid":"one"}`)), b64([]byte(`{"alg":"PS256","kid":"one"}`)), 1), ""},
		{"an extension we do not know", token(t, map[string]any{"alg": "RS256", "kid": "one", "crit": []string{"exp"}}, p.good(nil)), ""},
		{"claims changed", strings.Replace(token(t, one, p.good(nil)), ".", ".e30", 1), ""},
		{"empty", "", ""},
		{"two parts", "a.b", ""},
		{"no base64", "a.b.c=", ""},
	} {
		got, err := v.Verify(t.Context(), c.token)
		if c.want == "" && !errors.Is(err, mailbox.ErrLogin) || got.RPPS != c.want {
			t.Errorf("%s: got %+v, %v", c.name, got, err)
		}
		if c.want != "" && !got.Until.Equal(start.Add(8*time.Hour)) {
			t.Errorf("%s: until %v", c.name, got.Until)
		}
	}
	if p.fetches != 1 {
		t.Errorf("keys were fetched %d times: strangers must not drive it", p.fetches)
	}
}

// Keys change: a new one is found, at most once a minute; a provider that is
// away stops nobody whose key is known.
func TestKeysChange(t *testing.T) {
	p := newIDP(t)
	now := start
	v := p.verifier(t, func(o *Options) { o.Now = func() time.Time { return now } })
	stranger := token(t, map[string]any{"alg": "RS256", "kid": "stranger"}, p.good(map[string]any{"exp": start.Add(9 * time.Hour).Unix()}))
	known := token(t, map[string]any{"alg": "RS256", "kid": "one"}, p.good(map[string]any{"exp": start.Add(9 * time.Hour).Unix()}))
	p.away = true
	if _, err := v.Verify(t.Context(), known); !errors.Is(err, mailbox.ErrProvider) {
		t.Errorf("the provider is away at first: %v", err)
	}
	p.away = false
	if _, err := v.Verify(t.Context(), known); !errors.Is(err, mailbox.ErrProvider) || p.fetches != 0 {
		t.Errorf("a moment later: %v, %d fetches", err, p.fetches)
	}
	now = now.Add(2 * time.Minute)
	if _, err := v.Verify(t.Context(), known); err != nil {
		t.Error(err)
	}
	p.keys = append(p.keys, rsaKey("stranger", "", &signers().other.PublicKey))
	if _, err := v.Verify(t.Context(), stranger); !errors.Is(err, mailbox.ErrLogin) {
		t.Errorf("a new key within the minute: %v", err)
	}
	now = now.Add(2 * time.Minute)
	if _, err := v.Verify(t.Context(), stranger); err != nil {
		t.Errorf("a new key: %v", err)
	}
	now = now.Add(2 * time.Hour)
	p.mu.Lock()
	p.away = true
	p.mu.Unlock()
	if _, err := v.Verify(t.Context(), known); err != nil {
		t.Errorf("the provider is away, the key known: %v", err)
	}
}

func TestIntrospection(t *testing.T) {
	p := newIDP(t)
	p.active = map[string]map[string]any{
		"good":    p.good(map[string]any{"active": true}),
		"revoked": p.good(map[string]any{"active": false}),
		"foreign": p.good(map[string]any{"active": true, "iss": "https://elsewhere.example"}),
		"other":   p.good(map[string]any{"active": true, "aud": "x"}),
	}
	v := p.verifier(t, func(o *Options) {
		o.ClientID, o.Secret = "relais", func() (string, error) { return "s:cret", nil }
	})
	for name, ok := range map[string]bool{"good": true, "revoked": false, "foreign": false, "other": false, "unknown": false} {
		if got, err := v.Verify(t.Context(), name); ok != (err == nil) || !ok && !errors.Is(err, mailbox.ErrLogin) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if p.asked[0] != "relais:s%3Acret" {
		t.Errorf("asked as %q", p.asked[0])
	}
	p.away = true
	if _, err := v.Verify(t.Context(), "good"); !errors.Is(err, mailbox.ErrProvider) {
		t.Errorf("the provider is away: %v", err)
	}
}

func TestAddresses(t *testing.T) {
	for issuer, ok := range map[string]bool{
		"https://idp.example/realm": true, "http://idp.example": false, "http://127.0.0.1:8080/x": true, "https://u:p@idp.example": false, "idp.example": false, "": false,
	} {
		if _, err := New(Options{Issuer: issuer, Dev: true}); ok != (err == nil) {
			t.Errorf("%s: %v", issuer, err)
		}
	}
	if _, err := New(Options{Issuer: "http://127.0.0.1:8080/x"}); err == nil {
		t.Error("in clear outside development")
	}
	p := newIDP(t)
	v := p.verifier(t, func(o *Options) { o.Issuer += "/" }) // its document says otherwise
	if _, err := v.Verify(t.Context(), token(t, map[string]any{"alg": "RS256", "kid": "one"}, p.good(nil))); !errors.Is(err, mailbox.ErrProvider) || !errors.Is(err, oidc.ErrIssuer) {
		t.Errorf("another issuer's document: %v", err)
	}
}

// FuzzVerify: whatever is shown for a token, nobody enters and nothing panics.
func FuzzVerify(f *testing.F) {
	p := newIDP(f)
	v := p.verifier(f, nil)
	good := token(f, map[string]any{"alg": "RS256", "kid": "one"}, p.good(nil))
	for _, seed := range []string{good, "a.b.c", "..", "e30.e30.e30", token(f, map[string]any{"alg": "ES256", "kid": "two"}, map[string]any{"aud": 7})} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, shown string) {
		if got, err := v.Verify(t.Context(), shown); err == nil && shown != good {
			t.Errorf("%q lets in %+v", shown, got)
		}
	})
}

// FuzzKeys: whatever the provider calls a key.
func FuzzKeys(f *testing.F) {
	for _, k := range []jwk{rsaKey("a", "RS256", &signers().rsa.PublicKey), ecKey("b"), {Type: "EC", Curve: "P-256", X: "AA", Y: "AA"}} {
		b, _ := json.Marshal(k)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var k jwk
		if json.Unmarshal(text, &k) != nil {
			return
		}
		if p, ok := k.public(); ok != (p.key != nil) {
			t.Errorf("%+v", k)
		}
	})
}
