package demo

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// resolver is the name service of the demonstration: it knows the mail host
// (MX) of each operator's domain and that host's address, and nothing else.
type resolver struct {
	conn net.PacketConn
	done chan struct{}
	mx   map[string]string     // domain → mail host; names end in a dot
	a    map[string]netip.Addr // mail host → address
}

// newResolver answers on a free port of loopback. hosts gives the address of
// each domain's mail host, which is called mx.DOMAIN.
func newResolver(hosts map[string]netip.Addr) (*resolver, error) {
	r := &resolver{done: make(chan struct{}), mx: map[string]string{}, a: map[string]netip.Addr{}}
	for domain, address := range hosts {
		r.mx[domain+"."] = "mx." + domain + "."
		r.a["mx."+domain+"."] = address
	}
	var err error
	if r.conn, err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("opening the name service: %w", err)
	}
	go r.serve()
	return r, nil
}

func (r *resolver) address() string { return r.conn.LocalAddr().String() }

func (r *resolver) close() {
	r.conn.Close()
	<-r.done
}

func (r *resolver) serve() {
	defer close(r.done)
	buf := make([]byte, 4096)
	for {
		n, from, err := r.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if reply, err := r.answer(buf[:n]); err == nil {
			_, _ = r.conn.WriteTo(reply, from)
		}
	}
}

// answer answers the first question of a query (RFC 1035 §4). A name that is
// known has no records of other types; any other name does not exist.
func (r *resolver) answer(query []byte) ([]byte, error) {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil {
		return nil, fmt.Errorf("reading a query: %w", err)
	}
	q, err := p.Question()
	if err != nil {
		return nil, fmt.Errorf("reading a question: %w", err)
	}
	reply := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: h.ID, Response: true, Authoritative: true, RecursionDesired: h.RecursionDesired},
		Questions: []dnsmessage.Question{q},
	}
	name := strings.ToLower(q.Name.String())
	host, domain := r.mx[name]
	address, mailHost := r.a[name]
	add := func(body dnsmessage.ResourceBody) {
		reply.Answers = append(reply.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 60}, Body: body,
		})
	}
	switch {
	case domain && q.Type == dnsmessage.TypeMX:
		mx, err := dnsmessage.NewName(host)
		if err != nil {
			return nil, fmt.Errorf("naming a mail host: %w", err)
		}
		add(&dnsmessage.MXResource{Pref: 10, MX: mx})
	case mailHost && q.Type == dnsmessage.TypeA:
		add(&dnsmessage.AResource{A: address.As4()})
	case !domain && !mailHost:
		reply.RCode = dnsmessage.RCodeNameError
	}
	return reply.Pack()
}
