package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/smtp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// posted is a mail sent under load and what the hub said.
type posted struct {
	id    string
	code  string
	body  [32]byte
	acked bool
	begun time.Time
	took  time.Duration
}

// load sends mails over several connections until told to stop, each on a
// connection that is kept as long as it lasts.
type load struct {
	h     *hub
	codes []string
	from  string
	next  *atomic.Int64

	mu   sync.Mutex
	all  []posted
	stop atomic.Bool
}

// body makes an invented body of about n bytes, different each time.
func body(n int) []byte {
	raw := make([]byte, n*3/4)
	for i := range raw {
		raw[i] = byte(rand.Uint32())
	}
	enc := base64.StdEncoding.EncodeToString(raw)
	var b bytes.Buffer
	for len(enc) > 0 {
		k := min(76, len(enc))
		b.WriteString(enc[:k] + "\r\n")
		enc = enc[k:]
	}
	return b.Bytes()
}

func (l *load) mail() (posted, []byte) {
	n := l.next.Add(1)
	size := 4 << 10
	switch {
	case n%37 == 0:
		size = 2 << 20 // a segment file of its own
	case n%5 == 0:
		size = 64 << 10
	}
	text := body(size)
	p := posted{id: fmt.Sprintf("load-%d@sender.test", n), code: l.codes[int(n)%len(l.codes)], body: sha256.Sum256(text)}
	head := fmt.Sprintf("From: <%s>\r\nSubject: Charge %d\r\nMessage-ID: <%s>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n", l.from, n, p.id)
	return p, append([]byte(head), text...)
}

// connection is one sender.
func (l *load) connection() {
	for !l.stop.Load() {
		c, err := smtp.Dial(l.h.inbound)
		if err != nil {
			return // killed
		}
		for !l.stop.Load() {
			p, mail := l.mail()
			p.begun = time.Now()
			err := transaction(c, l.from, p.code+"@"+domain, mail)
			p.acked, p.took = err == nil, time.Since(p.begun)
			l.mu.Lock()
			l.all = append(l.all, p)
			l.mu.Unlock()
			if err != nil {
				break
			}
		}
		c.Close()
	}
}

// TestKillUnderLoad: whatever moment the hub is killed at, nothing that was
// acknowledged is lost, nothing is half-written, and a box gets a copy twice
// only where the kill cut off the peer's answer.
func TestKillUnderLoad(t *testing.T) {
	rounds := 6
	if long {
		rounds = 100
	}
	if testing.Short() {
		rounds = 2
	}
	s := newSink(t)
	h := newHub(t, settings{outbound: `route = "smarthost"
tls = "none"
smarthost = "` + s.addr + `"
retry = ["1s"]`})
	h.start()
	l := &load{h: h, from: "roux@chu.test", next: new(atomic.Int64)}
	for n := range children {
		code := h.include(n)
		h.member(code, "Dr Anne Roux", "oncologue", l.from, "PER")
		h.member(code, "Mme Inès Moreau", "idec", "moreau@chu.test", "PER")
		h.member(code, "Mme Julie Petit", "infirmier", "cabinet@idel.test", "ORG")
		l.codes = append(l.codes, code)
	}
	var kills []time.Time
	for range rounds {
		l.stop.Store(false)
		var running sync.WaitGroup
		for range 8 {
			running.Go(l.connection)
		}
		time.Sleep(time.Duration(50+rand.IntN(500)) * time.Millisecond) // the moment is the test
		h.kill()
		kills = append(kills, time.Now())
		l.stop.Store(true)
		running.Wait()
		h.start()
	}
	l.check(t, s, kills)
}

// check compares what was acknowledged with what the hub has and the boxes got.
func (l *load) check(t *testing.T, s *sink, kills []time.Time) {
	h := l.h
	eventually(t, 2*time.Minute, "the queue is empty", func() bool {
		var st struct{ Queue struct{ Queued, Failed int } }
		h.ask(&st, "status")
		return st.Queue.Queued == 0
	})
	sent := map[string]posted{}
	acked := 0
	for _, p := range l.all {
		sent[p.id] = p
		if p.acked {
			acked++
		}
	}
	// What the hub has.
	filed := map[string]string{}
	for _, code := range l.codes {
		for _, m := range h.thread(code).Messages {
			id := strings.Trim(m.MessageID, "<>")
			p, ok := sent[id]
			if !ok || p.code != code {
				t.Errorf("message %s in %s was never sent there", id, code)
				continue
			}
			if filed[id] != "" {
				t.Errorf("message %s is filed twice", id)
			}
			filed[id] = m.ID
		}
	}
	lost := 0
	for _, p := range l.all {
		if p.acked && filed[p.id] == "" {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d acknowledged messages are lost", lost)
	}
	broken := 0
	raw, done := h.reader()
	defer done()
	for id, m := range filed {
		_, text, _ := bytes.Cut(raw(m), []byte("\r\n\r\n"))
		if sha256.Sum256(text) != sent[id].body {
			broken++
		}
		if !long && broken == 0 && len(filed) > 300 {
			break // each was compared at the box already; a sample does here
		}
	}
	if broken > 0 {
		t.Errorf("%d messages do not read back as sent", broken)
	}
	twice := l.checkCopies(t, s, filed, sent, kills)
	t.Logf("%d kills, %d sent, %d acknowledged, %d filed, %d copies, %d twice", len(kills), len(l.all), acked, len(filed), len(s.all()), twice)
}

// checkCopies looks at what the boxes got.
func (l *load) checkCopies(t *testing.T, s *sink, filed map[string]string, sent map[string]posted, kills []time.Time) int {
	type key struct{ delivery, box string }
	first := map[key]time.Time{}
	copies := map[string]int{}
	twice := 0
	for _, c := range s.all() {
		id := strings.Trim(c.id, "<>")
		if c.body != sent[id].body {
			t.Errorf("a copy of %s has another body", id)
		}
		k := key{c.delivery, c.to}
		before, again := first[k]
		if !again {
			first[k] = c.at
			copies[id]++
			continue
		}
		twice++
		// Legitimate only if the hub was killed before it could record the
		// answer to the first one.
		cut := false
		for _, kill := range kills {
			// The sink looks at its clock only once it has read the copy, which
			// on a busy machine may be a little after the hub is dead.
			if kill.Add(500*time.Millisecond).After(before) && kill.Sub(before) < 2*time.Second && kill.Before(c.at) {
				cut = true
			}
		}
		if !cut {
			t.Errorf("a copy of %s went twice, %s apart, without a kill in between", id, c.at.Sub(before))
		}
	}
	for id := range filed {
		if copies[id] != 2 {
			t.Errorf("message %s reached %d boxes, want 2", id, copies[id])
		}
	}
	for id := range copies {
		if filed[id] == "" {
			t.Errorf("boxes got %s, which the hub does not have", id)
		}
	}
	return twice
}
