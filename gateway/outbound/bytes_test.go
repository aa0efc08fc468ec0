package outbound

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"
	"pgregory.net/rapid"

	"github.com/relais-sante/relais/mailbox"
)

// sink is a real SMTP server that keeps what it gets.
type sink struct {
	addr string
	mu   sync.Mutex
	last []byte
	keep bool
}

func newSink(t testing.TB, keep bool) *sink {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &sink{addr: ln.Addr().String(), keep: keep}
	srv := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return k, nil }))
	srv.MaxLineLength, srv.MaxMessageBytes, srv.EnableDSN = 1<<20, 64<<20, true
	srv.ErrorLog = log.New(io.Discard, "", 0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(ln)
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		<-done
	})
	return k
}

func (k *sink) Mail(string, *smtp.MailOptions) error { return nil }
func (k *sink) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (k *sink) Reset()                               {}
func (k *sink) Logout() error                        { return nil }

func (k *sink) Data(r io.Reader) error {
	if !k.keep {
		_, err := io.Copy(io.Discard, r)
		return err
	}
	b, err := io.ReadAll(r)
	if err != nil { // cut off: not taken
		return err
	}
	k.mu.Lock()
	k.last = b
	k.mu.Unlock()
	return nil
}

// TestBytesSurvive is defect S9 of the client library: it mends what is not
// canonical, in silence. What is canonical arrives as it was, whatever is in it;
// what is not never arrives.
func TestBytesSurvive(t *testing.T) {
	k := newSink(t, true)
	q := newQueue()
	start(t, quick(q, toward{"chu.example": k.addr}))
	piece := rapid.OneOf(
		rapid.SampledFrom([]string{".", "..", "\r\n", "\r\n.", "\r\n.\r\n", "\r\n..\r\n", "\x00", "\xff\xfe", " ", "QUIT", "MAIL FROM:<a> BODY=8BITMIME"}),
		rapid.StringMatching(`[ -~]{0,80}`),
		rapid.Map(rapid.IntRange(1, 70_000), func(n int) string { return strings.Repeat("x", n) }),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 200), func(b []byte) string {
			return string(bytes.Map(func(r rune) rune {
				if r == '\r' || r == '\n' {
					return '.'
				}
				return r
			}, b))
		}),
	)
	rapid.Check(t, func(rt *rapid.T) {
		body := strings.Join(rapid.SliceOfN(piece, 1, 30).Draw(rt, "pieces"), "") + "\r\n"
		spoilt := rapid.SampledFrom([]string{"", "", "", "\n", "\r", "\r\r\n"}).Draw(rt, "spoilt")
		at := rapid.IntRange(0, len(body)).Draw(rt, "at")
		mail := body[:at] + spoilt + body[at:]
		canonical := strings.Count(mail, "\r") == strings.Count(mail, "\r\n") && strings.Count(mail, "\n") == strings.Count(mail, "\r\n")
		k.mu.Lock()
		k.last = nil
		k.mu.Unlock()
		id := q.addMail(mailbox.Outgoing{RcptTo: "roux@chu.example", EightBit: rapid.Bool().Draw(rt, "8bit")}, mail)
		out := q.first(t, id)
		k.mu.Lock()
		defer k.mu.Unlock()
		switch {
		case canonical && (out.Kind != mailbox.OutcomeSent || string(k.last) != mail):
			rt.Fatalf("sent %q\n got %q (%+v)", mail, k.last, out)
		case !canonical && out.Reason != reasonUnclean:
			rt.Fatalf("sent %q: %+v", mail, out)
		}
	})
}

// FuzzStuffed: however the mail comes in pieces, what goes out is what the
// obvious way makes of it, or nothing that ends.
func FuzzStuffed(f *testing.F) {
	for _, s := range []string{
		"a\r\n", ".\r\n..\r\n\r\n.", "a\r\n.b\r\n", "\r\n.\r\n", "a\nb\r\n", "a\rb\r\n", "a\r\r\n", "a", "", "\n", "\r",
		strings.Repeat(".\r\n", 40_000), strings.Repeat("x", 70_000) + "\r\n", strings.Repeat("\r\n", 33_000),
	} {
		f.Add([]byte(s), uint16(1), int8(0))
		f.Add([]byte(s), uint16(50_000), int8(1))
	}
	f.Fuzz(func(t *testing.T, mail []byte, piece uint16, off int8) {
		s := newStuffed(&mailbox.Outgoing{Size: int64(len(mail)) + int64(off), ReadCloser: io.NopCloser(&pieces{mail, max(1, int(piece))})})
		defer s.release()
		var sent []byte
		var err error
		for !s.ended && err == nil {
			err = s.fill()
			sent = append(sent, s.ready()...)
		}
		text := string(mail)
		clean := strings.HasSuffix(text, "\r\n") && strings.Count(text, "\r") == strings.Count(text, "\r\n") && strings.Count(text, "\n") == strings.Count(text, "\r\n")
		if !clean || off != 0 {
			if err == nil || s.ended || clean && !errors.Is(err, ErrSize) || off == 0 && !errors.Is(err, ErrUnclean) {
				t.Fatalf("%q (%d bytes off): %v", mail, off, err)
			}
			return
		}
		want := strings.ReplaceAll("\r\n"+text, "\r\n.", "\r\n..")[2:] + ".\r\n"
		if err != nil || string(sent) != want {
			t.Fatalf("%v\nsent %q\nwant %q", err, sent, want)
		}
	})
}

// pieces gives at most n bytes at a time.
type pieces struct {
	b []byte
	n int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.n)], p.b)
	p.b = p.b[n:]
	return n, nil
}

// FuzzReplies: whatever a peer says, it is one bounded reply or an error, and
// go-smtp's client sees nothing else.
func FuzzReplies(f *testing.F) {
	for _, s := range []string{
		"220 ok\r\n", "250-a\r\n250-SIZE 10\r\n250 b\r\n", "250-\r\n", "25", "abc def\r\n", "250\r\n", "250 2.1.0 ok\n", "999 9.9.9 x\r\n",
		strings.Repeat("250-x\r\n", 300), "250 " + strings.Repeat("x", 3000) + "\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		c := &script{in: bytes.NewReader(said)}
		fence := newFence(c)
		for {
			reply, err := fence.readReply()
			if err != nil {
				break
			}
			if len(reply) > maxReplyLine*maxReplyLines || !bytes.HasSuffix(reply, []byte("\n")) {
				t.Fatalf("not one bounded reply: %q", reply)
			}
		}
		fence = newFence(&script{in: bytes.NewReader(said)})
		lines, err := fence.expect(250)
		if err == nil && len(lines) == 0 {
			t.Fatal("a reply without lines")
		}
		if err != nil {
			_ = (&failure{stageMail, err}).outcome()
		}
		if err == nil {
			offered(lines, "STARTTLS")
		}
	})
}

// script is a connection that says what it was given.
type script struct {
	net.Conn
	in io.Reader
}

func (s *script) Read(p []byte) (int, error)  { return s.in.Read(p) }
func (s *script) Write(p []byte) (int, error) { return len(p), nil }
