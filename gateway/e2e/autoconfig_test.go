package e2e

import (
	"crypto/tls"
	"encoding/xml"
	"io"
	"net/http"
	"testing"
	"time"
)

// A client asks the running hub how to reach it, in clear on loopback and by
// TLS; without the setting nothing answers, and `check --srv` tells the same.
func TestAutoconfiguration(t *testing.T) {
	h := newHub(t, settings{rest: withIMAP + `
[autoconfig]
listen = ["127.0.0.1:0", "tls://127.0.0.1:0"]
imap = "tls://imap.e2e.test:993"
submission = "starttls://smtp.e2e.test:587"
`, outbound: outboundNowhere})
	h.start()
	defer h.stop()
	var s struct{ Listeners struct{ Autoconfig []string } }
	h.ask(&s, "status")
	if len(s.Listeners.Autoconfig) != 2 {
		t.Fatalf("listening on %+v", s.Listeners)
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the hub's own test authority
	}}
	defer client.CloseIdleConnections()
	for i, scheme := range []string{"http", "https"} {
		r, err := client.Get(scheme + "://" + s.Listeners.Autoconfig[i] + "/.well-known/autoconfig/mail/config-v1.1.xml?emailaddress=roux@chu.example")
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %v", scheme, r.StatusCode, err)
		}
		var d struct {
			Incoming struct {
				Hostname       string   `xml:"hostname"`
				Port           int      `xml:"port"`
				Authentication []string `xml:"authentication"`
			} `xml:"emailProvider>incomingServer"`
			Outgoing struct {
				SocketType string `xml:"socketType"`
			} `xml:"emailProvider>outgoingServer"`
		}
		if err := xml.Unmarshal(raw, &d); err != nil {
			t.Fatal(err)
		}
		if d.Incoming.Hostname != "imap.e2e.test" || d.Incoming.Port != 993 || d.Incoming.Authentication[0] != "password-cleartext" || d.Outgoing.SocketType != "STARTTLS" {
			t.Errorf("%s", raw)
		}
	}
	var records []struct {
		Name, Target string
		Port         int
	}
	h.ask(&records, "check", "--srv")
	if len(records) != 4 || records[0].Name != "_imaps._tcp."+domain+"." || records[0].Target != "imap.e2e.test." || records[3].Port != 587 {
		t.Errorf("%+v", records)
	}
}
