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

// A professional posts from a shared box with a token of the identity provider,
// as curl sends it: the RPPS number says who it is, and nobody has a password.
func TestSubmissionByToken(t *testing.T) {
	peertest.Require(t, "curl")
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	var provider *httptest.Server
	provider = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var answer any = map[string]any{"keys": []any{map[string]string{"kty": "RSA", "kid": "k", "use": "sig", "n": b64(key.N.Bytes()), "e": "AQAB"}}}
		if strings.HasSuffix(r.URL.Path, "/openid-configuration") {
			answer = map[string]string{"issuer": provider.URL, "jwks_uri": provider.URL + "/keys"}
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	defer provider.Close()
	token := func(rpps string) string {
		payload, err := json.Marshal(map[string]any{
			"iss": provider.URL, "aud": "courrier", "exp": time.Now().Add(time.Minute).Unix(), "preferred_username": "8" + rpps,
		})
		if err != nil {
			t.Fatal(err)
		}
		input := b64([]byte(`{"alg":"RS256","kid":"k"}`)) + "." + b64(payload)
		sum := sha256.Sum256([]byte(input))
		signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return input + "." + b64(signature)
	}

	h := newHub(t, settings{rest: fmt.Sprintf(`
[submission]
listen = ["starttls://127.0.0.1:0", "tls://127.0.0.1:0"]
[oauth]
issuer = %q
audiences = ["courrier"]
`, provider.URL)})
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
			"--user", "pediatrie@chg.example:", "--login-options", "AUTH="+mechanism, "--oauth2-bearer", token(rpps)).CombinedOutput()
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
	for _, secret := range []string{token("10003456781")[:60], "10003456781", "lenoir", "pediatrie@"} {
		if strings.Contains(h.log.text(), secret) {
			t.Errorf("the journal holds a token, a number or a name")
		}
	}
}
