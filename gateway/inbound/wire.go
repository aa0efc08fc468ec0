package inbound

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/relais-sante/relais/store/journal"
)

// wire is a connection as go-smtp sees it: a plain one that gives one command
// line per Read. Below, it is TCP or TLS. go-smtp is strictly serial, so when
// it reads, the command before has been answered; that is where the wire does
// its own part.
//
// Everything but interrupt and cut is called by the one goroutine that go-smtp
// runs for the connection. mu guards what these two share with it.
type wire struct {
	server *Server
	id     sessionID
	slot   *slot    // what the connection takes of the limits
	raw    net.Conn // TCP
	conn   net.Conn // raw, or TLS over it

	in      input
	out     []byte    // replies not yet sent
	pending []byte    // what go-smtp reads next
	hush    string    // a reply of go-smtp that begins so is not for the peer
	chunked bool      // the message comes by BDAT
	chunk   chunk     // of BDAT, its bytes still to come
	again   []byte    // a command line read too early
	answers bool      // the next line answers a challenge of AUTH
	errors  int       // negative replies
	counted int       // commands since the last message
	tls     *tls.Conn // nil before TLS
	shaken  bool      // its handshake is done
	hangup  bool      // close once replies are sent
	linger  bool      // the peer may be sending: throw away a while before closing
	moved   bool      // the connection went on to another wire (STARTTLS)
	release func()    // end of the wire, once

	mu       sync.Mutex
	waiting  bool // for a command
	busy     bool // in a transaction
	stopping bool // no new transaction
	closed   bool
}

// Faults of a connection.
const (
	errStopping    = journal.Fault("the hub stops")
	errHandshake   = journal.Fault("TLS handshake failed")
	errCommandLine = journal.Fault("command line too long")
)

// Read gives go-smtp its next command line. Its errors are only ever io.EOF and
// net.ErrClosed: go-smtp would answer others in its own words.
func (w *wire) Read(p []byte) (int, error) {
	for len(w.pending) == 0 {
		if w.isClosed() {
			return 0, net.ErrClosed
		}
		if w.hangup || w.moved {
			w.flush()
			return 0, io.EOF
		}
		if !w.throwChunk() {
			continue
		}
		if w.errors >= w.server.limits.Errors {
			w.dismiss(tooManyErrors)
			continue
		}
		if len(w.again) > 0 {
			w.pending, w.again = w.again, nil
			continue
		}
		line, err := w.readLine()
		switch {
		case errors.Is(err, errStopping):
			w.dismiss(stopping)
		case errors.Is(err, errCommandLine):
			w.linger = true
			w.dismiss(commandTooLong)
		case errors.Is(err, os.ErrDeadlineExceeded):
			w.dismiss(idle)
		case err != nil: // the peer is gone, or never shook hands
			w.hangup = true
		case w.answers:
			w.answers = false
			w.pending = w.challengeAnswer(line)
		default:
			w.pending = w.command(line)
		}
	}
	n := copy(p, w.pending)
	w.pending = w.pending[n:]
	return n, nil
}

// Write takes a line of go-smtp's reply. Replies wait for each other while
// commands of one batch are read (RFC 2920 §3.2).
func (w *wire) Write(p []byte) (int, error) {
	if w.isClosed() {
		return 0, net.ErrClosed
	}
	if hush := w.hush; hush != "" {
		w.hush = ""
		if len(p) >= len(hush) && string(p[:len(hush)]) == hush {
			return len(p), nil
		}
	}
	if len(p) > 3 && p[3] == ' ' && (p[0] == '4' || p[0] == '5') {
		w.errors++
	}
	w.answers = w.server.members != nil && bytes.HasPrefix(p, []byte("334 "))
	w.out = append(w.out, p...)
	if len(w.out) >= commandBuffer {
		return len(p), w.flush()
	}
	return len(p), nil
}

// flush sends the replies.
func (w *wire) flush() error {
	if len(w.out) == 0 || w.moved {
		return nil
	}
	if err := w.shake(); err != nil {
		w.out = nil
		return err
	}
	w.raw.SetWriteDeadline(time.Now().Add(w.server.limits.Write))
	_, err := w.conn.Write(w.out)
	if err != nil {
		w.hangup = true
	}
	if w.out = w.out[:0]; cap(w.out) > commandBuffer {
		w.out = nil
	}
	return err
}

// shake makes sure of the TLS handshake, on the connection's own goroutine so
// that nobody else waits for a slow peer.
func (w *wire) shake() error {
	if w.tls == nil || w.shaken {
		return nil
	}
	w.shaken = true
	w.mu.Lock()
	w.waiting = true
	w.raw.SetDeadline(time.Now().Add(w.server.limits.Handshake))
	if w.stopping {
		w.raw.SetDeadline(longAgo)
	}
	w.mu.Unlock()
	defer w.stopWaiting()
	if err := w.tls.Handshake(); err != nil {
		w.hangup = true
		w.server.metrics.handshakes.Inc()
		w.server.log.Info("TLS handshake failed", "session", w.id, "peer", w.raw.RemoteAddr(), "cause", handshakeCause(err))
		return errHandshake
	}
	return nil
}

// readLine reads one command line, CRLF included. The deadline is for the whole
// line, so that a byte now and then does not keep a connection.
func (w *wire) readLine() ([]byte, error) {
	deadline := time.Now().Add(w.server.limits.Command)
	for {
		line, ok := w.in.line()
		switch {
		case len(line) > w.longest(line), !ok && w.in.len() >= w.longest(w.in.unread()):
			return nil, errCommandLine
		case ok:
			return line, nil
		case w.in.len() >= maxCommandLine:
			w.in.grow()
		}
		if err := w.await(deadline); err != nil {
			return nil, err
		}
	}
}

// await sends the replies and waits for input between messages.
func (w *wire) await(deadline time.Time) error {
	w.in.shrink()
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.shake(); err != nil {
		return err
	}
	if err := w.startWaiting(deadline); err != nil {
		return err
	}
	defer w.stopWaiting()
	err := w.in.fill(w.conn)
	if err != nil && w.isStopping() {
		return errStopping
	}
	return err
}

func (w *wire) startWaiting(deadline time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopping && !w.busy {
		return errStopping
	}
	w.waiting = true
	return w.raw.SetReadDeadline(deadline)
}

func (w *wire) stopWaiting() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = false
}

// setBusy tells whether a transaction is open.
func (w *wire) setBusy(busy bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy = busy
}

func (w *wire) isStopping() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stopping
}

func (w *wire) isClosed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed
}

// The rest of net.Conn. go-smtp sets no deadlines here: its timeouts are off.

func (w *wire) LocalAddr() net.Addr              { return w.raw.LocalAddr() }
func (w *wire) RemoteAddr() net.Addr             { return w.raw.RemoteAddr() }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }
