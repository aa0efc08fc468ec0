package imap

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/relais-sante/relais/mailbox/folder"
	"github.com/relais-sante/relais/store/journal"
)

// fuzzed are lines from which fuzzing starts.
var fuzzed = []string{
	"a NOOP\r\n", "a LOGIN {5}\r\nabcde {3+}\r\nabc\r\n", "a AUTHENTICATE PLAIN AGEAYg==\r\n", "a AUTHENTICATE PLAIN\r\n*\r\n", "a STARTTLS\r\nb NOOP\r\n",
	"a SELECT INBOX (QRESYNC (1001 1 1:3 (1:2 1:2)))\r\n", "a ENABLE QRESYNC UTF8=ACCEPT IMAP4rev2\r\na EXAMINE INBOX\r\n",
	"a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (% INBOX*) RETURN (CHILDREN STATUS (MESSAGES SIZE))\r\n", "a LSUB \"\" %\r\n",
	"a FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE BODY.PEEK[1.HEADER.FIELDS.NOT (A \"b\")]<1.2> BINARY.SIZE[1] PREVIEW (LAZY)) (CHANGEDSINCE 1)\r\n",
	"a UID FETCH 1,3:* BODY[] (PARTIAL -1:-2)\r\n", "a STORE 1 (UNCHANGEDSINCE 5) +FLAGS.SILENT (\\Seen $x)\r\n", "a UID STORE $ -FLAGS \\Deleted\r\na EXPUNGE\r\n",
	"a SEARCH RETURN (MIN MAX SAVE UPDATE PARTIAL 1:2) CHARSET UTF-8 OR NOT BODY {1+}\r\nx (SENTBEFORE 1-Jan-2020 HEADER a \"\") MODSEQ 5\r\n",
	"a SORT (REVERSE DATE SUBJECT) UTF-8 ALL\r\na THREAD REFERENCES UTF-8 ALL\r\na CANCELUPDATE \"x\"\r\n",
	"a COPY 1 Trash\r\na MOVE 1:2 INBOX\r\n", "a APPEND INBOX (\\Seen) \" 1-Jan-2020 00:00:00 +0000\" {4+}\r\na: b\r\n",
	"a APPEND INBOX CATENATE (URL \"/INBOX/;UID=1/;SECTION=TEXT\" TEXT {1+}\r\nx)\r\n", "a APPEND INBOX ~{8+}\r\nA: b\r\n\r\n\r\n", "a APPEND INBOX UTF8 (~{2+}\r\nxx)\r\n",
	"a IDLE\r\nDONE\r\n", "a IDLE\r\nb NOOP\r\n", "a NOTIFY SET STATUS (SELECTED (MessageNew MessageExpunge)) (SUBTREE (a b) NONE)\r\na NOTIFY NONE\r\n",
	"a GENURLAUTH \"imap://anne@box.example/INBOX/;uid=1;urlauth=authuser\" INTERNAL\r\na URLFETCH (\"imap://x\" BINARY)\r\n",
	"a COMPRESS DEFLATE\r\n\x00\x01", "a CREATE \"&AMk-\" (USE (\\Sent))\r\na RENAME INBOX b\r\na DELETE b\r\n", "a GETQUOTAROOT INBOX\r\na MYRIGHTS INBOX\r\n", "{1000000000000000000000+}\r\n",
}

// FuzzStates sends any bytes to a connection in each state of the protocol. A
// panic that was recovered fails the test, and so does a server that does not
// end with the connection.
func FuzzStates(f *testing.F) {
	before := []string{
		"", "", // not authenticated, without and with a first command
		"login",
		"x SELECT INBOX\r\n",
		"x SELECT INBOX\r\nx IDLE\r\n",
		"x ENABLE QRESYNC\r\nx SELECT INBOX\r\nx APPEND INBOX {40+}\r\n",
	}
	for i, line := range fuzzed {
		f.Add(uint8(i%len(before)), []byte(line))
		f.Add(uint8(3), []byte(line))
	}
	h := open(f, func(o *Options) {
		o.Limits.MessageBytes, o.Limits.CommandBytes, o.Limits.Write = 4096, 4096, 2*time.Second
		o.Limits.LoginAttempts, o.Limits.ConnectionsPerPeer = 2, 1<<20
	})
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		start := journal.Panics()
		u := newMemoryUser(testUser)
		u.deliver(t, folder.Inbox, "Subject: one\nMessage-ID: <1@x>\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\nContent-Type: message/rfc822\n\nSubject: in\n\nin\n--b--\n")
		u.deliver(t, folder.Inbox, "Subject: two\nReferences: <1@x>\nContent-Transfer-Encoding: base64\n\nAGJj\n")
		state := int(which) % len(before)
		ours, theirs := net.Pipe()
		c := newConn(h.server, theirs, StartTLS)
		if state > 1 {
			c.user = u
		}
		done := make(chan struct{})
		go func() { defer close(done); c.serve() }()
		go io.Copy(io.Discard, ours)
		ours.SetWriteDeadline(time.Now().Add(5 * time.Second))
		if state > 2 {
			ours.Write([]byte(before[state]))
		}
		ours.Write(data)
		ours.Close()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatal("the connection does not end")
		}
		if journal.Panics() != start {
			t.Fatal("a panic was recovered")
		}
	})
}

// reading gives a parser of one line, without a network behind it.
func reading(h *house, line []byte) *parser {
	c := newConn(h.server, &sink{}, StartTLS)
	p := &parser{c: c, budget: 1 << 16}
	p.load(line)
	return p
}

// FuzzSets: a set names each message at most once, in order, and only ones
// that are there; written and read again it is the same.
func FuzzSets(f *testing.F) {
	for _, s := range []string{"1", "*", "1:*", "*:1", "5:2,3,7:*", "$", "4294967295:1", "0", "1,,2", "1:2:3"} {
		f.Add(s, uint8(9))
	}
	h := open(f, nil)
	f.Fuzz(func(t *testing.T, text string, n uint8) {
		p := reading(h, []byte(text))
		s := p.set()
		if p.failed() {
			return
		}
		var rows []folder.Row
		for i := range uint32(n) {
			rows = append(rows, folder.Row{UID: 3*i + 2})
		}
		for _, uid := range []bool{false, true} {
			at, _ := s.places(rows, uid, []uint32{2, 5, 6})
			last := uint32(0)
			for i, r := range at {
				if r.from >= r.to || r.to > uint32(n) || i > 0 && r.from <= last {
					t.Fatalf("%q: %v", text, at)
				}
				last = r.to
			}
			list := uids(rows, at)
			if len(list) == 0 {
				continue
			}
			again := reading(h, appendSet(nil, list)).set()
			if back, _ := again.places(rows, true, nil); count(back) != len(list) || !equalSpans(back, at) {
				t.Fatalf("%q: %v, and again %v", text, at, back)
			}
		}
	})
}

func equalSpans(a, b []span) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// FuzzUTF7: what is decoded is written the same way again, and any name comes
// back.
func FuzzUTF7(f *testing.F) {
	for _, s := range []string{"INBOX", "&AMk-t&AOk-", "&-", "a&b", "&2D3eAA-", "&AGE-", "&AMk-&AOk-", "é", "&"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if utf8.ValidString(s) && !strings.Contains(s, "\uFFFD") {
			if back, err := decodeUTF7(encodeUTF7(s)); err != nil || back != s {
				t.Fatalf("%q: %q, %v", s, back, err)
			}
		}
		decoded, err := decodeUTF7(s)
		if err != nil {
			return
		}
		for _, r := range s {
			if r >= 0x80 || r < ' ' || r == 0x7f {
				return // taken as it stands
			}
		}
		if !utf8.ValidString(decoded) || encodeUTF7(decoded) != s {
			t.Fatalf("%q is read as %q and written as %q", s, decoded, encodeUTF7(decoded))
		}
	})
}

// FuzzSearchKeys: keys that are read can be decided for any message.
func FuzzSearchKeys(f *testing.F) {
	for _, s := range []string{"ALL", "OR SEEN NOT (1:3 UID 5)", "BODY x TEXT y", "HEADER a \"\" SENTSINCE 1-Jan-2020", "MODSEQ \"/flags/\\\\seen\" all 5", "UNKEYWORD a OLDER 5"} {
		f.Add(s)
	}
	h := open(f, nil)
	u := newMemoryUser(testUser)
	u.deliver(f, folder.Inbox, "Subject: one\n\nbody\n")
	f.Fuzz(func(t *testing.T, text string) {
		p := reading(h, []byte(text))
		p.c.user = u
		q := p.query()
		if !p.end() {
			return
		}
		command(t, p.c, "SELECT INBOX")
		defer p.c.leave()
		q.resolve(p.c.view)
		found, err := p.c.search(q, p.c.view.rows)
		if err != nil && !errors.Is(err, errSearchTooDear) || len(found) > 1 {
			t.Fatalf("%q: %v, %v", text, found, err)
		}
	})
}

// FuzzEnvelope: any header gives an ENVELOPE and a BODYSTRUCTURE whose
// parentheses, strings and literals are in order.
func FuzzEnvelope(f *testing.F) {
	for _, s := range []string{
		"From: \"a\" <b@c>\nTo: g: a@b, c@d;, <@r:e@f>\nCc: (x) y@z (Name)\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: a/b; n*0=\"x\"; n*1=y\n\n--b--\n",
		"From: <<a@b\nContent-Type: message/rfc822\n\nFrom: x\n\n", "Subject: \xff\xfe\nFrom: \"\\\n", ":\n\n",
	} {
		f.Add([]byte(s), true)
	}
	h := open(f, nil)
	f.Fuzz(func(t *testing.T, raw []byte, asUTF8 bool) {
		m := newMemoryMessage(raw, folder.Flags{}, theTime)
		c := newConn(h.server, &sink{}, StartTLS)
		c.utf8 = asUTF8
		b := c.appendEnvelope(nil, m.index.Fields)
		b = append(b, ' ')
		b = c.appendStructure(b, &m.index.Root, m.index.Fields, true)
		p := reading(h, nil)
		p.c.utf8 = asUTF8
		rest := b
		for depth := 0; len(rest) > 0; {
			switch rest[0] {
			case '(':
				depth++
				rest = rest[1:]
			case ')':
				depth--
				rest = rest[1:]
			case '"':
				p.line, p.failure = rest, ""
				p.quoted()
				if p.failed() {
					t.Fatalf("%q", b)
				}
				rest = p.line
			case '{':
				line, _, _ := bytes.Cut(rest, []byte("\r\n"))
				a, _, ok := announced(line)
				if !ok {
					t.Fatalf("%q", b)
				}
				rest = rest[len(line)+2+int(a.size):]
			default:
				if strings.IndexByte(" NIL0123456789", rest[0]) < 0 {
					t.Fatalf("%q at %q", b, rest)
				}
				rest = rest[1:]
			}
			if depth < 0 || len(rest) == 0 && depth != 0 {
				t.Fatalf("%q", b)
			}
		}
	})
}
