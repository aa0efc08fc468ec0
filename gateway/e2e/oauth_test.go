package e2e

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/gateway/peertest"
)

// tokenIssuer signs tokens, and publishes the key.
type tokenIssuer struct {
	*httptest.Server
	key *rsa.PrivateKey
}

func newTokenIssuer(t *testing.T) *tokenIssuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p := &tokenIssuer{key: key}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var answer any = map[string]any{"keys": []any{map[string]string{
			"kty": "RSA", "kid": "k", "use": "sig", "n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()), "e": "AQAB",
		}}}
		if strings.HasSuffix(r.URL.Path, "/openid-configuration") {
			answer = map[string]string{"issuer": p.URL, "jwks_uri": p.URL + "/keys"}
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(p.Close)
	return p
}

// token is of the professional with that number.
func (p *tokenIssuer) token(t *testing.T, rpps string) string {
	t.Helper()
	payload, err := json.Marshal(map[string]any{
		"iss": p.URL, "aud": "courrier", "exp": time.Now().Add(time.Minute).Unix(), "preferred_username": "8" + rpps,
	})
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	input := b64([]byte(`{"alg":"RS256","kid":"k"}`)) + "." + b64(payload)
	sum := sha256.Sum256([]byte(input))
	signature, err := rsa.SignPKCS1v15(nil, p.key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + b64(signature)
}

// A professional posts from a shared box with a token of the identity provider,
// as curl sends it: the RPPS number says who it is, and nobody has a password.
func TestSubmissionByToken(t *testing.T) {
	peertest.Require(t, "curl")
	idp := newTokenIssuer(t)
	h := newHub(t, settings{rest: fmt.Sprintf(`
[submission]
listen = ["starttls://127.0.0.1:0", "tls://127.0.0.1:0"]
[oauth]
issuer = %q
audiences = ["courrier"]
`, idp.URL)})
	h.start()
	defer h.stop()
	code := h.include(0)
	h.member(code, "Claire Petit", "infirmier", "pediatrie@chg.example", "ORG")
	marc := h.member(code, "Marc Lenoir", "pediatre", "pediatrie@chg.example", "ORG")
	h.run("team", "update", code, marc, "--rpps", "10003456781")
	_, implicit := h.submission()
	curl := func(mechanism, rpps string) (string, error) {
		mail := filepath.Join(t.TempDir(), "mail.eml")
		text := "From: <pediatrie@chg.example>\r\nSubject: " + mechanism + "\r\nMessage-ID: <" + mechanism + "@chg.example>\r\n\r\nRevu.\r\n"
		if err := os.WriteFile(mail, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("curl", "-sS", "--cacert", filepath.Join(h.dir, "tls", "ca.pem"), "--url", "smtps://"+implicit,
			"--mail-from", "pediatrie@chg.example", "--mail-rcpt", code+"@"+domain, "--upload-file", mail, "--max-time", "20",
			"--user", "pediatrie@chg.example:", "--login-options", "AUTH="+mechanism, "--oauth2-bearer", idp.token(t, rpps)).CombinedOutput()
		return string(out), err
	}
	for _, mechanism := range []string{"OAUTHBEARER", "XOAUTH2"} {
		if out, err := curl(mechanism, "10003456781"); err != nil {
			t.Fatalf("%s: %v\n%s\n%s", mechanism, err, out, h.log.text())
		}
	}
	if out, err := curl("XOAUTH2", "10003456799"); err == nil || !strings.Contains(out, "535") && !strings.Contains(out, "denied") {
		t.Errorf("somebody else's number: %v\n%s", err, out)
	}
	messages := h.thread(code).Messages
	if len(messages) != 2 {
		t.Fatalf("%d messages filed", len(messages))
	}
	for _, m := range messages {
		if m.Author.Name != "Marc Lenoir" || m.Author.Certainty != "sure" {
			t.Errorf("%s: by %+v", m.Subject, m.Author)
		}
	}
	for _, secret := range []string{idp.token(t, "10003456781")[:60], "10003456781", "lenoir", "pediatrie@"} {
		if strings.Contains(h.log.text(), secret) {
			t.Errorf("the journal holds a token, a number or a name")
		}
	}
}

// With a token and no account's password a professional reads the box of their
// own: curl and mutt, both mechanisms, and nobody else's number.
func TestReadingByToken(t *testing.T) {
	peertest.Require(t, "mutt", "script", "curl")
	idp := newTokenIssuer(t)
	r := newReadingWith(t, fmt.Sprintf(`
[oauth]
issuer = %q
audiences = ["courrier"]
`, idp.URL))
	defer r.stop()
	blin := r.member(r.code, "M. Éric Blin", "pediatre", "blin@chu.example", "PER")
	r.run("team", "update", r.code, blin, "--rpps", "10003456781")
	r.post("roux@chu.example", "o1@chu.example", "Bilan", "Stable.")
	p := &person{reading: r, account: account{Username: "blin@chu.example"}, home: t.TempDir()}
	curl := func(mechanism, rpps string, args ...string) (string, error) {
		return p.runs("curl", append([]string{
			"-sS", "--cacert", p.ca(), "--max-time", "20", "--url", "imaps://" + p.imap + "/INBOX", "--user", p.Username + ":",
			"--login-options", "AUTH=" + mechanism, "--oauth2-bearer", idp.token(t, rpps),
		}, args...)...)
	}
	for _, mechanism := range []string{"OAUTHBEARER", "XOAUTH2"} {
		if out, err := curl(mechanism, "10003456781", "-X", "FETCH 1 (FLAGS ENVELOPE)"); err != nil || !strings.Contains(out, `"Bilan"`) {
			t.Errorf("curl, %s: %v %s", mechanism, err, out)
		}
		if out, err := curl(mechanism, "10003456799", "-X", "FETCH 1 (FLAGS)"); err == nil {
			t.Errorf("curl, %s, somebody else's number: %s", mechanism, out)
		}
	}
	for _, c := range []struct{ mechanism, key, flag string }{{"oauthbearer", "!", `\Flagged`}, {"xoauth2", "r", `\Answered`}} {
		rc := p.file("muttrc", strings.Join([]string{
			`set folder="imaps://` + strings.ReplaceAll(p.Username, "@", "%40") + `@` + r.imap + `/" spoolfile="+INBOX"`,
			`set imap_authenticators="` + c.mechanism + `" imap_oauth_refresh_command="cat ` + p.file("token", idp.token(t, "10003456781")) + `"`,
			`set ssl_ca_certificates_file="` + p.ca() + `" ssl_verify_host=yes header_cache="" tmpdir="` + p.home + `"`,
			`set quit=yes delete=yes move=no mark_old=no wait_key=no sleep_time=0 beep=no`,
			`push "<first-entry><set-flag>` + c.key + `<quit>"`,
		}, "\n")+"\n")
		p.mutt(rc)
		if out, err := curl("OAUTHBEARER", "10003456781", "-X", "FETCH 1 (FLAGS)"); err != nil || !strings.Contains(out, c.flag) {
			t.Errorf("mutt, %s, left %s, %v", c.mechanism, out, err)
		}
	}
}
