package imap

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/mailbox/folder"
)

// sink is a network that takes everything.
type sink struct{ n int64 }

func (s *sink) Write(p []byte) (int, error)      { s.n += int64(len(p)); return len(p), nil }
func (s *sink) Read([]byte) (int, error)         { return 0, io.EOF }
func (s *sink) Close() error                     { return nil }
func (s *sink) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *sink) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *sink) SetDeadline(time.Time) error      { return nil }
func (s *sink) SetReadDeadline(time.Time) error  { return nil }
func (s *sink) SetWriteDeadline(time.Time) error { return nil }

// session is a connection to a sink that has selected INBOX with rows messages.
func session(tb testing.TB, rows int) (*conn, *sink) {
	tb.Helper()
	h := open(tb, nil)
	u := h.user()
	box := u.boxes[folder.Inbox]
	var kinds []*memoryMessage
	for i := range 100 {
		kinds = append(kinds, newMemoryMessage([]byte(strings.ReplaceAll(fmt.Sprintf(`Return-Path: <p%d@chu.example>
Received: from mail.chu.example by hub.example; Mon, 1 Jun 2026 08:00:00 +0200
From: "Dr. Exemple %d" <p%d@chu.example>
To: Anne Roux <anne@box.example>, =?utf-8?q?H=C3=A9l=C3=A8ne?= <helene@box.example>
Cc: secretariat@chu.example
Subject: Compte rendu %d
Date: Mon, 1 Jun 2026 08:00:00 +0200
Message-ID: <m%d@chu.example>
In-Reply-To: <x%d@chu.example>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8

Bonjour.
`, i, i, i, i, i, i), "\n", "\r\n")), folder.Flags{System: folder.SystemFlag(i % 32)}, time.Now()))
	}
	for i := range rows {
		m := *kinds[i%100]
		m.UID, m.ModSeq = uint32(2*i+1), uint64(i+1)
		box.messages = append(box.messages, &m)
	}
	box.next, box.modseq, box.table = uint32(2*rows+1), uint64(rows+1), nil
	to := &sink{}
	c := newConn(h.server, to, StartTLS)
	c.user = u
	command(tb, c, "SELECT INBOX")
	return c, to
}

// command does one command on a session without a network.
func command(tb testing.TB, c *conn, line string) {
	tb.Helper()
	name, rest, _ := strings.Cut(line, " ")
	if name == "UID" {
		second, more, _ := strings.Cut(rest, " ")
		name, rest = "UID "+second, more
	}
	p := &parser{c: c, budget: c.server.limits.CommandBytes}
	p.load([]byte(" " + rest))
	if r := verbs[name].do(c, p); r.kind != "OK" {
		tb.Fatalf("%s: %s %s", line, r.kind, r.text)
	}
	c.flush()
}

const manyRows = 100_000

func BenchmarkCommands(b *testing.B) {
	c, to := session(b, manyRows)
	for _, line := range []string{
		"FETCH 1:* (FLAGS)",
		"UID FETCH 1:* (FLAGS)",
		"FETCH 1:* (FLAGS ENVELOPE)",
		"FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE)",
		"FETCH 1:* BODYSTRUCTURE",
		"FETCH 1:10000 BODY.PEEK[]",
		"FETCH 1:10000 BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT)]",
		"UID SEARCH UNSEEN",
		"UID SEARCH SUBJECT rendu",
		"UID SEARCH BODY bonsoir",
		"SORT (SUBJECT) UTF-8 ALL",
		"THREAD REFERENCES UTF-8 ALL",
		"SELECT INBOX",
	} {
		b.Run(line, func(b *testing.B) {
			b.ReportAllocs()
			to.n = 0
			for b.Loop() {
				command(b, c, line)
			}
			rows := manyRows
			if strings.Contains(line, "1:10000 ") {
				rows = 10_000
			}
			b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64(to.n)/float64(b.N)/1e6, "MB/op")
		})
	}
}

// idlers is how many connections BenchmarkIdle holds; RELAIS_LONG=1 asks for 5,000.
func idlers() int {
	if os.Getenv("RELAIS_LONG") != "" {
		return 5000
	}
	return 500
}

// BenchmarkIdle measures what a TLS connection in IDLE costs the server. The
// clients are another process.
func BenchmarkIdle(b *testing.B) {
	h := open(b, func(o *Options) { o.Limits.ConnectionsPerPeer, o.Limits.ConnectionsPerUser = 1<<20, 1<<20 })
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		clients := exec.Command(os.Args[0], "-test.run", "^TestIdleClients$")
		clients.Env = append(os.Environ(), "IMAP_IDLE_AT="+h.addrs)
		leave, err := clients.StdinPipe()
		if err != nil {
			b.Fatal(err)
		}
		said, err := clients.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		if err := clients.Start(); err != nil {
			b.Fatal(err)
		}
		if got, err := bufio.NewReader(said).ReadString('\n'); err != nil || got != "ready\n" {
			b.Fatalf("%q %v", got, err)
		}
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&after)
		used := (after.HeapInuse + after.StackInuse) - (before.HeapInuse + before.StackInuse)
		b.ReportMetric(float64(used)/float64(idlers()), "B/conn")
		leave.Close()
		clients.Wait()
	}
}

// TestIdleClients is the other process of BenchmarkIdle.
func TestIdleClients(t *testing.T) {
	at := os.Getenv("IMAP_IDLE_AT")
	if at == "" {
		t.Skip("only for BenchmarkIdle")
	}
	for range idlers() {
		conn, err := tls.Dial("tcp", at, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		idle(t, conn)
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
}

// idle brings a connection into IDLE.
func idle(tb testing.TB, conn net.Conn) {
	tb.Helper()
	in := bufio.NewReaderSize(conn, 512)
	for _, line := range []string{"", "a LOGIN " + testUser + ` "` + testSecret + `"`, "b SELECT INBOX", "c IDLE"} {
		if line != "" {
			fmt.Fprintf(conn, "%s\r\n", line)
		}
		for {
			got, err := in.ReadString('\n')
			if err != nil {
				tb.Fatal(err)
			}
			if line == "" || line[0] == got[0] || line == "c IDLE" && got[0] == '+' {
				break
			}
		}
	}
}
