package peertest

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// PostfixOptions say what a Postfix is for.
type PostfixOptions struct {
	Hostname string   // default mx.peer.example
	Domains  []string // whose mail it takes for good
	// Boxes are the addresses there are in Domains, others are refused at RCPT;
	// nil: there are all.
	Boxes []string
	// Addr is where it listens, host:port on loopback (default: a free port of
	// 127.0.0.1).
	Addr string
	// Submission opens a second listener, in clear, for its own users on this
	// machine; they may send anywhere there is a way to.
	Submission bool
	// LMTP is where that mail goes (host:port, see Dovecot.LMTP); without it,
	// all of it is kept in one Maildir, see Postfix.Mails.
	LMTP string
	// Relayhost takes the mail for all other domains (host:port). Without it
	// there is no relaying.
	Relayhost string
	// Routes are the ways of single domains (host:port). Mail goes there only by
	// TLS, to a server whose certificate is one of Authorities and for the domain.
	Routes map[string]string

	// Logins is where those who log in are known (host:port, see Dovecot.Auth). It
	// opens two listeners for clients, TLS by STARTTLS and from the first byte;
	// who logged in may send anywhere there is a way to, from addresses that
	// Owners gives to the login.
	Logins string
	Owners map[string]string // sender address to login
	// Known are certificates that may send at those listeners without a login.
	Known []*x509.Certificate

	// Certificate is shown to those who connect and to the relayhost; nil: no
	// TLS. Authorities are whose certificates are accepted.
	Certificate *tls.Certificate
	Authorities []*x509.Certificate
	// WantClient demands TLS and a certificate from everybody who connects;
	// Callers, if any, are the only certificates it takes.
	WantClient bool
	Callers    []*x509.Certificate
	// RelayTLS demands TLS of the relayhost.
	RelayTLS bool
	// Faceless shows no certificate to those it sends to.
	Faceless bool

	MessageSize int64 // bytes, default 50 MB
	// Main are further settings for main.cf; they win.
	Main map[string]string
}

// Postfix is a running Postfix.
type Postfix struct {
	Addr       string // host:port of its SMTP server
	Submission string // host:port for its own users
	// Clients and ClientsTLS are host:port for those who log in, by STARTTLS and
	// by TLS at once.
	Clients, ClientsTLS string
	// Certified is for those who show a certificate of Authorities, by STARTTLS
	// and without a login.
	Certified string
	dir       string
	t         testing.TB
	d         *daemon
}

// StartPostfix starts a Postfix for the length of the test.
func StartPostfix(t testing.TB, o PostfixOptions) *Postfix {
	t.Helper()
	Require(t, "postfix")
	p := &Postfix{Addr: o.Addr, dir: folder(t, "postfix"), t: t}
	if p.Addr == "" {
		p.Addr = FreePort(t)
	}
	doors := p.Addr + publicDoor
	if o.Submission {
		p.Submission = FreePort(t, p.host())
		doors += p.Submission + submissionDoor
	}
	if o.Logins != "" {
		p.Clients, p.ClientsTLS, p.Certified = FreePort(t, p.host()), FreePort(t, p.host()), FreePort(t, p.host())
		doors += p.Clients + clientsDoor(o, "") + p.ClientsTLS + clientsDoor(o, "  -o smtpd_tls_wrappermode=yes\n") + p.Certified + certifiedDoor
	}
	for _, sub := range []string{"etc", "spool", "data", "mail"} {
		if err := os.Mkdir(p.path(sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	own(t, p.path("data"), "postfix")
	if err := os.Chown(p.path("mail"), mailUID, mailUID); err != nil {
		t.Fatal(err)
	}
	write(t, p.path("etc/main.cf"), p.main(t, o))
	write(t, p.path("etc/master.cf"), doors+services)
	// Makes the folders of the queue.
	if out, err := exec.Command("postfix", "-c", p.path("etc"), "check").CombinedOutput(); err != nil {
		t.Fatalf("postfix check: %v\n%s%s", err, out, p.Log())
	}
	p.Start()
	return p
}

// mailUID owns the boxes' files: nobody in particular.
const mailUID = 65534

func (p *Postfix) host() string {
	host, _, _ := strings.Cut(p.Addr, ":")
	return host
}

func (p *Postfix) path(name string) string { return filepath.Join(p.dir, name) }

// own gives a file to a user of the system.
func own(t testing.TB, path, user string) {
	t.Helper()
	if out, err := exec.Command("chown", user, path).CombinedOutput(); err != nil {
		t.Fatalf("giving a folder to %s: %v\n%s", user, err, out)
	}
}

// Start starts it again after Stop: same port, same queue.
func (p *Postfix) Start() {
	p.t.Helper()
	out, err := exec.Command("postconf", "-c", p.path("etc"), "-h", "daemon_directory").Output()
	if err != nil {
		p.t.Fatalf("asking where Postfix is: %v", err)
	}
	// Not by `postfix start-fg`: its master would leave our process group.
	master := filepath.Join(strings.TrimSpace(string(out)), "master")
	p.d = launch(p.t, p.path("log"), p.addrs(), master, "-c", p.path("etc"), "-s")
}

func (p *Postfix) addrs() []string {
	return slices.DeleteFunc([]string{p.Addr, p.Submission, p.Clients, p.ClientsTLS, p.Certified}, func(a string) bool { return a == "" })
}

// Stop ends it. Its queue is kept.
func (p *Postfix) Stop() { p.d.stop() }

// Mails waits until n mails were taken for good (without LMTP) and returns
// them all, whomever they are for; Delivered-To tells.
func (p *Postfix) Mails(n int) [][]byte {
	p.t.Helper()
	return await(p.t, p.path("mail/all"), n)
}

// Log is what Postfix has logged so far.
func (p *Postfix) Log() string {
	b, _ := os.ReadFile(p.path("log"))
	return string(b)
}

// Queued counts the mails in its queue.
func (p *Postfix) Queued() int {
	p.t.Helper()
	out, err := exec.Command("postqueue", "-c", p.path("etc"), "-j").Output()
	if err != nil {
		p.t.Fatalf("reading the queue of Postfix: %v", err)
	}
	return strings.Count(string(out), "\n")
}
