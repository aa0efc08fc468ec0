package outbound

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store"
	"github.com/relais-sante/relais/store/journal"
	"github.com/relais-sante/relais/store/journal/journaltest"
)

// away is a hub whose store is not there.
type away struct {
	*queue
	claims int
}

func (a *away) ClaimDeliveries(context.Context, string, int) ([]mailbox.Job, error) {
	a.claims++
	return nil, errors.New("store away")
}

// panics is a hub that one mail makes panic.
type panics struct{ *queue }

func (p panics) Open(ctx context.Context, job mailbox.Job) (*mailbox.Outgoing, error) {
	if job.Delivery.ID == "d00001" {
		panic("a defect")
	}
	return p.queue.Open(ctx, job)
}

// TestPanic: one mail that makes the hub panic does not stop the others.
func TestPanic(t *testing.T) {
	journaltest.Expect(t)
	op := newOperator(t, nil)
	q := newQueue()
	q.retry = func(int) time.Duration { return time.Hour }
	for range 3 {
		q.add("a@chu.example")
	}
	o := quick(q, toward{"chu.example": op.addr()})
	o.Hub = panics{q}
	start(t, o)
	for i, want := range []mailbox.OutcomeKind{mailbox.OutcomeSent, mailbox.OutcomeTemporary, mailbox.OutcomeSent} {
		if out := q.first(t, q.order[i]); out.Kind != want {
			t.Errorf("mail %d: %+v", i, out)
		}
	}
}

// TestJournalTellsNobody: the journal has codes and our words; nothing of what
// the peer said, no address, no text of the mail.
func TestJournalTellsNobody(t *testing.T) {
	secrets := []string{"camille", "dupont", "leucemie", "k7f3q2x"}
	said := "camille.dupont has leucemie"
	ms := []manners{
		{},
		on(true, "MAIL", "550 5.7.1 "+said),
		on(true, "RCPT", "450 4.2.0 "+said),
		on(true, "DOT", "554 5.6.0 "+said),
		on(true, "DATA", said),
		on(true, "MAIL", "421 4.3.2 "+said),
		on(true, "GREETING", "554 5.3.2 "+said),
		{cut: "BODY"},
		{stall: "RCPT"},
	}
	var out bytes.Buffer
	reg := prometheus.NewRegistry()
	q := newQueue()
	q.retry = func(int) time.Duration { return time.Hour }
	route := toward{"down.example": nobody(t)}
	q.addMail(mailbox.Outgoing{MailFrom: "k7f3q2x.b-1@hub.example", RcptTo: "camille.dupont@down.example"}, plain)
	for i, m := range ms {
		domain := string(rune('a'+i)) + ".example"
		route[domain] = newOperator(t, func(int, int) manners { return m }).addr()
		q.addMail(mailbox.Outgoing{MailFrom: "k7f3q2x.b-1@hub.example", RcptTo: store.Address("camille.dupont@" + domain)}, plain)
	}
	o := quick(q, route)
	o.Timeouts.Command = 500 * time.Millisecond
	o.Log = journal.New(&out, slog.LevelDebug)
	o.Metrics = reg
	_, stop := start(t, o)
	for _, id := range q.order {
		q.first(t, id)
	}
	stop()
	log := strings.ToLower(out.String())
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		log += strings.ToLower(f.String())
	}
	for _, s := range secrets {
		if strings.Contains(log, s) {
			t.Errorf("%q is in the journal or the metrics:\n%s", s, log)
		}
	}
	for _, s := range []string{`"delivery":"d00001"`, `"code":550`, `"status":"5.7.1"`, `"reason":"dropped"`, `"domain":"b.example"`, `"reason":"service"`} {
		if !strings.Contains(out.String(), s) {
			t.Errorf("%s is not in the journal:\n%s", s, out.String())
		}
	}
}
