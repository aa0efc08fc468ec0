package outbound

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store"
)

// flood is a hub with n copies of one mail, spread over lanes.
type flood struct {
	body  []byte
	lanes int
	done  chan struct{}

	mu         sync.Mutex
	left       []int // to be claimed, by lane
	unrecorded int
	commits    int
}

func newFlood(n, lanes, size int) *flood {
	f := &flood{
		body:  []byte(strings.Repeat(strings.Repeat("x", 76)+"\r\n", size/78)),
		lanes: lanes, done: make(chan struct{}), left: make([]int, lanes), unrecorded: n,
	}
	for i := range n {
		f.left[i%lanes]++
	}
	return f
}

func (f *flood) Lanes(context.Context) (due []string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, n := range f.left {
		if n > 0 {
			due = append(due, fmt.Sprintf("out:%d", i))
		}
	}
	return due, nil
}

func (f *flood) NextDue(context.Context) (time.Time, error) { return time.Time{}, nil }
func (f *flood) Wake() <-chan struct{}                      { return nil }

func (f *flood) ClaimDeliveries(_ context.Context, lane string, limit int) ([]mailbox.Job, error) {
	var i int
	if _, err := fmt.Sscanf(lane, "out:%d", &i); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n := min(limit, f.left[i])
	f.left[i] -= n
	return make([]mailbox.Job, n), nil
}

func (f *flood) Open(context.Context, mailbox.Job) (*mailbox.Outgoing, error) {
	return &mailbox.Outgoing{
		MailFrom: "k7f3q2x.b-1@hub.example", RcptTo: store.Address("box@chu.example"),
		Size: int64(len(f.body)), ReadCloser: io.NopCloser(bytes.NewReader(f.body)),
	}, nil
}

func (f *flood) Finish(_ context.Context, results []mailbox.Result) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.commits++
	for _, r := range results {
		if r.Outcome.Kind != mailbox.OutcomeSent {
			return fmt.Errorf("not sent: %+v", r.Outcome)
		}
	}
	if f.unrecorded -= len(results); f.unrecorded == 0 {
		close(f.done)
	}
	return nil
}

// void is a peer that takes whatever comes, at next to no cost, so that what is
// measured is the relay.
func void(b *testing.B, offers string) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go swallow(c, offers)
		}
	}()
	return ln.Addr().String()
}

func swallow(c net.Conn, offers string) {
	defer c.Close()
	fmt.Fprint(c, "220 void\r\n")
	buf := make([]byte, 256<<10)
	body := false
	n := 0
	for {
		k, err := c.Read(buf[n:])
		if err != nil {
			return
		}
		n += k
		said := buf[:n]
		var answer string
		switch {
		case body && bytes.HasSuffix(said, []byte("\r\n.\r\n")):
			answer, body = "250 2.0.0 ok\r\n", false
		case body: // keep as much as could be the beginning of the end
			n = copy(buf, said[max(0, n-4):])
			continue
		case bytes.HasPrefix(said, []byte("EHLO")):
			answer = "250-void\r\n" + offers + "250 SIZE\r\n"
		default:
			answer = strings.Repeat("250 2.1.0 ok\r\n", bytes.Count(said, []byte("\n")))
			if body = bytes.HasSuffix(said, []byte("DATA\r\n")); body {
				answer = answer[:len(answer)-len("250 2.1.0 ok\r\n")] + "354 go\r\n"
			}
		}
		if n = 0; answer != "" {
			fmt.Fprint(c, answer)
		}
	}
}

// processTime is what the process has spent so far, in the kernel as well.
func processTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkRelay hands copies to a peer that throws them away. An operation is
// one copy, from the claim to its recorded outcome; cpu-µs/op counts the peer's
// part too.
func BenchmarkRelay(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20} {
		for _, offers := range []string{"", "250-PIPELINING\r\n"} {
			for _, lanes := range []int{1, 10} {
				b.Run(fmt.Sprintf("%dKB/pipelining=%v/lanes=%d", size>>10, offers != "", lanes), func(b *testing.B) {
					f := newFlood(b.N, lanes, size)
					route, addr := toward{}, void(b, offers)
					for i := range lanes {
						route[fmt.Sprint(i)] = addr
					}
					o := quick(nil, route)
					o.Hub = f
					r, err := New(o)
					if err != nil {
						b.Fatal(err)
					}
					b.SetBytes(int64(size))
					b.ReportAllocs()
					b.ResetTimer()
					spent := processTime()
					ctx, cancel := context.WithCancel(context.Background())
					over := make(chan error, 1)
					go func() { over <- r.Run(ctx) }()
					<-f.done
					b.StopTimer()
					b.ReportMetric(float64((processTime()-spent).Nanoseconds())/1e3/float64(b.N), "cpu-µs/op")
					b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "copies/s")
					b.ReportMetric(float64(b.N)/float64(f.commits), "copies/commit")
					cancel()
					<-over
				})
			}
		}
	}
}
