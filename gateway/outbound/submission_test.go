package outbound

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/emersion/go-sasl"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway/operator"
	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/mailbox"
)

const ownBox = "parcours@grades.example"

// identityProvider gives tokens token-1, token-2…
func identityProvider(t *testing.T, long int) (issuer string, given *atomic.Int32) {
	given = new(atomic.Int32)
	mux := http.NewServeMux()
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": s.URL, "token_endpoint": s.URL + "/token"})
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, _ *http.Request) {
		token := fmt.Sprintf("token-%d", given.Add(1)) + strings.Repeat("x", long)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": 300})
	})
	return s.URL, given
}

// submissionTo is the route to one operator whose server has the hub's trust.
func submissionTo(t *testing.T, s *space, server, mode string, set func(*configs.Operator)) *Submission {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("sésame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := configs.Operator{
		Name: "pon", Address: ownBox, Username: ownBox, Auth: configs.AuthPassword, Secret: configs.Secret{In: configs.InFile, Name: secret},
		SMTP: configs.Endpoint{Mode: mode, Address: server}, Discovery: ".well-known/openid-configuration", ClientID: "relais", Grant: configs.GrantClientCredentials,
	}
	set(&o)
	access, err := operator.NewAccess(operator.AccessOptions{Settings: o, Trust: s.guard, Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	route, err := NewSubmission([]Submitter{{Name: o.Name, Server: o.SMTP, Access: access, ByCertificate: o.ByCertificate()}}, dns{})
	if err != nil {
		t.Fatal(err)
	}
	return route
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// TestSubmission: each way of logging in as it is said on the wire, by both ways
// in which TLS begins.
func TestSubmission(t *testing.T) {
	s := newSpace(t)
	plainText := b64("\x00" + ownBox + "\x00sésame")
	xoauth := func(token string) string { return b64("user=" + ownBox + "\x01auth=Bearer " + token + "\x01\x01") }
	bearer := func(token string) string { return b64("n,a=" + ownBox + ",\x01auth=Bearer " + token + "\x01\x01") }
	auth := func(mech string) func(*configs.Operator) { return func(o *configs.Operator) { o.Auth = mech } }
	for name, tt := range map[string]struct {
		mode   string
		set    func(*configs.Operator)
		long   int // of the tokens
		offers []string
		login  []string
		reason string // empty: sent
		tokens int32
	}{
		"password, STARTTLS":    {configs.STARTTLS, auth("password"), 0, []string{"AUTH PLAIN LOGIN"}, []string{"C: AUTH PLAIN " + plainText, "S: 235 2.7.0 ok"}, "", 0},
		"password, TLS at once": {configs.ImplicitTLS, auth("password"), 0, []string{"AUTH PLAIN LOGIN"}, []string{"C: AUTH PLAIN " + plainText, "S: 235 2.7.0 ok"}, "", 0},
		"LOGIN where there is no other": {configs.STARTTLS, auth("password"), 0, []string{"AUTH LOGIN"}, []string{
			"C: AUTH LOGIN " + b64(ownBox), "S: 334 " + b64("Password:"), "C: " + b64("sésame"), "S: 235 ok",
		}, "", 0},
		"certificate": {configs.STARTTLS, func(o *configs.Operator) { o.Auth, o.Username = "certificate", "" }, 0, []string{"AUTH EXTERNAL"}, []string{"C: AUTH EXTERNAL =", "S: 235 ok"}, "", 0},
		"certificate, for a name": {configs.STARTTLS, auth("certificate"), 0, []string{"AUTH EXTERNAL"}, []string{
			"C: AUTH EXTERNAL " + b64(ownBox), "S: 235 ok",
		}, "", 0},
		"certificate, no AUTH": {configs.STARTTLS, auth("certificate"), 0, []string{"SIZE 1000000"}, nil, "", 0},
		"token":                {configs.STARTTLS, auth("xoauth2"), 0, []string{"AUTH XOAUTH2 OAUTHBEARER"}, []string{"C: AUTH XOAUTH2 " + xoauth("token-1"), "S: 235 ok"}, "", 1},
		"token by RFC 7628":    {configs.STARTTLS, auth("oauthbearer"), 0, []string{"AUTH XOAUTH2 OAUTHBEARER"}, []string{"C: AUTH OAUTHBEARER " + bearer("token-1"), "S: 235 ok"}, "", 1},
		"token too long for AUTH": {configs.STARTTLS, auth("xoauth2"), 500, []string{"AUTH XOAUTH2"}, []string{
			"C: AUTH XOAUTH2", "S: 334 ", "C: " + xoauth("token-1"+strings.Repeat("x", 500)), "S: 235 ok",
		}, "", 1},
		"token refused, the next taken": {configs.STARTTLS, auth("xoauth2"), 0, []string{"AUTH XOAUTH2"}, []string{
			"C: AUTH XOAUTH2 " + xoauth("token-1"), "S: 334 " + b64(`{"status":"401"}`), "C: " + b64("\x01"), "S: 535 5.7.8 no",
			"C: AUTH XOAUTH2 " + xoauth("token-2"), "S: 235 ok",
		}, "", 2},
		"every token refused": {configs.STARTTLS, auth("oauthbearer"), 0, []string{"AUTH OAUTHBEARER"}, []string{
			"C: AUTH OAUTHBEARER " + bearer("token-1"), "S: 334 " + b64(`{"status":"invalid_token"}`), "C: *", "S: 501 5.7.0 cancelled",
			"C: AUTH OAUTHBEARER " + bearer("token-2"), "S: 535 5.7.8 no",
		}, "login", 2},
		"password refused":    {configs.STARTTLS, auth("password"), 0, []string{"AUTH PLAIN"}, []string{"C: AUTH PLAIN " + plainText, "S: 535 5.7.8 no"}, "login", 0},
		"not now":             {configs.STARTTLS, auth("password"), 0, []string{"AUTH PLAIN"}, []string{"C: AUTH PLAIN " + plainText, "S: 454 4.7.0 later"}, "service", 0},
		"no token to be had":  {configs.STARTTLS, func(o *configs.Operator) { o.Auth, o.Discovery = "xoauth2", "nowhere" }, 0, []string{"AUTH XOAUTH2"}, nil, "token", 0},
		"no such mechanism":   {configs.STARTTLS, auth("password"), 0, []string{"AUTH GSSAPI"}, nil, "login", 0},
		"no AUTH at all":      {configs.STARTTLS, auth("password"), 0, []string{"SIZE 1000000"}, nil, "login", 0},
		"a login without end": {configs.STARTTLS, auth("certificate"), 0, []string{"AUTH EXTERNAL"}, append([]string{"C: AUTH EXTERNAL " + b64(ownBox), "S: 334 "}, "C: *", "S: 501 no"), "login", 0},
	} {
		t.Run(name, func(t *testing.T) {
			op := newOperator(t, func(int, int) manners { return manners{offers: tt.offers, login: tt.login} })
			op.secure(s.server(t, "CN=smtp.grades.example"), tt.mode == configs.ImplicitTLS)
			issuer, given := identityProvider(t, tt.long)
			route := submissionTo(t, s, op.addr(), tt.mode, func(o *configs.Operator) { o.Issuer = issuer; tt.set(o) })
			q := newQueue()
			q.box = "pon"
			q.retry = func(int) time.Duration { return time.Hour }
			o := quick(q, route)
			o.Trust, o.TLS = s.guard, TLSNone // it means nothing here
			start(t, o)
			id := q.addMail(mailbox.Outgoing{MailFrom: ownBox, RcptTo: "roux@chu.example"}, plain)
			out := q.first(t, id)
			if tt.reason == "" {
				if mails := op.taken(); out.Kind != mailbox.OutcomeSent || len(mails) != 1 || !strings.Contains(mails[0].mail, "<"+ownBox+">") {
					t.Errorf("outcome %+v, taken %v", out, mails)
				}
			} else if out.Kind != mailbox.OutcomeTemporary || out.Reason != tt.reason || len(op.taken()) > 0 {
				t.Errorf("outcome %+v", out)
			}
			if h := route.Health()[0]; h.Trouble != tt.reason || h.Since.IsZero() != (tt.reason == "") {
				t.Errorf("health %+v", h)
			}
			if given.Load() != tt.tokens {
				t.Errorf("%d tokens asked for", given.Load())
			}
			if said := op.commands(); strings.Contains(said, "MAIL") != (tt.reason == "") {
				t.Errorf("commands:\n%s", said)
			}
		})
	}
}

// A server that is not the operator's hears nothing but EHLO: no login, no name.
func TestSubmissionToAnother(t *testing.T) {
	s, other := newSpace(t), newSpace(t)
	for name, server := range map[string]*tls.Config{
		"untrusted-unknown-authority": serverOf(t, other, []string{"127.0.0.1"}),
		"untrusted-wrong-host":        serverOf(t, s, []string{"smtp.other.example"}),
	} {
		op := newOperator(t, func(int, int) manners { return manners{offers: []string{"AUTH PLAIN"}} })
		op.secure(server, false)
		q := newQueue()
		q.box = "pon"
		o := quick(q, submissionTo(t, s, op.addr(), configs.STARTTLS, func(*configs.Operator) {}))
		o.Trust = s.guard
		_, stop := start(t, o)
		out := q.first(t, q.add("roux@chu.example"))
		stop()
		if out.Kind != mailbox.OutcomeTemporary || out.Reason != name {
			t.Errorf("%s: outcome %+v", name, out)
		}
		if said := op.commands(); strings.Contains(said, "AUTH") || strings.Contains(said, "MAIL") {
			t.Errorf("%s: said\n%s", name, said)
		}
	}
}

func serverOf(t *testing.T, s *space, hosts []string) *tls.Config {
	t.Helper()
	pair, err := s.ca.Issue(trust.Request{Name: "CN=smtp.grades.example", Hosts: hosts})
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}
}

// After a refusal nobody knocks again for a while: neither other copies nor
// other lanes of the box.
func TestRefusedLoginIsNotRepeated(t *testing.T) {
	s := newSpace(t)
	op := newOperator(t, func(int, int) manners {
		return manners{offers: []string{"AUTH PLAIN"}, login: []string{"C: AUTH PLAIN " + b64("\x00"+ownBox+"\x00sésame"), "S: 535 5.7.8 no"}}
	})
	op.secure(s.server(t, "CN=smtp.grades.example"), false)
	q := newQueue()
	q.box = "pon"
	o := quick(q, submissionTo(t, s, op.addr(), configs.STARTTLS, func(*configs.Operator) {}))
	o.Trust = s.guard
	start(t, o)
	a, b := q.add("roux@chu.example"), q.add("x@chg.example")
	q.until(t, "three attempts", func() bool { return len(q.entries[a].results)+len(q.entries[b].results) >= 3 })
	if n := strings.Count(op.commands(), "AUTH"); n != 1 {
		t.Errorf("%d logins", n)
	}
	for _, out := range append(q.get(a).results, q.get(b).results...) {
		if out.Kind != mailbox.OutcomeNoAttempt && (out.Kind != mailbox.OutcomeTemporary || out.Reason != "login") {
			t.Errorf("outcome %+v", out)
		}
	}
}

// What an operator says about us is our own trouble: no copy is given up for it.
// What it says about a recipient is the copy's.
func TestOwnTrouble(t *testing.T) {
	s := newSpace(t)
	for _, tt := range []struct {
		verb, says string
		silent     bool
		want       string
	}{
		{"MAIL", "530 5.7.0 Authentication required", false, "temporary login"},
		{"MAIL", "553 5.7.1 not your sender", false, "temporary login"},
		{"MAIL", "550 5.1.8 bad sender", false, "temporary login"},
		{"RCPT", "553 5.7.1 <x>: Sender address rejected: not owned by user", false, "temporary login"},
		{"RCPT", "554 5.7.1 Relay access denied", true, "temporary login"},
		{"RCPT", "554 5.7.1 not in the trusted space", false, "permanent refused"},
		{"RCPT", "550 5.1.1 no such box", false, "permanent refused"},
		{"RCPT", "550 5.1.1 no such box", true, "permanent refused"},
		{"RCPT", "451 4.7.1 later", false, "temporary deferred"},
		{"MAIL", "552 5.3.4 too big", false, "too-large too-large"},
		{"DOT", "554 5.7.1 content refused", false, "permanent refused"},
	} {
		m := manners{offers: []string{"AUTH EXTERNAL"}, login: []string{"C: AUTH EXTERNAL " + b64(ownBox), "S: 235 ok"}, reply: map[string]string{tt.verb: tt.says}}
		if tt.silent {
			m.offers = []string{"SIZE 1000000"}
		}
		op := newOperator(t, func(int, int) manners { return m })
		op.secure(s.server(t, "CN=smtp.grades.example"), false)
		q := newQueue()
		q.box = "pon"
		q.retry = func(int) time.Duration { return time.Hour }
		route := submissionTo(t, s, op.addr(), configs.STARTTLS, func(o *configs.Operator) { o.Auth = "certificate" })
		o := quick(q, route)
		o.Trust = s.guard
		_, stop := start(t, o)
		out := q.first(t, q.add("roux@chu.example"))
		stop()
		trouble := ""
		if strings.HasSuffix(tt.want, "login") {
			trouble = "login"
		}
		if h := route.Health()[0]; h.Trouble != trouble {
			t.Errorf("%s: %s: health %+v", tt.verb, tt.says, h)
		}
		if got := string(out.Kind) + " " + out.Reason; got != tt.want {
			t.Errorf("%s: %s (silent %v): %s, want %s", tt.verb, tt.says, tt.silent, got, tt.want)
		}
	}
}

// scripted is a server that has said everything beforehand, and hears nothing.
type scripted struct {
	net.Conn
	in io.Reader
}

func (s *scripted) Read(p []byte) (int, error)  { return s.in.Read(p) }
func (s *scripted) Write(p []byte) (int, error) { return len(p), nil }

// Whatever a server says to AUTH, the exchange ends, and only a "yes" is one.
func FuzzLogin(f *testing.F) {
	f.Add([]byte("235 ok\r\n"), byte(0))
	f.Add([]byte("334 \r\n235-a\r\n235 b\r\n"), byte(1))
	f.Add([]byte("334 "+b64(`{"status":"401"}`)+"\r\n535 5.7.8 no\r\n"), byte(2))
	f.Add([]byte("334 =x\r\n"), byte(3))
	f.Add([]byte(strings.Repeat("334 \r\n", 20)), byte(4))
	f.Fuzz(func(t *testing.T, said []byte, which byte) {
		token := strings.Repeat("t", int(which)*8)
		client := []sasl.Client{
			sasl.NewPlainClient("", "a", "b"), sasl.NewLoginClient("a", "b"), sasl.NewExternalClient(""),
			sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: "a", Token: token}),
		}[which%4]
		// One byte at a time: the fence must not take bytes said ahead for an
		// answer, so nothing may wait in its buffer.
		err := authenticate(newFence(&scripted{in: iotest.OneByteReader(bytes.NewReader(said))}), func() {}, client)
		if err == nil && !bytes.Contains(said, []byte("235")) {
			t.Errorf("logged in by %q", said)
		}
	})
}
