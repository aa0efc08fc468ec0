package peertest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// PostfixOptions say what a Postfix is for.
type PostfixOptions struct {
	Hostname string   // default mx.peer.example
	Domains  []string // whose mail it takes for good
	// LMTP is where that mail goes (host:port, see Dovecot.LMTP); without it,
	// all of it is kept in one Maildir, see Postfix.Mails.
	LMTP string
	// Relayhost takes the mail for all other domains (host:port). Without it
	// there is no relaying.
	Relayhost string

	// Certificate is shown to those who connect and to the relayhost; nil: no
	// TLS. Authorities are whose certificates are accepted.
	Certificate *tls.Certificate
	Authorities []*x509.Certificate
	// WantClient demands TLS and a certificate from everybody who connects.
	WantClient bool
	// RelayTLS demands TLS of the relayhost.
	RelayTLS bool

	MessageSize int64 // bytes, default 50 MB
	// Main are further settings for main.cf; they win.
	Main map[string]string
}

// Postfix is a running Postfix.
type Postfix struct {
	Addr string // host:port of its SMTP server
	dir  string
	t    testing.TB
	d    *daemon
}

// StartPostfix starts a Postfix for the length of the test.
func StartPostfix(t testing.TB, o PostfixOptions) *Postfix {
	t.Helper()
	Require(t, "postfix")
	p := &Postfix{Addr: FreePort(t), dir: folder(t, "postfix"), t: t}
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
	write(t, p.path("etc/master.cf"), p.Addr+masterCF)
	// Makes the folders of the queue.
	if out, err := exec.Command("postfix", "-c", p.path("etc"), "check").CombinedOutput(); err != nil {
		t.Fatalf("postfix check: %v\n%s", err, out)
	}
	p.Start()
	return p
}

// mailUID owns the boxes' files: nobody in particular.
const mailUID = 65534

func (p *Postfix) path(name string) string { return filepath.Join(p.dir, name) }

func (p *Postfix) main(t testing.TB, o PostfixOptions) string {
	t.Helper()
	if o.Hostname == "" {
		o.Hostname = "mx.peer.example"
	}
	if o.MessageSize == 0 {
		o.MessageSize = 50_000_000
	}
	uid := strconv.Itoa(mailUID)
	s := map[string]string{
		"compatibility_level": "3.6",
		"queue_directory":     p.path("spool"), "data_directory": p.path("data"),
		"maillog_file": p.path("log"), "maillog_file_prefixes": p.dir,
		"inet_interfaces": "127.0.0.1", "inet_protocols": "ipv4", "myhostname": o.Hostname,
		"mydestination": "", "local_recipient_maps": "", "alias_maps": "", "mynetworks": "127.0.0.0/8",
		"smtpd_relay_restrictions": "permit_mynetworks, reject",
		// The tests connect from this host, but stand for another one.
		"local_header_rewrite_clients": "",
		"disable_dns_lookups":          "yes", "smtp_host_lookup": "native",
		"message_size_limit": strconv.FormatInt(o.MessageSize, 10), "mailbox_size_limit": "0", "virtual_mailbox_limit": "0",
		"virtual_mailbox_domains": strings.Join(o.Domains, " "),
		"virtual_mailbox_base":    p.path("mail"), "virtual_mailbox_maps": "static:all/",
		"virtual_uid_maps": "static:" + uid, "virtual_gid_maps": "static:" + uid,
		// Impatient, as tests are.
		"queue_run_delay": "2s", "minimal_backoff_time": "1s", "maximal_backoff_time": "3s", "in_flow_delay": "0",
		"default_transport": "error:5.4.4 no way there",
	}
	if o.LMTP != "" {
		s["virtual_transport"] = "lmtp:inet:" + o.LMTP
	}
	if o.Relayhost != "" {
		host, port, _ := strings.Cut(o.Relayhost, ":")
		s["relayhost"], s["default_transport"] = "["+host+"]:"+port, "smtp"
	}
	if o.Certificate != nil {
		pair, authorities := p.path("etc/pair.pem"), p.path("etc/authorities.pem")
		writePair(t, pair, o.Certificate)
		var bundle strings.Builder
		for _, ca := range o.Authorities {
			_ = pem.Encode(&bundle, &pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw})
		}
		write(t, authorities, bundle.String())
		maps.Copy(s, map[string]string{
			"smtpd_tls_chain_files": pair, "smtpd_tls_CAfile": authorities, "smtpd_tls_security_level": "may",
			"smtpd_tls_ask_ccert": "yes", "smtpd_tls_received_header": "yes", "smtpd_tls_session_cache_database": "",
			"smtp_tls_chain_files": pair, "smtp_tls_CAfile": authorities, "smtp_tls_security_level": "may",
		})
	}
	if o.WantClient {
		s["smtpd_tls_security_level"], s["smtpd_tls_req_ccert"] = "encrypt", "yes"
	}
	if o.RelayTLS {
		s["smtp_tls_security_level"] = "encrypt"
	}
	maps.Copy(s, o.Main)
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&b, "%s = %s\n", k, s[k])
	}
	return b.String()
}

// masterCF are Postfix's services, none in a chroot; the first line goes on
// after the address.
const masterCF = ` inet n - n - - smtpd
pickup    unix n - n 60 1 pickup
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
verify    unix - - n - 1 verify
flush     unix n - n 1000? 0 flush
proxymap  unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp      unix - - n - - smtp
relay     unix - - n - - smtp
showq     unix n - n - - showq
error     unix - - n - - error
retry     unix - - n - - error
discard   unix - - n - - discard
virtual   unix - n n - - virtual
lmtp      unix - - n - - lmtp
anvil     unix - - n - 1 anvil
scache    unix - - n - 1 scache
tlsmgr    unix - - n 1000? 1 tlsmgr
postlog   unix-dgram n - n - 1 postlogd
`

func writePair(t testing.TB, path string, pair *tls.Certificate) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for _, c := range pair.Certificate {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c})...)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

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
	p.d = launch(p.t, p.path("log"), []string{p.Addr}, master, "-c", p.path("etc"), "-s")
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
