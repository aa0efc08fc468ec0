package peertest

import (
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
)

// secure writes what an operator's Dovecot has besides: TLS and certificates.
func (d *Dovecot) secure(o DovecotOptions) string {
	d.t.Helper()
	d.IMAPS = FreePort(d.t)
	writePair(d.t, filepath.Join(d.dir, "pair.pem"), o.Certificate)
	var bundle strings.Builder
	for _, ca := range o.Authorities {
		_ = pem.Encode(&bundle, &pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw})
	}
	write(d.t, filepath.Join(d.dir, "authorities.pem"), bundle.String())
	return secureConf
}

// The certificate is looked at by Dovecot's client-certificate checks; whom it
// opens a box to is its common name.
const secureConf = `ssl = yes
ssl_cert = <@dir@/pair.pem
ssl_key = <@dir@/pair.pem
ssl_ca = <@dir@/authorities.pem
ssl_verify_client_cert = yes
ssl_require_crl = no
ssl_cert_username_field = commonName
auth_ssl_username_from_cert = yes
service imap-login {
  inet_listener imaps {
    address = 127.0.0.1
    port = @imaps@
    ssl = yes
  }
}
`

const byCertificate = `passdb {
  driver = static
  args = nopassword=y
  mechanisms = external
}
`

// CountAnew has a box number its mails anew (UIDVALIDITY), as after a repair or
// a move to another server. Dovecot must be stopped.
func (d *Dovecot) CountAnew(box string) {
	d.t.Helper()
	dir := filepath.Join(d.dir, "mail", strings.ToLower(box), "Maildir")
	// Where the last UIDVALIDITY is written down stays: the next is another.
	old, _ := filepath.Glob(filepath.Join(dir, "dovecot.index*"))
	for _, path := range append(old, filepath.Join(dir, "dovecot-uidlist")) {
		if err := os.RemoveAll(path); err != nil {
			d.t.Fatal(err)
		}
	}
}
