package demo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/relais-sante/relais/gateway/trust"
)

// operator is a mail operator of the trusted space: a server that takes mail
// for the boxes of its domain, and a client that sends for them.
type operator struct {
	house
	tell   *teller
	server *tls.Config // asks for the hub's certificate and takes no other
	client *tls.Config // shows its own, and takes the hub's only
	store  string      // folder of the boxes as files; empty: memory only

	mu      sync.Mutex
	address string       // IP:port
	smtp    *smtp.Server // nil while it is away
	over    chan struct{}
	taken   []*mail // in the order they came
	proved  int     // transactions in which the hub proved who it is
	doubted int     // transactions in which it did not
}

// openOperators gives each operator its certificate and starts its server: each
// at its own address, all at one port that is free at all of them.
func (s *Stage) openOperators(a *trust.DevAuthority) error {
	authorities := x509.NewCertPool()
	authorities.AddCert(a.Certificate())
	for _, h := range houses {
		pair, err := a.Issue(trust.Request{Name: h.dn(), Hosts: []string{h.host()}})
		if err != nil {
			return err
		}
		if err := trust.SavePair(s.dir, h.name, pair); err != nil {
			return err
		}
		o := &operator{
			house: h, tell: s.tell,
			server: &tls.Config{
				Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12,
				ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authorities,
			},
			client: &tls.Config{
				Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12,
				RootCAs: authorities, ServerName: hubDomain,
			},
		}
		if s.o.Boxes {
			o.store = filepath.Join(s.dir, boxesName)
		}
		s.operators = append(s.operators, o)
	}
	return s.listen()
}

// listen finds a port that is free at every operator's address.
func (s *Stage) listen() error {
	const tries = 20
	for try := 1; ; try++ {
		port := "0"
		var err error
		for _, o := range s.operators {
			if err = o.back(net.JoinHostPort(o.house.address.String(), port)); err != nil {
				break
			}
			_, port, _ = net.SplitHostPort(o.address)
		}
		if err == nil {
			return nil
		}
		for _, o := range s.operators {
			o.away()
		}
		if try == tries || !errors.Is(err, syscall.EADDRINUSE) {
			return &Trouble{ID: "demo.no-loopback", Args: map[string]any{
				"from": houses[0].address, "to": houses[len(houses)-1].address,
			}, Err: err}
		}
	}
}

// back opens the server at address.
func (o *operator) back(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("opening operator %s: %w", o.name, err)
	}
	server := smtp.NewServer(o)
	server.Domain = o.host()
	server.TLSConfig = o.server
	server.EnableDSN = true
	server.MaxMessageBytes = 25 << 20
	server.ReadTimeout, server.WriteTimeout = time.Minute, time.Minute
	server.ErrorLog = log.New(io.Discard, "", 0) // the hub's side tells what went wrong
	over := make(chan struct{})
	o.mu.Lock()
	o.address, o.smtp, o.over = l.Addr().String(), server, over
	o.mu.Unlock()
	go func() {
		defer close(over)
		_ = server.Serve(l)
	}()
	return nil
}

// away closes the server and every connection to it.
func (o *operator) away() {
	o.mu.Lock()
	server, over := o.smtp, o.over
	o.smtp = nil
	o.mu.Unlock()
	if server != nil {
		server.Close()
		<-over
	}
}

func (o *operator) port() uint16 {
	o.mu.Lock()
	defer o.mu.Unlock()
	at, _ := netip.ParseAddrPort(o.address)
	return at.Port()
}

// send hands the hub one mail, as the operator of its sender. The error is the
// hub's answer, if it refused.
func (o *operator) send(ctx context.Context, hub, from, to string, raw []byte) error {
	return transmit(ctx, hub, o.client, from, to, raw)
}

// transmit is one SMTP transaction over STARTTLS.
func transmit(ctx context.Context, address string, config *tls.Config, from, to string, raw []byte) error {
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("reaching the hub: %w", err)
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	c, err := smtp.NewClientStartTLS(conn, config)
	if err != nil {
		conn.Close()
		return fmt.Errorf("securing the connection to the hub: %w", err)
	}
	defer c.Close()
	c.CommandTimeout, c.SubmissionTimeout = patience, patience
	if err := c.Mail(from, nil); err != nil {
		return err
	}
	if err := c.Rcpt(to, nil); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(raw); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}

// NewSession implements smtp.Backend.
func (o *operator) NewSession(c *smtp.Conn) (smtp.Session, error) {
	return &session{operator: o, conn: c}, nil
}

// session is one connection from the hub.
type session struct {
	*operator
	conn     *smtp.Conn
	from, to string
}

// Mail implements smtp.Session. Nobody but the hub is heard, and only behind
// TLS: the server's configuration has verified the chain, the name is checked
// here.
func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	state, secured := s.conn.TLSConnectionState()
	proved := secured && len(state.VerifiedChains) > 0 && state.PeerCertificates[0].Subject.CommonName == hubDomain
	s.mu.Lock()
	defer s.mu.Unlock()
	if !proved {
		s.doubted++
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "not a hub known here"}
	}
	s.proved++
	s.from = from
	return nil
}

// Rcpt implements smtp.Session.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if !strings.EqualFold(domainOf(to), s.domain) {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 2}, Message: "not a domain of ours"}
	}
	s.to = strings.ToLower(to)
	return nil
}

// Data implements smtp.Session.
func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	m, err := readMail(s.to, raw)
	if err != nil {
		return err
	}
	if s.store != "" {
		if err := m.save(s.store); err != nil {
			return err
		}
	}
	state, _ := s.conn.TLSConnectionState()
	s.tell.aside(fmt.Sprintf("%s < %s: MAIL FROM:<%s> RCPT TO:<%s> %d octets, %s, %s", s.host(),
		state.PeerCertificates[0].Subject, s.from, s.to, len(raw), tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite)))
	s.mu.Lock()
	s.taken = append(s.taken, m)
	s.mu.Unlock()
	if s.store != "" {
		s.tell.arrived(m)
	}
	return nil
}

// Reset implements smtp.Session.
func (s *session) Reset() { s.from, s.to = "", "" }

// Logout implements smtp.Session.
func (s *session) Logout() error { return nil }
