package outbound

import (
	"net"
	"time"
)

// wire is the network connection, below TLS. It is where deadlines live:
// go-smtp sets one per command and none while a body is written, so that a
// peer that stops reading would hold a sender for ever (and, the other way
// round, it takes off a deadline that somebody else has set). Here every read
// and write renews its own, under a limit for the whole stage.
type wire struct {
	net.Conn
	each  time.Duration // for one read or write
	until time.Time     // for the stage
	cap   time.Time     // for the attempt; zero: none
}

// allow starts a stage that may take total, and each of its reads and writes
// at most each.
func (w *wire) allow(total, each time.Duration) {
	w.each, w.until = each, time.Now().Add(total)
	if !w.cap.IsZero() && w.cap.Before(w.until) {
		w.until = w.cap
	}
}

func (w *wire) deadline() time.Time {
	if d := time.Now().Add(w.each); d.Before(w.until) {
		return d
	}
	return w.until
}

func (w *wire) Read(p []byte) (int, error) {
	if err := w.Conn.SetReadDeadline(w.deadline()); err != nil {
		return 0, err
	}
	return w.Conn.Read(p)
}

func (w *wire) Write(p []byte) (int, error) {
	if err := w.Conn.SetWriteDeadline(w.deadline()); err != nil {
		return 0, err
	}
	return w.Conn.Write(p)
}

// The layers above do not move deadlines.

func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }
