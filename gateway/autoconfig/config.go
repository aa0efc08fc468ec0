// Package autoconfig tells mail clients how to reach the structured mailbox, so
// that people type their address and nothing else: the clientConfig document of
// Thunderbird, version 1.1, over HTTP, and the SRV names to publish in the DNS
// (RFC 6186, RFC 8314 §5.1).
//
// Rules that hold here:
//
//   - The answer is made once and is the same for every address: it is not even
//     looked at, so nobody learns who has an account.
//   - Nothing of a request is kept or written down but where it came from.
package autoconfig

import (
	"encoding/xml"
	"fmt"
)

// Server is one that clients connect to.
type Server struct {
	Host     string
	Port     uint16
	STARTTLS bool // else TLS from the first byte
}

// Settings are what clients are told.
type Settings struct {
	Domain     string   // the hub's mail domain
	IMAP       []Server // best first
	Submission []Server
	Password   bool // passwords are taken, from some networks at least
	Tokens     bool // there is an identity provider
}

// The clientConfig document.
type document struct {
	XMLName  xml.Name `xml:"clientConfig"`
	Version  string   `xml:"version,attr"`
	Provider provider `xml:"emailProvider"`
}

type provider struct {
	ID       string   `xml:"id,attr"`
	Domain   string   `xml:"domain"`
	Name     string   `xml:"displayName"`
	Short    string   `xml:"displayShortName"`
	Incoming []server `xml:"incomingServer"`
	Outgoing []server `xml:"outgoingServer"`
}

type server struct {
	Type           string   `xml:"type,attr"`
	Hostname       string   `xml:"hostname"`
	Port           uint16   `xml:"port"`
	SocketType     string   `xml:"socketType"`
	Username       string   `xml:"username"`
	Authentication []string `xml:"authentication"`
}

// XML is the clientConfig document.
func (s *Settings) XML() ([]byte, error) {
	d := document{Version: "1.1", Provider: provider{
		ID: s.Domain, Domain: s.Domain, Name: "Relais (" + s.Domain + ")", Short: "Relais",
		Incoming: s.servers("imap", s.IMAP), Outgoing: s.servers("smtp", s.Submission),
	}}
	body, err := xml.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the settings for clients: %w", err)
	}
	return append(append([]byte(xml.Header), body...), '\n'), nil
}

func (s *Settings) servers(kind string, list []Server) (all []server) {
	for _, one := range list {
		socket := "SSL"
		if one.STARTTLS {
			socket = "STARTTLS"
		}
		all = append(all, server{
			Type: kind, Hostname: one.Host, Port: one.Port, SocketType: socket, Username: "%EMAILADDRESS%", Authentication: s.ways(),
		})
	}
	return all
}

// ways are the ways to log in. A client takes the first that it knows. A
// certificate comes last: most clients know how to present one, few users have it.
func (s *Settings) ways() (all []string) {
	if s.Tokens {
		all = append(all, "OAuth2")
	}
	if s.Password {
		all = append(all, "password-cleartext") // in TLS
	}
	return append(all, "TLS-client-cert")
}

// Record is a SRV record (RFC 2782).
type Record struct {
	Name     string `json:"name"`
	Priority uint16 `json:"priority"`
	Weight   uint16 `json:"weight"`
	Port     uint16 `json:"port"`
	Target   string `json:"target"` // ".": not offered
}

// String is the record as a line of a zone.
func (r Record) String() string {
	return fmt.Sprintf("%s IN SRV %d %d %d %s", r.Name, r.Priority, r.Weight, r.Port, r.Target)
}

// SRV are the records that find the servers. What is not offered is said, too
// (RFC 6186 §3.4). TLS from the first byte goes first (RFC 8314 §5.1).
func (s *Settings) SRV() []Record {
	one := func(service string, priority uint16, list []Server, starttls bool) Record {
		r := Record{Name: "_" + service + "._tcp." + s.Domain + ".", Target: "."}
		for _, o := range list {
			if o.STARTTLS == starttls {
				r.Priority, r.Weight, r.Port, r.Target = priority, 1, o.Port, o.Host+"."
				break
			}
		}
		return r
	}
	return []Record{
		one("imaps", 0, s.IMAP, false), one("imap", 10, s.IMAP, true),
		one("submissions", 0, s.Submission, false), one("submission", 10, s.Submission, true),
	}
}
