package peertest

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// Names starts a name service on loopback and gives its address. It knows the
// mail host (MX) of each domain, which is called mx.DOMAIN, and that host's
// address; no other name exists.
func Names(t testing.TB, hosts map[string]netip.Addr) string {
	t.Helper()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply, err := answer(buf[:n], hosts); err == nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	}()
	return conn.LocalAddr().String()
}

var errQuery = errors.New("not a query of one question")

// answer answers a query of one question (RFC 1035 §4).
func answer(query []byte, hosts map[string]netip.Addr) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil || len(m.Questions) != 1 {
		return nil, errQuery
	}
	q := m.Questions[0]
	m = dnsmessage.Message{
		Header:    dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true, RecursionDesired: m.RecursionDesired},
		Questions: m.Questions,
	}
	add := func(body dnsmessage.ResourceBody) {
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 60}, Body: body,
		})
	}
	name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	domain, isHost := strings.CutPrefix(name, "mx.")
	address, known := hosts[domain]
	switch {
	case !known:
		m.RCode = dnsmessage.RCodeNameError
	case isHost && q.Type == dnsmessage.TypeA:
		add(&dnsmessage.AResource{A: address.As4()})
	case !isHost && q.Type == dnsmessage.TypeMX:
		host, err := dnsmessage.NewName("mx." + domain + ".")
		if err != nil {
			return nil, err
		}
		add(&dnsmessage.MXResource{Pref: 10, MX: host})
	}
	return m.Pack()
}
