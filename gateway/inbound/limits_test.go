package inbound

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/relais-sante/relais/store/journal/journaltest"
)

// client plays single steps of a dialogue from Go.
func client(t *testing.T, h *house) *player {
	t.Helper()
	p := &player{t: t, house: h, at: t.Name()}
	p.dial()
	t.Cleanup(func() { p.conn.Close() })
	return p
}

// until plays a dialogue given in one string, a step per line.
func (p *player) until(script string) {
	p.t.Helper()
	for line := range strings.SplitSeq(strings.TrimSpace(script), "\n") {
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		p.step(verb, rest)
	}
}

const toData = `S+ 220
	C: EHLO a.example
	S+ 250
	C: MAIL FROM:<` + marker + `@chu.example>
	S+ 250
	C: RCPT TO:<abc@parcours.example>
	S+ 250
	C: DATA
	S+ 354`

// S1: a read that times out inside DATA ends the connection, and what comes
// after is not read.
func TestDefectS1TimeoutInData(t *testing.T) {
	h := start(t, StartTLS, anyPeer(Limits{Read: 100 * time.Millisecond}))
	p := client(t, h)
	p.until(toData + `
		C: a
		S: 421 4.4.2 *trop lentement* / *too slowly*
		EOF
		MSG none`)
}

// S2: what is slow but steady gets through, though the whole takes longer than
// one wait may.
func TestDefectS2SlowButSteady(t *testing.T) {
	h := start(t, StartTLS, anyPeer(Limits{Read: 200 * time.Millisecond, Command: 200 * time.Millisecond}))
	p := client(t, h)
	p.until(toData)
	for range 8 {
		p.send("a\r\n")
		time.Sleep(50 * time.Millisecond) // the pace of the peer, not a wait for the server
	}
	p.until(`C: .
		S: 250 2.0.0 OK m1`)
}

// A message that trickles is cut by its rate, and any message by its whole time.
func TestSlowMessages(t *testing.T) {
	for name, limits := range map[string]Limits{
		"rate":  {Slow: 100 * time.Millisecond, MinRate: 1 << 20},
		"whole": {Message: 200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "rate" {
				limits.Slow = time.Second // rates are counted in whole seconds
			}
			p := client(t, start(t, StartTLS, anyPeer(limits)))
			p.until(toData)
			stop := time.Now().Add(5 * time.Second)
			for time.Now().Before(stop) {
				if _, err := p.conn.Write([]byte("a\r\n")); err != nil {
					break
				}
				p.conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
				if b, err := p.in.Peek(3); err == nil {
					if string(b) != "421" {
						t.Fatalf("got %q", b)
					}
					return
				}
				p.in.Reset(p.conn)
			}
			t.Fatal("a message that trickles went on")
		})
	}
}

// A command line that trickles does not hold a connection: its time is for the
// whole of it.
func TestSlowCommands(t *testing.T) {
	p := client(t, start(t, StartTLS, anyPeer(Limits{Command: 200 * time.Millisecond})))
	p.until("S+ 220")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 100 {
			if _, err := p.conn.Write([]byte("N")); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond) // the pace of the peer
		}
	}()
	p.until("S: 421 4.4.2 *")
	<-done
}

func TestSlowHandshake(t *testing.T) {
	h := start(t, ImplicitTLS, func(o *Options) { o.Limits = Limits{Handshake: 50 * time.Millisecond} })
	client(t, h).until("EOF")
	p := client(t, h)
	p.send("EHLO a.example\r\n") // no TLS at all
	if _, err := p.in.ReadString('\n'); err == nil {
		t.Error("a conversation in clear began")
	}
}

func TestConnectionLimits(t *testing.T) {
	h := start(t, StartTLS, anyPeer(Limits{ConnectionsPerPeer: 2}))
	one, two := client(t, h), client(t, h)
	one.until("S+ 220")
	two.until("S+ 220")
	client(t, h).until(`S: 421 4.7.0 *
		EOF`)
	// STARTTLS takes no second place, and an end gives the place back.
	two.until(`C: STARTTLS
		S+ 220
		TLS chu
		C: QUIT
		S+ 221`)
	if !within(5*time.Second, func() bool { return strings.HasPrefix(client(t, h).line(), "220") }) {
		t.Error("the place is not given back")
	}

	h = start(t, StartTLS, anyPeer(Limits{Connections: 1}))
	client(t, h).until("S+ 220")
	client(t, h).until("S: 421 4.3.2 *")
	if !strings.Contains(h.log.String(), `"reason":"connections-full"`) {
		t.Errorf("the refusal is not in the journal:\n%s", h.log)
	}
}

// within waits for what a goroutine of the server is about to do.
func within(d time.Duration, what func() bool) bool {
	for deadline := time.Now().Add(d); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if what() {
			return true
		}
	}
	return false
}

func TestPeerKey(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.7:25":              "192.0.2.7",
		"[::ffff:192.0.2.7]:25":     "192.0.2.7",
		"[2001:db8:1:2:3:4:5:6]:25": "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff::1]:99": "2001:db8:1:2::/64",
		"[fe80::1%eth0]:25":         "fe80::/64",
	} {
		a, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := peerKey(a); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

// In no minute, wherever it begins, does a key get more than its due and what
// the sliding estimate may be off by; and a key within its due gets all.
func TestRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 20).Draw(t, "limit")
		r := rate{perMinute: limit}
		now := time.Unix(1_000_000, 0)
		var allowed []time.Time
		for range rapid.IntRange(1, 200).Draw(t, "events") {
			now = now.Add(time.Duration(rapid.IntRange(0, 20_000).Draw(t, "ms")) * time.Millisecond)
			recent := 0
			for _, at := range allowed {
				if now.Sub(at) < 2*time.Minute {
					recent++
				}
			}
			ok := r.allow("a", now)
			if !ok && recent < limit {
				t.Fatalf("refused with %d of %d in two minutes", recent, limit)
			}
			if ok {
				allowed = append(allowed, now)
			}
		}
		for i, from := range allowed {
			n := 0
			for _, at := range allowed[i:] {
				if at.Sub(from) < time.Minute {
					n++
				}
			}
			if n > 2*limit {
				t.Fatalf("%d in a minute, limit %d", n, limit)
			}
		}
	})
	r := rate{perMinute: 3}
	now := time.Unix(1_000_000, 0)
	for i, want := range []bool{true, true, true, false} {
		if got := r.allow("a", now); got != want {
			t.Errorf("event %d at once: %v", i, got)
		}
	}
	if !r.allow("b", now) || !r.allow("a", now.Add(2*time.Minute)) {
		t.Error("other keys, or later minutes, are held back")
	}
	if len(r.this)+len(r.was) > 1 {
		t.Error("old keys are remembered")
	}
	if none := (&rate{}); !none.allow("a", now) {
		t.Error("no limit limits")
	}
}

// S7: idle connections are ended at once; a transaction under way is finished.
func TestShutdown(t *testing.T) {
	release := make(chan struct{})
	h := start(t, StartTLS, func(o *Options) {
		anyPeer(Limits{})(o)
		o.Hub.(*stub).hold, o.Hub.(*stub).entered = release, make(chan struct{}, 1)
	})
	fresh, sending, transaction := client(t, h), client(t, h), client(t, h)
	fresh.until("S+ 220")
	transaction.until(`S+ 220
		C: EHLO a.example
		S+ 250
		C: MAIL FROM:<roux@chu.example>
		S+ 250`)
	sending.until(toData + `
		C: a
		C: .`)
	<-h.stub.entered
	down := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	go func() { down <- h.Shutdown(ctx) }()
	fresh.until(`S: 421 4.3.2 *redemarre* / *restarting*
		EOF`)
	// The transaction that had begun goes on to its end.
	close(release)
	sending.until(`S: 250 2.0.0 OK m1
		S: 421 4.3.2 *
		EOF`)
	transaction.until(`C: RCPT TO:<abc@parcours.example>
		S+ 250
		C: DATA
		S+ 354
		C: b
		C: .
		S: 250 2.0.0 OK m2
		S: 421 4.3.2 *
		EOF`)
	if err := <-down; err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if _, err := net.Dial("tcp", h.addr); err == nil {
		t.Error("connections are still accepted")
	}
	if err := h.Shutdown(ctx); !errors.Is(err, ErrStopped) {
		t.Errorf("a second shutdown: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Serve(l, StartTLS); !errors.Is(err, ErrStopped) {
		t.Errorf("serving afterwards: %v", err)
	}
}

// What does not end in time is cut, whatever it waits for.
func TestShutdownCuts(t *testing.T) {
	h := start(t, StartTLS, func(o *Options) {
		anyPeer(Limits{})(o)
		o.Hub.(*stub).hold, o.Hub.(*stub).entered = make(chan struct{}), make(chan struct{}, 1)
	})
	inHub, inData, inHandshake := client(t, h), client(t, h), client(t, h)
	inHub.until(toData + `
		C: a
		C: .`)
	<-h.stub.entered
	inData.until(toData + `
		C: a`)
	inHandshake.until(`S+ 220
		C: STARTTLS
		S+ 220`)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if err := h.Shutdown(ctx); !errors.Is(err, errStuck) {
		t.Errorf("shutdown: %v", err)
	}
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("it took %s", took)
	}
	if n := len(h.stub.taken()); n != 0 {
		t.Errorf("%d messages taken", n)
	}
}

func TestOnlyLoopbackWithoutCertificates(t *testing.T) {
	h := start(t, StartTLS, anyPeer(Limits{}))
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Serve(l, StartTLS); !errors.Is(err, ErrNotLoopback) {
		t.Errorf("serving %s: %v", l.Addr(), err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error("the listener was left open")
	}
}

// A panic costs one connection, is counted, and tells nothing of its value.
func TestPanic(t *testing.T) {
	journaltest.Expect(t)
	h := start(t, StartTLS, anyPeer(Limits{}))
	p := client(t, h)
	p.until(toData[:strings.Index(toData, "C: RCPT")] + `C: RCPT TO:<panic@parcours.example>
		S: 421 4.3.0 *
		EOF`)
	p = client(t, h)
	p.until(strings.ReplaceAll(toData, "abc@", "data-panic@") + `
		C: a
		C: .
		S: 421 4.3.0 *
		EOF`)
	log := h.log.String()
	if strings.Count(log, "panic recovered") != 2 || !strings.Contains(log, "inbound.(*stub).Recipient") {
		t.Errorf("the journal does not say where:\n%s", log)
	}
	if got := value(t, h, "relais_inbound_panics_total"); got != 2 {
		t.Errorf("counted %v", got)
	}
	client(t, h).until(toData)
}

// value sums a metric of the house, where it has this label.
func value(t *testing.T, h *house, name string, label ...string) (sum float64) {
	t.Helper()
	families, err := h.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			counts := f.GetName() == name && len(label) == 0
			for _, l := range m.GetLabel() {
				counts = counts || f.GetName() == name && slices.Equal(label, []string{l.GetName(), l.GetValue()})
			}
			if counts {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}
