package inbound

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/relais-sante/relais/mailbox"
)

// fragments is a peer whose bytes arrive in given pieces, and that then goes
// away.
type fragments struct {
	net.Conn
	pieces [][]byte
}

func (f *fragments) Read(p []byte) (int, error) {
	if len(f.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, f.pieces[0])
	if f.pieces[0] = f.pieces[0][n:]; len(f.pieces[0]) == 0 {
		f.pieces = f.pieces[1:]
	}
	return n, nil
}

func (*fragments) Write(p []byte) (int, error)      { return len(p), nil }
func (*fragments) SetDeadline(time.Time) error      { return nil }
func (*fragments) SetReadDeadline(time.Time) error  { return nil }
func (*fragments) SetWriteDeadline(time.Time) error { return nil }

var unseen, _ = newMetrics(prometheus.NewRegistry(), "inbound")

func wireOver(conn net.Conn, limits Limits) *wire {
	return &wire{server: &Server{limits: limits.withDefaults(), metrics: unseen}, raw: conn, conn: conn}
}

// expected is the same as message does, written the plain way.
func expected(stream []byte, limits Limits) ([]byte, error) {
	var out []byte
	line := 0 // where the open line began
	for i := 0; ; {
		if i == line {
			switch rest := stream[i:]; {
			case bytes.HasPrefix(rest, []byte(".\r\n")):
				return out, nil
			case len(rest) > 0 && rest[0] == '.':
				if len(rest) < 3 && bytes.HasPrefix([]byte(".\r\n"), rest) {
					return nil, errLost
				}
				i++
			}
		}
		if i >= len(stream) {
			return nil, errLost
		}
		c := stream[i]
		out = append(out, c)
		i++
		if c == '\n' && len(out) > 1 && out[len(out)-2] == '\r' {
			line = i
		}
	}
}

func refusalFor(body []byte, limits Limits) mailbox.RefusalReason {
	if int64(len(body)) > limits.MessageBytes {
		return mailbox.RefuseTooBig
	}
	lines := strings.Split(string(body), "\r\n")
	if slices.ContainsFunc(lines, func(line string) bool { return strings.ContainsAny(line, "\r\n") }) {
		return mailbox.RefuseBareNewline
	}
	if slices.ContainsFunc(lines, func(line string) bool { return len(line) > limits.LineBytes }) {
		return mailbox.RefuseLongLine
	}
	return ""
}

// However the bytes are cut into packets and reads, what comes out is the same,
// and nothing behind the end of the message is touched.
func TestMessageFraming(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		token := rapid.SampledFrom([]string{".", "..", "\r", "\n", "\r\n", "\r\n", "\r\n", "a", "bc", "\r\n.", "0123456789"})
		stream := strings.Join(rapid.SliceOfN(token, 0, 30).Draw(t, "stream"), "")
		if rapid.Bool().Draw(t, "ended") {
			stream += "\r\n.\r\nNOOP\r\n"
		}
		checkFraming(t, stream, func(most int) int { return rapid.IntRange(1, most).Draw(t, "piece") })
	})
}

// FuzzMessage compares the reader with the plain one for any bytes, cut in any
// way.
func FuzzMessage(f *testing.F) {
	f.Add([]byte("a\r\n..b\r\n.\r\nQUIT\r\n"), uint64(1))
	f.Add([]byte("a\n.\r\nb\r.\r\n\r\n.\r\n"), uint64(2))
	f.Add([]byte(".\r\n.\r"), uint64(3))
	f.Add([]byte("0123456789012\r\n.\r\n"), uint64(4))
	f.Add([]byte("012345\x00789012\r\n.\r\n"), uint64(5))
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 0))
		checkFraming(t, string(stream), func(most int) int { return 1 + random.IntN(most) })
	})
}

// checkFraming reads a stream cut as cut says into packets and reads.
func checkFraming(t interface{ Fatalf(string, ...any) }, stream string, cut func(most int) int) {
	limits := Limits{MessageBytes: 60, LineBytes: 12}
	conn := &fragments{}
	for rest := []byte(stream); len(rest) > 0; {
		n := cut(min(len(rest), 7))
		conn.pieces, rest = append(conn.pieces, rest[:n]), rest[n:]
	}
	w := wireOver(conn, limits)
	m := w.message()
	var got []byte
	var err error
	for err == nil {
		p := make([]byte, cut(9))
		var n int
		n, err = m.Read(p)
		got = append(got, p[:n]...)
	}
	want, lost := expected([]byte(stream), limits)
	var refusal *mailbox.Refusal
	switch {
	case errors.As(err, &refusal):
		// Faults are told in the order they come, sizes in the order of reads:
		// any fault the stream has will do.
		if lost != nil {
			return // never whole either way
		}
		if refusalFor(want, limits) == "" {
			t.Fatalf("%q: refused (%s)", stream, refusal.Reason)
		}
		if refusal.Reason == mailbox.RefuseBareNewline {
			return // the connection is closed
		}
		// The rest is skipped to the very end, where the next command begins.
		if m.finish(); w.hangup {
			t.Fatalf("%q: its end was not found", stream)
		}
		atEnd(t, stream, want, w, conn)
	case err == io.EOF:
		if lost != nil || refusalFor(want, limits) != "" || !bytes.Equal(got, want) || m.size != int64(len(want)) {
			t.Fatalf("%q: got %q, want %q, lost %v", stream, got, want, lost)
		}
		atEnd(t, stream, want, w, conn)
	case errors.Is(err, errLost):
		if lost == nil {
			t.Fatalf("%q: lost, though it has an end", stream)
		}
	default:
		t.Fatalf("%q: %v", stream, err)
	}
}

// atEnd checks that what is left of a stream begins behind the message, whose
// bytes stand before the first end there is.
func atEnd(t interface{ Fatalf(string, ...any) }, stream string, message []byte, w *wire, conn *fragments) {
	rest, _ := io.ReadAll(io.MultiReader(bytes.NewReader(w.in.unread()), conn))
	read := stream[:len(stream)-len(rest)]
	whole, lost := expected([]byte(read), Limits{})
	if !strings.HasSuffix(read, ".\r\n") || !strings.HasSuffix(stream, string(rest)) || lost != nil || !bytes.Equal(whole, message) {
		t.Fatalf("%q: left %q", stream, rest)
	}
}

// Ends of a message that some server somewhere takes for one. None of them is,
// here, and none goes through as part of a message.
func TestSmuggling(t *testing.T) {
	for _, end := range []string{
		"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\n\n.\r\r\n", "\r\n.\rX", "\r\n.\r\r\n", "\r\n..\n",
		"\r.\n", "\r\r\n.\r\n", "\n\r\n.\r\n", "\r\n\r.\r\n", "\r\n.\n\r\n", "\r\n.\r \n",
	} {
		stream := "Subject: a\r\n\r\nbody" + end + "MAIL FROM:<x@chg.example>\r\n.\r\n"
		for _, size := range []int{1, 3, 4096} {
			conn := &fragments{}
			for rest := []byte(stream); len(rest) > 0; {
				n := min(size, len(rest))
				conn.pieces, rest = append(conn.pieces, rest[:n]), rest[n:]
			}
			_, err := io.ReadAll(wireOver(conn, Limits{}).message())
			var refusal *mailbox.Refusal
			if !errors.As(err, &refusal) || refusal.Reason != mailbox.RefuseBareNewline {
				t.Errorf("%q in pieces of %d: %v", end, size, err)
			}
		}
	}
	// A NUL is a byte like any other here: this is one message with a strange line,
	// which the mailbox then refuses (mailbox.RefuseNULLine).
	stream := "body\r\n\x00.\r\n.\r\n"
	got, err := io.ReadAll(wireOver(&fragments{pieces: [][]byte{[]byte(stream)}}, Limits{}).message())
	if err != nil || string(got) != "body\r\n\x00.\r\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

// A message of any bytes with good line ends comes out as the client wrote it,
// by DATA and by BDAT.
func TestMessageBytes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var body []byte
		for range random.IntN(2000) {
			line := make([]byte, random.IntN(200))
			for i := range line {
				line[i] = byte(random.IntN(256))
				if line[i] == '\r' || line[i] == '\n' || random.IntN(10) == 0 {
					line[i] = '.'
				}
			}
			body = append(append(body, line...), "\r\n"...)
		}
		dotted := strings.ReplaceAll("\r\n"+string(body), "\r\n.", "\r\n..")[2:] + ".\r\n"
		got, err := io.ReadAll(wireOver(&fragments{pieces: [][]byte{[]byte(dotted)}}, Limits{}).message())
		if err != nil || !bytes.Equal(got, body) {
			t.Fatalf("DATA: %d bytes of %d, %v", len(got), len(body), err)
		}
		cut := random.IntN(len(body) + 1)
		w := wireOver(&fragments{pieces: [][]byte{body[:cut], []byte(fmt.Sprintf("BDAT %d LAST\r\n", len(body)-cut)), body[cut:]}}, Limits{})
		w.chunk, w.chunked = chunk{left: int64(cut)}, true
		got, err = io.ReadAll(w.message())
		if err != nil || !bytes.Equal(got, body) {
			t.Fatalf("BDAT: %d bytes of %d, %v", len(got), len(body), err)
		}
	}
}

func BenchmarkMessage(b *testing.B) {
	stream := []byte(strings.Repeat(strings.Repeat("x", 76)+"\r\n", 13400) + ".\r\n") // 1 MiB of base64
	b.SetBytes(int64(len(stream)))
	for b.Loop() {
		m := wireOver(&fragments{pieces: [][]byte{stream}}, Limits{}).message()
		if _, err := io.Copy(io.Discard, m); err != nil {
			b.Fatal(err)
		}
		m.finish()
		m.wire.in.drop()
	}
}
