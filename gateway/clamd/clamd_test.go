package clamd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"
)

// fake is a clamd that finds whatever holds "harmful", and plays tricks when
// told. It fails the test on anything clamd(8) does not know.
type fake struct {
	tricks
	t *testing.T
	l net.Listener

	mu        sync.Mutex
	now, most int // scans under way
}

type tricks struct {
	answer  string        // instead of the verdict
	limit   int           // StreamMaxLength; 0 for none
	silent  bool          // never replies
	reached chan struct{} // if not nil, each scan sends one value before its verdict
	release chan struct{} // and waits for one
}

// serve starts the fake at a Unix socket or, for "tcp", on loopback.
func (f *fake) serve(t *testing.T, network string) (address string) {
	t.Helper()
	address = "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "clamd.ctl")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	f.t, f.l = t, l
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { defer conn.Close(); f.converse(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return l.Addr().String()
}

func (f *fake) converse(conn net.Conn) {
	in := bufio.NewReader(conn)
	command, err := in.ReadString(0)
	if err != nil {
		return
	}
	switch {
	case f.silent:
		_, _ = io.Copy(io.Discard, in) // until the client hangs up
	case command == "zPING\x00":
		_, _ = io.WriteString(conn, "PONG\x00")
	case command == "zINSTREAM\x00":
		f.scan(conn, in)
	default:
		f.t.Errorf("command %q", command)
	}
}

func (f *fake) scan(conn net.Conn, in io.Reader) {
	f.count(1)
	defer f.count(-1)
	var got bytes.Buffer
	for {
		var size uint32
		if err := binary.Read(in, binary.BigEndian, &size); err != nil {
			return
		}
		if size == 0 {
			break
		}
		if _, err := io.CopyN(&got, in, int64(size)); err != nil {
			return
		}
		if f.limit > 0 && got.Len() > f.limit {
			_, _ = io.WriteString(conn, "INSTREAM size limit exceeded. ERROR\x00")
			return
		}
	}
	if f.reached != nil {
		f.reached <- struct{}{}
		<-f.release
	}
	reply := "stream: OK\x00"
	if bytes.Contains(got.Bytes(), []byte("harmful")) {
		reply = "stream: Test.Harmful-1 FOUND\x00"
	}
	if f.answer != "" {
		reply = f.answer
	}
	_, _ = io.WriteString(conn, reply)
}

func (f *fake) count(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now += n
	f.most = max(f.most, f.now)
}

func client(address string) *Client {
	return New(Options{Address: address, Timeout: 10 * time.Second, MaxBytes: 1 << 20, Scans: 4})
}

func TestScan(t *testing.T) {
	const reader = 2*chunkBytes + 7
	infected := Verdict{Infected: true, Signature: "Test.Harmful-1"}
	for _, c := range []struct {
		name    string
		clamd   tricks
		content string
		want    Verdict
		err     error
	}{
		{"clean", tricks{}, "bonjour\r\n", Verdict{}, nil},
		{"nothing", tricks{}, "", Verdict{}, nil},
		{"infected", tricks{}, "bonjour\r\nharmful\r\n", infected, nil},
		{"found at the end of many chunks", tricks{}, strings.Repeat(".", reader) + "harmful", infected, nil},
		{"across two chunks", tricks{}, strings.Repeat(".", chunkBytes-3) + "harmful", infected, nil},
		{"a whole chunk", tricks{}, strings.Repeat(".", chunkBytes), Verdict{}, nil},
		{"all that may be sent", tricks{}, strings.Repeat(".", 1<<20), Verdict{}, nil},
		{"one byte more", tricks{}, strings.Repeat(".", 1<<20+1), Verdict{}, ErrTooBig},
		{"more than clamd takes", tricks{limit: 10}, strings.Repeat(".", 11), Verdict{}, ErrTooBig},
		{"clamd in trouble", tricks{answer: "stream: Can't allocate memory ERROR\x00"}, "x", Verdict{}, ErrFailed},
		{"another tongue", tricks{answer: "220 mail.example ESMTP\x00"}, "x", Verdict{}, ErrReply},
		{"cut short", tricks{answer: "stream: OK"}, "x", Verdict{}, io.EOF},
		{"nothing said", tricks{answer: "\x00"}, "x", Verdict{}, ErrReply},
		{"endless", tricks{answer: strings.Repeat("stream: OK", maxReply)}, "x", Verdict{}, ErrReply},
		{"a name with content", tricks{answer: "stream: Doc of Léa\r\n FOUND\x00"}, "x", Verdict{Infected: true}, nil},
	} {
		for _, network := range []string{"unix", "tcp"} {
			t.Run(c.name+" "+network, func(t *testing.T) {
				f := fake{tricks: c.clamd}
				got, err := client(f.serve(t, network)).Scan(t.Context(), strings.NewReader(c.content))
				if got != c.want || !errors.Is(err, c.err) {
					t.Errorf("got %+v, %v; want %+v, %v", got, err, c.want, c.err)
				}
			})
		}
	}
}

// What cannot be read to its end is not judged.
func TestReaderFails(t *testing.T) {
	f := &fake{}
	c := client(f.serve(t, "unix"))
	for _, broken := range []error{errors.New("broken"), io.ErrUnexpectedEOF} {
		got, err := c.Scan(t.Context(), io.MultiReader(strings.NewReader("bonjour"), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) {
			t.Errorf("%v: got %+v, %v", broken, got, err)
		}
	}
}

func TestAway(t *testing.T) {
	f := &fake{}
	address := f.serve(t, "unix")
	c := client(address)
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.l.Close()
	if err := c.Ping(t.Context()); err == nil {
		t.Error("an answer from nobody")
	}
	if v, err := c.Scan(t.Context(), strings.NewReader("x")); err == nil {
		t.Errorf("verdict of nobody: %+v", v)
	}
	if v, err := client(filepath.Join(t.TempDir(), "none")).Scan(t.Context(), strings.NewReader("x")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no socket: %+v, %v", v, err)
	}
}

// A clamd that hangs costs the timeout and no more; so does a stop of the hub.
func TestSilent(t *testing.T) {
	f := &fake{tricks: tricks{silent: true}}
	address := f.serve(t, "unix")
	c := New(Options{Address: address, Timeout: 20 * time.Millisecond, MaxBytes: 1 << 20, Scans: 1})
	// More than a socket's buffers: the client waits while it writes.
	for _, size := range []int{1, 1 << 20} {
		if v, err := c.Scan(t.Context(), strings.NewReader(strings.Repeat(".", size))); err == nil {
			t.Errorf("verdict of a silent clamd: %+v", v)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client(address).Scan(ctx, strings.NewReader("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	quick, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := client(address).Ping(quick); err == nil {
		t.Error("a silent clamd answers")
	}
}

// No more scans run at a time than allowed; the others wait, and all end.
func TestTurns(t *testing.T) {
	const all = 8
	f := &fake{tricks: tricks{reached: make(chan struct{}, all), release: make(chan struct{})}}
	c := New(Options{Address: f.serve(t, "unix"), Timeout: 10 * time.Second, MaxBytes: 100, Scans: 2})
	ended := make(chan error, all)
	for range all {
		go func() {
			_, err := c.Scan(t.Context(), strings.NewReader("x"))
			ended <- err
		}()
	}
	<-f.reached
	<-f.reached // two at a time, and not only one
	for range all {
		f.release <- struct{}{}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if f.mu.Lock(); f.most != 2 {
		t.Errorf("%d scans at a time", f.most)
	}
	f.mu.Unlock()
}

func FuzzReply(f *testing.F) {
	for _, s := range []string{"stream: OK\x00", "stream: Win.Test-1 FOUND\x00", "INSTREAM size limit exceeded. ERROR\x00", "stream:  FOUND\x00", "\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		reply, err := readReply(iotest.OneByteReader(bytes.NewReader(b)))
		if err != nil {
			return
		}
		if len(reply) >= maxReply || strings.ContainsRune(reply, 0) {
			t.Fatalf("reply %q", reply)
		}
		v, err := verdict(reply)
		switch {
		case err != nil && v != (Verdict{}):
			t.Errorf("error and verdict for %q", reply)
		case err == nil && !v.Infected && reply != "stream: OK":
			t.Errorf("%q counts as clean", reply)
		case strings.ContainsFunc(v.Signature, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`"<>@/\`, r) }):
			t.Errorf("signature %q", v.Signature)
		}
	})
}
