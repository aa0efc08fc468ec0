package peertest

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// main is main.cf.
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
		"inet_interfaces": "loopback-only", "inet_protocols": "ipv4", "myhostname": o.Hostname,
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
	if o.Faceless {
		s["smtp_tls_chain_files"] = ""
	}
	if o.Callers != nil {
		s["smtpd_tls_fingerprint_digest"], s["relay_clientcerts"] = "sha256", table(fingerprints(o.Callers))
		s["smtpd_client_restrictions"], s["smtpd_relay_restrictions"] = "permit_tls_clientcerts, reject", "reject_unauth_destination"
	}
	if o.Logins != "" {
		s["smtpd_sender_login_maps"] = table(o.Owners)
		if o.Known != nil {
			s["smtpd_tls_fingerprint_digest"], s["relay_clientcerts"] = "sha256", table(fingerprints(o.Known))
		}
	}
	if o.Boxes != nil {
		boxes := map[string]string{}
		for _, box := range o.Boxes {
			boxes[box] = "all/"
		}
		s["virtual_mailbox_maps"] = table(boxes)
	}
	if o.Routes != nil {
		ways, policies := map[string]string{}, map[string]string{}
		for domain, addr := range o.Routes {
			host, port, _ := strings.Cut(addr, ":")
			hop := "[" + host + "]:" + port
			ways[domain], policies[hop] = "smtp:"+hop, "secure match="+domain
		}
		s["transport_maps"], s["smtp_tls_policy_maps"] = table(ways), table(policies)
	}
	maps.Copy(s, o.Main)
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&b, "%s = %s\n", k, s[k])
	}
	return b.String()
}

// publicDoor goes on after an address in master.cf, as does submissionDoor.
const publicDoor = ` inet n - n - - smtpd
`

// submissionDoor takes mail from people; what their client left out is added.
const submissionDoor = ` inet n - n - - smtpd
  -o syslog_name=submission
  -o smtpd_tls_security_level=none
  -o smtpd_client_restrictions=permit_mynetworks,reject
  -o smtpd_relay_restrictions=permit_mynetworks,reject
  -o local_header_rewrite_clients=permit_mynetworks
`

// clientsDoor takes mail from those who log in, or show a known certificate.
func clientsDoor(o PostfixOptions, more string) string {
	who := "permit_sasl_authenticated,reject"
	if o.Known != nil {
		who = "permit_sasl_authenticated,permit_tls_clientcerts,reject"
	}
	return ` inet n - n - - smtpd
  -o syslog_name=clients
  -o smtpd_tls_security_level=encrypt
  -o smtpd_tls_auth_only=yes
  -o smtpd_tls_ask_ccert=yes
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_sasl_type=dovecot
  -o smtpd_sasl_path=inet:` + o.Logins + `
  -o smtpd_sasl_security_options=noanonymous
  -o smtpd_client_restrictions=
  -o smtpd_sender_restrictions=reject_authenticated_sender_login_mismatch
  -o smtpd_relay_restrictions=` + who + `
` + more
}

// certifiedDoor takes mail from those who show a certificate.
const certifiedDoor = ` inet n - n - - smtpd
  -o syslog_name=certified
  -o smtpd_tls_security_level=encrypt
  -o smtpd_tls_ask_ccert=yes
  -o smtpd_client_restrictions=
  -o smtpd_relay_restrictions=permit_tls_all_clientcerts,reject
`

// services are Postfix's services in master.cf, none in a chroot.
const services = `pickup    unix n - n 60 1 pickup
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

// table is a look-up table written out in main.cf.
func table(entries map[string]string) string {
	var b strings.Builder
	b.WriteString("inline:{")
	for _, k := range slices.Sorted(maps.Keys(entries)) {
		fmt.Fprintf(&b, " { %s = %s }", k, entries[k])
	}
	return b.String() + " }"
}

// fingerprints are certificates as relay_clientcerts names them.
func fingerprints(certs []*x509.Certificate) map[string]string {
	all := map[string]string{}
	for _, c := range certs {
		all[strings.ReplaceAll(fmt.Sprintf("% X", sha256.Sum256(c.Raw)), " ", ":")] = "ok"
	}
	return all
}

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
