package operator

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2/imapclient"

	"github.com/relais-sante/relais/mailbox"
)

// recorded is a connection whose other side says what was written down.
type recorded struct {
	net.Conn // nil: nothing else is called
	said     *bytes.Reader
	step     int
	closed   atomic.Bool
}

func (r *recorded) Read(p []byte) (int, error) {
	if r.step > 0 && len(p) > r.step {
		p = p[:r.step]
	}
	return r.said.Read(p)
}

func (r *recorded) Write(p []byte) (int, error) {
	if r.closed.Load() {
		return 0, net.ErrClosed
	}
	return len(p), nil
}

func (r *recorded) Close() error {
	r.closed.Store(true)
	return nil
}

func (r *recorded) SetDeadline(time.Time) error { return nil }

// FuzzFence: what passes is what came, from its beginning, within the bounds,
// whatever pieces it came in.
func FuzzFence(f *testing.F) {
	f.Add([]byte("* 1 FETCH (UID 1 BODY[] {3}\r\nabc)\r\nT1 OK {9}\r\n"), 3)
	f.Add([]byte("* 0 EXPUNGE\r\n"), 1)
	f.Add([]byte("* LIST () {5}\r\nhallo\r\n"), 7)
	f.Add([]byte("* 1 FETCH (BODY[] {99999999999999999999}\r\n"), 2)
	f.Fuzz(func(t *testing.T, said []byte, step int) {
		pass := func(step int) ([]byte, error) {
			fence := &fence{Conn: &recorded{said: bytes.NewReader(said), step: step}}
			fence.allow(time.Minute, 10, 4096, 100)
			return io.ReadAll(fence)
		}
		whole, werr := pass(0)
		parts, perr := pass(1 + step&7)
		if !bytes.HasPrefix(said, whole) || !bytes.HasPrefix(said, parts) || len(whole) > 4196 || len(parts) > 4196 {
			t.Fatalf("passed %d and %d bytes of %d", len(whole), len(parts), len(said))
		}
		if (werr == nil) != (perr == nil) {
			t.Fatalf("in one piece %v, in pieces %v", werr, perr)
		}
	})
}

// FuzzServer: whatever a server says, a conversation ends, and nothing but whole
// messages is taken.
func FuzzServer(f *testing.F) {
	greeting := "* OK ready\r\n* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN MOVE\r\nT1 OK done\r\n"
	login := greeting + "T2 OK [CAPABILITY IMAP4rev1 MOVE IDLE] done\r\n* 1 EXISTS\r\n* OK [UIDVALIDITY 1]\r\n* OK [UIDNEXT 2]\r\nT3 OK done\r\n"
	f.Add([]byte(greeting))
	f.Add([]byte(login + "* 1 FETCH (UID 1 RFC822.SIZE 3)\r\nT4 OK\r\n* 1 FETCH (UID 1 BODY[] {3}\r\nabc)\r\nT5 OK\r\n* 1 EXPUNGE\r\nT6 OK\r\n"))
	f.Add([]byte(login + "* 1 FETCH (UID 1 RFC822.SIZE 3)\r\nT4 OK\r\n* 1 FETCH (UID 1 BODY[] {30}\r\nabc)\r\n"))
	f.Add([]byte("* PREAUTH hello\r\n"))
	f.Add([]byte("* BYE\r\n"))
	secret := secretFile(f, "s3cret")
	f.Fuzz(func(t *testing.T, said []byte) {
		s := &server{t: t, ln: nowhere{}}
		h := &hub{say: func(text string) error {
			if !strings.Contains(string(said), text) {
				t.Errorf("took %q, which nobody said", text)
			}
			return nil
		}}
		o := s.options(h)
		o.Settings.Secret, o.Settings.Done = secret, "Pris"
		p := NewPoller(o)
		p.cursor = mailbox.Cursor{Validity: 1}
		session := &session{
			Poller: p, fence: &fence{Conn: &recorded{said: bytes.NewReader(said)}}, stop: func() bool { return true },
			news: make(chan struct{}, 1),
		}
		session.step()
		session.imap = imapclient.New(session.fence, &imapclient.Options{})
		defer session.close()
		if session.imap.WaitGreeting() != nil || session.enter(context.Background()) != nil {
			return
		}
		_, err := session.look(context.Background())
		if text := faultOf(err); err != nil && !utf8.ValidString(string(text)) {
			t.Error(err)
		}
	})
}

// nowhere is a listener nobody connects to.
type nowhere struct{ net.Listener }

func (nowhere) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
