package autoconfig

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/netutil"

	"github.com/relais-sante/relais/gateway/serving"
	"github.com/relais-sante/relais/store/journal"
)

// Paths of the document: at autoconfig.DOMAIN, and at DOMAIN itself.
const (
	Path          = "/mail/config-v1.1.xml"
	WellKnownPath = "/.well-known/autoconfig" + Path
)

// Bounds. Behind a web server all clients come from one address, so they are of
// all together.
const (
	maxConnections = 64
	maxHeader      = 4 << 10 // request line included, more or less
	maxPerSecond   = 50
	patience       = 5 * time.Second
)

// Handler gives the document.
type Handler struct {
	mux  *http.ServeMux
	body []byte
	log  *slog.Logger
	now  func() time.Time

	mu     sync.Mutex
	second time.Time
	count  int
}

// NewHandler makes the document, once. A nil clock is time.Now.
func NewHandler(s Settings, log *slog.Logger, now func() time.Time) (*Handler, error) {
	h := &Handler{mux: http.NewServeMux(), log: log, now: now}
	if h.now == nil {
		h.now = time.Now
	}
	var err error
	if h.body, err = s.XML(); err != nil {
		return nil, err
	}
	for _, path := range []string{Path, WellKnownPath} {
		h.mux.HandleFunc("GET "+path, h.give) // and HEAD
	}
	return h, nil
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.take() {
		w.Header().Set("Retry-After", "1")
		http.Error(w, http.StatusText(http.StatusTooManyRequests), http.StatusTooManyRequests)
		return
	}
	h.mux.ServeHTTP(w, r)
}

// take reports whether one more request is answered this second.
func (h *Handler) take() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := h.now().Truncate(time.Second); !now.Equal(h.second) {
		h.second, h.count = now, 0
	}
	h.count++
	return h.count <= maxPerSecond
}

func (h *Handler) give(w http.ResponseWriter, r *http.Request) {
	peer, _ := netip.ParseAddrPort(r.RemoteAddr)
	h.log.Info("client settings given", "peer", net.TCPAddrFromAddrPort(peer), "method", journal.Word(r.Method))
	head := w.Header()
	head.Set("Content-Type", "text/xml; charset=utf-8")
	head.Set("Content-Length", strconv.Itoa(len(h.body)))
	head.Set("Cache-Control", "max-age=3600")
	head.Set("X-Content-Type-Options", "nosniff")
	w.Write(h.body) // who has gone has gone
}

// Serve answers on l until ctx ends. It closes l.
func (h *Handler) Serve(ctx context.Context, l net.Listener) error {
	s := &http.Server{
		Handler: serving.Noted(h.log, h), MaxHeaderBytes: maxHeader, ReadTimeout: patience, WriteTimeout: patience, IdleTimeout: patience,
		ErrorLog: slog.NewLogLogger(journal.Discard().Handler(), slog.LevelDebug),
	}
	defer context.AfterFunc(ctx, func() { s.Close() })()
	if err := s.Serve(netutil.LimitListener(l, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving client settings: %w", err)
	}
	return nil
}
