package imap

import (
	"bufio"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/mailbox/folder"
)

var record = flag.Bool("record", false, "write what the server says into the dialogues; read it before you keep it")

// TestDialogues plays testdata/*.dialogue. A line begins with who speaks:
//
//	C: a line of the client; what the server says to it follows
//	c: a line of the client that gets no answer yet (sent ahead, in a literal)
//	S: a line of the server, all of it; … stands for anything
//	W: n lines of the server come without being asked for
//	X: the server closes the connection
//	B: that many bytes of the client, with no line end
//	M: a folder; the lines up to "." are a message that the hub delivers into it
//	D: (delete), F: (fixed, by the hub's own) or L: (quota in bytes) and a folder
//	O: options: "clear" (no TLS, no login), "external", "limit"
//
// C2: and so on are other connections of the same account. All are logged in
// already, unless O: says otherwise.
func TestDialogues(t *testing.T) {
	files, err := filepath.Glob("testdata/*.dialogue")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d dialogues found, %v", len(files), err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".dialogue"), func(t *testing.T) {
			if !*record {
				t.Parallel()
			}
			play(t, f)
		})
	}
}

// player plays one dialogue.
type player struct {
	t     *testing.T
	house *house
	conns map[int]*speaker
	mode  string
	out   []string // the dialogue as recorded
}

type speaker struct {
	conn net.Conn
	in   *bufio.Reader
}

func play(t *testing.T, path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	p := &player{t: t, conns: map[int]*speaker{}}
	for _, l := range lines {
		if mode, ok := strings.CutPrefix(l, "O: "); ok {
			p.mode = mode
		}
	}
	p.house = open(t, func(o *Options) {
		if p.mode == "limit" {
			o.Limits = Limits{
				LoginAttempts: 3, CommandsBefore: 8, Errors: 3, CommandBytes: 2000, MessageBytes: 1000, AppendMessages: 2, SetRanges: 5,
				SearchKeys: 10, SearchDepth: 3, SearchBytes: 100, Contexts: 1, ListPatterns: 2, ConnectionsPerUser: 2,
			}
		}
	})
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		who, text, _ := strings.Cut(line, ": ")
		if strings.HasPrefix(line, "#") {
			who = "#"
		}
		who = strings.TrimSuffix(who, ":")
		n := 1
		if len(who) > 1 {
			if k, err := strconv.Atoi(who[1:]); err == nil {
				n, who = k, who[:1]
			}
		}
		if !(*record && (who == "S" || who == "X")) {
			p.out = append(p.out, line)
		}
		at := fmt.Sprintf("%s:%d", path, i+1)
		switch who {
		case "C", "c":
			s := p.speaker(n)
			fmt.Fprintf(s.conn, "%s\r\n", text)
			if *record && who == "C" {
				p.record(s, n, func(got string) bool {
					tag, _, _ := strings.Cut(text, " ")
					return strings.HasPrefix(got, "+ ") || strings.HasPrefix(got, tag+" ") || text == "DONE" && strings.Contains(got, " IDLE completed") ||
						len(text) < 3 && len(got) > 1 && got[1] == ' ' && got[0] != '*' || strings.HasSuffix(text, ")") && !strings.Contains(text, " ") && got[0] >= 'a' && got[0] <= 'z'
				})
			}
		case "S":
			if *record {
				continue
			}
			got, err := p.speaker(n).line()
			if err != nil || !like(text, got) {
				t.Fatalf("%s:\nwant %s\n got %s %v", at, text, got, err)
			}
		case "W":
			count, _ := strconv.Atoi(text)
			if *record {
				p.record(p.speaker(n), n, func(string) bool { count--; return count == 0 })
			}
		case "X":
			if *record {
				continue
			}
			if got, err := p.speaker(n).line(); err == nil {
				t.Fatalf("%s: the connection is open, and said %q", at, got)
			}
		case "M":
			var message []string
			for i++; lines[i] != "."; i++ {
				message = append(message, lines[i])
				p.out = append(p.out, lines[i])
			}
			p.out = append(p.out, ".")
			p.house.user().deliver(t, text, strings.Join(message, "\n")+"\n")
		case "B":
			count, _ := strconv.Atoi(text)
			fmt.Fprint(p.speaker(n).conn, strings.Repeat("x", count))
		case "D":
			p.house.user().Delete(t.Context(), text)
		case "F":
			p.house.user().fix(text)
		case "L":
			p.house.user().limit, _ = strconv.ParseInt(text, 10, 64)
		case "O", "#", "":
		default:
			t.Fatalf("%s: who is %q?", at, who)
		}
	}
	for _, s := range p.conns {
		s.conn.Close()
	}
	if *record {
		if err := os.WriteFile(path, []byte(strings.Join(p.out, "\n")+"\n"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

// record notes lines of the server until the last.
func (p *player) record(s *speaker, n int, last func(string) bool) {
	suffix := ""
	if n > 1 {
		suffix = strconv.Itoa(n)
	}
	for {
		got, err := s.line()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			p.t.Errorf("nothing came after %s", p.out[len(p.out)-1])
			return
		}
		if err != nil {
			p.out = append(p.out, "X"+suffix+":")
			return
		}
		p.out = append(p.out, "S"+suffix+": "+got)
		if last(got) {
			return
		}
	}
}

// line reads a line without its end.
func (s *speaker) line() (string, error) {
	s.conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	got, err := s.in.ReadString('\n')
	return strings.TrimRight(got, "\r\n"), err
}

// like compares a line with what is wanted.
func like(want, got string) bool {
	pieces := strings.Split(want, "…")
	if len(pieces) == 1 {
		return want == got
	}
	if !strings.HasPrefix(got, pieces[0]) {
		return false
	}
	got = got[len(pieces[0]):]
	last := len(pieces) - 1
	for _, p := range pieces[1:last] {
		i := strings.Index(got, p)
		if i < 0 {
			return false
		}
		got = got[i+len(p):]
	}
	return strings.HasSuffix(got, pieces[last])
}

// speaker gives a connection, opened and logged in when it first speaks.
func (p *player) speaker(n int) *speaker {
	if s := p.conns[n]; s != nil {
		return s
	}
	var conn net.Conn
	var err error
	switch p.mode {
	case "clear":
		conn, err = net.Dial("tcp", p.house.addr)
	case "external":
		config := clientTLS()
		config.Certificates = []tls.Certificate{theAuthority().client}
		conn, err = tls.Dial("tcp", p.house.addrs, config)
	default:
		conn, err = p.house.dial()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	s := &speaker{conn, bufio.NewReader(conn)}
	p.conns[n] = s
	if p.mode != "" && p.mode != "limit" {
		return s
	}
	if _, err := s.line(); err != nil {
		p.t.Fatal(err)
	}
	fmt.Fprintf(conn, "login LOGIN %s %q\r\n", testUser, testSecret)
	if got, err := s.line(); err != nil || !strings.HasPrefix(got, "login OK") && p.mode != "limit" {
		p.t.Fatal(got, err)
	}
	return s
}

// fix makes a folder the hub's own.
func (u *memoryUser) fix(name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.boxes[name] == nil {
		u.add(name, folder.NoUse)
	}
	u.fixed[name] = true
}
