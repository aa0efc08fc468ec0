package autoconfig

import (
	"bytes"
	"context"
	"encoding/xml"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/store/journal"
)

var testSettings = Settings{
	Domain:     "parcours.example",
	IMAP:       []Server{{Host: "imap.parcours.example", Port: 993}, {Host: "imap.parcours.example", Port: 143, STARTTLS: true}},
	Submission: []Server{{Host: "smtp.parcours.example", Port: 465}},
	Password:   true,
}

func newTest(t *testing.T, s Settings, log *slog.Logger, now func() time.Time) *Handler {
	t.Helper()
	h, err := NewHandler(s, log, now)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func get(h http.Handler, method, target string) *http.Response {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w.Result()
}

// elements reads a document strictly into one line for each leaf.
func elements(t *testing.T, raw []byte) (lines []string) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(raw))
	var path []string
	text := ""
	for {
		token, err := d.Token()
		if err == io.EOF {
			return lines
		}
		if err != nil {
			t.Fatalf("not well formed: %v", err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			name := token.Name.Local
			for _, a := range token.Attr {
				name += "[" + a.Name.Local + "=" + a.Value + "]"
			}
			path, text = append(path, name), ""
		case xml.CharData:
			text += string(token)
		case xml.EndElement:
			if s := strings.TrimSpace(text); s != "" {
				lines = append(lines, strings.Join(path[1:], " ")+" "+s)
			}
			path, text = path[:len(path)-1], ""
		}
	}
}

func TestDocument(t *testing.T) {
	h := newTest(t, testSettings, journal.Discard(), nil)
	provider := "emailProvider[id=parcours.example] "
	imap, smtp := provider+"incomingServer[type=imap] ", provider+"outgoingServer[type=smtp] "
	want := []string{
		provider + "domain parcours.example", provider + "displayName Relais (parcours.example)", provider + "displayShortName Relais",
		imap + "hostname imap.parcours.example", imap + "port 993", imap + "socketType SSL", imap + "username %EMAILADDRESS%",
		imap + "authentication password-cleartext", imap + "authentication TLS-client-cert",
		imap + "hostname imap.parcours.example", imap + "port 143", imap + "socketType STARTTLS", imap + "username %EMAILADDRESS%",
		imap + "authentication password-cleartext", imap + "authentication TLS-client-cert",
		smtp + "hostname smtp.parcours.example", smtp + "port 465", smtp + "socketType SSL", smtp + "username %EMAILADDRESS%",
		smtp + "authentication password-cleartext", smtp + "authentication TLS-client-cert",
	}
	var first []byte
	for _, target := range []string{
		Path, WellKnownPath, Path + "?emailaddress=roux%40chu.example", WellKnownPath + "?emailaddress=personne@nulle.part",
		Path + "?emailaddress=%3Cdomain%3E%zz",
	} {
		r := get(h, "GET", target)
		raw, err := io.ReadAll(r.Body)
		if err != nil || r.StatusCode != 200 || r.Header.Get("Content-Type") != "text/xml; charset=utf-8" {
			t.Fatalf("%s: %d %v %v", target, r.StatusCode, r.Header, err)
		}
		if first == nil {
			first = raw
			if got := elements(t, raw); !reflect.DeepEqual(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if !bytes.HasPrefix(raw, []byte(`<?xml version="1.0" encoding="UTF-8"?>`+"\n"+`<clientConfig version="1.1">`)) {
				t.Errorf("%.80s", raw)
			}
		} else if !bytes.Equal(raw, first) {
			t.Errorf("%s is answered otherwise", target)
		}
	}
}

func TestWaysToLogIn(t *testing.T) {
	for want, s := range map[string]Settings{
		"TLS-client-cert":                           {},
		"password-cleartext TLS-client-cert":        {Password: true},
		"OAuth2 password-cleartext TLS-client-cert": {Password: true, Tokens: true},
	} {
		if got := strings.Join(s.ways(), " "); got != want {
			t.Errorf("%+v: %s, want %s", s, got, want)
		}
	}
}

func TestRefused(t *testing.T) {
	h := newTest(t, testSettings, journal.Discard(), nil)
	for _, c := range []struct {
		method, target string
		status         int
	}{
		{"HEAD", Path, 200},
		{"POST", Path, 405},
		{"PUT", WellKnownPath, 405},
		{"DELETE", Path, 405},
		{"GET", "/", 404},
		{"GET", "/mail/", 404},
		{"GET", Path + "/x", 404},
	} {
		r := get(h, c.method, c.target)
		if r.StatusCode != c.status {
			t.Errorf("%s %s: %d, want %d", c.method, c.target, r.StatusCode, c.status)
		}
	}
}

func TestRate(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	h := newTest(t, testSettings, journal.Discard(), func() time.Time { return now })
	for range maxPerSecond {
		if r := get(h, "GET", Path); r.StatusCode != 200 {
			t.Fatalf("%d", r.StatusCode)
		}
	}
	if r := get(h, "GET", Path); r.StatusCode != http.StatusTooManyRequests || r.Header.Get("Retry-After") == "" {
		t.Errorf("%d", r.StatusCode)
	}
	now = now.Add(time.Second)
	if r := get(h, "GET", Path); r.StatusCode != 200 {
		t.Errorf("%d a second later", r.StatusCode)
	}
}

// On a socket: a request that is too long is refused, and the journal holds a
// line that tells no address.
func TestServe(t *testing.T) {
	var written bytes.Buffer
	h := newTest(t, testSettings, journal.New(&written, slog.LevelInfo), nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Serve(ctx, l) }()
	for query, want := range map[string]int{"emailaddress=roux@chu.example": 200, strings.Repeat("x", 16<<10): http.StatusRequestHeaderFieldsTooLarge} {
		r, err := http.Get("http://" + l.Addr().String() + WellKnownPath + "?" + query)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != want {
			t.Errorf("%d, want %d", r.StatusCode, want)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := written.String(); strings.Count(got, "\n") != 1 || strings.Contains(got, "roux") || !strings.Contains(got, `"peer":"127.0.0.1`) {
		t.Errorf("written: %s", got)
	}
}

func TestSRV(t *testing.T) {
	var got []string
	for _, r := range testSettings.SRV() {
		got = append(got, r.String())
	}
	want := []string{
		"_imaps._tcp.parcours.example. IN SRV 0 1 993 imap.parcours.example.",
		"_imap._tcp.parcours.example. IN SRV 10 1 143 imap.parcours.example.",
		"_submissions._tcp.parcours.example. IN SRV 0 1 465 smtp.parcours.example.",
		"_submission._tcp.parcours.example. IN SRV 0 0 0 .",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}
