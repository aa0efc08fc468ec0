package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/gateway/peertest"
)

// withSubmission are the settings of a hub that accounts post to, by STARTTLS
// on the first address and TLS on the second.
const withSubmission = `
[submission]
listen = ["starttls://127.0.0.1:0", "tls://127.0.0.1:0"]
[imap]
password = "on"
`

// submission gives the two addresses.
func (h *hub) submission() (starttls, implicit string) {
	h.t.Helper()
	var s struct{ Listeners struct{ Submission []string } }
	h.ask(&s, "status")
	if len(s.Listeners.Submission) != 2 {
		h.t.Fatalf("submission on %v", s.Listeners.Submission)
	}
	return s.Listeners.Submission[0], s.Listeners.Submission[1]
}

type account struct{ Username, Password, Credential string }

func (h *hub) account(args ...string) account {
	h.t.Helper()
	var a account
	h.ask(&a, append([]string{"account", "create"}, args...)...)
	return a
}

// Accounts post with the programs people have: swaks, curl and mutt, by
// STARTTLS and TLS, with a password and with a certificate.
func TestSubmissionByRealClients(t *testing.T) {
	peertest.Require(t, "swaks", "curl", "mutt")
	h := newHub(t, settings{rest: withSubmission})
	h.start()
	defer h.stop()
	code := h.include(0)
	h.member(code, "Dr Anne Roux", "oncologue", "roux@chu.example", "PER")
	h.member(code, "Claire Petit", "infirmier", "pediatrie@chg.example", "ORG")
	h.member(code, "Marc Lenoir", "pediatre", "pediatrie@chg.example", "ORG")
	starttls, implicit := h.submission()
	anne := h.account("--mailbox", "roux@chu.example")
	marc := h.account("--mailbox", "pediatrie@chg.example", "--person", "Marc Lenoir")
	to := code + "@" + domain
	ca := filepath.Join(h.dir, "tls", "ca.pem")

	client := func(name string, args ...string) (string, error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	host, port, _ := net.SplitHostPort(starttls)
	swaks := func(a account, mechanism, from, rcpt, header string) (string, error) {
		t.Helper()
		return client("swaks", "--server", host, "--port", port, "-tls", "--tls-ca-path", ca, "--tls-verify",
			"--auth", mechanism, "--auth-user", a.Username, "--auth-password", a.Password,
			"--from", from, "--to", rcpt, "--h-From", header, "--header", "Subject: swaks "+mechanism, "--body", "Vu ce matin.")
	}
	for _, mechanism := range []string{"PLAIN", "LOGIN"} {
		if out, err := swaks(anne, mechanism, "roux@chu.example", to, "Anne Roux <roux@chu.example>"); err != nil {
			t.Fatalf("swaks, %s: %v\n%s", mechanism, err, out)
		}
	}
	for what, c := range map[string]struct {
		a                  account
		from, rcpt, header string
		says               string
	}{
		"wrong password": {account{"roux@chu.example", marc.Password, ""}, "roux@chu.example", to, "roux@chu.example", "535 5.7.8"},
		"other sender":   {anne, "pediatrie@chg.example", to, "pediatrie@chg.example", "550 5.7.1"},
		"other From":     {anne, "roux@chu.example", to, "pediatrie@chg.example", "550 5.7.1"},
		"outside":        {anne, "roux@chu.example", "pediatrie@chg.example", "roux@chu.example", "550 5.7.1"},
	} {
		if out, err := swaks(c.a, "PLAIN", c.from, c.rcpt, c.header); err == nil || !strings.Contains(out, "<~* "+c.says) {
			t.Errorf("swaks, %s: %v\n%s", what, err, out)
		}
	}

	// curl, by TLS from the first byte, from the shared box: the person who
	// logs in is the author.
	mail := filepath.Join(t.TempDir(), "mail.eml")
	text := "From: Pediatrie <pediatrie@chg.example>\r\nTo: " + to + "\r\nSubject: curl\r\nMessage-ID: <curl@chg.example>\r\n\r\nRevu au bloc.\r\n"
	if err := os.WriteFile(mail, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	curl := func(more ...string) (string, error) {
		return client("curl", append([]string{
			"-sS", "--cacert", ca, "--url", "smtps://" + implicit, "--mail-rcpt", to, "--upload-file", mail,
		}, more...)...)
	}
	if out, err := curl("--mail-from", "pediatrie@chg.example", "--user", marc.Username+":"+marc.Password); err != nil {
		t.Fatalf("curl: %v\n%s", err, out)
	}

	// mutt, in batch mode.
	muttrc := filepath.Join(t.TempDir(), "muttrc")
	if err := os.WriteFile(muttrc, fmt.Appendf(nil, `set from="roux@chu.example" realname="Dr Anne Roux" use_envelope_from=yes copy=no
set smtp_url="smtps://%s@%s/" smtp_pass="%s" smtp_authenticators="plain"
set ssl_ca_certificates_file="%s" ssl_verify_host=yes
`, strings.ReplaceAll(anne.Username, "@", "%40"), implicit, anne.Password, ca), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := client("sh", "-c", "echo 'Scanner demain.' | mutt -F "+muttrc+" -s mutt "+to); err != nil {
		t.Fatalf("mutt: %v\n%s", err, out)
	}

	// A certificate in place of a password.
	h.run("account", "create", "--mailbox", "roux@chu.example", "--certificate", filepath.Join(h.dir, "tls", "cert.pem"))
	text = strings.NewReplacer("pediatrie", "roux", "chg", "chu", "Subject: curl", "Subject: certificat").Replace(text)
	if err := os.WriteFile(mail, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := curl("--mail-from", "roux@chu.example", "--login-options", "AUTH=EXTERNAL", "--user", "roux@chu.example:",
		"--cert", filepath.Join(h.dir, "tls", "cert.pem"), "--key", filepath.Join(h.dir, "tls", "key.pem")); err != nil {
		t.Fatalf("curl with a certificate: %v\n%s", err, out)
	}

	got := map[string]string{}
	for _, m := range h.thread(code).Messages {
		got[m.Subject] = m.Author.Name + ", " + m.Author.Certainty
	}
	for subject, author := range map[string]string{
		"swaks PLAIN": "Dr Anne Roux, sure", "swaks LOGIN": "Dr Anne Roux, sure", "curl": "Marc Lenoir, sure",
		"mutt": "Dr Anne Roux, sure", "certificat": "Dr Anne Roux, sure",
	} {
		if got[subject] != author {
			t.Errorf("%s: by %q, want %q", subject, got[subject], author)
		}
	}
	if len(got) != 5 {
		t.Errorf("%d messages filed, want 5", len(got))
	}

	// Revoked is revoked at once.
	h.run("account", "revoke", "roux@chu.example", "--credential", anne.Credential)
	if out, err := swaks(anne, "PLAIN", "roux@chu.example", to, "roux@chu.example"); err == nil || !strings.Contains(out, "<~* 535 5.7.8") {
		t.Errorf("with a revoked password: %v\n%s", err, out)
	}
	for _, secret := range []string{anne.Password, marc.Password, "roux@", "lenoir"} {
		if strings.Contains(h.log.text(), secret) {
			t.Errorf("the journal holds a secret or a name")
		}
	}
}

// Sockets that systemd opened are taken over, those for another address are
// not, and no others are bound in their place.
func TestInheritedSockets(t *testing.T) {
	h := newHub(t, settings{rest: "[metrics]\nlisten = [\"127.0.0.1:0\"]\n"})
	var files []*os.File
	var addresses []string
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f, err := l.(*net.TCPListener).File() // has a descriptor of its own
		l.Close()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files, addresses = append(files, f), append(addresses, l.Addr().String())
	}
	text, err := os.ReadFile(h.config)
	if err != nil {
		t.Fatal(err)
	}
	// The first is for mail, the second for submission, the third for nobody.
	with := strings.Replace(string(text), `listen = ["127.0.0.1:0"]`, fmt.Sprintf("listen = [%q]", addresses[0]), 1) +
		fmt.Sprintf("[submission]\nlisten = [%q]\n", addresses[1])
	if err := os.WriteFile(h.config, []byte(with), 0o600); err != nil {
		t.Fatal(err)
	}
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	told := func(want string) {
		t.Helper()
		var b [100]byte
		manager.SetReadDeadline(time.Now().Add(20 * time.Second))
		if n, err := manager.Read(b[:]); err != nil || string(b[:n]) != want {
			t.Errorf("the service manager is told %q, %v; want %q", b[:n], err, want)
		}
	}
	h.startWith(func(cmd *exec.Cmd) {
		cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+manager.LocalAddr().String())
		cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=3 exec "$0" "$@"`, h.bin, "serve", "--config", h.config}
		cmd.ExtraFiles = files
	})
	told("READY=1")
	if h.inbound != addresses[0] {
		t.Errorf("inbound on %s, want %s", h.inbound, addresses[0])
	}
	code := h.include(0)
	h.member(code, "Dr Anne Roux", "oncologue", "roux@chu.example", "PER")
	if err := h.send("roux@chu.example", code+"@"+domain, []byte("From: <roux@chu.example>\r\nMessage-ID: <a@b>\r\n\r\na\r\n")); err != nil {
		t.Errorf("through the socket passed on: %v", err)
	}
	if !strings.Contains(h.log.text(), "sockets were passed that no setting asks for") {
		t.Errorf("nothing is said of the third:\n%s", h.log.text())
	}
	h.stop()
	told("STOPPING=1")
	// Their number is not told to anybody else as if it were theirs.
	h.startWith(func(cmd *exec.Cmd) {
		cmd.Env = append(os.Environ(), "LISTEN_PID=1", "LISTEN_FDS=3")
		for _, f := range files {
			f.Close()
		}
	})
}
