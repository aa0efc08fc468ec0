package outbound

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/relais-sante/relais/mailbox"
	"github.com/relais-sante/relais/store/journal/journaltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(journaltest.Watched{Runner: m}) }

func TestSends(t *testing.T) {
	op := newOperator(t, nil)
	q := newQueue()
	id := q.add("roux@chu.example")
	start(t, quick(q, toward{"chu.example": op.addr()}))
	if out := q.first(t, id); out.Kind != mailbox.OutcomeSent || out.Code != 250 {
		t.Fatalf("outcome %+v", out)
	}
	got := op.taken()
	want := taken{
		mail: fmt.Sprintf("MAIL FROM:<k7f3q2x.b-1@hub.example> SIZE=%d RET=HDRS ENVID=d00000", len(plain)),
		rcpt: "RCPT TO:<roux@chu.example>", body: plain,
	}
	if len(got) != 1 || got[0].mail != want.mail || got[0].rcpt != want.rcpt || got[0].body != want.body {
		t.Fatalf("took %v\nwant %v", got, want)
	}
}

// TestDialogues has one row for each way a conversation can go.
func TestDialogues(t *testing.T) {
	temporary, permanent := mailbox.OutcomeTemporary, mailbox.OutcomePermanent
	at := func(verb, reply string) manners { return manners{reply: map[string]string{verb: reply}} }
	for name, tt := range map[string]struct {
		m      manners
		kind   mailbox.OutcomeKind
		reason string
		code   int
		status string
		text   string
	}{
		"greeting 4xx":      {at("GREETING", "450 busy"), temporary, "service", 450, "", "busy"},
		"greeting 5xx":      {at("GREETING", "554 5.7.1 not you"), temporary, "service", 554, "5.7.1", "not you"},
		"greeting dropped":  {manners{cut: "GREETING"}, temporary, "dropped", 0, "", ""},
		"greeting stalled":  {manners{stall: "GREETING"}, temporary, "timeout", 0, "", ""},
		"greeting garbage":  {at("GREETING", "HTTP/1.1 400 Bad Request"), temporary, "protocol", 0, "", ""},
		"greeting endless":  {at("GREETING", strings.Repeat("220-more\r\n", 5000)+"220 end"), temporary, "protocol", 0, "", ""},
		"greeting long":     {at("GREETING", "220 "+strings.Repeat("x", 5000)), temporary, "protocol", 0, "", ""},
		"ehlo 5xx":          {at("EHLO", "550 5.7.1 go away"), temporary, "service", 550, "5.7.1", "go away"},
		"ehlo 421":          {at("EHLO", "421 4.3.2 closing"), temporary, "service", 421, "4.3.2", "closing"},
		"mail 4xx":          {at("MAIL", "451 4.7.1 later"), temporary, "deferred", 451, "4.7.1", "later"},
		"mail 421":          {at("MAIL", "421 4.3.2 closing"), temporary, "service", 421, "4.3.2", "closing"},
		"mail policy":       {at("MAIL", "550 5.7.1 not listed"), permanent, "refused", 550, "5.7.1", "not listed"},
		"mail size":         {at("MAIL", "552 5.3.4 too big"), mailbox.OutcomeTooLarge, "too-large", 552, "5.3.4", "too big"},
		"mail bare size":    {at("MAIL", "552 too big"), mailbox.OutcomeTooLarge, "too-large", 552, "", "too big"},
		"mail dropped":      {manners{cut: "MAIL"}, temporary, "dropped", 0, "", ""},
		"mail stalled":      {manners{stall: "MAIL"}, temporary, "timeout", 0, "", ""},
		"mail ahead":        {manners{after: map[string]string{"MAIL": "250 2.1.5 ok\r\n"}}, temporary, "protocol", 0, "", ""},
		"rcpt greylisted":   {at("RCPT", "450 4.2.0 greylisted"), temporary, "deferred", 450, "4.2.0", "greylisted"},
		"rcpt unknown":      {at("RCPT", "550-5.1.1 no such\r\n550 5.1.1 box"), permanent, "refused", 550, "5.1.1", "no such box"},
		"rcpt closed":       {at("RCPT", "550 5.2.1 closed"), permanent, "refused", 550, "5.2.1", "closed"},
		"rcpt no status":    {at("RCPT", "553 no"), permanent, "refused", 553, "", "no"},
		"rcpt 421":          {at("RCPT", "421 4.3.2 closing"), temporary, "service", 421, "4.3.2", "closing"},
		"rcpt dropped":      {manners{cut: "RCPT"}, temporary, "dropped", 0, "", ""},
		"data 4xx":          {at("DATA", "452 4.3.1 full"), temporary, "deferred", 452, "4.3.1", "full"},
		"data 5xx":          {at("DATA", "554 5.5.1 no recipients"), permanent, "refused", 554, "5.5.1", "no recipients"},
		"data 250":          {at("DATA", "250 ok"), temporary, "protocol", 250, "", "ok"},
		"data answered":     {manners{after: map[string]string{"DATA": "250 2.0.0 kept\r\n"}}, temporary, "protocol", 0, "", ""},
		"data dropped":      {manners{cut: "DATA"}, temporary, "dropped", 0, "", ""},
		"end 4xx":           {at("DOT", "451 4.3.0 try later"), temporary, "deferred", 451, "4.3.0", "try later"},
		"end 5xx":           {at("DOT", "554 5.6.0 bad content"), permanent, "refused", 554, "5.6.0", "bad content"},
		"end size":          {at("DOT", "552 5.2.3 too big for box"), mailbox.OutcomeTooLarge, "too-large", 552, "5.2.3", "too big for box"},
		"end size by 550":   {at("DOT", "550 5.3.4 too big"), mailbox.OutcomeTooLarge, "too-large", 550, "5.3.4", "too big"},
		"end box full":      {at("DOT", "552 5.2.2 box full"), permanent, "refused", 552, "5.2.2", "box full"},
		"end bare 552":      {at("DOT", "552 no room"), permanent, "refused", 552, "", "no room"},
		"end dropped":       {manners{cut: "DOT"}, temporary, "dropped", 0, "", ""},
		"end stalled":       {manners{stall: "DOT"}, temporary, "timeout", 0, "", ""},
		"end garbage":       {at("DOT", "OK"), temporary, "protocol", 0, "", ""},
		"text with control": {at("RCPT", "550 5.1.1 a\x07b\xffc"), permanent, "refused", 550, "5.1.1", "a b?c"},
	} {
		dialogue := func(t *testing.T, pipelining bool) {
			t.Parallel()
			op := newOperator(t, func(int, int) manners { return tt.m })
			op.pipelining = pipelining
			q := newQueue()
			q.retry = func(int) time.Duration { return time.Hour }
			id := q.add("roux@chu.example")
			o := quick(q, toward{"chu.example": op.addr()})
			if tt.m.stall != "" {
				o.Timeouts.Command, o.Timeouts.End = 150*time.Millisecond, 150*time.Millisecond
			}
			start(t, o)
			out := q.first(t, id)
			code, status := tt.code, tt.status
			if pipelining && tt.m.after["MAIL"] != "" {
				// What is said too much counts as the next answer: the last shows it.
				code, status = 250, "2.1.5"
			}
			if out.Kind != tt.kind || out.Reason != tt.reason || out.Code != code || out.Enhanced != status {
				t.Errorf("outcome %+v", out)
			}
			if tt.text != "" && out.Text != tt.text {
				t.Errorf("text %q, want %q", out.Text, tt.text)
			}
			if n := op.connections(); n != 1 {
				t.Errorf("%d connections for one attempt", n)
			}
		}
		t.Run(name, func(t *testing.T) { dialogue(t, false) })
		t.Run(name+", pipelined", func(t *testing.T) { dialogue(t, true) })
	}
}

// TestUnreachable: nobody there, and somebody who never speaks.
func TestUnreachable(t *testing.T) {
	for name, tt := range map[string]struct {
		addr   func(*testing.T) string
		reason string
	}{"nobody": {nobody, "dial"}, "silence": {silence, "timeout"}} {
		t.Run(name, func(t *testing.T) {
			q := newQueue()
			q.retry = func(int) time.Duration { return time.Hour }
			id := q.add("roux@chu.example")
			o := quick(q, toward{"chu.example": tt.addr(t)})
			o.Timeouts.Command = 100 * time.Millisecond
			start(t, o)
			if out := q.first(t, id); out.Kind != mailbox.OutcomeTemporary || out.Reason != tt.reason {
				t.Errorf("outcome %+v", out)
			}
		})
	}
}

// TestExtensions: what is said depends on what is offered, and on the body.
func TestExtensions(t *testing.T) {
	for name, tt := range map[string]struct {
		offers []string
		eight  bool
		want   string // parameters of MAIL; SIZE always with the true size
	}{
		"all, 8 bits":      {nil, true, " BODY=8BITMIME SIZE=# RET=HDRS ENVID=d00000"},
		"all, 7 bits":      {nil, false, " SIZE=# RET=HDRS ENVID=d00000"},
		"none, 8 bits":     {[]string{"PIPELINING"}, true, ""},
		"UTF8, 8 bits":     {[]string{"8BITMIME", "SMTPUTF8"}, true, " BODY=8BITMIME"},
		"no DSN, any size": {[]string{"SIZE"}, false, " SIZE=#"},
	} {
		t.Run(name, func(t *testing.T) {
			op := newOperator(t, func(int, int) manners { return manners{offers: tt.offers} })
			q := newQueue()
			body := "Subject: s\r\n\r\nBODY=8BITMIME\r\n"
			if tt.eight {
				body = "Subject: s\r\n\r\n\xe9t\xe9 \xff\r\n"
			}
			q.addMail(mailbox.Outgoing{MailFrom: "a@hub.example", RcptTo: "b@chu.example", EightBit: tt.eight}, body)
			start(t, quick(q, toward{"chu.example": op.addr()}))
			q.all(t)
			want := "MAIL FROM:<a@hub.example>" + strings.ReplaceAll(tt.want, "#", fmt.Sprint(len(body)))
			if got := op.taken()[0]; got.mail != want || got.body != body {
				t.Errorf("got %v\nwant %q with body %q", got, want, body)
			}
		})
	}
}

// TestTooLargeForPeer: not a byte is sent, and the limit is told.
func TestTooLargeForPeer(t *testing.T) {
	op := newOperator(t, func(int, int) manners { return manners{offers: []string{"SIZE 1000"}} })
	q := newQueue()
	id := q.addMail(mailbox.Outgoing{MailFrom: "a@hub.example", RcptTo: "b@chu.example"}, strings.Repeat("x\r\n", 400))
	small := q.add("c@chu.example")
	start(t, quick(q, toward{"chu.example": op.addr()}))
	if out := q.first(t, id); out.Kind != mailbox.OutcomeTooLarge || out.Limit != 1000 {
		t.Errorf("outcome %+v", out)
	}
	if out := q.first(t, small); out.Kind != mailbox.OutcomeSent {
		t.Errorf("a small one after it: %+v", out)
	}
	if n := strings.Count(op.commands(), "MAIL"); n != 1 {
		t.Errorf("MAIL said %d times", n)
	}
}

// TestUnsayable: what cannot be sent is not, and says why.
func TestUnsayable(t *testing.T) {
	for name, tt := range map[string]struct {
		mail   mailbox.Outgoing
		body   string
		kind   mailbox.OutcomeKind
		reason string
	}{
		"bare LF":         {mailbox.Outgoing{RcptTo: "b@chu.example"}, "a: b\r\n\r\nx\ny\r\n", mailbox.OutcomePermanent, "unclean"},
		"bare CR":         {mailbox.Outgoing{RcptTo: "b@chu.example"}, "a: b\r\n\r\nx\ry\r\n", mailbox.OutcomePermanent, "unclean"},
		"CR CR LF":        {mailbox.Outgoing{RcptTo: "b@chu.example"}, "a: b\r\n\r\nx\r\r\n", mailbox.OutcomePermanent, "unclean"},
		"unended":         {mailbox.Outgoing{RcptTo: "b@chu.example"}, "a: b\r\n\r\nx", mailbox.OutcomePermanent, "unclean"},
		"ends in CR":      {mailbox.Outgoing{RcptTo: "b@chu.example"}, "a: b\r\n\r\nx\r", mailbox.OutcomePermanent, "unclean"},
		"shorter":         {mailbox.Outgoing{RcptTo: "b@chu.example", Size: 100}, "a: b\r\n\r\nx\r\n", mailbox.OutcomeTemporary, "store"},
		"longer":          {mailbox.Outgoing{RcptTo: "b@chu.example", Size: 5}, "a: b\r\n\r\nx\r\n", mailbox.OutcomeTemporary, "store"},
		"address":         {mailbox.Outgoing{RcptTo: "b> SIZE=1@chu.example"}, plain, mailbox.OutcomePermanent, "address"},
		"accents":         {mailbox.Outgoing{RcptTo: "é@chu.example"}, plain, mailbox.OutcomePermanent, "address"},
		"line in address": {mailbox.Outgoing{RcptTo: "b@chu.example", MailFrom: "a\r\nRSET@x"}, plain, mailbox.OutcomePermanent, "address"},
	} {
		t.Run(name, func(t *testing.T) {
			op := newOperator(t, nil)
			q := newQueue()
			q.retry = func(int) time.Duration { return time.Hour }
			id := q.addMail(tt.mail, tt.body)
			start(t, quick(q, toward{"chu.example": op.addr()}))
			if out := q.first(t, id); out.Kind != tt.kind || out.Reason != tt.reason {
				t.Errorf("outcome %+v", out)
			}
			if got := op.taken(); len(got) > 0 {
				t.Errorf("the peer took %v", got)
			}
		})
	}
}

// TestErased: the mail is gone between claim and sending.
func TestErased(t *testing.T) {
	op := newOperator(t, nil)
	q := newQueue()
	id := q.add("b@chu.example")
	q.entries[id].body = nil
	start(t, quick(q, toward{"chu.example": op.addr()}))
	if out := q.first(t, id); out.Kind != mailbox.OutcomePermanent || out.Reason != "erased" {
		t.Errorf("outcome %+v", out)
	}
}

// TestUnlisted: a domain that has left the white list is not even dialled.
func TestUnlisted(t *testing.T) {
	op := newOperator(t, nil)
	q := newQueue()
	id := q.add("b@chu.example")
	o := quick(q, toward{"chu.example": op.addr()})
	o.Trust = everybody{"chu.example"}
	start(t, o)
	if out := q.first(t, id); out.Kind != mailbox.OutcomePermanent || out.Reason != "unlisted" || !strings.Contains(out.Text, "white list") {
		t.Errorf("outcome %+v", out)
	}
	if n := op.connections(); n != 0 {
		t.Errorf("%d connections", n)
	}
}
