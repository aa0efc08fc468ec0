package outbound

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store"
)

// TestMisbehavingPeers: a third of all conversations end in a temporary error,
// a dropped connection or a stall, before the answer to the final dot. In the
// end every copy has arrived exactly once, whole.
func TestMisbehavingPeers(t *testing.T) {
	copies := 200
	if os.Getenv("RELAIS_LONG") != "" {
		copies = 5000
	}
	faults := []manners{
		{reply: map[string]string{"MAIL": "451 4.3.0 try later"}},
		{reply: map[string]string{"RCPT": "450 4.2.0 greylisted"}},
		{reply: map[string]string{"DATA": "452 4.3.1 no room"}},
		{reply: map[string]string{"DOT": "451 4.3.0 not kept"}},
		{reply: map[string]string{"MAIL": "421 4.3.2 closing"}},
		{reply: map[string]string{"RCPT": "421 4.3.2 closing"}},
		{cut: "GREETING"},
		{cut: "EHLO"},
		{cut: "MAIL"},
		{cut: "RCPT"},
		{cut: "DATA"},
		{cut: "BODY"},
		{cut: "IDLE"},
		{stall: "GREETING"},
		{stall: "RCPT"},
		{stall: "BODY"},
		{reply: map[string]string{"GREETING": "554 5.3.2 not now"}},
	}
	chance := func(host, conn, mail int) manners {
		dice := rand.New(rand.NewPCG(uint64(host), uint64(conn<<16|mail)))
		if dice.IntN(100) < 33 {
			return faults[dice.IntN(len(faults))]
		}
		return manners{}
	}
	route := toward{}
	q := newQueue()
	var ops []*remote
	for host := range 4 {
		op := newOperator(t, func(conn, mail int) manners { return chance(host, conn, mail) })
		op.pipelining = host%2 == 0
		ops = append(ops, op)
		route[fmt.Sprintf("h%d.example", host)] = op.addr()
	}
	want := map[string]string{}
	for i := range copies {
		rcpt := fmt.Sprintf("box%d@h%d.example", i, i%4)
		body := fmt.Sprintf("Subject: %d\r\n\r\n%s", i, strings.Repeat(fmt.Sprintf(".%d\r\n", i), 1+i*7%400))
		want["RCPT TO:<"+rcpt+">"] = body
		q.addMail(mailbox.Outgoing{MailFrom: "a@hub.example", RcptTo: store.Address(rcpt)}, body)
	}
	o := quick(q, route)
	o.Timeouts.Command, o.Timeouts.Block, o.Timeouts.End = 100*time.Millisecond, 100*time.Millisecond, 2*time.Second
	start(t, o)
	q.all(t)
	failed := 0
	for _, id := range q.order {
		e := q.get(id)
		failed += len(e.results) - 1
		if last := e.results[len(e.results)-1]; last.Kind != mailbox.OutcomeSent {
			t.Fatalf("%s ended %+v", id, last)
		}
	}
	for _, op := range ops {
		for _, m := range op.taken() {
			if body, ok := want[m.rcpt]; !ok || body != m.body {
				t.Errorf("%s: arrived twice, or changed", m.rcpt)
			}
			delete(want, m.rcpt)
		}
	}
	if len(want) > 0 {
		t.Errorf("%d of %d copies did not arrive", len(want), copies)
	}
	t.Logf("%d failed attempts on the way", failed)
	if failed < copies/4 {
		t.Errorf("only %d attempts failed: the peers were too well-behaved to show anything", failed)
	}
}

// TestOnlyWindowForDuplicates: the answer to the final dot is lost. The copy is
// sent again, which is all that SMTP allows.
func TestOnlyWindowForDuplicates(t *testing.T) {
	op := newOperator(t, func(conn, mail int) manners {
		if conn == 1 && mail == 1 {
			return manners{cut: "DOT"}
		}
		return manners{}
	})
	q := newQueue()
	id := q.add("roux@chu.example")
	start(t, quick(q, toward{"chu.example": op.addr()}))
	q.all(t)
	e := q.get(id)
	if len(e.results) != 2 || e.results[0].Reason != "dropped" || e.results[1].Kind != mailbox.OutcomeSent {
		t.Errorf("outcomes %+v", e.results)
	}
	if n := len(op.taken()); n != 2 {
		t.Errorf("taken %d times", n)
	}
}

// TestFairness: eight peers that stall with 50 copies each do not hold back the
// one that works.
func TestFairness(t *testing.T) {
	good := newOperator(t, nil)
	route := toward{"good.example": good.addr()}
	q := newQueue()
	for i := range 8 {
		stalled := newOperator(t, func(int, int) manners { return manners{stall: "BODY"} })
		domain := fmt.Sprintf("bad%d.example", i)
		route[domain] = stalled.addr()
		for j := range 50 {
			q.add(fmt.Sprintf("box%d@%s", j, domain))
		}
	}
	for j := range 100 {
		q.add(fmt.Sprintf("box%d@good.example", j))
	}
	o := quick(q, route)
	o.Total = 12
	o.Timeouts.Command, o.Timeouts.Block, o.Timeouts.End = time.Minute, time.Minute, time.Minute
	o.Grace = 50 * time.Millisecond
	begun := time.Now()
	_, stop := start(t, o)
	q.until(t, "the working peer has its mails", func() bool {
		for _, e := range q.entries {
			if e.mail.RcptTo.Domain() == "good.example" && !e.ended {
				return false
			}
		}
		return true
	})
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("the working peer waited %v", took)
	}
	stop()
}

// TestStalledBody is defect S8 of the client library: it writes a body without
// a deadline, and a peer that stops reading would hold the sender for ever.
func TestStalledBody(t *testing.T) {
	op := newOperator(t, func(int, int) manners { return manners{stall: "BODY"} })
	q := newQueue()
	q.retry = func(int) time.Duration { return time.Hour }
	// More than the buffers of both ends hold.
	id := q.addMail(mailbox.Outgoing{RcptTo: "roux@chu.example"}, strings.Repeat(strings.Repeat("x", 998)+"\r\n", 20_000))
	o := quick(q, toward{"chu.example": op.addr()})
	o.Timeouts.Block, o.Timeouts.Command, o.Timeouts.End = 200*time.Millisecond, time.Minute, time.Minute
	begun := time.Now()
	start(t, o)
	out := q.first(t, id)
	if out.Kind != mailbox.OutcomeTemporary || out.Reason != "timeout" {
		t.Errorf("outcome %+v", out)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("let go after %v, not 200 ms", took)
	}
}

// TestTricklingPeer: a peer that takes a few bytes now and then renews every
// deadline, but not the limit for the whole.
func TestTricklingPeer(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	w := &wire{Conn: here}
	w.allow(300*time.Millisecond, 100*time.Millisecond)
	var over sync.WaitGroup
	defer over.Wait()
	defer there.Close()
	over.Go(func() {
		b := make([]byte, 1)
		for {
			if _, err := there.Read(b); err != nil {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
	begun := time.Now()
	var err error
	for err == nil {
		_, err = w.Write(make([]byte, 4))
	}
	if took := time.Since(begun); took < 250*time.Millisecond || took > 3*time.Second {
		t.Errorf("let go after %v: %v", took, err)
	}
}

// TestHangsUpWithAReason: the peer says why and closes, without reading on.
func TestHangsUpWithAReason(t *testing.T) {
	op := newOperator(t, func(int, int) manners { return manners{hangUp: "552 5.3.4 too big"} })
	q := newQueue()
	id := q.addMail(mailbox.Outgoing{RcptTo: "roux@chu.example"}, strings.Repeat(strings.Repeat("x", 998)+"\r\n", 20_000))
	start(t, quick(q, toward{"chu.example": op.addr()}))
	if out := q.first(t, id); out.Kind != mailbox.OutcomeTooLarge || out.Code != 552 || out.Limit != 50000000 {
		t.Errorf("outcome %+v", out)
	}
}
