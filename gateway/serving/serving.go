// Package serving is what the hub's servers have in common: how connections are
// taken off a listener, and what becomes of a panic behind net/http.
package serving

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/relais-sante/relais/store/journal"
)

// Connections hands each connection of l to serve, which must not wait. It
// returns nil once stopping, and other errors of the listener before. A fault
// that may pass, such as too many open files, is waited out, no longer than ctx.
func Connections(ctx context.Context, l net.Listener, log *slog.Logger, stopping func() bool, serve func(net.Conn)) error {
	var pause time.Duration
	for {
		conn, err := l.Accept()
		if err == nil {
			pause = 0
			serve(conn)
			continue
		}
		if stopping() {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("accepting a connection: %w", err)
		}
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		log.Warn("accepting a connection failed", "error", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// Noted is a handler whose panics are noted. net/http would write their value
// down; it ends the connection all the same.
func Noted(log *slog.Logger, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch p := recover(); p {
			case nil:
			case http.ErrAbortHandler:
				panic(p)
			default:
				journal.Recovered(log, p)
				panic(http.ErrAbortHandler)
			}
		}()
		h.ServeHTTP(w, r)
	})
}
