package gateway

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/smtp"
	"os"
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
	h := benchHub(b, filepath.Join(b.TempDir(), "hub"))
	code := team(b, h.admin, boxes)

	b.ReportAllocs()
	b.ResetTimer()
	accepted := h.sends(b, connections, b.N, func(int) (from, to string) { return "box0@out.test", code })
	h.peer.await(b, int64(b.N*boxes))
	b.ReportMetric(float64(b.N)/accepted.Seconds(), "accepted/s")
	b.ReportMetric(float64(b.N*boxes)/b.Elapsed().Seconds(), "copies/s")
}

// benched is a hub that serves in this process and sends to a null peer.
type benched struct {
	peer  *nullPeer
	smtp  string
	admin *admin.Client
	stop  func()
}

// benchHub serves the hub in dir, which it makes if it is not there.
func benchHub(b *testing.B, dir string) *benched {
	b.Helper()
	h := &benched{peer: new(nullPeer)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := gosmtp.NewServer(h.peer)
	s.Domain = "null.test"
	go s.Serve(l)
	if _, err := os.Stat(dir); err != nil {
		if _, err := setup.Init(setup.Options{Dir: dir, Domain: benchDomain, Dev: true, Locale: "fr"}); err != nil {
			b.Fatal(err)
		}
	}
	c, _ := configs.Load(filepath.Join(dir, setup.ConfigName))
	c.Inbound.Listen = configs.Listens{{Mode: configs.STARTTLS, Address: "127.0.0.1:0"}}
	c.Inbound.MessagesPerMinute, c.Inbound.MaxConnectionsPerPeer = 0, 1000
	c.Submission.Listen, c.IMAP.Listen = nil, nil
	c.Outbound.Smarthost = l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	ready, done := make(chan admin.Status, 1), make(chan error, 1)
	go func() { done <- Serve(ctx, Options{Config: c, Ready: func(s admin.Status) { ready <- s }}) }()
	select {
	case status := <-ready:
		h.smtp = status.Listeners.Inbound[0]
	case err := <-done:
		b.Fatal(err)
	}
	h.admin = admin.NewClient(AdminSocket(c))
	h.stop = sync.OnceFunc(func() {
		h.admin.Close()
		stop()
		if err := <-done; err != nil {
			b.Error(err)
		}
		s.Close()
	})
	b.Cleanup(h.stop)
	return h
}

const benchDomain = "parcours.bench.test"

// sends has n messages taken over some connections and says how long it took.
// which gives the author of each and the pathway it goes to.
func (h *benched) sends(b *testing.B, connections, n int, which func(int) (from, to string)) time.Duration {
	b.Helper()
	start := time.Now()
	var next atomic.Int64
	var senders sync.WaitGroup
	for range connections {
		senders.Go(func() {
			if err := send(h.smtp, &next, int64(n), which); err != nil {
				b.Error(err)
			}
		})
	}
	senders.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return time.Since(start)
}

// await waits until the peer took so many copies.
func (p *nullPeer) await(b *testing.B, copies int64) {
	b.Helper()
	last, since := p.taken.Load(), time.Now()
	for {
		switch now := p.taken.Load(); {
		case now >= copies:
			return
		case now > last:
			last, since = now, time.Now()
		case time.Since(since) > time.Minute:
			b.Fatalf("%d of %d copies came", now, copies)
		}
		time.Sleep(100 * time.Microsecond)
	}
}

// team makes a pathway with an author and boxes that get copies.
func team(b *testing.B, hub *admin.Client, boxes int) string {
	b.Helper()
	p, err := hub.Include(b.Context(), mailbox.Actor{}, mailbox.IncludeRequest{
		Programme: "pon", FamilyName: "Martin", GivenName: "Léa", BirthDate: "2015-03-02", Sex: "F",
		Consent: "oral", ConsentFrom: "mère", ConsentBy: "IDEC",
	})
	if err != nil {
		b.Fatal(err)
	}
	for i := range boxes + 1 {
		join(b, hub, p.ID, fmt.Sprintf("box%d@out.test", i))
	}
	return p.ID
}

func join(b *testing.B, hub *admin.Client, code, box string) {
	b.Helper()
	m := mailbox.MemberRequest{Pathway: code, Name: "Mme " + strings.TrimSuffix(box, "@out.test"), Role: "infirmier", Mailbox: box, Type: "PER"}
	if _, err := hub.AddMember(b.Context(), mailbox.Actor{}, m); err != nil {
		b.Fatal(err)
	}
}

var benchText = strings.Repeat("Surveillance de routine, rien à signaler aujourd'hui. Bien à vous.\r\n", 60)

// run tells the messages of one run of the benchmarks from another's.
var run atomic.Int64

// send sends over one connection until n messages went over all of them.
func send(addr string, next *atomic.Int64, n int64, which func(int) (from, to string)) error {
	c, err := smtp.Dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	series := run.Add(1)
	for {
		i := next.Add(1)
		if i > n {
			return nil
		}
		from, to := which(int(i - 1))
		if err := c.Mail(from); err != nil {
			return err
		}
		if err := c.Rcpt(to + "@" + benchDomain); err != nil {
			return err
		}
		w, err := c.Data()
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "From: <%s>\r\nSubject: Message %d\r\nMessage-ID: <%d.%d.%d@bench.test>\r\nDate: Mon, 23 Nov 2026 09:00:00 +0100\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%s",
			from, i, i, series, os.Getpid(), benchText)
		if err := w.Close(); err != nil {
			return err
		}
	}
}
