package inbound

import (
	"io"
	"time"
)

// longAgo as a deadline ends what is waiting.
var longAgo = time.Unix(1, 0)

// interrupt asks the wire to end: at once if it waits for a command outside a
// transaction, else after the transaction. Called by the server.
func (w *wire) interrupt() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopping = true
	if w.waiting && !w.busy {
		w.raw.SetReadDeadline(longAgo)
	}
}

// cut ends the wire whatever it does. Called by the server.
func (w *wire) cut() { w.raw.Close() }

// dismiss answers with a last reply.
func (w *wire) dismiss(a answer) {
	w.hangup = true
	w.reply(a)
}

// reply writes an answer of the wire's own.
func (w *wire) reply(a answer) {
	if a.code >= 400 {
		w.errors++
		w.server.metrics.refused(stageConnection, string(a.reason))
	}
	w.out = append(w.out, a.line()...)
}

// Close sends what is left and ends the connection.
func (w *wire) Close() error {
	if w.isClosed() {
		return nil
	}
	w.flush()
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.in.drop()
	if !w.moved {
		w.hangUp()
	}
	w.release()
	return nil
}

// hangUp closes the network connection. Where the peer may still be sending,
// closing at once would reset the connection and may lose the reply on its way.
func (w *wire) hangUp() {
	if w.linger && (w.tls == nil || w.shaken) {
		if w.tls != nil {
			w.tls.CloseWrite()
		}
		if half, ok := w.raw.(interface{ CloseWrite() error }); ok {
			half.CloseWrite()
			w.raw.SetReadDeadline(time.Now().Add(w.server.limits.Linger))
			io.CopyN(io.Discard, w.raw, w.server.limits.drain())
		}
	}
	if w.tls != nil && w.shaken {
		w.tls.SetWriteDeadline(time.Now().Add(time.Second)) // for the close_notify alert
		w.tls.Close()
	}
	w.raw.Close()
}
