package e2e

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestMisbehavingPeers: temporary errors, dropped connections, stalls, a peer
// away for a while. Every copy arrives once in the end.
func TestMisbehavingPeers(t *testing.T) {
	posts := 30
	if long {
		posts = 300
	}
	s := newSink(t)
	s.misbehave(sometimes(0.3, refuseLater, refuseData, dropEarly, dropData, stall))
	h := newHub(t, settings{outbound: `route = "smarthost"
tls = "none"
smarthost = "` + s.addr + `"
retry = ["1s"]
command_timeout = "5s"
data_timeout = "5s"`})
	h.start()
	code := h.include(0)
	h.member(code, "Dr Anne Roux", "oncologue", "roux@chu.test", "PER")
	boxes := []string{"moreau@chu.test", "cabinet@idel.test", "bernard@kine.test", "leroy@ville.test"}
	for i, box := range boxes {
		h.member(code, fmt.Sprintf("Mme Numéro %d", i), "infirmier", box, "PER")
	}
	sent, cutOff := map[string][32]byte{}, map[string]bool{}
	var gone time.Time
	for i := range posts {
		text := body(8 << 10)
		id := fmt.Sprintf("fault-%d@chu.test", i)
		sent["<"+id+">"] = sha256.Sum256(text)
		mail := append([]byte("From: <roux@chu.test>\r\nSubject: Essai "+fmt.Sprint(i)+"\r\nMessage-ID: <"+id+">\r\n\r\n"), text...)
		if err := h.send("roux@chu.test", code+"@"+domain, mail); err != nil {
			t.Fatal(err)
		}
		if i == posts/2 {
			s.away()
			gone = time.Now()
		}
	}
	time.Sleep(500 * time.Millisecond) // let attempts fail while nobody answers
	s.back()
	eventually(t, 3*time.Minute, "every copy is delivered", func() bool { return s.count(func(taken) bool { return true }) >= posts*len(boxes) })
	eventually(t, time.Minute, "the queue is empty", func() bool {
		var st struct{ Queue struct{ Queued int } }
		h.ask(&st, "status")
		return st.Queue.Queued == 0
	})
	times := map[string]int{}
	for _, c := range s.all() {
		// A connection cut when the peer went away may have cost the answer to a
		// copy that was taken: the one window SMTP leaves open.
		if cut := gone.Sub(c.at); times[c.id+" "+c.to] == 0 && cut > -time.Second && cut < time.Second {
			cutOff[c.id+" "+c.to] = true
		}
		times[c.id+" "+c.to]++
		if c.body != sent[c.id] {
			t.Errorf("a copy of %s has another body", c.id)
		}
	}
	if len(times) != posts*len(boxes) {
		t.Errorf("%d copies arrived, want %d", len(times), posts*len(boxes))
	}
	for what, n := range times {
		if n != 1 && !(n == 2 && cutOff[what]) {
			t.Errorf("%s arrived %d times", what, n)
		}
	}
	for _, m := range h.thread(code).Messages {
		for _, d := range m.Deliveries {
			if d.State != "sent" {
				t.Errorf("a delivery is %s (%s)", d.State, d.LastError)
			}
		}
	}
	t.Logf("%d copies, each once", len(times))
}

// TestRefusedCopyIsTold: a box that does not exist; the author learns who was
// not reached, and the hub goes on with the others.
func TestRefusedCopyIsTold(t *testing.T) {
	s := newSink(t)
	h := newHub(t, settings{outbound: `route = "smarthost"
tls = "none"
smarthost = "` + s.addr + `"`})
	h.start()
	code := h.include(0)
	h.member(code, "Dr Anne Roux", "oncologue", "roux@chu.test", "PER")
	h.member(code, "M. Luc Bernard", "kinesitherapeute", "parti@kine.test", "PER")
	h.member(code, "Mme Inès Moreau", "idec", "moreau@chu.test", "PER")
	// The kinésithérapeute's box refuses; the others take.
	s.refuse("parti@kine.test")
	mail := []byte("From: <roux@chu.test>\r\nSubject: Bilan\r\nMessage-ID: <r1@chu.test>\r\n\r\nBonjour.\r\n")
	if err := h.send("roux@chu.test", code+"@"+domain, mail); err != nil {
		t.Fatal(err)
	}
	told := func(c taken) bool { return c.to == "roux@chu.test" && c.kind == "not-delivered" }
	eventually(t, time.Minute, "the author is told", func() bool { return s.count(told) == 1 })
	if n := s.count(func(c taken) bool { return c.to == "moreau@chu.test" && c.kind == "" }); n != 1 {
		t.Errorf("the others got %d copies", n)
	}
	for _, c := range s.all() {
		if told(c) {
			text := string(c.raw)
			if c.from != "" || c.header.Get("Auto-Submitted") != "auto-generated" {
				t.Errorf("a notice with sender %q, Auto-Submitted %q", c.from, c.header.Get("Auto-Submitted"))
			}
			if !strings.Contains(text, "Bernard") {
				t.Errorf("the notice does not name who was not reached:\n%s", text)
			}
		}
	}
	var box struct {
		MarkedCode string `json:"marked_code"`
	}
	h.ask(&box, "mailbox", "show", "parti@kine.test")
	if box.MarkedCode != "5.1.1" {
		t.Errorf("the box is marked %q", box.MarkedCode)
	}
}

// TestStopsInTime: told to stop in the middle of work, the hub is gone within
// ten seconds and loses nothing.
func TestStopsInTime(t *testing.T) {
	s := newSink(t)
	s.misbehave(sometimes(1, stall))
	h := newHub(t, settings{outbound: `route = "smarthost"
tls = "none"
smarthost = "` + s.addr + `"
retry = ["1s"]`})
	h.start()
	code := h.include(0)
	h.member(code, "Dr Anne Roux", "oncologue", "roux@chu.test", "PER")
	h.member(code, "Mme Inès Moreau", "idec", "moreau@chu.test", "PER")
	for i := range 20 {
		mail := fmt.Appendf(nil, "From: <roux@chu.test>\r\nSubject: x\r\nMessage-ID: <s%d@chu.test>\r\n\r\nx\r\n", i)
		if err := h.send("roux@chu.test", code+"@"+domain, mail); err != nil {
			t.Fatal(err)
		}
	}
	if took := h.stop(); took > 10*time.Second {
		t.Errorf("took %s to stop", took)
	}
	s.misbehave(nil)
	h.start()
	eventually(t, time.Minute, "what was queued is delivered", func() bool { return s.count(func(taken) bool { return true }) == 20 })
}
