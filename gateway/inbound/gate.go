package inbound

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// slot is a connection's place among the limited number of them. It goes along
// when the connection passes to another wire.
type slot struct{ peer string }

// accept lets a connection in, or tells it why not.
func (s *Server) accept(conn net.Conn, security Security) {
	peer := peerKey(conn.RemoteAddr())
	s.mu.Lock()
	var full *answer
	switch {
	case s.stopping:
		full = &stopping
	case s.open >= s.limits.Connections:
		full = &connectionsFull
	case s.peers[peer] >= s.limits.ConnectionsPerPeer:
		full = &peerFull
	default:
		s.open++
		s.peers[peer]++
	}
	s.mu.Unlock()
	if full != nil {
		s.metrics.refused(stageConnection, string(full.reason))
		s.log.Info("connection refused", "peer", conn.RemoteAddr(), "reason", full.reason)
		if security == StartTLS {
			conn.SetWriteDeadline(time.Now().Add(time.Second)) // fits into the socket's buffer
			conn.Write([]byte(full.line()))
		}
		conn.Close()
		return
	}
	s.metrics.connections.Inc()
	s.metrics.open.Inc()
	w := &wire{server: s, id: newSessionID(), slot: &slot{peer}, raw: conn, conn: conn}
	if security == ImplicitTLS {
		w = w.secured(s.tls)
		w.hush = "" // here the greeting is the first thing said
		s.start(w, s.toSecure)
		return
	}
	s.start(w, s.toClear)
}

// upgrade lets the connection of w go on over TLS.
func (s *Server) upgrade(w *wire) { s.start(w.secured(s.tls), s.toSecure) }

// start hands a wire to go-smtp.
func (s *Server) start(w *wire, to handover) {
	s.mu.Lock()
	s.wires[w] = true
	if s.stopping {
		w.interrupt()
	}
	s.mu.Unlock()
	w.release = func() { s.ended(w) }
	to.conns <- w
}

// ended forgets a wire, and its connection if it did not move on.
func (s *Server) ended(w *wire) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.wires, w)
	if w.moved {
		return
	}
	s.open--
	s.metrics.open.Dec()
	if s.peers[w.slot.peer]--; s.peers[w.slot.peer] == 0 {
		delete(s.peers, w.slot.peer)
	}
	if s.stopping && s.open == 0 {
		close(s.empty)
	}
}

// peerKey tells callers apart: an IPv4 address, or the /64 that one IPv6 host
// has for itself.
func peerKey(a net.Addr) string {
	addr, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return a.Network() // not a network address: one peer
	}
	ip := addr.Addr().Unmap()
	if ip.Is4() {
		return ip.String()
	}
	prefix, _ := ip.WithZone("").Prefix(64)
	return prefix.String()
}

// handover is a listener that go-smtp accepts wires from.
type handover struct {
	conns  chan net.Conn
	closed chan struct{}
	once   *sync.Once
}

func newHandover() handover {
	return handover{conns: make(chan net.Conn), closed: make(chan struct{}), once: new(sync.Once)}
}

func (h handover) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

func (h handover) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

func (handover) Addr() net.Addr { return &net.TCPAddr{} }

// handshakeCause says in one word why a handshake failed, as far as that can be
// told without quoting the peer.
func handshakeCause(err error) reason {
	var notTLS tls.RecordHeaderError
	var broken *net.OpError
	switch {
	case errors.As(err, &notTLS):
		return "not-tls"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	case errors.As(err, &broken) && broken.Op == "remote error": // an alert
		return "refused-by-peer"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &broken) && broken.Op != "local error":
		return "connection-lost"
	}
	return "protocol"
}
