package e2e

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/textproto"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

// sink is the peers' side: an SMTP server that takes copies and remembers
// them. It can be told to misbehave.
type sink struct {
	t      testing.TB
	addr   string
	server *smtp.Server

	mu      sync.Mutex
	got     []taken
	faults  func() fault    // nil: none
	refused map[string]bool // boxes that do not exist
}

// taken is one copy a box was given.
type taken struct {
	at       time.Time
	from, to string
	header   textproto.MIMEHeader
	body     [32]byte // SHA-256 of the bytes after the header
	size     int
	delivery string // X-Relais-Delivery
	id       string // Message-ID
	kind     string // X-Relais-Kind
	raw      []byte // only if keep
}

// fault is how one transaction goes wrong.
type fault int

const (
	fine        fault = iota
	refuseLater       // 451 at RCPT
	refuseData        // 451 after the final dot
	dropEarly         // connection closed at MAIL
	dropData          // connection closed in the middle of DATA
	stall             // nothing is said for a while, then closed
	refuseNow         // 550 5.1.1 at RCPT
)

func newSink(t testing.TB) *sink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{t: t, addr: l.Addr().String()}
	s.serve(l)
	t.Cleanup(func() { s.server.Close() })
	return s
}

func (s *sink) serve(l net.Listener) {
	s.server = smtp.NewServer(s)
	s.server.Domain = "sink.test"
	s.server.MaxLineLength = 1 << 20
	s.server.EnableDSN = true
	s.server.ErrorLog = log.New(io.Discard, "", 0)
	go s.server.Serve(l)
}

// away takes the server off the network; back brings it back at its address.
func (s *sink) away() { s.server.Close() }

func (s *sink) back() {
	s.t.Helper()
	var l net.Listener
	eventually(s.t, 10*time.Second, "the sink's port is free", func() (ok bool) {
		var err error
		l, err = net.Listen("tcp", s.addr)
		return err == nil
	})
	s.serve(l)
}

// all returns what was taken so far.
func (s *sink) all() []taken {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]taken(nil), s.got...)
}

// misbehave sets how transactions go wrong from now on; nil: they do not.
func (s *sink) misbehave(faults func() fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = faults
}

func (s *sink) draw() fault {
	s.mu.Lock()
	faults := s.faults
	s.mu.Unlock()
	if faults == nil {
		return fine
	}
	return faults()
}

// refuse makes a box one that does not exist.
func (s *sink) refuse(box string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused == nil {
		s.refused = map[string]bool{}
	}
	s.refused[box] = true
}

func (s *sink) refuses(box string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused[box]
}

// count counts what ok accepts.
func (s *sink) count(ok func(taken) bool) int {
	n := 0
	for _, c := range s.all() {
		if ok(c) {
			n++
		}
	}
	return n
}

func (s *sink) NewSession(c *smtp.Conn) (smtp.Session, error) {
	return &sinkSession{s: s, conn: c}, nil
}

type sinkSession struct {
	s        *sink
	conn     *smtp.Conn
	from, to string
	fault    fault
}

func (c *sinkSession) Reset()        {}
func (c *sinkSession) Logout() error { return nil }

func (c *sinkSession) Mail(from string, _ *smtp.MailOptions) error {
	c.from, c.fault = from, c.s.draw()
	switch c.fault {
	case dropEarly:
		c.conn.Conn().Close()
	case stall:
		time.Sleep(300 * time.Millisecond)
		c.conn.Conn().Close()
	}
	return nil
}

func (c *sinkSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	c.to = to
	if c.s.refuses(to) {
		c.fault = refuseNow
	}
	switch c.fault {
	case refuseLater:
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 2, 0}, Message: "later"}
	case refuseNow:
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such box"}
	}
	return nil
}

func (c *sinkSession) Data(r io.Reader) error {
	if c.fault == dropData {
		io.CopyN(io.Discard, r, 100)
		c.conn.Conn().Close()
		return io.ErrUnexpectedEOF
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if c.fault == refuseData {
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "later"}
	}
	head, body, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	fields, _ := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(head, "\r\n\r\n"...)))).ReadMIMEHeader()
	got := taken{
		at: time.Now(), from: c.from, to: c.to, header: fields, body: sha256.Sum256(body), size: len(raw),
		delivery: fields.Get("X-Relais-Delivery"), id: fields.Get("Message-Id"), kind: fields.Get("X-Relais-Kind"), raw: raw,
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.got = append(c.s.got, got)
	return nil
}

// sometimes draws faults: each of kinds with the given share of transactions.
func sometimes(share float64, kinds ...fault) func() fault {
	return func() fault {
		if rand.Float64() >= share {
			return fine
		}
		return kinds[rand.IntN(len(kinds))]
	}
}
