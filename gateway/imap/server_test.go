package imap

import (
	"bufio"
	"compress/flate"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/store/journal"
	"github.com/relais-sante/relais/store/journal/journaltest"
)

// talk is a client that was logged in.
type talk struct {
	t  testing.TB
	c  net.Conn
	in *bufio.Reader
}

func (h *house) talk(t testing.TB) *talk {
	t.Helper()
	c, err := h.dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	k := &talk{t, c, bufio.NewReader(c)}
	k.line()
	k.do("login LOGIN " + testUser + ` "` + testSecret + `"`)
	return k
}

func (k *talk) line() string {
	k.t.Helper()
	k.c.SetReadDeadline(time.Now().Add(10 * time.Second))
	l, err := k.in.ReadString('\n')
	if err != nil && err != io.EOF {
		k.t.Fatal(err)
	}
	return strings.TrimRight(l, "\r\n")
}

// do gives a command and returns all lines up to its answer.
func (k *talk) do(command string) (lines []string) {
	k.t.Helper()
	fmt.Fprintf(k.c, "%s\r\n", command)
	tag, _, _ := strings.Cut(command, " ")
	for {
		l := k.line()
		lines = append(lines, l)
		if strings.HasPrefix(l, tag+" ") || l == "" {
			return lines
		}
	}
}

// ended reads until the server has closed and gives its last line.
func (k *talk) ended() (last string) {
	k.t.Helper()
	for {
		l := k.line()
		if l == "" {
			return last
		}
		last = l
	}
}

func TestShutdownSaysBye(t *testing.T) {
	h := open(t, nil)
	waiting, idle := h.talk(t), h.talk(t)
	idle.do("a SELECT INBOX")
	fmt.Fprint(idle.c, "b IDLE\r\n")
	idle.line()
	if err := h.server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, k := range []*talk{waiting, idle} {
		if got := k.ended(); !strings.HasPrefix(got, "* BYE [UNAVAILABLE]") {
			t.Errorf("%q", got)
		}
	}
}

// A client that does not shake hands does not hold up the end.
func TestShutdownDuringHandshake(t *testing.T) {
	h := open(t, nil)
	c, err := net.Dial("tcp", h.addrs)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	h.talk(t) // the one before was accepted
	if err := h.server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestRevokedAccountEndsAtOnce(t *testing.T) {
	h := open(t, nil)
	k := h.talk(t)
	k.do("a SELECT INBOX")
	close(h.user().gone)
	if got := k.ended(); !strings.HasPrefix(got, "* BYE [EXPIRED]") {
		t.Errorf("%q", got)
	}
}

func TestTimeouts(t *testing.T) {
	h := open(t, func(o *Options) {
		// Long enough that nobody logs in too late on a busy machine.
		o.Limits.Login, o.Limits.Idle, o.Limits.Command = 2*time.Second, time.Second, time.Second
		o.Limits.Slow = time.Second
	})
	t.Run("no login", func(t *testing.T) {
		t.Parallel()
		c, err := h.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		k := &talk{t, c, bufio.NewReader(c)}
		if got := k.ended(); !strings.HasPrefix(got, "* BYE") {
			t.Errorf("%q", got)
		}
	})
	for name, says := range map[string]string{"no command": "", "half a command": "a NO", "no literal": "a APPEND INBOX {5+}\r\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := h.talk(t)
			fmt.Fprint(k.c, says)
			if got := k.ended(); !strings.HasPrefix(got, "* BYE") {
				t.Errorf("%q", got)
			}
		})
	}
}

func TestSlowReaderIsCut(t *testing.T) {
	h := open(t, func(o *Options) { o.Limits.Write = 200 * time.Millisecond })
	h.user().deliver(t, folder.Inbox, "Subject: long\n\n"+strings.Repeat(strings.Repeat("x", 70)+"\n", 200_000))
	k := h.talk(t)
	k.do("a SELECT INBOX")
	fmt.Fprint(k.c, "b FETCH 1 BODY.PEEK[]\r\n") // and nothing is read
	other := h.talk(t)
	deadline := time.Now().Add(10 * time.Second)
	for {
		h.server.mu.Lock()
		open := len(h.server.conns)
		h.server.mu.Unlock()
		if open == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a reader that reads nothing is still served")
		}
		// Meanwhile the others are served as ever.
		if got := other.do("c STATUS INBOX (MESSAGES)"); len(got) != 2 {
			t.Fatalf("%q", got)
		}
	}
}

func TestConnectionLimits(t *testing.T) {
	h := open(t, func(o *Options) { o.Limits.ConnectionsPerPeer = 2 })
	h.talk(t)
	h.talk(t)
	c, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	k := &talk{t, c, bufio.NewReader(c)}
	if got := k.ended(); !strings.HasPrefix(got, "* BYE") {
		t.Errorf("%q", got)
	}
}

// What stands in the network before TLS begins is not the client's.
func TestStartTLSForgetsWhatWasSentAhead(t *testing.T) {
	h := open(t, nil)
	raw, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	k := &talk{t, raw, bufio.NewReader(raw)}
	k.line()
	fmt.Fprint(raw, "a STARTTLS\r\nb LOGOUT\r\n")
	if got := k.line(); !strings.HasPrefix(got, "a OK") {
		t.Fatal(got)
	}
	secured := tls.Client(raw, clientTLS())
	k = &talk{t, secured, bufio.NewReader(secured)}
	if got := k.do("c CAPABILITY"); !strings.HasPrefix(got[0], "* CAPABILITY") || strings.Contains(got[0], "STARTTLS") || !strings.Contains(got[0], "AUTH=PLAIN") {
		t.Errorf("%q", got)
	}
}

func TestCompress(t *testing.T) {
	h := open(t, nil)
	h.user().deliver(t, folder.Inbox, "Subject: long\n\n"+strings.Repeat("the same again and again\n", 10_000))
	k := h.talk(t)
	if got := k.do("a COMPRESS DEFLATE"); !strings.HasPrefix(got[0], "a OK") {
		t.Fatal(got)
	}
	w, err := flate.NewWriter(k.c, flate.DefaultCompression)
	if err != nil {
		t.Fatal(err)
	}
	k.in = bufio.NewReader(flate.NewReader(k.in))
	say := func(command string) (lines []string) {
		fmt.Fprintf(w, "%s\r\n", command)
		w.Flush()
		for {
			l := k.line()
			lines = append(lines, l)
			if l == "" || strings.HasPrefix(l, command[:1]+" ") || strings.HasPrefix(l, "+") {
				return lines
			}
		}
	}
	say("b SELECT INBOX")
	fmt.Fprintf(w, "c FETCH 1 BODY.PEEK[]\r\n")
	w.Flush()
	n := 0
	for l := k.line(); !strings.HasPrefix(l, "c OK"); l = k.line() {
		n++
	}
	if n < 10_000 {
		t.Errorf("%d lines", n)
	}
	// A wait that is ended for news does not break the stream.
	say("d IDLE")
	for range 3 {
		h.user().deliver(t, folder.Inbox, "Subject: new\n\nnew\n")
		if got := k.line(); !strings.HasSuffix(got, " EXISTS") {
			t.Fatal(got)
		}
		k.line() // RECENT
	}
	fmt.Fprintf(w, "DONE\r\n")
	w.Flush()
	if got := k.line(); !strings.HasPrefix(got, "d OK") {
		t.Fatal(got)
	}
	if got := say("e COMPRESS DEFLATE"); !strings.HasPrefix(got[0], "e NO [COMPRESSIONACTIVE]") {
		t.Error(got)
	}
}

// faulty is a folder whose content breaks off.
type faulty struct {
	*memoryUser
	after int64
	boom  bool
}

func (f *faulty) Open(ctx context.Context, name string, readOnly bool) (folder.Folder, error) {
	inner, err := f.memoryUser.Open(ctx, name, readOnly)
	if err != nil {
		return nil, err
	}
	return &faultyFolder{inner, f}, nil
}

type faultyFolder struct {
	folder.Folder
	f *faulty
}

func (f *faultyFolder) Content(ctx context.Context, uid uint32) (folder.Content, error) {
	if f.f.boom {
		panic("a secret that must not be told")
	}
	c, err := f.Folder.Content(ctx, uid)
	return &faultyContent{c, f.f.after}, err
}

type faultyContent struct {
	folder.Content
	after int64
}

const errTampered = journal.Fault("chunk is not authentic")

func (c *faultyContent) Copy(w io.Writer, off, n int64) error {
	if err := c.Content.Copy(w, off, min(n, c.after)); err != nil {
		return err
	}
	return errTampered
}

// serveTo serves one client over a pipe for a user of the test's own.
func (h *house) serveTo(t testing.TB, u folder.User) *talk {
	ours, theirs := net.Pipe()
	c := newConn(h.server, theirs, StartTLS)
	c.user = u
	done := make(chan struct{})
	go func() { defer close(done); c.serve() }()
	t.Cleanup(func() { ours.Close(); <-done })
	k := &talk{t, ours, bufio.NewReader(ours)}
	k.line()
	return k
}

// A literal that cannot be finished ends the connection: what follows would be
// taken for content.
func TestFaultInALiteralDropsTheConnection(t *testing.T) {
	for _, after := range []int64{0, 10, 100_000} {
		h := open(t, nil)
		u := h.user()
		u.deliver(t, folder.Inbox, "Subject: long\n\n"+strings.Repeat("line\n", 50_000))
		k := h.serveTo(t, &faulty{memoryUser: u, after: after})
		k.do("a SELECT INBOX")
		fmt.Fprint(k.c, "b FETCH 1 BODY.PEEK[]\r\n")
		rest, _ := io.ReadAll(k.in)
		if strings.Contains(string(rest), "b OK") || strings.Contains(string(rest), "b NO") {
			t.Errorf("after %d bytes the fault was answered", after)
		}
	}
}

// A panic ends its own connection with a word, and nothing else.
func TestPanicEndsOneConnection(t *testing.T) {
	journaltest.Expect(t)
	h := open(t, nil)
	u := h.user()
	u.deliver(t, folder.Inbox, "Subject: one\n\none\n")
	other := h.talk(t)
	k := h.serveTo(t, &faulty{memoryUser: u, boom: true})
	k.do("a SELECT INBOX")
	fmt.Fprint(k.c, "b FETCH 1 BODY.PEEK[]\r\n")
	rest, _ := io.ReadAll(k.in)
	if !strings.Contains(string(rest), "* BYE [SERVERBUG]") || strings.Contains(string(rest), "secret") {
		t.Errorf("%q", rest)
	}
	if got := other.do("c NOOP"); len(got) != 1 {
		t.Errorf("%q", got)
	}
}

// What was read has its trace before the client is told that all is done.
func TestReadsAreSettledBeforeOK(t *testing.T) {
	h := open(t, nil)
	u := h.user()
	u.deliver(t, folder.Inbox, "Subject: one\n\none\n")
	spy := &settling{memoryUser: u}
	k := h.serveTo(t, spy)
	k.do("a SELECT INBOX")
	for _, command := range []string{"b FETCH 1 ENVELOPE", "c FETCH 1 BODY.PEEK[]", "d SEARCH BODY one", "e SORT (SUBJECT) UTF-8 ALL", "f UID THREAD REFS UTF-8 ALL"} {
		k.do(command)
		if f := spy.last; f.read != 0 || f.settled == 0 {
			t.Errorf("%s: %d reads without trace when it was answered, %d with", command, f.read, f.settled)
		}
		spy.last.settled = 0
	}
	before := spy.last
	fmt.Fprint(k.c, "g FETCH 1 ENVELOPE\r\n")
	k.c.Close() // before the answer is read
	for deadline := time.Now().Add(5 * time.Second); ; {
		u.mu.Lock()
		left := len(u.boxes[folder.Inbox].wakes)
		u.mu.Unlock()
		if left == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the folder was not closed")
		}
		time.Sleep(time.Millisecond)
	}
	if before.read != 0 {
		t.Error("what a cut connection read has no trace")
	}
}

type settling struct {
	*memoryUser
	last *memoryFolder
}

func (s *settling) Open(ctx context.Context, name string, readOnly bool) (folder.Folder, error) {
	f, err := s.memoryUser.Open(ctx, name, readOnly)
	s.last, _ = f.(*memoryFolder)
	return f, err
}

// A folder that was made anew has other UIDs: the client must begin again.
func TestResetEndsTheSession(t *testing.T) {
	h := open(t, nil)
	u := h.user()
	k := h.talk(t)
	k.do("a SELECT INBOX")
	u.mu.Lock()
	box := u.boxes[folder.Inbox]
	box.validity++
	u.changed(box)
	u.mu.Unlock()
	fmt.Fprint(k.c, "b NOOP\r\n")
	if got := k.ended(); !strings.HasPrefix(got, "* BYE [UNAVAILABLE]") && !strings.HasPrefix(got, "b OK") {
		t.Errorf("%q", got)
	}
}
