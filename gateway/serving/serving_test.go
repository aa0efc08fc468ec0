package serving

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/relais-sante/relais/store/journal"
	"github.com/relais-sante/relais/store/journal/journaltest"
)

func TestMain(m *testing.M) { os.Exit(journaltest.Run(m)) }

// answers is a listener that says what it is told to, one after the other.
type answers struct {
	net.Listener
	list []any
}

func (a *answers) Accept() (net.Conn, error) {
	next := a.list[0]
	a.list = a.list[1:]
	if c, ok := next.(net.Conn); ok {
		return c, nil
	}
	return nil, next.(error)
}

// Faults that pass are waited out; a listener that is closed ends the loop, with
// an error unless that was wanted.
func TestConnections(t *testing.T) {
	const full = journal.Fault("full")
	for _, stop := range []bool{false, true} {
		taken, stopping := 0, false
		l := &answers{list: []any{new(net.TCPConn), syscall.EMFILE, full, new(net.TCPConn), net.ErrClosed}}
		err := Connections(context.Background(), l, journal.Discard(), func() bool { return stopping }, func(net.Conn) {
			taken++
			stopping = stop && taken == 2
		})
		if taken != 2 || errors.Is(err, net.ErrClosed) == stop || len(l.list) != 0 {
			t.Errorf("stopped %t: %d taken, %v", stop, taken, err)
		}
	}
}

// A panic behind HTTP is noted without its value; giving up on purpose is none.
func TestNoted(t *testing.T) {
	journaltest.Expect(t)
	var log bytes.Buffer
	before := journal.Panics()
	s := httptest.NewServer(Noted(journal.New(&log, nil), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/panic":
			panic("Jeanne")
		case "/abort":
			panic(http.ErrAbortHandler)
		}
	})))
	defer s.Close()
	for _, path := range []string{"/panic", "/abort"} {
		if r, err := http.Get(s.URL + path); err == nil {
			r.Body.Close()
			t.Errorf("%s is answered", path)
		}
	}
	r, err := http.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	s.Close() // what it served is over
	if journal.Panics() != before+1 || strings.Contains(log.String(), "Jeanne") || !strings.Contains(log.String(), "panic recovered") {
		t.Errorf("%d noted: %s", journal.Panics()-before, log.String())
	}
}
