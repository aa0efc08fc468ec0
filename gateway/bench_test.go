package gateway

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"

	"github.com/relais-sante/relais/configs"
	"github.com/relais-sante/relais/gateway/admin"
	"github.com/relais-sante/relais/gateway/setup"
	"github.com/relais-sante/relais/mailbox"
)

// nullPeer takes every copy and counts them.
type nullPeer struct{ taken atomic.Int64 }

func (p *nullPeer) NewSession(*gosmtp.Conn) (gosmtp.Session, error) { return nullSession{p}, nil }

type nullSession struct{ p *nullPeer }

func (nullSession) Reset()                                 {}
func (nullSession) Logout() error                          { return nil }
func (nullSession) Mail(string, *gosmtp.MailOptions) error { return nil }
func (nullSession) Rcpt(string, *gosmtp.RcptOptions) error { return nil }
func (s nullSession) Data(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	s.p.taken.Add(1)
	return err
}

// BenchmarkWay takes messages of 4 KB over SMTP and sends their copies to a
// peer that takes all: the whole daemon, on a disk that syncs.
func BenchmarkWay(b *testing.B) {
	for _, boxes := range []int{1, 8} {
		for _, connections := range []int{1, 10, 50} {
			b.Run(fmt.Sprintf("boxes=%d/connections=%d", boxes, connections), func(b *testing.B) { benchmarkWay(b, boxes, connections) })
		}
	}
}

func benchmarkWay(b *testing.B, boxes, connections int) {
	peer := new(nullPeer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := gosmtp.NewServer(peer)
	s.Domain = "null.test"
	go s.Serve(l)
	defer s.Close()
	dir := filepath.Join(b.TempDir(), "hub")
	if _, err := setup.Init(setup.Options{Dir: dir, Domain: "parcours.bench.test", Dev: true, Locale: "fr"}); err != nil {
		b.Fatal(err)
	}
	c, _ := configs.Load(filepath.Join(dir, setup.ConfigName))
	c.Inbound.Listen = configs.Listens{{Mode: configs.STARTTLS, Address: "127.0.0.1:0"}}
	c.Inbound.MessagesPerMinute, c.Inbound.MaxConnectionsPerPeer = 0, 1000
	c.Submission.Listen, c.IMAP.Listen = nil, nil
	c.Outbound.Smarthost = l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	ready, done := make(chan admin.Status, 1), make(chan error, 1)
	go func() { done <- Serve(ctx, Options{Config: c, Ready: func(s admin.Status) { ready <- s }}) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			b.Error(err)
		}
	}()
	status := <-ready
	code := team(b, ctx, AdminSocket(c), boxes)

	b.ReportAllocs()
	b.ResetTimer()
	var next atomic.Int64
	var senders sync.WaitGroup
	for range connections {
		senders.Go(func() { send(b, status.Listeners.Inbound[0], code, &next) })
	}
	senders.Wait()
	accepted := b.Elapsed()
	for peer.taken.Load() < int64(b.N*boxes) {
		time.Sleep(100 * time.Microsecond)
	}
	b.ReportMetric(float64(b.N)/accepted.Seconds(), "accepted/s")
	b.ReportMetric(float64(b.N*boxes)/b.Elapsed().Seconds(), "copies/s")
}

// team makes a pathway with an author and boxes that get copies.
func team(b *testing.B, ctx context.Context, socket string, boxes int) string {
	b.Helper()
	hub := admin.NewClient(socket)
	defer hub.Close()
	p, err := hub.Include(ctx, mailbox.Actor{}, mailbox.IncludeRequest{
		Programme: "pon", FamilyName: "Martin", GivenName: "Léa", BirthDate: "2015-03-02", Sex: "F",
		Consent: "oral", ConsentFrom: "mère", ConsentBy: "IDEC",
	})
	if err != nil {
		b.Fatal(err)
	}
	for i := range boxes + 1 {
		m := mailbox.MemberRequest{
			Pathway: p.ID, Name: fmt.Sprintf("Mme Numéro %d", i), Role: "infirmier",
			Mailbox: fmt.Sprintf("box%d@out.test", i), Type: "PER",
		}
		if _, err := hub.AddMember(ctx, mailbox.Actor{}, m); err != nil {
			b.Fatal(err)
		}
	}
	return p.ID
}

func send(b *testing.B, addr, code string, next *atomic.Int64) {
	c, err := smtp.Dial(addr)
	if err != nil {
		b.Error(err)
		return
	}
	defer c.Close()
	text := strings.Repeat("Surveillance de routine, rien à signaler aujourd'hui. Bien à vous.\r\n", 60)
	for {
		n := next.Add(1)
		if n > int64(b.N) {
			return
		}
		if err := c.Mail("box0@out.test"); err != nil {
			b.Error(err)
			return
		}
		if err := c.Rcpt(code + "@parcours.bench.test"); err != nil {
			b.Error(err)
			return
		}
		w, err := c.Data()
		if err != nil {
			b.Error(err)
			return
		}
		fmt.Fprintf(w, "From: <box0@out.test>\r\nSubject: Message %d\r\nMessage-ID: <%d@bench.test>\r\nDate: Mon, 23 Nov 2026 09:00:00 +0100\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%s", n, n, text)
		if err := w.Close(); err != nil {
			b.Error(err)
			return
		}
	}
}
