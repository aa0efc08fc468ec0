package outbound

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// remote is a mail operator on loopback with the manners a test gives it. It
// speaks the dialogue itself: a server library would not misbehave.
type remote struct {
	t  *testing.T
	ln net.Listener
	// manners are asked for anew for every connection (mail 0) and every mail
	// on it (from 1).
	manners func(conn, mail int) manners
	tls     *tls.Config
	// implicit: TLS begins with the first byte.
	implicit bool
	// pipelining is offered beside what the manners say.
	pipelining bool

	mu    sync.Mutex
	conns int
	open  map[net.Conn]bool
	mails []taken
	said  []string // commands, in order
	over  sync.WaitGroup
	quit  chan struct{}
}

// taken is a mail that the operator answered 250 to, or took before it cut the
// connection.
type taken struct {
	mail, rcpt, body string
	at               time.Time
}

// manners of a peer. A verb is GREETING EHLO STARTTLS MAIL RCPT DATA BODY (in
// the middle of the mail), DOT (the mail taken, before the answer) or IDLE (the
// mail answered).
type manners struct {
	offers []string          // EHLO keywords; nil: SIZE, 8BITMIME, DSN
	reply  map[string]string // other answer to a verb
	cut    string            // close the connection at this verb, without a word
	stall  string            // say nothing more from this verb on
	after  map[string]string // said on top, unasked, after the answer to a verb
	hangUp string            // said in the middle of the mail, before closing
	delay  time.Duration     // before the answer to the final dot
	// obliging: DATA is taken although MAIL or RCPT was refused.
	obliging bool
	// login is the dialogue from AUTH on, lines "C: what must come" and "S: the
	// answer" in turn.
	login []string
}

func newOperator(t *testing.T, m func(conn, mail int) manners) *remote {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if m == nil {
		m = func(int, int) manners { return manners{} }
	}
	o := &remote{t: t, ln: ln, manners: m, open: map[net.Conn]bool{}, quit: make(chan struct{})}
	o.over.Go(o.accept)
	t.Cleanup(o.close)
	return o
}

func (o *remote) close() {
	o.mu.Lock()
	select {
	case <-o.quit:
	default:
		close(o.quit)
	}
	o.ln.Close()
	for c := range o.open {
		c.Close()
	}
	o.mu.Unlock()
	o.over.Wait()
}

// secure has the operator speak TLS, by STARTTLS or from the first byte.
func (o *remote) secure(c *tls.Config, implicit bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.tls, o.implicit = c, implicit
}

func (o *remote) addr() string { return o.ln.Addr().String() }

func (o *remote) accept() {
	for {
		c, err := o.ln.Accept()
		if err != nil {
			return
		}
		o.mu.Lock()
		o.conns++
		n := o.conns
		o.open[c] = true
		o.mu.Unlock()
		o.over.Go(func() {
			defer func() {
				o.mu.Lock()
				delete(o.open, c)
				o.mu.Unlock()
				c.Close()
			}()
			d := &dialogue{o: o, c: c, n: n, in: bufio.NewReader(c)}
			if o.implicit {
				tc := tls.Server(c, o.tls)
				d.c, d.in = tc, bufio.NewReader(tc)
			}
			d.talk()
		})
	}
}

func (o *remote) taken() []taken {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]taken(nil), o.mails...)
}

func (o *remote) connections() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.conns
}

// commands are what was said to it, as one text.
func (o *remote) commands() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.said, "\n")
}

type dialogue struct {
	o     *remote
	c     net.Conn
	in    *bufio.Reader
	n     int // connection
	mails int
	m     manners
	now   taken
	said  string // replies to MAIL and RCPT, their first digits
}

// answer says what the manners want at verb; false: the dialogue is over.
func (d *dialogue) answer(verb, usual string) bool {
	if d.m.cut == verb {
		return false
	}
	if d.m.stall == verb {
		<-d.o.quit
		return false
	}
	if r, ok := d.m.reply[verb]; ok {
		usual = r
	}
	d.said += usual[:min(1, len(usual))]
	_, err := fmt.Fprintf(d.c, "%s\r\n%s", usual, d.m.after[verb])
	return err == nil && !strings.HasPrefix(usual, "421")
}

func (d *dialogue) talk() {
	d.m = d.o.manners(d.n, 0)
	if !d.answer("GREETING", "220 op.example ESMTP") {
		return
	}
	for {
		line, err := d.in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		d.o.mu.Lock()
		d.o.said = append(d.o.said, line)
		d.o.mu.Unlock()
		if !d.command(line) {
			return
		}
	}
}

func (d *dialogue) command(line string) bool {
	verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
	switch verb {
	case "EHLO":
		offers := d.m.offers
		if offers == nil {
			offers = []string{"SIZE 50000000", "8BITMIME", "DSN"}
		}
		if d.o.pipelining {
			offers = append([]string{"PIPELINING"}, offers...)
		}
		if _, secured := d.c.(*tls.Conn); d.o.tls != nil && !secured {
			offers = append([]string{"STARTTLS"}, offers...)
		}
		return d.answer("EHLO", "250-op.example\r\n250-"+strings.Join(append(offers, "HELP"), "\r\n250-")+"\r\n250 OK")
	case "AUTH":
		return d.login(line)
	case "STARTTLS":
		if !d.answer("STARTTLS", "220 go ahead") || d.m.reply["STARTTLS"] != "" {
			return d.m.reply["STARTTLS"] != ""
		}
		tc := tls.Server(d.c, d.o.tls)
		if tc.Handshake() != nil {
			return false
		}
		d.c, d.in = tc, bufio.NewReader(tc)
		return true
	case "MAIL":
		d.mails++
		d.m = d.o.manners(d.n, d.mails)
		d.now, d.said = taken{mail: line}, ""
		return d.answer("MAIL", "250 2.1.0 ok")
	case "RCPT":
		d.now.rcpt = line
		return d.answer("RCPT", "250 2.1.5 ok")
	case "DATA":
		if d.said != "22" && !d.m.obliging {
			return d.answer("NOBODY", "503 5.5.1 no recipient")
		}
		if !d.answer("DATA", "354 go on") || d.m.reply["DATA"] != "" {
			return d.m.reply["DATA"] != ""
		}
		return d.body()
	case "RSET", "NOOP":
		return d.answer(verb, "250 ok")
	case "QUIT":
		d.answer("QUIT", "221 bye")
		return false
	}
	return d.answer(verb, "500 what?")
}

// login plays the dialogue of the manners. What the client does not say as
// expected is the test's failure.
func (d *dialogue) login(line string) bool {
	for i := 0; i+1 < len(d.m.login); i += 2 {
		if i > 0 {
			next, err := d.in.ReadString('\n')
			if err != nil {
				d.o.t.Errorf("login: %v instead of %q", err, d.m.login[i])
				return false
			}
			line = strings.TrimRight(next, "\r\n")
		}
		if want := strings.TrimPrefix(d.m.login[i], "C: "); line != want {
			d.o.t.Errorf("login: client said %q, want %q", line, want)
		}
		if _, err := fmt.Fprintf(d.c, "%s\r\n", strings.TrimPrefix(d.m.login[i+1], "S: ")); err != nil {
			return false
		}
	}
	return true
}

func (d *dialogue) body() bool {
	if d.m.stall == "BODY" || d.m.cut == "BODY" {
		d.in.ReadString('\n')
		return d.answer("BODY", "")
	}
	if d.m.hangUp != "" {
		// Half-close and drain, so that no reset overtakes the words.
		fmt.Fprintf(d.c, "%s\r\n", d.m.hangUp)
		time.Sleep(20 * time.Millisecond)
		return false
	}
	var b strings.Builder
	for {
		line, err := d.in.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			break
		}
		b.WriteString(strings.TrimPrefix(line, "."))
	}
	d.now.body, d.now.at = b.String(), time.Now()
	select {
	case <-time.After(d.m.delay):
	case <-d.o.quit:
	}
	if r := d.m.reply["DOT"]; r == "" || strings.HasPrefix(r, "2") {
		d.o.mu.Lock()
		d.o.mails = append(d.o.mails, d.now)
		d.o.mu.Unlock()
	}
	if !d.answer("DOT", "250 2.0.0 kept") {
		return false
	}
	if r, ok := d.m.reply["IDLE"]; ok {
		fmt.Fprintf(d.c, "%s\r\n", r)
		return false
	}
	return d.m.cut != "IDLE"
}

// silence is a listener that accepts and never says a word: the system does it.
func silence(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String()
}

// nobody is an address where nothing listens.
func nobody(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func (m taken) String() string { return fmt.Sprintf("%s\n%s\n%q", m.mail, m.rcpt, m.body) }
