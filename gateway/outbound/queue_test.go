package outbound

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store"
)

// queue is a hub as the relay sees it, in memory, with the schedule a test
// wants and a record of everything asked of it.
type queue struct {
	retry func(attempt int) time.Duration
	box   string // operator's box that everything leaves from
	wake  chan struct{}

	mu      sync.Mutex
	entries map[store.DeliveryID]*entry
	order   []store.DeliveryID
	finish  func([]mailbox.Result) error // slows or fails a commit
	commits int
	moved   chan struct{} // closed and replaced at every change
}

type entry struct {
	id       store.DeliveryID
	mail     mailbox.Outgoing
	body     []byte
	due      time.Time
	leased   bool
	attempts int
	claimed  []time.Time
	results  []mailbox.Outcome
	ended    bool
}

func newQueue() *queue {
	return &queue{
		retry: func(int) time.Duration { return 20 * time.Millisecond }, wake: make(chan struct{}, 1),
		entries: map[store.DeliveryID]*entry{}, moved: make(chan struct{}),
	}
}

const plain = "Subject: relais\r\n\r\nBonjour.\r\n.\r\n..deux points\r\n"

// add queues a mail of the plain text.
func (q *queue) add(rcpt string) store.DeliveryID {
	return q.addMail(mailbox.Outgoing{MailFrom: "k7f3q2x.b-1@hub.example", RcptTo: store.Address(rcpt)}, plain)
}

func (q *queue) addMail(m mailbox.Outgoing, body string) store.DeliveryID {
	q.mu.Lock()
	defer q.mu.Unlock()
	id := store.DeliveryID(fmt.Sprintf("d%05d", len(q.order)))
	m.EnvID = string(id)
	if m.Size == 0 {
		m.Size = int64(len(body))
	}
	q.entries[id] = &entry{id: id, mail: m, body: []byte(body), due: time.Now()}
	q.order = append(q.order, id)
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return id
}

func (q *queue) changed() {
	close(q.moved)
	q.moved = make(chan struct{})
}

func (q *queue) lane(e *entry) string {
	if q.box != "" {
		return "out:" + e.mail.RcptTo.Domain() + "/" + q.box
	}
	return "out:" + e.mail.RcptTo.Domain()
}

func (q *queue) Lanes(context.Context) ([]string, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var lanes []string
	for _, id := range q.order {
		e := q.entries[id]
		lane := q.lane(e)
		if !e.ended && !e.leased && !e.due.After(time.Now()) && !slices.Contains(lanes, lane) {
			lanes = append(lanes, lane)
		}
	}
	return lanes, nil
}

func (q *queue) NextDue(context.Context) (next time.Time, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.entries {
		if !e.ended && !e.leased && (next.IsZero() || e.due.Before(next)) {
			next = e.due
		}
	}
	return next, nil
}

func (q *queue) Wake() <-chan struct{} { return q.wake }

func (q *queue) ClaimDeliveries(_ context.Context, lane string, limit int) (jobs []mailbox.Job, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for _, id := range q.order {
		e := q.entries[id]
		if len(jobs) == limit || e.ended || e.leased || e.due.After(now) || q.lane(e) != lane {
			continue
		}
		e.leased = true
		e.attempts++
		e.claimed = append(e.claimed, now)
		jobs = append(jobs, mailbox.Job{Delivery: store.Delivery{ID: id, Mailbox: e.mail.RcptTo}, Attempt: e.attempts})
	}
	q.changed()
	return jobs, nil
}

func (q *queue) Open(_ context.Context, job mailbox.Job) (*mailbox.Outgoing, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.entries[job.Delivery.ID]
	if e.body == nil {
		return nil, fmt.Errorf("opening message: %w", store.ErrErased)
	}
	m := e.mail
	m.ReadCloser = io.NopCloser(bytes.NewReader(e.body))
	return &m, nil
}

func (q *queue) Finish(_ context.Context, results []mailbox.Result) error {
	if q.finish != nil {
		if err := q.finish(results); err != nil {
			return err
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.commits++
	for _, r := range results {
		e := q.entries[r.Job.Delivery.ID]
		if !e.leased {
			return errors.New("recorded without a lease: " + string(e.id))
		}
		e.leased = false
		e.results = append(e.results, r.Outcome)
		switch r.Outcome.Kind {
		case mailbox.OutcomeNoAttempt:
			e.attempts--
			e.due = time.Now()
		case mailbox.OutcomeTemporary:
			e.due = time.Now().Add(q.retry(e.attempts))
		default:
			e.ended = true
		}
	}
	q.changed()
	return nil
}

// until waits until the entries satisfy ok.
func (q *queue) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		q.mu.Lock()
		done, moved := ok(), q.moved
		q.mu.Unlock()
		if done {
			return
		}
		select {
		case <-moved:
		case <-limit:
			t.Fatalf("gave up waiting until %s", what)
		}
	}
}

// all waits until every delivery has ended.
func (q *queue) all(t *testing.T) {
	t.Helper()
	q.until(t, "every delivery has ended", func() bool {
		return !slices.ContainsFunc(q.order, func(id store.DeliveryID) bool { return !q.entries[id].ended })
	})
}

// first waits for the first outcome of a delivery.
func (q *queue) first(t *testing.T, id store.DeliveryID) mailbox.Outcome {
	t.Helper()
	q.until(t, "an outcome is recorded", func() bool { return len(q.entries[id].results) > 0 })
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.entries[id].results[0]
}

func (q *queue) get(id store.DeliveryID) entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	return *q.entries[id]
}

// toward is a route by a table: domain to address.
type toward map[string]string

func (r toward) Peer(to Target) string { return to.Domain }

func (r toward) Hops(_ context.Context, to Target) ([]Hop, error) {
	var all []Hop
	for a := range strings.SplitSeq(r[to.Domain], ",") {
		all = append(all, Hop{Host: "mx." + to.Domain, Address: a})
	}
	return all, nil
}

func (r toward) Verify(tls.ConnectionState, Hop, Target) error { return nil }

// everybody is a trust that lists every domain but those in it.
type everybody []string

func (everybody) ClientConfig(string) *tls.Config { return &tls.Config{InsecureSkipVerify: true} }

func (everybody) VerifyServer(tls.ConnectionState, string) (trust.Identity, error) {
	return trust.Identity{}, nil
}

func (everybody) VerifySmarthost(tls.ConnectionState, string) (trust.Identity, error) {
	return trust.Identity{}, nil
}

func (e everybody) Listed(domain string) bool { return !slices.Contains(e, domain) }

// quick are options for tests on loopback, in clear.
func quick(q *queue, route Route) Options {
	return Options{
		Hub: q, Route: route, Trust: everybody{}, Hello: "hub.example", TLS: TLSNone,
		Timeouts: Timeouts{
			Connect: 10 * time.Second, Dial: 10 * time.Second,
			Command: 10 * time.Second, Block: 10 * time.Second, End: 10 * time.Second,
		},
		Backoff: Backoff{First: 10 * time.Millisecond, Most: 50 * time.Millisecond},
		Grace:   time.Second,
	}
}

// start runs a relay for the length of the test, or until stop is called.
func start(t *testing.T, o Options) (r *Relay, stop func()) {
	t.Helper()
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return r, stop
}
