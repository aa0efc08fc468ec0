package operator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store/journal"
)

// Faults of opening a box.
const (
	errNoSTARTTLS = journal.Fault("the server does not go over to TLS")
	errGreeting   = journal.Fault("the server does not greet as an IMAP server")
	errNo         = journal.Fault("the server says no")
	errNoValidity = journal.Fault("the server does not say how it counts (UIDVALIDITY)")
	errSilent     = journal.Fault("the connection was lost")
	errGarbled    = journal.Fault("the server's answer is not understood")
	errStuck      = journal.Fault("the client does not end")
)

// What a short exchange may bring (see [fence.allow]).
const (
	fewAnswers = 1000
	fewBytes   = 1 << 20
)

// session is one conversation with the server.
type session struct {
	*Poller
	fence *fence
	imap  *imapclient.Client
	stop  func() bool // of watching the context
	news  chan struct{}
	count atomic.Uint32 // messages in the inbox
	where string        // the server's address

	selected uint32   // messages there were when the inbox was selected
	uidNext  imap.UID // then; 0: not told
}

// step allows for one exchange.
func (s *session) step() { s.fence.allow(s.o.Step, fewAnswers, fewBytes, 0) }

// open connects, goes over to TLS and makes sure who answers.
func (p *Poller) open(ctx context.Context) (*session, error) {
	e := p.o.Settings.IMAP
	host, _ := e.HostPort()
	dialling, cancel := context.WithTimeout(ctx, p.o.Step)
	defer cancel()
	conn, err := p.o.Dial(dialling, "tcp", e.Address)
	if err != nil {
		return nil, fail(FaultDial, fmt.Errorf("dialling: %w", err))
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	secured, err := p.secure(dialling, conn, host)
	if err != nil {
		stop()
		conn.Close()
		return nil, err
	}
	s := &session{
		Poller: p, fence: &fence{Conn: secured}, stop: stop, where: e.Address,
		news: make(chan struct{}, 1),
	}
	if e.Mode == configs.STARTTLS {
		s.fence.greeting = []byte("* OK ready\r\n") // it has greeted before TLS
	}
	s.step()
	s.imap = imapclient.New(s.fence, &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Mailbox: func(d *imapclient.UnilateralDataMailbox) {
			if d.NumMessages != nil {
				s.told(*d.NumMessages)
			}
		},
	}})
	if err := s.imap.WaitGreeting(); err != nil {
		err = s.broken(err, errGreeting)
		s.close()
		return nil, err
	}
	return s, nil
}

// told notes how many messages there are now.
func (s *session) told(n uint32) {
	s.count.Store(n)
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// secure makes TLS of a new connection.
func (p *Poller) secure(ctx context.Context, conn net.Conn, host string) (net.Conn, error) {
	_ = conn.SetDeadline(time.Now().Add(p.o.Step))
	if p.o.Settings.IMAP.Mode == configs.STARTTLS {
		if err := startTLS(conn); err != nil {
			return nil, fail(FaultTLS, fmt.Errorf("asking for TLS: %w", err))
		}
	}
	tc := tls.Client(conn, p.o.Access.TLS(host))
	if err := tc.HandshakeContext(ctx); err != nil {
		return nil, fail(FaultTLS, fmt.Errorf("shaking hands: %w", err))
	}
	if err := p.o.Access.Verify(tc.ConnectionState(), host); err != nil {
		fault := FaultTLS
		var no *trust.Distrust
		if errors.As(err, &no) {
			fault = untrusted(no.Reason)
		}
		return nil, fail(fault, fmt.Errorf("checking the certificate: %w", err))
	}
	return tc, nil
}

// startTLS asks for TLS by hand (RFC 3501 §6.2.1). It reads byte by byte, so
// that nothing a stranger has put behind the answer is taken for the server's.
func startTLS(conn net.Conn) error {
	greeting, err := readLine(conn)
	if err != nil {
		return err
	}
	// PREAUTH would make STARTTLS impossible, and is an attack here (RFC 9051
	// §11.1).
	if !strings.HasPrefix(strings.ToUpper(greeting), "* OK") {
		return errGreeting
	}
	if _, err := io.WriteString(conn, "S0 STARTTLS\r\n"); err != nil {
		return err
	}
	for range 20 {
		line, err := readLine(conn)
		if err != nil {
			return err
		}
		if result, ours := strings.CutPrefix(line, "S0 "); ours {
			if !strings.HasPrefix(strings.ToUpper(result), "OK") {
				return errNoSTARTTLS
			}
			return nil
		}
	}
	return errNoSTARTTLS
}

func readLine(conn net.Conn) (string, error) {
	line := make([]byte, 0, 128)
	for one := make([]byte, 1); len(line) < 8<<10; {
		if _, err := io.ReadFull(conn, one); err != nil {
			return "", err
		}
		if one[0] == '\n' {
			return strings.TrimSuffix(string(line), "\r"), nil
		}
		line = append(line, one[0])
	}
	return "", errLine
}

// enter logs in and opens the inbox.
func (s *session) enter(ctx context.Context) error {
	if err := s.login(ctx); err != nil {
		return err
	}
	if err := s.selectInbox(); err != nil {
		return err
	}
	return s.settle(ctx)
}

func (s *session) login(ctx context.Context) error {
	if s.imap.State() == imap.ConnStateAuthenticated { // PREAUTH: by certificate
		s.o.Access.Preauthenticated()
		return nil
	}
	s.step()
	err := s.o.Access.Login(ctx, offered(s.imap.Caps()), func(c sasl.Client) error {
		s.step()
		return s.broken(s.exchange(c), ErrRefused)
	})
	var known *failure
	switch {
	case err == nil, errors.Is(err, ErrWaiting), errors.As(err, &known):
		return err
	case errors.Is(err, ErrMechanism):
		return fail(FaultMechanism, err)
	case errors.Is(err, ErrRefused):
		return fail(FaultRefused, err)
	}
	return fail(FaultToken, err)
}

// offered are the ways to log in.
func offered(caps imap.CapSet) []string {
	var all []string
	for c := range caps {
		if name, ok := strings.CutPrefix(string(c), "AUTH="); ok {
			all = append(all, name)
		}
	}
	if !caps.Has(imap.CapLoginDisabled) {
		all = append(all, sasl.Login)
	}
	return all
}

// exchange logs in. LOGIN is IMAP's own command, which all servers have.
func (s *session) exchange(c sasl.Client) error {
	mechanism, first, err := c.Start()
	if err != nil {
		return err
	}
	if mechanism != sasl.Login {
		return s.imap.Authenticate(started{c, mechanism, first})
	}
	password, err := c.Next([]byte("Password:"))
	if err != nil {
		return err
	}
	return s.imap.Login(string(first), string(password)).Wait()
}

// started is a mechanism that has begun.
type started struct {
	sasl.Client
	mechanism string
	first     []byte
}

// Start implements [sasl.Client].
func (s started) Start() (string, []byte, error) {
	return s.mechanism, s.first, nil
}

// selectInbox opens the inbox and compares how it counts.
func (s *session) selectInbox() error {
	s.step()
	data, err := s.imap.Select(s.o.Settings.Inbox, nil).Wait()
	if err != nil {
		if err := s.broken(err, nil); err != nil {
			return err
		}
		return fail(FaultFolder, errNo)
	}
	if data.UIDValidity == 0 {
		return fail(FaultProtocol, errNoValidity)
	}
	s.count.Store(data.NumMessages)
	s.selected, s.uidNext = data.NumMessages, data.UIDNext
	if data.UIDValidity != s.cursor.Validity {
		if s.cursor.Validity != 0 {
			s.o.Log.Warn("an operator's box counts anew; everything in it is read again", "box", s.name)
		}
		s.cursor = mailbox.Cursor{Box: s.box, Folder: s.o.Settings.Inbox, Validity: data.UIDValidity}
		clear(s.tries)
	}
	return nil
}

// broken says what an error of the client means: the server's no, which becomes
// no (nil: nothing), or the end of the conversation.
func (s *session) broken(err, no error) error {
	if err == nil {
		return nil
	}
	var said *imap.Error
	if errors.As(err, &said) {
		switch {
		case said.Type == imap.StatusResponseTypeBye:
			return fail(FaultCut, errSilent)
		case passing(said.Code):
			return fail(FaultServer, errNo)
		case no == nil:
			return nil
		}
		return no
	}
	cause, fenced := s.fence.why()
	switch {
	case fenced:
		return fail(FaultProtocol, cause)
	case cause != nil:
		return fail(FaultCut, fmt.Errorf("the connection was lost: %w", cause))
	}
	return fail(FaultProtocol, errGarbled) // the client's words quote the server
}

// passing: the server's trouble, not ours (RFC 5530 §3).
func passing(code imap.ResponseCode) bool {
	switch code {
	case imap.ResponseCodeUnavailable, imap.ResponseCodeInUse, imap.ResponseCodeServerBug, imap.ResponseCodeLimit, imap.ResponseCodeContactAdmin:
		return true
	}
	return false
}

// close ends the conversation at once, and waits for the client's goroutine: it
// may only be stuck if the fence has a hole.
func (s *session) close() {
	s.stop()
	s.fence.Conn.Close()
	t := time.NewTimer(10 * time.Second)
	defer t.Stop()
	select {
	case <-s.imap.Closed():
	case <-t.C:
		s.o.Log.Error("an operator's box left something running", "box", s.name, "error", errStuck)
	}
}
