package outbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func TestMX(t *testing.T) {
	table := dns{
		"one.example":     {{Host: "mx.one.example.", Pref: 10}},
		"order.example":   {{Host: "c.", Pref: 30}, {Host: "a.", Pref: 10}, {Host: "b.", Pref: 20}},
		"null.example":    {{Host: ".", Pref: 0}},
		"partly.example":  {{Host: "nowhere.example.", Pref: 1}, {Host: "here.example.", Pref: 2}},
		"missing.example": {{Host: "nowhere.example.", Pref: 1}},
		"slow.example":    {{Host: "nowhere.example.", Pref: 1}, {Host: "slow.example.", Pref: 2}},
	}
	for i := range 40 {
		table["many.example"] = append(table["many.example"], &net.MX{Host: fmt.Sprintf("mx%d.", i), Pref: uint16(i)})
	}
	for domain, tt := range map[string]struct {
		hosts  string
		reason string // of a NoRoute
		status string
		fails  bool
	}{
		"one.example":      {hosts: "mx.one.example"},
		"order.example":    {hosts: "a b c"},
		"implicit.example": {hosts: "implicit.example"},
		"partly.example":   {hosts: "here.example"},
		"many.example":     {hosts: "mx0 mx1 mx2 mx3 mx4 mx5 mx6 mx7 mx8 mx9"},
		"null.example":     {reason: "null-mx", status: "5.1.10"},
		"nowhere.example":  {reason: "no-host", status: "5.1.2"},
		"missing.example":  {fails: true},
		"slow.example":     {fails: true},
	} {
		t.Run(domain, func(t *testing.T) {
			found, err := NewMX(2525, everybody{}, table).Hops(context.Background(), Target{Domain: domain})
			var none *NoRoute
			switch {
			case tt.reason != "":
				if !errors.As(err, &none) || none.Reason != tt.reason || none.Enhanced != tt.status {
					t.Errorf("error %v", err)
				}
				return
			case tt.fails:
				if err == nil || errors.As(err, &none) {
					t.Errorf("hops %v, error %v; want one that passes", found, err)
				}
				return
			case err != nil:
				t.Fatal(err)
			}
			var hosts []string
			for _, h := range found {
				hosts = append(hosts, h.Host)
				if h.Address != "127.0.0.1:2525" {
					t.Errorf("address %s", h.Address)
				}
			}
			if got := strings.Join(hosts, " "); got != tt.hosts {
				t.Errorf("hosts %q, want %q", got, tt.hosts)
			}
		})
	}
}

// TestEqualPreference: hosts of equal preference share the load.
func TestEqualPreference(t *testing.T) {
	table := dns{"x.example": {{Host: "a.", Pref: 10}, {Host: "b.", Pref: 10}}}
	first := map[string]bool{}
	for range 100 {
		found, err := NewMX(25, everybody{}, table).Hops(context.Background(), Target{Domain: "x.example"})
		if err != nil {
			t.Fatal(err)
		}
		first[found[0].Host] = true
	}
	if len(first) != 2 {
		t.Errorf("always the same one first: %v", first)
	}
}

// TestNextHop: the second host takes what the first cannot.
func TestNextHop(t *testing.T) {
	for name, first := range map[string]func(*testing.T) string{
		"down": nobody,
		"refusing": func(t *testing.T) string {
			return newOperator(t, func(int, int) manners { return on(true, "GREETING", "554 no") }).addr()
		},
	} {
		t.Run(name, func(t *testing.T) {
			op := newOperator(t, nil)
			q := newQueue()
			id := q.add("a@chu.example")
			start(t, quick(q, toward{"chu.example": first(t) + "," + op.addr()}))
			if out := q.first(t, id); out.Code != 250 {
				t.Errorf("outcome %+v", out)
			}
		})
	}
}

// TestResolver asks a real DNS server, for what the table above only imitates.
func TestResolver(t *testing.T) {
	r := NewResolver(nameserver(t))
	m := NewMX(25, everybody{}, r)
	found, err := m.Hops(context.Background(), Target{Domain: "chu.example"})
	if err != nil || !slices.Equal(found, []Hop{{Host: "mx1.chu.example", Address: "127.0.0.5:25"}, {Host: "mx2.chu.example", Address: "127.0.0.5:25"}}) {
		t.Errorf("hops %v, %v", found, err)
	}
	found, err = m.Hops(context.Background(), Target{Domain: "implicit.example"})
	if err != nil || len(found) != 1 || found[0].Address != "127.0.0.5:25" {
		t.Errorf("without MX: hops %v, %v", found, err)
	}
	for domain, reason := range map[string]string{"null.example": "null-mx", "gone.example": "no-host"} {
		var none *NoRoute
		if _, err := m.Hops(context.Background(), Target{Domain: domain}); !errors.As(err, &none) || none.Reason != reason {
			t.Errorf("%s: %v", domain, err)
		}
	}
	var none *NoRoute
	if _, err := m.Hops(context.Background(), Target{Domain: "broken.example"}); err == nil || errors.As(err, &none) {
		t.Errorf("a DNS failure: %v", err)
	}
}

// nameserver is a DNS server on loopback.
func nameserver(t *testing.T) string {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		pc.Close()
		<-done
	})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			var q dnsmessage.Message
			if q.Unpack(buf[:n]) != nil || len(q.Questions) != 1 {
				continue
			}
			if answer, err := zone(q).Pack(); err == nil {
				_, _ = pc.WriteTo(answer, from)
			}
		}
	}()
	return pc.LocalAddr().String()
}

func zone(q dnsmessage.Message) *dnsmessage.Message {
	asked := q.Questions[0]
	a := &dnsmessage.Message{
		Header:    dnsmessage.Header{ID: q.ID, Response: true, Authoritative: true, RecursionAvailable: true},
		Questions: q.Questions,
	}
	mx := func(host string, pref uint16) {
		a.Answers = append(a.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: asked.Name, Type: dnsmessage.TypeMX, Class: dnsmessage.ClassINET},
			Body:   &dnsmessage.MXResource{Pref: pref, MX: dnsmessage.MustNewName(host)},
		})
	}
	name := asked.Name.String()
	switch {
	case name == "broken.example.":
		a.RCode = dnsmessage.RCodeServerFailure
	case name == "gone.example.":
		a.RCode = dnsmessage.RCodeNameError
	case name == "null.example." && asked.Type == dnsmessage.TypeMX:
		mx(".", 0)
	case name == "chu.example." && asked.Type == dnsmessage.TypeMX:
		mx("mx2.chu.example.", 20)
		mx("mx1.chu.example.", 10)
	case asked.Type == dnsmessage.TypeA:
		a.Answers = append(a.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: asked.Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET},
			Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 5}},
		})
	}
	return a
}

func TestSmarthostAddress(t *testing.T) {
	for _, bad := range []string{"", "host", "host:", ":25", "host:0", "host:70000", "host:smtp"} {
		if _, err := NewSmarthost(bad, "", everybody{}, dns{}); err == nil {
			t.Errorf("%q is taken for an address", bad)
		}
	}
	s, err := NewSmarthost("[::1]:2525", "", everybody{}, dns{})
	if err != nil {
		t.Fatal(err)
	}
	if found, err := s.Hops(context.Background(), Target{Domain: "x"}); err != nil || found[0].Address != "[::1]:2525" {
		t.Errorf("hops %v, %v", found, err)
	}
}
