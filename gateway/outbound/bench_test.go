package outbound

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
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

// BenchmarkRelay hands copies to a peer that throws them away. An operation is
// one copy, from the claim to its recorded outcome.
func BenchmarkRelay(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20} {
		for _, lanes := range []int{1, 10} {
			b.Run(fmt.Sprintf("%dKB/lanes=%d", size>>10, lanes), func(b *testing.B) {
				k := newSink(b, false)
				f := newFlood(b.N, lanes, size)
				route := toward{}
				for i := range lanes {
					route[fmt.Sprint(i)] = k.addr
				}
				o := quick(nil, route)
				o.Hub = f
				r, err := New(o)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(size))
				b.ResetTimer()
				ctx, cancel := context.WithCancel(context.Background())
				over := make(chan error, 1)
				go func() { over <- r.Run(ctx) }()
				<-f.done
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "copies/s")
				b.ReportMetric(float64(b.N)/float64(f.commits), "copies/commit")
				cancel()
				<-over
			})
		}
	}
}
