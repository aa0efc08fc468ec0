package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a server over hub on a socket of its own and gives its path.
func start(t *testing.T, o Options) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "admin.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- NewServer(o).Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("serving: %v", err)
		}
	})
	return path
}

func dialTest(t *testing.T, path string) *Client {
	c := NewClient(path)
	t.Cleanup(c.Close)
	return c
}

// TestEveryOperation calls every method of the client and compares what the
// hub was asked with what was asked of the client, and the answers.
func TestEveryOperation(t *testing.T) {
	hub := &echo{}
	c := dialTest(t, start(t, Options{Hub: hub}))
	client := reflect.ValueOf(c)
	operations := reflect.TypeFor[Operations]()
	for i := range operations.NumMethod() {
		m := operations.Method(i)
		t.Run(m.Name, func(t *testing.T) {
			in := []reflect.Value{reflect.ValueOf(t.Context()), reflect.ValueOf(mailbox.Actor{Name: "not this one"})}
			var want []any
			for j := 2; j < m.Type.NumIn(); j++ {
				if m.Type.In(j) == reflect.TypeFor[io.Reader]() {
					in, want = append(in, reflect.ValueOf(strings.NewReader("bytes\r\n"))), append(want, "bytes\r\n")
					continue
				}
				arg := reflect.New(m.Type.In(j)).Elem()
				fill(arg, fmt.Sprintf("%s.%d", m.Name, j))
				in, want = append(in, arg), append(want, arg.Interface())
			}
			out := client.MethodByName(m.Name).Call(in)
			if err := out[len(out)-1].Interface(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, hub.asked[m.Name]); diff != "" {
				t.Errorf("asked (-client +hub):\n%s", diff)
			}
			if !strings.HasPrefix(hub.actor.Name, fmt.Sprintf("unix:%d", os.Geteuid())) || hub.actor.Where == "" {
				t.Errorf("actor %+v is not who connected", hub.actor)
			}
			if len(out) == 1 {
				return
			}
			if r, ok := out[0].Interface().(io.ReadCloser); ok {
				got, err := io.ReadAll(r)
				r.Close()
				if want := "the mail " + want[0].(string); err != nil || string(got) != want {
					t.Errorf("got %q, %v; want %q", got, err, want)
				}
				return
			}
			answer := reflect.New(out[0].Type()).Elem()
			fill(answer, m.Name)
			if diff := cmp.Diff(answer.Interface(), out[0].Interface()); diff != "" {
				t.Errorf("answer (-hub +client):\n%s", diff)
			}
		})
	}
	if got, want := len(routes), operations.NumMethod()+1; got != want {
		t.Errorf("%d routes for %d operations and status", got, want-1)
	}
}

// ask over plain HTTP, as a stranger to our client would.
func post(t *testing.T, path string, req *http.Request) (int, string) {
	t.Helper()
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) }}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestRefusedRequests(t *testing.T) {
	path := start(t, Options{Hub: &echo{}, Version: "v9"})
	const show = "/v1/pathway/show"
	for _, c := range []struct {
		name, method, path, kind, version, body string
		status                                  int
		says                                    string
	}{
		{"fine", "POST", show, "application/json", version, `{"pathway":"x"}`, 200, `"id"`},
		{"charset", "POST", show, "application/json; charset=utf-8", version, `{"pathway":"x"}`, 200, `"id"`},
		{"unknown verb", "POST", "/v1/pathway/shew", "application/json", version, `{}`, 404, "v9"},
		{"wrong method", "GET", show, "application/json", version, `{}`, 405, "bad-request"},
		{"no version", "POST", show, "application/json", "", `{}`, 400, "other-version"},
		{"newer version", "POST", show, "application/json", "2", `{}`, 400, "other-version"},
		{"form", "POST", show, "application/x-www-form-urlencoded", version, `pathway=x`, 415, "bad-request"},
		{"unknown field", "POST", show, "application/json", version, `{"pathway":"x","colour":1}`, 400, "colour"},
		{"wrong type", "POST", show, "application/json", version, `{"pathway":7}`, 400, "bad-request"},
		{"not json", "POST", show, "application/json", version, `pathway`, 400, "bad-request"},
		{"empty", "POST", show, "application/json", version, ``, 400, "bad-request"},
		{"two values", "POST", show, "application/json", version, `{} {}`, 400, "bad-request"},
		{"oversized", "POST", show, "application/json", version, `{"pathway":"` + strings.Repeat("x", maxRequest) + `"}`, 413, "too-large"},
		{"upload without parameters", "POST", "/v1/team/import", "text/csv", version, `a;b`, 400, "bad-request"},
		{"upload with unknown parameter", "POST", "/v1/team/import?q=%7B%22colour%22:1%7D", "text/csv", version, `a;b`, 400, "colour"},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := http.NewRequest(c.method, "http://hub"+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", c.kind)
			req.Header.Set(headerVersion, c.version)
			status, body := post(t, path, req)
			if status != c.status || !strings.Contains(body, c.says) {
				t.Errorf("got %d %.200s, want %d and %q", status, body, c.status, c.says)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	hub := &echo{}
	var log bytes.Buffer
	c := dialTest(t, start(t, Options{Hub: hub, Log: journal.New(&log, nil)}))
	for _, tc := range []struct {
		err  error
		code string
	}{
		{&mailbox.Failure{Code: "some-failure"}, "some-failure"},
		{fmt.Errorf("filing: %w", &mailbox.Refusal{Reason: mailbox.RefuseClosed}), "closed"},
		{fmt.Errorf("writing: %w", store.ErrFull), "store-full"},
		{store.ErrConflict, "changed"},
		{store.ErrErased, "erased"},
		{store.ErrClosed, "store-unavailable"},
		{fmt.Errorf("reading: %w", store.ErrNotFound), "not-found"},
		{context.DeadlineExceeded, "too-slow"},
		{errors.New("Jeanne broke it"), "fault"},
	} {
		hub.err = tc.err
		_, err := c.Pathway(t.Context(), mailbox.Actor{}, "x")
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%v: got %v, no Error", tc.err, err)
			continue
		}
		if e.Code != tc.code || e.Exit != 1 || e.In(texts.French) == "" || e.In(texts.English) == "" ||
			strings.Contains(e.TextEN+e.TextFR, "\n") {
			t.Errorf("%v: got %+v, want code %q", tc.err, e, tc.code)
		}
		if strings.Contains(e.TextEN, "Jeanne") {
			t.Errorf("the cause of a fault is told: %s", e.TextEN)
		}
		if tc.code != "fault" {
			continue
		}
		reference := strings.Fields(e.TextEN[strings.Index(e.TextEN, "reference ")+len("reference "):])[0]
		if !strings.Contains(log.String(), reference) || strings.Contains(log.String(), "Jeanne") {
			t.Errorf("journal %q: want reference %q without the cause's words", log.String(), reference)
		}
	}
}

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
		l, err := Listen(path)
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

func TestStatus(t *testing.T) {
	want := Status{}
	fill(reflect.ValueOf(&want).Elem(), "status")
	c := dialTest(t, start(t, Options{Hub: &echo{}, Status: StatusFunc(func(context.Context) (Status, error) { return want, nil })}))
	got, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-hub +client):\n%s", diff)
	}
}

// Whatever answers on the socket, if it is not a hub of this API it is not
// believed.
func TestForeignServer(t *testing.T) {
	for _, tc := range []struct {
		version, body, code string
	}{
		{"", `{}`, "other-version"},
		{"2", `{}`, "other-version"},
		{version, `<html>`, "broken-off"},
	} {
		path := filepath.Join(t.TempDir(), "admin.sock")
		l, err := Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(headerVersion, tc.version)
			_, _ = io.WriteString(w, tc.body)
		})}
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }()
		c := NewClient(path)
		_, err = c.Pathway(t.Context(), mailbox.Actor{}, "x")
		var e *Error
		if !errors.As(err, &e) || e.Code != tc.code {
			t.Errorf("version %q, body %q: got %v, want %s", tc.version, tc.body, err, tc.code)
		}
		c.Close()
		s.Close()
		<-served
	}
}
