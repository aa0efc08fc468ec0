package oidc

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is a provider whose document tests write; it notes what it was asked.
func peer(t *testing.T, document string) (p *Provider, asked *[]string) {
	t.Helper()
	asked = new([]string)
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, secret, _ := r.BasicAuth()
		*asked = append(*asked, r.Method+" "+r.URL.Path+" "+r.PostFormValue("token")+" "+user+" "+secret)
		switch r.URL.Path {
		case "/realm/document":
			_, _ = w.Write([]byte(`{"issuer":"` + s.URL + document))
		case "/realm/moved":
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		default:
			_, _ = w.Write([]byte(`{"active":true}`))
		}
	}))
	t.Cleanup(s.Close)
	p, err := New(Options{Issuer: s.URL + "/realm", Discovery: "/document", Dev: true, Patience: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p, asked
}

func TestDiscoveredOnce(t *testing.T) {
	p, asked := peer(t, `/realm","jwks_uri":"https://idp.example/keys"}`)
	for range 3 {
		if got, err := p.Discover(t.Context()); err != nil || got.Keys != "https://idp.example/keys" {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if len(*asked) != 1 {
		t.Errorf("asked %q", *asked)
	}
	p.Forget()
	if _, err := p.Discover(t.Context()); err != nil || len(*asked) != 2 {
		t.Errorf("forgotten: %v, asked %q", err, *asked)
	}
}

func TestAnotherIssuer(t *testing.T) {
	for _, document := range []string{`/realm/"}`, `/other"}`, `"}`} {
		p, _ := peer(t, document)
		if _, err := p.Discover(t.Context()); !errors.Is(err, ErrIssuer) {
			t.Errorf("%s: %v", document, err)
		}
	}
}

// Credentials go where they may, and nowhere else.
func TestPost(t *testing.T) {
	p, asked := peer(t, "")
	base := p.o.Issuer
	post := func(address string) error {
		var into struct{ Active bool }
		err := p.Post(t.Context(), address, url.Values{"token": {"t1"}}, url.UserPassword("relais", "s&1"), &into)
		if err == nil && !into.Active {
			t.Errorf("%s: not read", address)
		}
		return err
	}
	if err := post(base + "/ask"); err != nil {
		t.Error(err)
	}
	if err := post(base + "/moved"); !errors.Is(err, ErrStatus) {
		t.Errorf("a redirection: %v", err)
	}
	for _, address := range []string{"", "http://idp.example/ask", "ftp://127.0.0.1/ask", "http://a:b@127.0.0.1/ask", "http://192.0.2.1/ask"} {
		if err := post(address); !errors.Is(err, ErrAddress) {
			t.Errorf("%q: %v", address, err)
		}
	}
	if want := []string{"POST /realm/ask t1 relais s%261", "POST /realm/moved t1 relais s%261"}; !slices.Equal(*asked, want) {
		t.Errorf("asked %q, want %q", *asked, want)
	}
}

// FuzzRefusal: an error answer is a word of the standard's, or quotes nothing.
func FuzzRefusal(f *testing.F) {
	f.Add(400, []byte(`{"error":"invalid_grant"}`))
	f.Add(401, []byte(`{"error":"Mme Petit"}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		err := refusalOf(status, body)
		if no, ok := errors.AsType[Refusal](err); err != ErrStatus && (!ok || !slices.Contains(refusals, string(no))) {
			t.Errorf("status %d: %v", status, err)
		}
	})
}
