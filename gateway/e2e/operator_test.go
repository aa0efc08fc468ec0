package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestOperatorsClient: the hub as a client of a real Postfix and Dovecot, in
// both directions.
func TestOperatorsClient(t *testing.T) {
	c := newClient(t)
	for n, l := range logins {
		t.Run("answers find their pathway, "+l.auth, func(t *testing.T) { c.of(t).conversation(n, l.programme) })
	}
	t.Run("reports come back", func(t *testing.T) { c.of(t).reports() })
	t.Run("set aside", func(t *testing.T) { c.of(t).setAside() })
	t.Run("exactly once", func(t *testing.T) { c.of(t).exactlyOnce() })
	if errors := c.hub.log.worst(); errors != "" {
		t.Errorf("journal:\n%s", errors)
	}
}

// of is the client as a part of the test sees it.
func (c *client) of(t *testing.T) *client {
	own := *c
	own.t = t
	return &own
}

// conversation: a mail with a tag, its copy, an answer that only the thread
// tells, and, for the child whose document there is, one that only its INS tells.
func (c *client) conversation(n int, programme string) {
	t, messages := c.t, 2
	doctor, coordinator, box := "roux@"+atCHU, "petit@"+atTown, c.box[programme]
	said := "Sortie de mardi, " + programme
	c.send(doctor, box, letter(doctor, box, c.tag(programme)+said, "Message-ID: <un."+programme+"@chu.e2e.test>", "", "Qui passe mardi ?", ""))
	first := c.await(coordinator, "the copy is there", func(a arrived) bool { return strings.Contains(a.Get("Subject"), said) })
	if from := first.Get("From"); !strings.Contains(from, box) || !strings.Contains(from, "Anne Roux") {
		t.Errorf("the copy is from %q", from)
	}
	if !bytes.Equal(first.body, []byte("Qui passe mardi ?\r\n")) {
		t.Errorf("the body arrived as %q", first.body)
	}
	to := address(first.Get("Reply-To"))
	if to != box {
		t.Errorf("answers go to %q", to)
	}
	c.send(coordinator, to, letter(coordinator, to, "Autre chose, "+programme, "Message-ID: <deux."+programme+"@ville.e2e.test>",
		"In-Reply-To: "+first.Get("Message-Id"), "References: "+first.Get("References")+" "+first.Get("Message-Id"), "", "Moi.", ""))
	c.await(doctor, "the answer is there", func(a arrived) bool { return strings.Contains(a.Get("Subject"), "Autre chose, "+programme) })
	if n == 0 {
		c.send(doctor, box, letter(doctor, box, "Compte rendu", multipart("IHE_XDM.ZIP", "application/zip", xdm(t, children[0].ins))...))
		c.await(coordinator, "the document is there", func(a arrived) bool { return strings.Contains(a.Get("Subject"), "Compte rendu") })
		messages++
	}
	if thread := c.hub.thread(c.code[programme]).Messages; len(thread) != messages {
		t.Errorf("%d messages in the thread, want %d", len(thread), messages)
	}
	if held := c.hub.run("triage", "list", "--json"); strings.TrimSpace(held) != "[]" {
		t.Errorf("held: %s", held)
	}
	eventually(t, patience, "the box is empty", func() bool { return len(c.inbox(box)) == 0 })
}

// setAside: what cannot be taken does not hold up the rest.
func (c *client) setAside() {
	t := c.t
	doctor, box := "roux@"+atCHU, c.box["parsac"]
	large := letter(doctor, box, c.tag("parsac")+"Scanner", multipart("scanner.dcm", "application/dicom", noise(22<<20))...)
	c.send(doctor, box, large, letter(doctor, box, c.tag("parsac")+"Suite du scanner", "", "Bonjour.", ""))
	c.await("petit@"+atTown, "the next one is there", func(a arrived) bool { return strings.Contains(a.Get("Subject"), "Suite du scanner") })
	var st struct {
		Operators []struct {
			Name      string
			Connected bool
			Aside     int
		}
	}
	eventually(t, patience, "it is apart", func() bool {
		c.hub.ask(&st, "status")
		apart := 0
		for _, o := range st.Operators {
			if !o.Connected || o.Aside > 0 && o.Name != "parsac" {
				t.Fatalf("status of %s: %+v", o.Name, o)
			}
			apart += o.Aside
		}
		return apart == 1 && len(c.inbox(box)) == 0
	})
}

// exactlyOnce: a thousand mails over three boxes (a hundred in the short form),
// while the hub is killed, links are cut, tokens are revoked and the boxes count
// anew.
func (c *client) exactlyOnce() {
	t := c.t
	total := 99
	if long {
		total = 999
	}
	doctor := "roux@" + atCHU
	want := map[string]bool{}
	before := 0
	for _, l := range logins {
		before += len(c.hub.thread(c.code[l.programme]).Messages)
	}
	var sending sync.WaitGroup
	for _, l := range logins {
		var mails [][]byte
		for n := range total / 3 {
			subject := fmt.Sprintf("charge %s %d", l.programme, n)
			want[subject] = true
			head := fmt.Sprintf("From: <%s>\nSubject: %s%s\nMIME-Version: 1.0\nContent-Type: text/plain\n", doctor, c.tag(l.programme), subject)
			// Where Dovecot is stopped before it can answer, Postfix delivers once
			// more: without a date, too, nobody could tell.
			head += "Date: " + time.Now().Format(time.RFC1123Z) + "\n"
			if n%5 > 0 {
				head += fmt.Sprintf("Message-ID: <charge.%s.%d@chu.e2e.test>\n", l.programme, n)
			}
			size := 2 << 10
			if n%50 == 7 {
				size = 3 << 20
			}
			mails = append(mails, []byte(head+"\n"+strings.ReplaceAll(string(body(size)), "\r\n", "\n")))
		}
		sending.Go(func() { c.send(doctor, c.box[l.programme], mails...) })
	}
	kills, cuts, anew := 0, 0, 0
	until := time.Now().Add(patience)
	taken := func() int {
		n := -before
		for _, l := range logins {
			n += len(c.hub.thread(c.code[l.programme]).Messages)
		}
		return n
	}
	for step := 0; time.Now().Before(until); step++ {
		have := taken()
		if have >= total && kills >= 3 && cuts >= 6 && anew >= 2 {
			break
		}
		if have < total {
			until = time.Now().Add(patience) // from the last progress on
		}
		time.Sleep(time.Duration(50+rand.IntN(300)) * time.Millisecond) // the moment is the test
		switch {
		case step%5 == 2 && kills < 10:
			c.hub.kill()
			c.hub.start()
			kills++
		case step%7 == 5 && anew < 3:
			c.op.boxes.Stop()
			for _, box := range c.box {
				c.op.boxes.CountAnew(box)
			}
			c.op.boxes.Start()
			anew++
		case cuts < 60:
			if step%3 == 0 {
				c.idp.revoke()
			}
			c.links[rand.IntN(len(c.links))].cut()
			cuts++
		}
	}
	sending.Wait()
	eventually(t, patience, "the boxes are empty", func() bool {
		for _, box := range c.box {
			if len(c.inbox(box)) > 0 {
				return false
			}
		}
		return c.op.Queued() == 0
	})
	times := map[string]int{}
	for _, l := range logins {
		for _, m := range c.hub.thread(c.code[l.programme]).Messages {
			if i := strings.Index(m.Subject, "charge "); i >= 0 {
				times[m.Subject[i:]]++
			}
		}
	}
	for subject := range want {
		if times[subject] != 1 {
			t.Errorf("%s was taken %d times", subject, times[subject])
		}
		delete(times, subject)
	}
	if len(times) > 0 {
		t.Errorf("taken, though nobody sent it: %v", times)
	}
	// Nobody is left out by what went on; a kill may cut off the operator's
	// answer to a copy, which then goes once more.
	eventually(t, 2*patience, "all copies have left", func() bool {
		var st struct{ Queue struct{ Queued int } }
		c.hub.ask(&st, "status")
		return st.Queue.Queued == 0 && c.op.Queued() == 0
	})
	copies := map[string]int{}
	for _, m := range c.inbox("petit@" + atTown) {
		if i := strings.Index(m.Get("Subject"), "charge "); i >= 0 {
			copies[m.Get("Subject")[i:]]++
		}
	}
	twice := 0
	for subject := range want {
		if copies[subject] == 0 {
			t.Errorf("no copy of %s", subject)
		}
		twice += max(0, copies[subject]-1)
	}
	if twice > 50*kills {
		t.Errorf("%d copies went twice, with %d kills", twice, kills)
	}
	t.Logf("%d copies, %d twice", len(copies), twice)
	t.Logf("%d mails, %d kills, %d cuts, counted anew %d times, %d tokens", total, kills, cuts, anew, c.idp.given)
}
