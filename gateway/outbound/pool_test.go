package outbound

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/relais-sante/relais/mailbox"
)

// TestReuse: mails to one peer share a connection, up to a number.
func TestReuse(t *testing.T) {
	op := newOperator(t, nil)
	q := newQueue()
	for i := range 50 {
		q.add(fmt.Sprintf("box%d@chu.example", i))
	}
	o := quick(q, toward{"chu.example": op.addr()})
	o.PerPeer, o.Messages = 1, 20
	_, stop := start(t, o)
	q.all(t)
	stop()
	if n := op.connections(); n != 3 {
		t.Errorf("%d connections for 50 mails, 20 each", n)
	}
	if n := strings.Count(op.commands(), "QUIT"); n != 3 {
		t.Errorf("took leave %d times of 3", n)
	}
}

// TestKept: a connection outlives its lane and serves the next copy.
func TestKept(t *testing.T) {
	op := newOperator(t, nil)
	q := newQueue()
	r, _ := start(t, quick(q, toward{"chu.example": op.addr()}))
	for range 5 {
		q.first(t, q.add("roux@chu.example"))
	}
	if n := op.connections(); n != 1 {
		t.Errorf("%d connections for 5 mails in a row", n)
	}
	// New certificates or lists: the next mail goes over a new connection.
	r.Renew()
	q.first(t, q.add("roux@chu.example"))
	if n := op.connections(); n != 2 {
		t.Errorf("%d connections after Renew", n)
	}
}

// TestFoundClosed: a pooled connection found closed is replaced at once; the
// copy has had one attempt only.
func TestFoundClosed(t *testing.T) {
	idle421 := map[string]string{"IDLE": "421 4.4.2 timeout exceeded"}
	for name, m := range map[string]func(conn, mail int) manners{
		"without a word":  func(conn, mail int) manners { return manners{cut: "IDLE"} },
		"with 421":        func(conn, mail int) manners { return manners{reply: idle421} },
		"at MAIL":         func(conn, mail int) manners { return manners{cut: []string{"", "", "MAIL"}[min(mail, 2)]} },
		"at MAIL, by 421": func(conn, mail int) manners { return on(mail == 2, "MAIL", "421 4.3.2 bye") },
		"out of turn": func(conn, mail int) manners {
			return manners{after: map[string]string{"DOT": "421 4.4.2 bye\r\n"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			op := newOperator(t, m)
			q := newQueue()
			start(t, quick(q, toward{"chu.example": op.addr()}))
			for range 4 {
				id := q.add("roux@chu.example")
				if out := q.first(t, id); out.Kind != mailbox.OutcomeSent {
					t.Fatalf("outcome %+v", out)
				}
				if n := len(q.get(id).claimed); n != 1 {
					t.Fatalf("%d attempts", n)
				}
			}
			if n := len(op.taken()); n != 4 {
				t.Errorf("%d mails of 4", n)
			}
			if n := op.connections(); n < 2 {
				t.Errorf("%d connections: nothing was found closed", n)
			}
		})
	}
}

// TestFoundClosedUnused: a connection may be dialled for copies that another one
// has carried meanwhile, and be pooled unused; found closed it is no attempt
// either.
func TestFoundClosedUnused(t *testing.T) {
	op := newOperator(t, func(conn, _ int) manners {
		if conn == 1 {
			return manners{cut: "MAIL"}
		}
		return manners{}
	})
	q := newQueue()
	r, _ := start(t, quick(q, toward{"chu.example": op.addr()}))
	c, failed := r.connect(t.Context(), Target{Domain: "chu.example"})
	if failed != nil {
		t.Fatal(failed)
	}
	r.keep(r.peer("chu.example"), c)
	id := q.add("roux@chu.example")
	if out := q.first(t, id); out.Kind != mailbox.OutcomeSent || len(q.get(id).claimed) != 1 {
		t.Errorf("outcome %+v after %d attempts", out, len(q.get(id).claimed))
	}
	if n := op.connections(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

func on(yes bool, verb, reply string) manners {
	if yes {
		return manners{reply: map[string]string{verb: reply}}
	}
	return manners{}
}

// TestFoundClosedAndDown: the peer went away while the connection was idle. No
// connection can be had: the copy waits, and is delivered when the peer is back.
func TestFoundClosedAndDown(t *testing.T) {
	op := newOperator(t, nil)
	q := newQueue()
	start(t, quick(q, toward{"chu.example": op.addr()}))
	q.first(t, q.add("roux@chu.example"))
	op.close()
	out := q.first(t, q.add("roux@chu.example"))
	if out.Kind != mailbox.OutcomeTemporary || out.Reason != "dial" {
		t.Errorf("outcome %+v", out)
	}
}

// TestRefusedOneByOne is defect S10 of the client library: one refused
// recipient must not take the others with it, nor the connection.
func TestRefusedOneByOne(t *testing.T) {
	for _, verb := range []string{"MAIL", "RCPT", "DATA", "DOT"} {
		for _, pipelining := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s pipelining=%v", verb, pipelining), func(t *testing.T) {
				op := newOperator(t, func(_, mail int) manners { return on(mail%2 == 0, verb, "550 5.1.1 no such box") })
				op.pipelining = pipelining
				q := newQueue()
				for i := range 20 {
					q.add(fmt.Sprintf("box%d@chu.example", i))
				}
				o := quick(q, toward{"chu.example": op.addr()})
				o.PerPeer = 1
				start(t, o)
				q.all(t)
				kinds := map[mailbox.OutcomeKind]int{}
				for _, id := range q.order {
					kinds[q.get(id).results[0].Kind]++
				}
				if kinds[mailbox.OutcomeSent] != 10 || kinds[mailbox.OutcomePermanent] != 10 || len(op.taken()) != 10 {
					t.Errorf("outcomes %v, %d taken", kinds, len(op.taken()))
				}
				if n := op.connections(); n != 1 {
					t.Errorf("%d connections", n)
				}
			})
		}
	}
}

// TestIdleEnds: an unused connection is left after a while, politely.
func TestIdleEnds(t *testing.T) {
	op := newOperator(t, nil)
	q := newQueue()
	o := quick(q, toward{"chu.example": op.addr()})
	o.Idle = 20 * time.Millisecond
	r, _ := start(t, o)
	q.first(t, q.add("roux@chu.example"))
	deadline := time.Now().Add(5 * time.Second)
	for !strings.Contains(op.commands(), "QUIT") {
		if time.Now().After(deadline) {
			t.Fatal("the connection is kept")
		}
		r.expire(o.Idle) // what every round does
		time.Sleep(5 * time.Millisecond)
	}
}
