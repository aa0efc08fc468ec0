package peertest

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// DovecotOptions say what a Dovecot is for.
type DovecotOptions struct {
	// Users are the addresses that have a box. Empty: any address has one.
	Users []string
	// Password opens every box (default "secret").
	Password string
	// Tokens is the address (http) that tells of a token whether it is good, and
	// whose (RFC 7662): {"active":…, "username":…}. With it a token opens a box,
	// too (XOAUTH2, OAUTHBEARER).
	Tokens string
	// Certificate is shown to clients: IMAP also goes over to TLS then, and IMAPS
	// speaks it from the start. A client certificate of one of Authorities whose
	// common name is a box opens it (EXTERNAL).
	Certificate *tls.Certificate
	Authorities []*x509.Certificate
}

// Dovecot is a running Dovecot with a Maildir per address.
type Dovecot struct {
	IMAP     string // host:port, in clear, PLAIN and LOGIN
	IMAPS    string // host:port, by TLS; with a Certificate
	LMTP     string // host:port
	Auth     string // host:port, for a Postfix whose clients log in
	password string
	dir      string
	t        testing.TB
	d        *daemon
}

// StartDovecot starts a Dovecot for the length of the test.
func StartDovecot(t testing.TB, o DovecotOptions) *Dovecot {
	t.Helper()
	Require(t, "dovecot")
	if o.Password == "" {
		o.Password = "secret"
	}
	d := &Dovecot{IMAP: FreePort(t), LMTP: FreePort(t), Auth: FreePort(t), password: o.Password, dir: folder(t, "dovecot"), t: t}
	for _, sub := range []string{"run", "state", "mail"} {
		if err := os.Mkdir(filepath.Join(d.dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(filepath.Join(d.dir, "mail"), mailUID, mailUID); err != nil {
		t.Fatal(err)
	}
	var users strings.Builder
	for _, u := range o.Users {
		users.WriteString(u + ":{PLAIN}" + o.Password + "::::::\n")
	}
	write(t, filepath.Join(d.dir, "users"), users.String())
	databases := anybody
	if len(o.Users) > 0 {
		databases = listed
	}
	mechanisms := "plain login"
	if o.Tokens != "" {
		mechanisms += " xoauth2 oauthbearer"
		databases = byToken + databases
		write(t, filepath.Join(d.dir, "oauth2"), "introspection_mode = post\nintrospection_url = "+o.Tokens+"\nusername_attribute = username\nactive_attribute = active\nactive_value = true\n")
	}
	security := "ssl = no\n"
	if o.Certificate != nil {
		mechanisms += " external"
		security = d.secure(o)
		databases = byCertificate + strings.Replace(databases, "passdb {\n  driver = passwd-file", "passdb {\n  mechanisms = plain login\n  driver = passwd-file", 1)
	}
	conf := strings.NewReplacer(
		"@dir@", d.dir, "@password@", o.Password, "@imap@", portOf(d.IMAP), "@lmtp@", portOf(d.LMTP),
		"@auth@", portOf(d.Auth), "@imaps@", portOf(d.IMAPS), "@mechanisms@", mechanisms,
	).Replace(dovecotConf + security + databases)
	write(t, filepath.Join(d.dir, "dovecot.conf"), conf)
	d.Start()
	return d
}

const dovecotConf = `base_dir = @dir@/run
state_dir = @dir@/state
instance_name = relais-test
log_path = @dir@/log
protocols = imap lmtp
listen = 127.0.0.1
disable_plaintext_auth = no
auth_username_format = %Lu
auth_mechanisms = @mechanisms@
auth_failure_delay = 0
auth_verbose = yes
mail_location = maildir:~/Maildir
first_valid_uid = 1000
last_valid_uid = 65534
mail_max_userip_connections = 1000
namespace inbox {
  inbox = yes
  separator = /
}
service imap-login {
  inet_listener imap {
    address = 127.0.0.1
    port = @imap@
  }
  inet_listener imaps {
    port = 0
  }
}
service auth {
  inet_listener {
    address = 127.0.0.1
    port = @auth@
  }
}
service anvil {
  # No waiting after refused logins.
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service lmtp {
  inet_listener lmtp {
    address = 127.0.0.1
    port = @lmtp@
  }
}
protocol lmtp {
  auth_username_format = %Lu
}
`

const byToken = `passdb {
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = @dir@/oauth2
}
`

const anybody = `passdb {
  driver = static
  args = password=@password@
}
userdb {
  driver = static
  args = uid=65534 gid=65534 home=@dir@/mail/%Lu allow_all_users=yes
}
`

const listed = `passdb {
  driver = passwd-file
  args = scheme=PLAIN username_format=%Lu @dir@/users
}
userdb {
  driver = passwd-file
  args = username_format=%Lu @dir@/users
  override_fields = uid=65534 gid=65534 home=@dir@/mail/%Lu
}
`

// Start starts it again after Stop: same ports, same boxes.
func (d *Dovecot) Start() {
	d.t.Helper()
	addrs := []string{d.IMAP, d.LMTP, d.Auth}
	if d.IMAPS != "" {
		addrs = append(addrs, d.IMAPS)
	}
	d.d = launch(d.t, filepath.Join(d.dir, "log"), addrs,
		"dovecot", "-F", "-c", filepath.Join(d.dir, "dovecot.conf"))
}

// Stop ends it. The boxes are kept.
func (d *Dovecot) Stop() { d.d.stop() }

// Mails waits until a box has n mails in its INBOX and returns them all, oldest
// first, with the fields that LMTP delivery puts before them.
func (d *Dovecot) Mails(box string, n int) [][]byte {
	d.t.Helper()
	return await(d.t, filepath.Join(d.dir, "mail", strings.ToLower(box), "Maildir"), n)
}

// Now returns the mails a box has at this moment.
func (d *Dovecot) Now(box string) [][]byte {
	d.t.Helper()
	return maildir(d.t, filepath.Join(d.dir, "mail", strings.ToLower(box), "Maildir"))
}

// Log is what Dovecot has logged so far.
func (d *Dovecot) Log() string {
	b, _ := os.ReadFile(filepath.Join(d.dir, "log"))
	return string(b)
}
