package inbound

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"testing"

	"github.com/relais-sante/relais/mailbox"
)

// null is a hub that reads and forgets.
type null struct{ stub }

func (*null) Intake(_ context.Context, _ mailbox.Envelope, r io.Reader) (mailbox.Receipt, error) {
	_, err := io.Copy(io.Discard, r)
	return mailbox.Receipt{Message: "m"}, err
}

// BenchmarkServer measures messages per second over loopback, client included:
// one transaction after the other on each connection.
func BenchmarkServer(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20} {
		body := []byte(strings.Repeat(strings.Repeat("x", 76)+"\r\n", size/78) + ".\r\n")
		for _, connections := range []int{1, 10} {
			for _, secure := range []bool{false, true} {
				b.Run(fmt.Sprintf("%dKiB-%dconn-tls=%v", size>>10, connections, secure), func(b *testing.B) {
					security := StartTLS
					if secure {
						security = ImplicitTLS
					}
					h := start(b, security, func(o *Options) { o.AnyPeer, o.Hub = true, &null{} })
					b.SetBytes(int64(len(body)))
					jobs := make(chan struct{})
					var wg sync.WaitGroup
					for range connections {
						conn, err := net.Dial("tcp", h.addr)
						if err != nil {
							b.Fatal(err)
						}
						if secure {
							conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{world().certs["chu"]}})
						}
						c := textproto.NewConn(conn)
						wg.Go(func() {
							defer conn.Close()
							c.ReadResponse(220)
							c.PrintfLine("EHLO a.example")
							c.ReadResponse(250)
							for range jobs {
								if err := send(c, conn, body); err != nil {
									b.Error(err)
								}
							}
						})
					}
					for b.Loop() {
						jobs <- struct{}{}
					}
					close(jobs)
					wg.Wait()
					b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
				})
			}
		}
	}
}

func send(c *textproto.Conn, conn net.Conn, body []byte) error {
	for _, step := range []struct {
		line string
		code int
	}{{"MAIL FROM:<roux@chu.example>", 250}, {"RCPT TO:<abc@parcours.example>", 250}, {"DATA", 354}} {
		if err := c.PrintfLine("%s", step.line); err != nil {
			return err
		}
		if _, _, err := c.ReadResponse(step.code); err != nil {
			return err
		}
	}
	if _, err := conn.Write(body); err != nil {
		return err
	}
	_, _, err := c.ReadResponse(250)
	return err
}
