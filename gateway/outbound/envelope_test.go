package outbound

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/relais-sante/relais/mailbox"
)

// written is what goes out over a connection, write by write.
type written struct {
	net.Conn
	mu     sync.Mutex
	writes []string
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes = append(w.writes, string(p))
	return w.Conn.Write(p)
}

// TestPipelining: the envelope goes out as one, and so does a small mail with
// its final dot; without the offer each command waits for its answer.
func TestPipelining(t *testing.T) {
	for _, pipelining := range []bool{false, true} {
		op := newOperator(t, nil)
		op.pipelining = pipelining
		q := newQueue()
		o := quick(q, toward{"chu.example": op.addr()})
		var w *written
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, address)
			w = &written{Conn: c}
			return w, err
		}
		start(t, o)
		if out := q.first(t, q.add("roux@chu.example")); out.Kind != mailbox.OutcomeSent {
			t.Fatalf("outcome %+v", out)
		}
		w.mu.Lock()
		writes := w.writes[1:] // after EHLO
		w.mu.Unlock()
		body := strings.ReplaceAll(plain, "\n.", "\n..") + ".\r\n"
		mail := fmt.Sprintf("MAIL FROM:<k7f3q2x.b-1@hub.example> SIZE=%d RET=HDRS ENVID=d00000\r\n", len(plain))
		rcpt, data := "RCPT TO:<roux@chu.example>\r\n", "DATA\r\n"
		want := []string{mail, rcpt, data, body}
		if pipelining {
			want = []string{mail + rcpt + data, body}
		}
		if strings.Join(writes, "|") != strings.Join(want, "|") {
			t.Errorf("pipelining %v: said %q\nwant %q", pipelining, writes, want)
		}
	}
}

// TestDataInSpiteOfRefusal: a peer that refuses and yet takes DATA gets no mail,
// not even an empty one, and the refusal counts.
func TestDataInSpiteOfRefusal(t *testing.T) {
	for name, tt := range map[string]struct {
		verb        string
		dot         string // its answer to a mail that nobody gets
		connections int    // that two mails take
		taken       int    // empty mails that nobody gets
	}{
		"nobody to have it, refused": {"RCPT", "554 5.5.1 no recipient", 1, 0},
		"nobody to have it, taken":   {"RCPT", "250 kept", 2, 1},
		"somebody would have it":     {"MAIL", "250 kept", 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			op := newOperator(t, func(_, mail int) manners {
				if mail != 1 {
					return manners{}
				}
				return manners{obliging: true, reply: map[string]string{tt.verb: "550 5.7.1 no", "DOT": tt.dot}}
			})
			op.pipelining = true
			q := newQueue()
			o := quick(q, toward{"chu.example": op.addr()})
			o.PerPeer = 1
			start(t, o)
			if out := q.first(t, q.add("roux@chu.example")); out.Kind != mailbox.OutcomePermanent || out.Enhanced != "5.7.1" {
				t.Errorf("outcome %+v", out)
			}
			op.mu.Lock()
			op.manners = func(int, int) manners { return manners{} }
			op.mu.Unlock()
			if out := q.first(t, q.add("leroy@chu.example")); out.Kind != mailbox.OutcomeSent {
				t.Errorf("the next: %+v", out)
			}
			if n := op.connections(); n != tt.connections {
				t.Errorf("%d connections", n)
			}
			if n := len(op.taken()) - 1; n != tt.taken {
				t.Errorf("%d mails taken besides", n)
			}
		})
	}
}

func TestXtext(t *testing.T) {
	if got := string(appendXtext(nil, "a+b=c d\xe9~!")); got != "a+2Bb+3Dc+20d+E9~!" {
		t.Error(got)
	}
}
