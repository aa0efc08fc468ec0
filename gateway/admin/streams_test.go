package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
	"github.com/relais-sante/relais/store/journal/journaltest"
)

// Mails in and out, many at once, and the end of a server.

type failingMail struct {
	io.Reader
	err error
}

func (f *failingMail) Read(b []byte) (int, error) {
	n, err := f.Reader.Read(b)
	if errors.Is(err, io.EOF) {
		err = f.err
	}
	return n, err
}

func (f *failingMail) Close() error { return nil }

// A mail that cannot be read to its end must not pass for the whole.
func TestBrokenDownload(t *testing.T) {
	for _, size := range []int{0, 1 << 20} {
		hub := &echo{mail: func() io.ReadCloser {
			return &failingMail{io.LimitReader(endless{}, int64(size)), fmt.Errorf("opening: %w", store.ErrCorrupt)}
		}}
		c := dialTest(t, start(t, Options{Hub: hub}))
		r, err := c.RawMessage(t.Context(), mailbox.Actor{}, "x")
		if err == nil {
			_, err = io.ReadAll(r)
			r.Close()
		}
		var e *Error
		if want := map[int]string{0: "fault", 1 << 20: "broken-off"}[size]; !errors.As(err, &e) || e.Code != want {
			t.Errorf("after %d bytes: got %v, want %s", size, err, want)
		}
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

func TestUploadLimit(t *testing.T) {
	const limit = 3 << 20
	c := dialTest(t, start(t, Options{Hub: &echo{}, MaxMessage: limit}))
	if _, err := c.Explain(t.Context(), mailbox.Actor{}, "x", "", io.LimitReader(endless{}, limit)); err != nil {
		t.Errorf("a mail of the limit: %v", err)
	}
	_, err := c.Explain(t.Context(), mailbox.Actor{}, "x", "", io.LimitReader(endless{}, limit+1))
	var e *Error
	if !errors.As(err, &e) || e.Code != "too-large" || !strings.Contains(e.TextFR, "3 Mio") {
		t.Errorf("a byte more: got %v", err)
	}
}

func TestConcurrentUse(t *testing.T) {
	c := dialTest(t, start(t, Options{Hub: &echo{}}))
	var group sync.WaitGroup
	for i := range 3 * maxAtOnce {
		group.Go(func() {
			if i%3 == 0 {
				if _, err := c.Explain(t.Context(), mailbox.Actor{}, "x", "", io.LimitReader(endless{}, 100<<10)); err != nil {
					t.Errorf("explain: %v", err)
				}
				return
			}
			if _, err := c.Pathways(t.Context(), mailbox.Actor{}, mailbox.PathwayFilter{}); err != nil {
				t.Errorf("list: %v", err)
			}
		})
	}
	group.Wait()
}

// slow is a hub whose answer to Pathway waits.
type slow struct {
	*echo
	asked, answer chan struct{}
}

func (s *slow) Pathway(ctx context.Context, _ mailbox.Actor, _ string) (mailbox.PathwayView, error) {
	close(s.asked)
	select {
	case <-s.answer:
		return mailbox.PathwayView{ID: "done"}, nil
	case <-ctx.Done():
		return mailbox.PathwayView{}, ctx.Err()
	}
}

func TestStopFinishesWhatRuns(t *testing.T) {
	for _, grace := range []time.Duration{time.Minute, time.Millisecond} {
		hub := &slow{&echo{}, make(chan struct{}), make(chan struct{})}
		path := filepath.Join(t.TempDir(), "admin.sock")
		l, err := Listen(path, false)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- NewServer(Options{Hub: hub, Grace: grace}).Serve(ctx, l) }()
		c := NewClient(path)
		got := make(chan error, 1)
		go func() {
			_, err := c.Pathway(t.Context(), mailbox.Actor{}, "x")
			got <- err
		}()
		<-hub.asked
		stop()
		if grace > time.Second {
			close(hub.answer)
		}
		if err := <-got; (err == nil) != (grace > time.Second) {
			t.Errorf("grace %v: got %v", grace, err)
		}
		if err := <-served; err != nil {
			t.Errorf("grace %v: serving: %v", grace, err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is still there: %v", err)
		}
		c.Close()
	}
}

type panicking struct{ *echo }

func (panicking) TriageList(context.Context, mailbox.Actor) ([]mailbox.HeldView, error) {
	panic("Jeanne")
}

func TestPanicStaysInItsRequest(t *testing.T) {
	journaltest.Expect(t)
	var log bytes.Buffer
	c := dialTest(t, start(t, Options{Hub: panicking{&echo{}}, Log: journal.New(&log, nil)}))
	if _, err := c.TriageList(t.Context(), mailbox.Actor{}); err == nil {
		t.Error("no error")
	}
	if _, err := c.Pathway(t.Context(), mailbox.Actor{}, "x"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	if !strings.Contains(log.String(), "TriageList") || strings.Contains(log.String(), "Jeanne") {
		t.Errorf("journal: %s", log.String())
	}
}
