package inbound

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/gateway/trust"
)

const secured = `C: EHLO mail.chu.example
	S+ 250
	C: MAIL FROM:<` + marker + `@chu.example> SIZE=5 ENVID=e1
	S+ 250
	C: RCPT TO:<abc@parcours.example>
	S+ 250
	C: DATA
	S+ 354
	C: a
	C: .
	S+ 250`

// One line of the journal tells all there is to tell of a message, and the hub
// gets the envelope with what the peer proved.
func TestJournalAndEnvelope(t *testing.T) {
	h := start(t, StartTLS, nil)
	p := client(t, h)
	p.until(`S+ 220
		C: STARTTLS
		S+ 220
		TLS chu
		` + secured)
	e := h.stub.envelope
	name, err := trust.ParseName(e.Peer.Name)
	want, _ := trust.ParseName(dnCHU)
	if err != nil || !name.Equal(want) || e.Peer.Where != p.conn.LocalAddr().String() {
		t.Errorf("peer %+v", e.Peer)
	}
	if !e.Peer.SpeaksFor("chu.example") || e.Peer.SpeaksFor("chg.example") {
		t.Error("the peer speaks for the wrong domains")
	}
	if e.MailFrom != marker+"@chu.example" || e.Size != 5 || e.EnvID != "e1" || e.Via != "smtp" || e.Received.IsZero() || len(e.Rcpts) != 1 {
		t.Errorf("envelope %+v", e)
	}
	var found map[string]any
	for line := range strings.Lines(h.log.String()) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		if entry["msg"] == "message" {
			found = entry
		}
	}
	for key, want := range map[string]any{
		"outcome": "filed", "size": 3.0, "tls": "TLS 1.3", "operator": "mail.chu.example", "message": "m1", "pathway": "abc",
		"peer": p.conn.LocalAddr().String(), "copies": 0.0,
	} {
		if found[key] != want {
			t.Errorf("%s is %v, want %v", key, found[key], want)
		}
	}
	if found["session"] == "" || found["duration"] == nil {
		t.Errorf("journal: %v", found)
	}
	for name, want := range map[string]float64{
		"relais_inbound_connections_total": 1, "relais_inbound_connections_open": 1, "relais_inbound_message_bytes_total": 3,
		"relais_inbound_messages_total": 1,
	} {
		if got := value(t, h, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

// A certificate revoked while its connection is up is refused at the next MAIL,
// and at resumed and new connections; none of them is dropped.
func TestReloadReachesLiveConnections(t *testing.T) {
	h := start(t, StartTLS, nil)
	p := client(t, h)
	p.until(`S+ 220
		C: STARTTLS
		S+ 220
		TLS chu
		` + secured)
	crl, err := world().authority.Revoke(world().certs["chu"])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.options.CRLDir, "test.crl"), crl, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.guard.Reload(h.options); err != nil {
		t.Fatal(err)
	}
	p.until(`C: MAIL FROM:<roux@chu.example>
		S: 550 5.7.1 *revoque* / *revoked*
		C: NOOP
		S+ 250`)
	if got := value(t, h, "relais_inbound_refusals_total", "at", "mail"); got != 1 {
		t.Errorf("counted %v refusals at MAIL", got)
	}
}

// A transaction that a reload falls into goes on under the trust it began with,
// even if nothing of that is left; the next one is judged by the new.
func TestReloadWithinATransaction(t *testing.T) {
	h := start(t, StartTLS, nil)
	p := client(t, h)
	p.until(`S+ 220
		C: STARTTLS
		S+ 220
		TLS chu
		C: EHLO mail.chu.example
		S+ 250
		C: MAIL FROM:<roux@chu.example>
		S+ 250
		C: RCPT TO:<abc@parcours.example>
		S+ 250
		C: DATA
		S+ 354
		C: Subject: a`)
	crl, err := world().authority.Revoke(world().certs["chu"])
	if err != nil {
		t.Fatal(err)
	}
	name, err := trust.ParseName(dnCHG)
	if err != nil {
		t.Fatal(err)
	}
	var list bytes.Buffer
	o := h.options
	dir := filepath.Dir(o.WhiteList)
	o.Certificate, o.Key, o.MaxShrink = filepath.Join(dir, "new.pem"), filepath.Join(dir, "new.key"), 50
	renewed, err := world().authority.Issue(trust.Request{Name: "CN=nouveau." + domain})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		os.WriteFile(filepath.Join(o.CRLDir, "test.crl"), crl, 0o600),
		trust.WriteWhiteList(&list, time.Now(), []trust.Entry{{Domain: "chg.example", Operator: name}}),
		os.WriteFile(o.WhiteList, list.Bytes(), 0o600),
		trust.SavePair(dir, "new", renewed),
	); err != nil {
		t.Fatal(err)
	}
	if err := h.guard.Reload(o); err != nil {
		t.Fatal(err)
	}
	p.until(`C: 
		C: a
		C: .
		S+ 250`)
	if speaks := h.stub.envelope.Peer.SpeaksFor; !speaks("chu.example") || speaks("chg.example") {
		t.Error("the transaction was judged by two lists")
	}
	p.until(`C: MAIL FROM:<roux@chu.example>
		S: 550 5.7.1 *revoque* / *revoked*
		C: NOOP
		S+ 250`)
	again := client(t, h)
	again.until(`S+ 220
		C: STARTTLS
		S+ 220
		TLS chg
		C: EHLO mail.chg.example
		S+ 250
		C: MAIL FROM:<accueil@chg.example>
		S+ 250`)
	if seen := again.conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName; seen != "nouveau."+domain {
		t.Errorf("a new connection is shown the certificate of %s", seen)
	}
}

// What the hub cannot know for want of a revocation list it says to be its own
// affair.
func TestRevocationUnknown(t *testing.T) {
	h := start(t, ImplicitTLS, nil)
	late, err := trust.NewDevAuthority(nil)
	if err != nil {
		t.Fatal(err)
	}
	crl, err := late.RevokeUntil(time.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	pair, err := late.Issue(trust.Request{Name: dnCHU})
	if err != nil {
		t.Fatal(err)
	}
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: late.Certificate().Raw})
	if err := errors.Join(
		os.WriteFile(filepath.Join(h.options.CRLDir, "late.crl"), crl, 0o600),
		os.WriteFile(h.options.Authorities, bundle, 0o600),
	); err != nil {
		t.Fatal(err)
	}
	dialogue := `S+ 220
		C: EHLO mail.chu.example
		S+ 250
		C: MAIL FROM:<roux@chu.example>
		`
	for _, step := range []struct {
		grace time.Duration
		want  string
	}{
		{2 * time.Hour, `S+ 250`},
		{0, `S: 550 5.7.1 Le relais n'a pas de liste de revocation a jour * / The hub has no current revocation list *`},
	} {
		h.options.CRLGrace = step.grace
		if err := h.guard.Reload(h.options); err != nil {
			t.Fatal(err)
		}
		p := client(t, h)
		p.use(tls.Client(p.conn, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}}))
		p.until(dialogue + step.want)
	}
	if !strings.Contains(h.log.String(), `"reason":"revocation-unknown"`) {
		t.Errorf("the journal does not say why:\n%s", h.log)
	}
}

// A resumed session is as good as a whole handshake: the certificate is known.
func TestResumedSession(t *testing.T) {
	h := start(t, ImplicitTLS, nil)
	config := &tls.Config{
		InsecureSkipVerify: true, Certificates: []tls.Certificate{world().certs["chu"]},
		ClientSessionCache: tls.NewLRUClientSessionCache(1), ServerName: "localhost",
	}
	for i := range 2 {
		p := client(t, h)
		conn := tls.Client(p.conn, config)
		p.use(conn)
		p.until(`S+ 220
			` + secured)
		if resumed := conn.ConnectionState().DidResume; resumed != (i == 1) {
			t.Errorf("connection %d: resumed %v", i, resumed)
		}
	}
}

// Failed handshakes are told apart in the journal, in words of our own.
func TestHandshakeCauses(t *testing.T) {
	for cause, greet := range map[string]func(net.Conn){
		"not-tls": func(c net.Conn) { c.Write([]byte("EHLO a.example\r\n")) },
		"timeout": func(net.Conn) {},
		"connection-lost": func(c net.Conn) {
			c.Write([]byte{22, 3, 1, 2})
			c.Close()
		},
		"refused-by-peer": func(c net.Conn) { tls.Client(c, &tls.Config{ServerName: "ailleurs.example"}).Handshake() },
		"protocol": func(c net.Conn) {
			tls.Client(c, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}).Handshake()
		},
	} {
		t.Run(cause, func(t *testing.T) {
			h := start(t, ImplicitTLS, func(o *Options) {
				if cause == "timeout" { // the others take what a busy machine needs
					o.Limits.Handshake = 200 * time.Millisecond
				}
			})
			greet(client(t, h).conn)
			if !within(5*time.Second, func() bool { return strings.Contains(h.log.String(), `"cause":"`+cause+`"`) }) {
				t.Errorf("%s is not in the journal:\n%s", cause, h.log)
			}
			if got := value(t, h, "relais_inbound_handshake_failures_total"); got != 1 {
				t.Errorf("%v failures counted", got)
			}
		})
	}
}
