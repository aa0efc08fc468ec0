package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/mailbox/texts"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
	"github.com/relais-sante/relais/store/journal/journaltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(journaltest.Watched{Runner: m}) }

// start runs a server over hub on a socket of its own and gives its path.
func start(t *testing.T, o Options) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "admin.sock")
	l, err := Listen(path, false)
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
				if want := fmt.Sprintf("the bytes of %v", want[0]); err != nil || string(got) != want {
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
	care := reflect.TypeFor[Caretaker]().NumMethod()
	if got, want := len(routes), operations.NumMethod()+care+1; got != want {
		t.Errorf("%d routes for %d operations, %d of the caretaker and status", got, want-care-1, care)
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
		l, err := Listen(path, false)
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

// FuzzRequest hands the server whatever somebody might send: it answers in JSON
// and with a status of its own.
func FuzzRequest(f *testing.F) {
	f.Add("/v1/pathway/show", "", []byte(`{"pathway":"x"}`))
	f.Add("/v1/team/import", `{"pathway":"x","dry_run":true}`, []byte("a;b"))
	f.Add("/v1/message/raw", "", []byte(`{"message":"x"}`))
	f.Add("/v1/queue/list", "", []byte(`{"limit":-1,"limit":1e9}`))
	s := NewServer(Options{Hub: &echo{}, Status: StatusFunc(func(context.Context) (Status, error) { return Status{}, nil })})
	f.Fuzz(func(t *testing.T, path, query string, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.URL = &url.URL{Path: path, RawQuery: url.Values{"q": {query}}.Encode()}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set(headerVersion, version)
		r = r.WithContext(context.WithValue(t.Context(), peerKey{}, peer{all: true}))
		w := httptest.NewRecorder()
		s.answer(w, r)
		if kind := w.Header().Get("Content-Type"); kind == "application/json" && !json.Valid(w.Body.Bytes()) {
			t.Errorf("not JSON: %q", w.Body)
		}
		switch w.Code {
		case http.StatusOK, http.StatusBadRequest, http.StatusNotFound, http.StatusRequestEntityTooLarge:
		default:
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
	})
}
