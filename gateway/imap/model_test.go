package imap

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/relais-sante/relais/mailbox/folder"
)

// modelClient counts messages as a client does, by what it is told alone.
type modelClient struct {
	t     *rapid.T
	c     *conn
	heard *recorder
	uids  []uint32 // 0: not known yet
	flags map[uint32]string
}

// recorder is a network that keeps what is sent.
type recorder struct {
	sink
	bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error) { return r.Buffer.Write(p) }
func (r *recorder) Read([]byte) (int, error)    { return r.sink.Read(nil) }

// do gives a command and takes in what comes.
func (m *modelClient) do(line string) {
	p := &parser{c: m.c, budget: 1 << 16}
	p.load([]byte("t " + line))
	p.while(&tagChar)
	p.space()
	name := p.key()
	if name == "UID" {
		p.space()
		name += " " + p.key()
	}
	v := verbs[name]
	m.c.conclude("t", v, v.do(m.c, p))
	m.c.flush()
	for l := range strings.Lines(m.heard.String()) {
		m.take(name, strings.TrimSuffix(l, "\r\n"))
	}
	m.heard.Reset()
}

func (m *modelClient) take(command, line string) {
	words := strings.Fields(line)
	if len(words) < 3 || words[0] != "*" {
		if strings.HasPrefix(line, "t BAD") {
			m.t.Fatalf("%s: %s", command, line)
		}
		return
	}
	n, err := strconv.Atoi(words[1])
	if err != nil {
		return
	}
	switch words[2] {
	case "EXISTS":
		if n < len(m.uids) {
			m.t.Fatalf("%s: %d messages, of %d known", command, n, len(m.uids))
		}
		for len(m.uids) < n {
			m.uids = append(m.uids, 0)
		}
	case "EXPUNGE":
		if command == "FETCH" || command == "STORE" || command == "SEARCH" {
			m.t.Fatalf("EXPUNGE during %s", command)
		}
		if n < 1 || n > len(m.uids) {
			m.t.Fatalf("%s: %s of %d", command, line, len(m.uids))
		}
		m.uids = slices.Delete(m.uids, n-1, n)
	case "FETCH":
		if n < 1 || n > len(m.uids) {
			m.t.Fatalf("%s: %s of %d", command, line, len(m.uids))
		}
		if _, rest, ok := strings.Cut(line, "UID "); ok {
			digits, _, _ := strings.Cut(strings.TrimRight(rest, ")"), " ")
			uid, _ := strconv.Atoi(digits)
			if have := m.uids[n-1]; have != 0 && have != uint32(uid) {
				m.t.Fatalf("%s: number %d is UID %d, and was %d", command, n, uid, have)
			}
			m.uids[n-1] = uint32(uid)
		}
		if _, rest, ok := strings.Cut(line, "FLAGS ("); ok && m.uids[n-1] != 0 {
			m.flags[m.uids[n-1]], _, _ = strings.Cut(rest, ")")
		}
	}
}

// TestClientsAgreeWithTheFolder: whatever several clients do to a folder, each
// one's numbers stand for the messages it believes, nothing vanishes where the
// protocol does not allow it, and in the end all know what is there.
func TestClientsAgreeWithTheFolder(t *testing.T) {
	h := open(t, nil)
	rapid.Check(t, func(rt *rapid.T) {
		u := newMemoryUser(testUser)
		var clients []*modelClient
		for range 3 {
			heard := &recorder{}
			c := newConn(h.server, heard, StartTLS)
			c.user = u
			m := &modelClient{t: rt, c: c, heard: heard, flags: map[uint32]string{}}
			m.do("SELECT INBOX")
			clients = append(clients, m)
		}
		// Sampled, since drawn numbers are mostly small ones.
		actions := rapid.SampledFrom([]string{"deliver", "delete", "keep", "expunge", "noop", "fetch", "uid fetch", "search", "move", "copy", "index"})
		for range 50 {
			m := rapid.SampledFrom(clients).Draw(rt, "client")
			n := len(m.uids)
			k := 1 + rapid.IntRange(0, 1<<16).Draw(rt, "message")%max(n, 1)
			action := actions.Draw(rt, "action")
			if n == 0 {
				m.do("NOOP")
				action = "deliver"
			}
			switch action {
			case "deliver":
				u.mu.Lock()
				u.put(u.boxes[folder.Inbox], []*memoryMessage{newMemoryMessage([]byte("Subject: x\r\n\r\n"), folder.Flags{}, theTime)})
				u.mu.Unlock()
			case "delete":
				m.do(fmt.Sprintf("STORE %d +FLAGS (\\Deleted)", k))
			case "keep":
				// It is not told what it did itself, only what another did meanwhile.
				if f, known := m.flags[m.uids[k-1]]; known {
					m.flags[m.uids[k-1]] = strings.ReplaceAll(f, `\Deleted`, "")
				}
				m.do(fmt.Sprintf("STORE %d -FLAGS.SILENT (\\Deleted)", k))
			case "expunge":
				m.do("EXPUNGE")
			case "noop":
				m.do("NOOP")
			case "fetch":
				m.do(fmt.Sprintf("FETCH %d:* (UID FLAGS)", k))
			case "uid fetch":
				m.do(fmt.Sprintf("UID FETCH %d:* (FLAGS)", k))
			case "search":
				m.do("SEARCH DELETED")
			case "move":
				m.do(fmt.Sprintf("MOVE %d INBOX", k))
			case "copy":
				m.do(fmt.Sprintf("COPY %d INBOX", k))
			case "index":
				m.do(fmt.Sprintf("FETCH %d (ENVELOPE)", k))
			}
		}
		for i, m := range clients {
			m.do("NOOP")
			told := m.flags
			m.do("FETCH 1:* (UID)")
			for j, row := range u.boxes[folder.Inbox].current().Rows {
				if j >= len(m.uids) || m.uids[j] != row.UID {
					rt.Fatalf("client %d believes %v", i, m.uids)
				}
				if f, known := told[row.UID]; known && strings.Contains(f, "Deleted") != row.Flags.Has(folder.Deleted) {
					rt.Fatalf("client %d believes that %d has %q", i, row.UID, f)
				}
			}
			if len(m.uids) != len(u.boxes[folder.Inbox].messages) {
				rt.Fatalf("client %d believes there are %d", i, len(m.uids))
			}
			m.c.leave()
		}
	})
}

// TestThreadsHoldEachMessageOnce: whatever messages say of each other, each
// stands in the tree once.
func TestThreadsHoldEachMessageOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		id := rapid.StringMatching("[a-f]?")
		make := func() (nodes []*threadNode) {
			for i := range rapid.IntRange(0, 12).Draw(rt, "messages") {
				nodes = append(nodes, &threadNode{
					number: uint32(i + 1), at: i, id: id.Draw(rt, "id"), refs: rapid.SliceOfN(rapid.StringMatching("[a-h]"), 0, 4).Draw(rt, "refs"),
					subject: rapid.StringMatching("[xy]?").Draw(rt, "subject"), reply: rapid.Bool().Draw(rt, "reply"), date: rapid.Int64Range(0, 5).Draw(rt, "date"),
				})
			}
			return nodes
		}
		nodes := make()
		var roots []*threadNode
		switch rapid.IntRange(0, 2).Draw(rt, "algorithm") {
		case 0:
			roots = bySubject(nodes)
		case 1:
			roots = byReferences(nodes, true)
		default:
			roots = byReferences(nodes, false)
		}
		seen := map[string]int{}
		for _, r := range roots {
			for _, n := range strings.FieldsFunc(string(r.append(nil)), func(r rune) bool { return r < '0' || r > '9' }) {
				seen[n]++
			}
		}
		for i := range nodes {
			if n := strconv.Itoa(i + 1); seen[n] != 1 {
				rt.Fatalf("message %s stands %d times", n, seen[n])
			}
		}
	})
}
