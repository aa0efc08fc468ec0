// Package imaptest runs scripted tests of IMAP servers in the format of
// imaptest (its documentation: "Scripted Testing Configuration"): a script of
// commands with the replies that are expected, beside a mailbox file with the
// messages that are put into the mailbox before.
//
// It speaks to any server over any connection, and destroys all folders of the
// account whose names begin with that of the test mailbox.
package imaptest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Target is the server under test.
type Target struct {
	// Dial opens a connection over which a login is possible.
	Dial func() (net.Conn, error)
	// User is the account ("name@domain"); both users of tests that want two
	// are this one.
	User, Password string
	Mailbox        string // default "imaptest"
	// Reset, if given, is called before each script.
	Reset func(testing.TB)
}

// Run runs every script of a folder as a subtest. A script that wants a
// capability the server does not tell fails: skipping is not passing.
func Run(t *testing.T, dir string, target Target) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() || strings.HasSuffix(e.Name(), ".mbox") {
			continue
		}
		t.Run(e.Name(), func(t *testing.T) {
			if target.Reset != nil {
				target.Reset(t)
			}
			RunOne(t, filepath.Join(dir, e.Name()), target)
		})
	}
}

// RunOne runs one script.
func RunOne(t *testing.T, path string, target Target) {
	s, err := readScript(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.groups) == 0 {
		t.Fatal("a script without commands")
	}
	mbox := path + ".mbox"
	if _, err := os.Stat(mbox); err != nil {
		mbox = filepath.Join(filepath.Dir(path), "default.mbox")
	}
	r := &run{t: t, script: s, target: target}
	if r.target.Mailbox == "" {
		r.target.Mailbox = "imaptest"
	}
	if r.messages, r.dates, err = readMbox(mbox); err != nil {
		t.Fatal(err)
	}
	name, domain, _ := strings.Cut(target.User, "@")
	r.match.vars = map[string]string{"mailbox": r.target.Mailbox, "mailbox_url": r.target.Mailbox}
	for i := range s.connections {
		suffix := ""
		if i > 0 {
			suffix = strconv.Itoa(i + 1)
		}
		r.match.vars["user"+suffix], r.match.vars["username"+suffix] = target.User, name
		r.match.vars["domain"+suffix], r.match.vars["password"+suffix] = domain, target.Password
		conn, err := target.Dial()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		c := newClient(conn, i)
		if _, err := c.receive(30 * time.Second); err != nil {
			t.Fatalf("greeting: %v", err)
		}
		r.clients = append(r.clients, c)
	}
	if err := r.prepare(); err != nil {
		t.Fatalf("preparing: %v", err)
	}
	for i, g := range s.groups {
		r.next = i
		r.group(g)
		if t.Failed() {
			return
		}
	}
}

type run struct {
	t        *testing.T
	script   *script
	target   Target
	clients  []*client
	messages []string
	dates    []string
	used     int // messages taken from the file
	match    matcher
	next     int
}

// prepare brings the connections into the state the script wants.
func (r *run) prepare() error {
	first := r.clients[0]
	if r.script.state != "nonauth" {
		for _, c := range r.clients {
			if _, err := c.do(fmt.Sprintf("LOGIN %q %q", r.target.User, r.target.Password), false); err != nil {
				return err
			}
		}
	}
	if _, err := first.do("CAPABILITY", false); err != nil {
		return err
	}
	for _, want := range r.script.capabilities {
		if !first.caps[strings.ToUpper(want)] {
			return fmt.Errorf("the server does not tell %s", want)
		}
	}
	if r.script.state == "nonauth" {
		return nil
	}
	if err := r.clear(first); err != nil {
		return err
	}
	if r.script.state == "auth" {
		return nil
	}
	if _, err := first.do("CREATE "+r.target.Mailbox, false); err != nil {
		return err
	}
	if r.script.state == "created" {
		return nil
	}
	count := r.script.messages
	if count < 0 {
		count = len(r.messages)
	}
	for range count {
		if _, err := first.do(r.appendNext(""), false); err != nil {
			return err
		}
	}
	if r.script.state == "appended" {
		return nil
	}
	for _, c := range r.clients {
		if _, err := c.do("SELECT "+r.target.Mailbox, false); err != nil {
			return err
		}
		c.selected = true
	}
	return nil
}

// clear deletes the test mailboxes, deepest first.
func (r *run) clear(c *client) error {
	for _, verb := range []string{"LIST", "LSUB"} {
		lines, err := c.do(fmt.Sprintf("%s \"\" %q", verb, r.target.Mailbox+"*"), false)
		if err != nil {
			return err
		}
		var names []string
		for _, l := range lines {
			if len(l) == 4 && strings.EqualFold(l[0].text, verb) {
				names = append(names, l[3].text)
			}
		}
		slices.Sort(names)
		slices.Reverse(names)
		for _, n := range names {
			undo := "DELETE"
			if verb == "LSUB" {
				undo = "UNSUBSCRIBE"
			}
			if _, err := c.do(fmt.Sprintf("%s %q", undo, n), true); err != nil {
				return err
			}
		}
	}
	return nil
}

// appendNext makes an APPEND of the next message of the file. Without
// arguments it goes into the test mailbox with the date it has there.
func (r *run) appendNext(args string) string {
	at := r.used % len(r.messages)
	r.used++
	if args == "" {
		args = fmt.Sprintf("%q %q", r.target.Mailbox, r.dates[at])
	}
	body := r.messages[at]
	return fmt.Sprintf("APPEND %s {%d}\r\n%s", args, len(body), body)
}

// hasBody tells whether an APPEND brings its own message.
func hasBody(args string) bool {
	return strings.Contains(args, "}\r\n") || strings.Contains(strings.ToLower(args), "catenate")
}

// group sends the commands of a group and compares what comes.
func (r *run) group(g *group) {
	c := r.clients[g.conn]
	r.match.seqs = nil
	for i := uint32(1); i <= c.exists; i++ {
		r.match.seqs = append(r.match.seqs, i)
	}
	waiting := map[string]*command{}
	for _, cmd := range g.commands {
		text, err := r.match.fill(cmd.text)
		if err != nil {
			r.t.Fatalf("line %d: %v", cmd.line, err)
		}
		if lower := strings.ToLower(text); lower == "append" {
			text = r.appendNext("")
		} else if strings.HasPrefix(lower, "append ") && !hasBody(text) {
			text = r.appendNext(text[len("append "):])
		}
		if cmd.sent, err = c.send(text); err != nil {
			r.t.Fatalf("line %d: %v", cmd.line, err)
		}
		waiting[cmd.sent] = cmd
	}
	found := make([]bool, len(g.untagged))
	line := g.commands[0].line
	for len(waiting) > 0 {
		text, err := c.receive(30 * time.Second)
		if err != nil {
			if g.bye && g.allLenient() {
				break
			}
			r.t.Fatalf("line %d: %v", line, err)
		}
		if rest, ok := strings.CutPrefix(text, "* "); ok {
			r.untagged(g, c, rest, found, g.commands[0].sent)
			continue
		}
		if strings.HasPrefix(text, "+") {
			continue
		}
		tag, rest, _ := strings.Cut(text, " ")
		cmd := waiting[tag]
		if cmd == nil {
			r.t.Fatalf("line %d: unexpected %q", line, text)
		}
		delete(waiting, tag)
		got, err := parse(rest)
		if err != nil {
			r.t.Fatalf("line %d: %v", cmd.line, err)
		}
		if !(len(cmd.reply) == 1 && cmd.reply[0].text == "") && !r.match.matches(cmd.reply, got, true) {
			r.t.Errorf("line %d: %.200q\n got %s\nwant %s", cmd.line, cmd.text, text, show(cmd.reply))
		}
	}
	for i, u := range g.untagged {
		if u.must == '*' && !found[i] {
			r.t.Errorf("line %d: %.200q: never came: %s", line, g.commands[0].text, show(u.values))
		}
	}
}

func (g *group) allLenient() bool {
	return !slices.ContainsFunc(g.commands, func(c *command) bool { return len(c.reply) != 1 || c.reply[0].text != "" })
}

// untagged compares an untagged reply with all that are expected.
func (r *run) untagged(g *group, c *client, text string, found []bool, tag string) {
	got, err := parse(text)
	if err != nil {
		r.t.Fatalf("line %d: %v", g.commands[0].line, err)
	}
	prefix := len(got) > 0 && slices.Contains([]string{"OK", "NO", "BAD", "BYE"}, strings.ToUpper(got[0].text))
	r.match.vars["tag"] = tag
	any := false
	for i, u := range g.untagged {
		if found[i] || !r.match.matches(u.values, got, prefix) {
			continue
		}
		if u.must == '!' {
			r.t.Errorf("line %d: came and must not: %s", g.commands[0].line, text)
			continue
		}
		found[i], any = true, true
	}
	delete(r.match.vars, "tag")
	if !any && r.script.strict {
		r.t.Errorf("line %d: not expected: %s", g.commands[0].line, text)
	}
	c.note(got)
	if len(got) > 1 && strings.EqualFold(got[1].text, "EXPUNGE") {
		n, _ := strconv.ParseUint(got[0].text, 10, 32)
		r.match.expunged(uint32(n))
	}
}
