// Package clamd asks ClamAV's daemon whether a message carries something
// harmful, by the commands INSTREAM and PING of clamd(8).
//
// Rules that hold in this package:
//
//   - Only a reply that says so in full is a verdict. Anything else, silence
//     included, is an error: the message is then neither taken nor refused for
//     good.
//   - Every question has a deadline, its wait for a turn included; a reply has
//     at most [maxReply] bytes.
//   - What clamd writes is untrusted: of a signature's name only plain
//     characters leave this package, and nothing of any other text.
//   - The connection is in clear: a Unix socket or loopback, as configs checks.
package clamd

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/relais-sante/relais/store/journal"
)

// Faults. A dial that fails, a deadline and a lost connection are those of the
// net package.
const (
	// ErrTooBig: more than Options.MaxBytes, or than clamd's StreamMaxLength.
	ErrTooBig = journal.Fault("larger than what clamd takes")
	// ErrFailed: clamd says that it could not look.
	ErrFailed = journal.Fault("clamd could not scan")
	// ErrReply: clamd's reply is not one of clamd(8).
	ErrReply = journal.Fault("reply of clamd not understood")
)

// Options are what a client is made of.
type Options struct {
	// Address is the path of a Unix socket, which begins with "/", or host:port.
	Address string
	// Timeout bounds a whole scan.
	Timeout time.Duration
	// MaxBytes is the most that is sent to be scanned.
	MaxBytes int64
	// Scans is how many run at a time; others wait. Each is a connection, and
	// clamd has MaxThreads for them.
	Scans int
}

// Client asks one clamd. It may be used by many at once.
type Client struct {
	o     Options
	turns chan struct{}
}

// New returns a client; it connects when asked something.
func New(o Options) *Client {
	return &Client{o: o, turns: make(chan struct{}, max(o.Scans, 1))}
}

// Verdict is what clamd found.
type Verdict struct {
	Infected bool
	// Signature names what was found; empty if clamd's name for it has other
	// characters than letters, digits, ".", "_" and "-".
	Signature string
}

// chunkBytes is how much goes out at a time.
const chunkBytes = 64 << 10

// Scan sends r to its end and reads the verdict. On error there is none.
func (c *Client) Scan(ctx context.Context, r io.Reader) (Verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	select {
	case c.turns <- struct{}{}:
		defer func() { <-c.turns }()
	case <-ctx.Done():
		return Verdict{}, fmt.Errorf("waiting for a turn at clamd: %w", ctx.Err())
	}
	conn, err := c.dial(ctx)
	if err != nil {
		return Verdict{}, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	ours, err := c.stream(conn, r)
	if err != nil && ours {
		return Verdict{}, err
	}
	// clamd replies and hangs up in the middle of a stream that it finds too
	// long: a write that fails may have its reason waiting.
	reply, readErr := readReply(conn)
	switch {
	case readErr == nil:
		return verdict(reply)
	case err != nil:
		return Verdict{}, err
	}
	return Verdict{}, readErr
}

// Ping reports whether clamd answers.
func (c *Client) Ping(ctx context.Context) error {
	conn, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := conn.Write([]byte("zPING\x00")); err != nil {
		return fmt.Errorf("asking clamd: %w", err)
	}
	reply, err := readReply(conn)
	if err == nil && reply != "PONG" {
		err = ErrReply
	}
	return err
}

// dial connects; the connection has the deadline of ctx, or the client's.
func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	network := "tcp"
	if strings.HasPrefix(c.o.Address, "/") {
		network = "unix"
	}
	deadline, has := ctx.Deadline()
	if !has {
		deadline = time.Now().Add(c.o.Timeout)
	}
	conn, err := (&net.Dialer{Deadline: deadline}).DialContext(ctx, network, c.o.Address)
	if err != nil {
		return nil, fmt.Errorf("connecting to clamd: %w", err)
	}
	if err := conn.SetDeadline(deadline); err != nil {
		conn.Close()
		return nil, fmt.Errorf("connecting to clamd: %w", err)
	}
	return conn, nil
}

// stream sends r as chunks: the length in four bytes, network order, then the
// bytes; a length of zero ends. A fault is ours if it is not the connection's.
func (c *Client) stream(conn io.Writer, r io.Reader) (ours bool, err error) {
	if _, err := conn.Write([]byte("zINSTREAM\x00")); err != nil {
		return false, fmt.Errorf("asking clamd: %w", err)
	}
	buf := make([]byte, 4+chunkBytes)
	left := c.o.MaxBytes
	for {
		n, err := fill(buf[4:], r)
		if err != nil {
			return true, fmt.Errorf("reading what clamd is to scan: %w", err)
		}
		if left -= int64(n); left < 0 {
			return true, ErrTooBig
		}
		binary.BigEndian.PutUint32(buf, uint32(n))
		if _, werr := conn.Write(buf[:4+n]); werr != nil {
			return false, fmt.Errorf("sending to clamd: %w", werr)
		}
		if n == 0 { // that was the end
			return false, nil
		}
	}
}

// fill reads until b is full or r ends. Unlike io.ReadFull it tells an end from
// a reader that broke off with io.ErrUnexpectedEOF.
func fill(b []byte, r io.Reader) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = r.Read(b[n:])
		n += m
	}
	if err == io.EOF { // io.Reader's own end, never a wrapped one
		err = nil
	}
	return n, err
}
