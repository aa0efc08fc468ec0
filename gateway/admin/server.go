package admin

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/relais-sante/relais/gateway/trust"
	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store/journal"
)

// Options are what a server is made of.
type Options struct {
	Hub Hub
	// Grants say who may do what, besides root and the hub's own user.
	Grants []Grant
	// Guard judges client certificates; without it nobody is known by one.
	Guard      *trust.Guard
	Care       Caretaker
	Status     StatusSource
	Log        *slog.Logger
	Version    string // of the program, for people
	MaxMessage int64  // bytes of a mail sent for explanation; default 25 MiB
	// Grace is how long running requests may go on once the context of Serve
	// ended; default 5 s.
	Grace time.Duration
}

// Hub is what the server asks of the floor below; [mailbox.Hub] is it.
type Hub interface {
	Operations
	// TraceRefusal traces that an actor asked for what is not theirs.
	TraceRefusal(ctx context.Context, a mailbox.Actor, verb string) error
}

// Server answers the admin API.
type Server struct {
	o       Options
	grants  atomic.Pointer[[]Grant] // instead of those of o
	slots   chan struct{}
	running sync.WaitGroup
}

// NewServer returns a server; it does nothing before Serve.
func NewServer(o Options) *Server {
	if o.Log == nil {
		o.Log = journal.Discard()
	}
	if o.MaxMessage == 0 {
		o.MaxMessage = 25 << 20
	}
	if o.Grace == 0 {
		o.Grace = 5 * time.Second
	}
	return &Server{o: o, slots: make(chan struct{}, maxAtOnce)}
}

// SetGrants changes who may do what, from the next request by certificate and the
// next connection to the socket on.
func (s *Server) SetGrants(all []Grant) { s.grants.Store(&all) }

func (s *Server) granted() []Grant {
	if g := s.grants.Load(); g != nil {
		return *g
	}
	return s.o.Grants
}

// Serve answers on l until ctx ends, then lets what is running finish for the
// time of grace. It closes l. It returns nil when it was told to stop.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	// Requests outlive ctx by the time of grace.
	requests, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	h := &http.Server{
		Handler:           http.HandlerFunc(s.answer),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ConnContext:       s.withPeer,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	unhook := context.AfterFunc(ctx, func() {
		defer cut()
		late, cancel := context.WithTimeout(requests, s.o.Grace)
		defer cancel()
		if h.Shutdown(late) != nil {
			_ = h.Close()
		}
	})
	err := h.Serve(l)
	if unhook() {
		cut() // the listener failed by itself
		_ = h.Close()
	}
	<-requests.Done()
	s.running.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// call is one request under way.
type call struct {
	*Server
	w     http.ResponseWriter
	r     *http.Request
	paced *http.ResponseController
	actor mailbox.Actor
}

// handler does one verb; the error is answered by the server unless the
// answer has begun.
type handler func(*call) error

func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	s.running.Add(1)
	defer s.running.Done()
	c := &call{Server: s, w: w, r: r, paced: http.NewResponseController(w)}
	w.Header().Set(headerVersion, version)
	w.Header().Set(headerProgram, s.o.Version)
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			panic(p)
		default:
			journal.Recovered(s.o.Log, p, "verb", c.name())
			panic(http.ErrAbortHandler)
		}
	}()
	if err := c.serve(); err != nil {
		c.refuse(err)
	}
}

// serve finds the verb and does it.
func (c *call) serve() error {
	h, ok := routes[c.r.URL.Path]
	switch {
	case !ok:
		return problem(http.StatusNotFound, "unknown-verb", map[string]any{"version": c.o.Version})
	case c.r.Method != http.MethodPost:
		c.w.Header().Set("Allow", http.MethodPost)
		return badRequest(http.StatusMethodNotAllowed, "POST")
	case c.r.Header.Get(headerVersion) != version:
		return problem(http.StatusBadRequest, "other-version", map[string]any{"version": c.o.Version})
	}
	who := c.peer()
	var allowed bool
	if c.actor, allowed = who.permit(c.r.URL.Path); !allowed {
		return c.forbid(who)
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-time.After(10 * time.Second):
		return problem(http.StatusServiceUnavailable, "busy", nil)
	case <-c.r.Context().Done():
		return c.r.Context().Err()
	}
	err := h(c)
	if failure, ok := errors.AsType[*mailbox.Failure](err); ok && failure.Code == mailbox.OutsideProgrammes {
		c.traceRefusal()
	}
	return err
}

// forbid answers who may not do that. One who may do other things is traced;
// of strangers, whose number nothing bounds, the journal tells.
func (c *call) forbid(who peer) error {
	if len(who.grants) == 0 {
		c.o.Log.Warn("admin request of nobody known", "verb", c.name(), "why", who.unknown)
		return problem(http.StatusForbidden, "not-allowed", map[string]any{"who": who.actor.Name})
	}
	c.actor = who.actor
	c.traceRefusal()
	return problem(http.StatusForbidden, "not-your-role", map[string]any{"who": who.actor.Name})
}

func (c *call) traceRefusal() {
	c.o.Log.Warn("admin request refused", "verb", c.name())
	if err := c.o.Hub.TraceRefusal(c.r.Context(), c.actor, string(c.name())); err != nil {
		c.o.Log.Error("tracing a refusal failed", "verb", c.name(), "error", err)
	}
}

// name gives the verb for the journal: only names of the table, since a path
// comes from outside.
func (c *call) name() journal.Word {
	if _, ok := routes[c.r.URL.Path]; ok {
		return journal.Word(c.r.URL.Path)
	}
	return "unknown"
}

// refuse answers an error. A fault is told by a reference into the journal.
func (c *call) refuse(err error) {
	e := known(err)
	if e == nil {
		var random [4]byte
		_, _ = rand.Read(random[:])
		ref := hex.EncodeToString(random[:])
		c.o.Log.Error("admin request failed", "verb", c.name(), "reference", journal.Word(ref), "error", err)
		e = problem(http.StatusInternalServerError, "fault", map[string]any{"reference": ref})
	}
	_ = c.json(e.status, e)
}

// status is the one verb that is not the hub's.
func status(c *call) error {
	if err := c.decode(&none{}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), requestTime)
	defer cancel()
	v, err := c.o.Status.Status(ctx)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, v)
}
