package inbound

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Dialogues are files of lines, played against a server with a stub hub:
//
//	# a remark
//	@ any-peer            development: no certificate, no TLS demanded
//	@ implicit            TLS from the first byte
//	@ message 100         limits: message, line, errors, commands, recipients, rate
//	C: EHLO a.example     the client sends this line with CRLF
//	C> "a\nb\r\n"         the client sends exactly these bytes (a Go string)
//	C* "x" 1000           these bytes so many times
//	S: 250 2.0.0 OK *     the server sends a line like this (* is anything)
//	S+ 250                the server sends a whole reply with this code
//	TLS chu               the client shakes hands with this certificate ("-": none)
//	CLOSE                 the client closes
//	EOF                   the server has closed
//	MSG "…"               the hub took this message, since the last MSG
//	MSG none              it took none
//	---                   a new connection to the same server

func TestDialogues(t *testing.T) {
	files, err := filepath.Glob("testdata/*.dialogue")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dialogues: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".dialogue"), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			play(t, file, string(data))
		})
	}
}

// player is the client of a dialogue.
type player struct {
	t     *testing.T
	house *house
	conn  net.Conn
	in    *bufio.Reader
	seen  int // messages of the hub already asked about
	at    string
}

func play(t *testing.T, file, script string) {
	p := &player{t: t}
	security, limits, open := StartTLS, Limits{Command: 10 * time.Second, Linger: 100 * time.Millisecond}, false
	for i, line := range strings.Split(script, "\n") {
		p.at = fmt.Sprintf("%s:%d", file, i+1)
		verb, rest, _ := strings.Cut(line, " ")
		switch verb {
		case "", "#":
		case "@":
			name, value, _ := strings.Cut(rest, " ")
			n, _ := strconv.Atoi(value)
			switch name {
			case "any-peer":
				open = true
			case "implicit":
				security = ImplicitTLS
			case "message":
				limits.MessageBytes = int64(n)
			case "line":
				limits.LineBytes = n
			case "errors":
				limits.Errors = n
			case "commands":
				limits.Commands = n
			case "recipients":
				limits.Recipients = n
			case "rate":
				limits.MessagesPerMinute = n
			default:
				t.Fatalf("%s: no option %s", p.at, name)
			}
		default:
			if p.house == nil {
				p.house = start(t, security, func(o *Options) { o.AnyPeer, o.Limits = open, limits })
				p.dial()
			}
			p.step(verb, rest)
		}
	}
	p.conn.Close()
}

func (p *player) dial() {
	conn, err := net.Dial("tcp", p.house.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.use(conn)
}

func (p *player) use(conn net.Conn) {
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	p.conn, p.in = conn, bufio.NewReader(conn)
}

func (p *player) step(verb, rest string) {
	t := p.t
	t.Helper()
	switch verb {
	case "C:":
		p.send(rest + "\r\n")
	case "C>":
		p.send(p.unquote(rest))
	case "C*":
		i := strings.LastIndexByte(rest, ' ')
		n, err := strconv.Atoi(rest[i+1:])
		if err != nil {
			t.Fatalf("%s: %v", p.at, err)
		}
		p.send(strings.Repeat(p.unquote(rest[:i]), n))
	case "S:":
		if got := p.line(); !like(rest, got) {
			t.Fatalf("%s: got  %s\nwant %s", p.at, got, rest)
		}
	case "S+":
		for {
			got := p.line()
			if !strings.HasPrefix(got, rest) || len(got) < 4 {
				t.Fatalf("%s: got %s, want code %s", p.at, got, rest)
			}
			if got[3] == ' ' {
				break
			}
		}
	case "TLS":
		config := &tls.Config{InsecureSkipVerify: true}
		if rest != "-" {
			config.Certificates = []tls.Certificate{world().certs[rest]}
		}
		conn := tls.Client(p.conn, config)
		if err := conn.Handshake(); err != nil {
			t.Fatalf("%s: %v", p.at, err)
		}
		p.use(conn)
	case "CLOSE":
		p.conn.Close()
	case "EOF":
		if line, err := p.in.ReadString('\n'); err != io.EOF || line != "" {
			t.Fatalf("%s: the server did not close: %q, %v", p.at, line, err)
		}
	case "---":
		p.conn.Close()
		p.dial()
	case "MSG":
		taken := p.house.stub.taken()[p.seen:]
		p.seen += len(taken)
		switch {
		case rest == "none" && len(taken) > 0:
			t.Fatalf("%s: the hub took %d messages", p.at, len(taken))
		case rest != "none" && (len(taken) != 1 || string(taken[0]) != p.unquote(rest)):
			t.Fatalf("%s: the hub took %q", p.at, taken)
		}
	default:
		t.Fatalf("%s: no such step", p.at)
	}
}

func (p *player) send(s string) {
	if _, err := p.conn.Write([]byte(s)); err != nil {
		p.t.Fatalf("%s: %v", p.at, err)
	}
}

func (p *player) line() string {
	p.t.Helper()
	line, err := p.in.ReadString('\n')
	if err != nil || !strings.HasSuffix(line, "\r\n") {
		p.t.Fatalf("%s: got %q, %v", p.at, line, err)
	}
	return strings.TrimSuffix(line, "\r\n")
}

func (p *player) unquote(s string) string {
	out, err := strconv.Unquote(s)
	if err != nil {
		p.t.Fatalf("%s: %v", p.at, err)
	}
	return out
}

func like(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$").MatchString(s)
}
