package e2e

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// session is one connection of an account, with INBOX selected.
type session struct {
	t     testing.TB
	c     net.Conn
	lines *bufio.Reader
}

func (r *reading) session(username, password string) *session {
	r.t.Helper()
	c, err := r.dial()
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	s := &session{r.t, c, bufio.NewReader(c)}
	s.until("* OK")
	s.say(fmt.Sprintf("a LOGIN %q %q", username, password), "a OK")
	s.say("b SELECT INBOX", "b OK")
	return s
}

// say sends a command and reads to the line that begins with want.
func (s *session) say(command, want string) []string {
	s.t.Helper()
	fmt.Fprintf(s.c, "%s\r\n", command)
	return s.until(want)
}

func (s *session) until(want string) (got []string) {
	s.t.Helper()
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			s.t.Fatalf("waiting for %q: %v", want, err)
		}
		got = append(got, line)
		if strings.HasPrefix(line, want) {
			return got
		}
	}
}

// Flags of a person of a shared box reach the person's other sessions within a
// second, and no session of a colleague who shares the box.
func TestFlagsOfAPersonOfASharedBox(t *testing.T) {
	r := newReading(t)
	defer r.stop()
	r.post("roux@chu.example", "f1@chu.example", "Bilan", "Stable.")
	julie := r.account("--mailbox", "cabinet@idel.example", "--person", "Julie Petit")
	paul := r.account("--mailbox", "cabinet@idel.example", "--person", "Paul Durand")
	phone, desk := r.session(julie.Username, julie.Password), r.session(julie.Username, julie.Password)
	his := r.session(paul.Username, paul.Password)
	phone.say("c IDLE", "+")
	his.say("c IDLE", "+")
	for i, flag := range []string{`\Seen`, `\Flagged`, `$Relu`} {
		begin := time.Now()
		desk.say(fmt.Sprintf("d%d STORE 1 +FLAGS (%s)", i, flag), fmt.Sprintf("d%d OK", i))
		got := phone.until("* 1 FETCH")
		took := time.Since(begin)
		if last := got[len(got)-1]; !strings.Contains(last, flag) {
			t.Errorf("%s is told as %q", flag, last)
		}
		if took > time.Second {
			t.Errorf("%s was told after %v", flag, took)
		}
	}
	// What is told of next shows that nothing was before.
	r.post("roux@chu.example", "f2@chu.example", "Suite", "Bien.")
	if got := his.until("* 2 EXISTS"); len(got) != 1 {
		t.Errorf("the colleague was told %q", got)
	}
	his.say("DONE", "c OK")
	if got := his.say("e FETCH 1 FLAGS", "e OK"); strings.ContainsAny(strings.Join(got, ""), `\$`) {
		t.Errorf("the colleague sees %q", got)
	}
	phone.say("DONE", "c OK")
	if got := strings.Join(phone.say("e FETCH 1 FLAGS", "e OK"), ""); !strings.Contains(got, `\Seen`) || !strings.Contains(got, `$Relu`) {
		t.Errorf("the other session sees %q", got)
	}
}
